"""ROUGE F1 over morphemes that kiwipiepy finds: `rouge-l-morpheme` and so on.

The rules stand in `_rouge.py`. A unit is a morpheme in the analyser's own spelling, "갔다" is 가,
었 and 다; the same figure needs the same kiwipiepy and model, and Mecab's morphemes give another.
It costs the extra "korean", 0.5 GB of memory, 2.6 s to load and a second for 2,000 sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from mulgil import kiwi
from mulgil.metrics import _rouge

_WANTS = ('metric "rouge-l-morpheme"', 'the metric "rouge-l"')


class RougeMorpheme(_rouge.Rouge):
    """By morpheme.

    Raises:
        ModelError: kiwipiepy is not installed, or cannot be loaded.
    """

    suffix: ClassVar[str] = "-morpheme"
    packages: ClassVar[tuple[str, ...]] = ("kiwipiepy",)

    def __init__(self) -> None:
        kiwi.module(*_WANTS)  # so that a missing package is known before a training, not after it

    def units(self, texts: Sequence[str]) -> Iterable[Sequence[str]]:
        return ([token.form for token in found] for found in kiwi.analyser(*_WANTS).tokenize(texts))

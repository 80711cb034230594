"""ROUGE F1 over morphemes that kiwipiepy finds: `rouge-l-morpheme` and so on.

The rules stand in `_rouge.py`. A unit is a morpheme in the analyser's own spelling, "갔다" is 가,
었 and 다; the same figure needs the same kiwipiepy and model, and Mecab's morphemes give another.
It costs the extra "korean", 0.5 GB of memory, 2.6 s to load and a second for 2,000 sentences.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from mulgil.errors import ModelError
from mulgil.metrics import _rouge


class RougeMorpheme(_rouge.Rouge):
    """By morpheme.

    Raises:
        ModelError: kiwipiepy is not installed, or cannot be loaded.
    """

    suffix: ClassVar[str] = "-morpheme"

    def __init__(self) -> None:
        _module()  # so that a missing package is known before a training, not after it

    def units(self, texts: Sequence[str]) -> Iterable[Sequence[str]]:
        return ([token.form for token in found] for found in _kiwi().tokenize(texts))


@functools.cache
def _kiwi() -> Any:
    """Return the analyser; it is loaded once, when the first text comes."""
    module = _module()
    try:
        return module.Kiwi()
    except Exception as error:  # the library raises many kinds for a missing or damaged model
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f'metric "rouge-l-morpheme": kiwipiepy cannot be loaded: {reason}; install it again:'
            ' pip install --force-reinstall "mulgil[korean]"'
        ) from error


def _module() -> Any:
    try:
        import kiwipiepy
    except ImportError as error:
        raise ModelError(
            'metric "rouge-l-morpheme" needs kiwipiepy; pip install "mulgil[korean]", or take the'
            ' metric "rouge-l"'
        ) from error
    return kiwipiepy

"""ROUGE F1 over characters without white space: `rouge-l-character` and so on.

The rules stand in `_rouge.py`. A character of Korean is a syllable. Spacing cannot matter, no
analyser's version can either; what two sentences share by chance makes the figures the highest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from mulgil.metrics import _rouge


class RougeCharacter(_rouge.Rouge):
    """By character."""

    suffix: ClassVar[str] = "-character"

    def units(self, texts: Sequence[str]) -> Iterable[Sequence[str]]:
        return (list("".join(text.split())) for text in texts)

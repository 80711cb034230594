"""ROUGE F1 over eojeol, the words that white space leaves: `rouge-l`, `rouge-1`, `rouge-2`.

The rules stand in `_rouge.py`; punctuation at the ends of an eojeol is taken away, "(학교)," is
"학교". An eojeol is right or wrong as a whole: "학교에" and "학교는" share nothing, so figures are
lower than over morphemes (`rouge-l-morpheme`) or characters (`rouge-l-character`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mulgil.metrics import _rouge


class Rouge(_rouge.Rouge):
    """By eojeol."""

    def units(self, texts: Sequence[str]) -> Iterable[Sequence[str]]:
        return ([_rouge.stripped(word) for word in text.split()] for text in texts)

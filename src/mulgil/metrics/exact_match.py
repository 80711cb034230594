"""Share of texts that are a right one, letter for letter.

Texts are compared in NFC, runs of white space as one, none at the ends; case and punctuation
count. Where no answer is right, only silence is. 0 to 1. For answers to questions, whose
punctuation should not count, take `korquad-f1` or `squad-f1`.
"""

from __future__ import annotations

from mulgil import hangul
from mulgil.flow import Array
from mulgil.judged import Written
from mulgil.metrics import _written
from mulgil.objectives import RowMetric

_NAMES = ("exact-match",)


class ExactMatch(RowMetric):
    """`exact-match`: equal to one of the right texts."""

    def rows(self, scored: Written) -> Array:
        return _written.best(scored, _score, _NAMES)

    def figures(self, total: Array, count: int) -> dict[str, float]:
        return _written.means(_NAMES, total, count)

    def trials(self, total: Array, count: int) -> dict[str, float]:
        return dict.fromkeys(_NAMES, count)


def _score(predicted: str, gold: str) -> tuple[float]:
    return (float(hangul.key(predicted) == hangul.key(gold)),)

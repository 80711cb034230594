"""Korean answers to questions as KorQuAD 1.0 scores them: F1 of characters, exact match.

Version: evaluate-v1.0.py of KorQuAD 1.0 (Lim et al. 2019), known from the copy in KoELECTRA
(finetune/src/evaluate_v1_0.py). Quotes ' " ‘ ’ and brackets 《 》 < > 〈 〉 ( ) become a space,
texts are lower-cased, the other ASCII punctuation is taken away without a space, runs of white
space become one. F1 compares bags of characters without white space, exact match the whole text
with its spaces. Of several right answers the best counts, for each figure by itself. Figures run
from 0 to 1, not to 100.

Two things are ours. Texts are put in NFC first: the script gives 0 for the same answer decomposed.
And where nothing is right (no answer, or one of punctuation alone) silence scores 1, as SQuAD 2
has it: the script knows no such row, and gives F1 0 to any answer to it.
"""

from __future__ import annotations

import string

from mulgil import hangul
from mulgil.flow import Array
from mulgil.judged import Written
from mulgil.metrics import _written
from mulgil.objectives import RowMetric

_NAMES = ("korquad-f1", "korquad-em")
_SPACES = "'\"《》<>〈〉()‘’"
_RULES = str.maketrans(dict.fromkeys(string.punctuation, "") | dict.fromkeys(_SPACES, " "))


class Korquad(RowMetric):
    """`korquad-f1` over characters, `korquad-em` over whole answers."""

    def rows(self, scored: Written) -> Array:
        return _written.best(scored, _score, _NAMES)

    def figures(self, total: Array, count: int) -> dict[str, float]:
        return _written.means(_NAMES, total, count)

    def trials(self, total: Array, count: int) -> dict[str, float]:
        return dict.fromkeys(_NAMES, count)


def _score(predicted: str, gold: str) -> tuple[float, float]:
    ours, theirs = _words(predicted), _words(gold)
    return _written.overlap("".join(ours), "".join(theirs)), float(ours == theirs)


def _words(text: str) -> list[str]:
    return hangul.normalise(text).lower().translate(_RULES).split()

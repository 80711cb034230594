"""English answers to questions as SQuAD's official scripts score them: F1 of words, exact match.

Version: evaluate-v2.0.py (Rajpurkar et al. 2018); on rows that have an answer it gives what
evaluate-v1.1.py gives. Both texts are lower-cased, ASCII punctuation, then the words a, an and the
are taken away; words are what white space leaves. Of several right answers the best counts, for
each figure by itself; where no answer is right, silence scores 1 and anything else 0. Figures run
from 0 to 1, not to 100. Ours alone: texts are put in NFC first, which a text in NFC cannot notice.
Korean answers want `korquad-f1`: to a whole eojeol a wrong particle is a wrong word.
"""

from __future__ import annotations

import re
import string

from mulgil import hangul
from mulgil.flow import Array
from mulgil.judged import Written
from mulgil.metrics import _written
from mulgil.objectives import RowMetric

_NAMES = ("squad-f1", "squad-em")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_GONE = str.maketrans("", "", string.punctuation)


class Squad(RowMetric):
    """`squad-f1` over words, `squad-em` over whole answers."""

    def rows(self, scored: Written) -> Array:
        # What the rules leave nothing of is no answer, unless the row has no other.
        gold = tuple(tuple(text for text in row if _words(text)) for row in scored.gold)
        return _written.best(Written(gold, scored.predicted), _score, _NAMES)

    def figures(self, total: Array, count: int) -> dict[str, float]:
        return _written.means(_NAMES, total, count)

    def trials(self, total: Array, count: int) -> dict[str, float]:
        return dict.fromkeys(_NAMES, count)


def _score(predicted: str, gold: str) -> tuple[float, float]:
    ours, theirs = _words(predicted), _words(gold)
    return _written.overlap(ours, theirs), float(ours == theirs)


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", hangul.normalise(text).lower().translate(_GONE)).split()

"""chrF++ as sacrebleu computes it: F2 of runs of up to six characters and two words.

chrF++ (Popović 2017) of the corpus, 0 to 1; sacrebleu's signature with one right text a row is
nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:2.6.0. White space is left out of the runs of
characters; words are what it leaves, with ASCII punctuation parted from one end. Recall weighs
twice as much as precision. Of several right texts the one that fits best counts. A row whose right
text is empty counts nothing at all, as sacrebleu has it: `exact-match` sees such rows.
"""

from __future__ import annotations

from typing import ClassVar

from mulgil.flow import Array
from mulgil.judged import Written
from mulgil.metrics import _sacrebleu
from mulgil.objectives import RowMetric

_WIDTH = 24  # written, right and matching runs of 1 to 6 characters, then of 1 and 2 words


class Chrf(RowMetric):
    """`chrf`: chrF++, chrF with words.

    Raises:
        ModelError: sacrebleu is not installed.
    """

    packages: ClassVar[tuple[str, ...]] = ("sacrebleu",)

    def __init__(self) -> None:
        self._scorer = _sacrebleu.load("chrf").CHRF(word_order=2)

    def rows(self, scored: Written) -> Array:
        return _sacrebleu.counts(self._scorer, scored, _WIDTH)

    def figures(self, total: Array, count: int) -> dict[str, float]:
        return {"chrf": _sacrebleu.figure(self._scorer, total)}

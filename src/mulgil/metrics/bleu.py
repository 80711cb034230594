"""BLEU as sacrebleu computes it: `bleu` over words, `bleu-character` over characters.

BLEU (Papineni et al. 2002) of the corpus, up to runs of four units, 0 to 1; sacrebleu's signatures
with one right text a row are

    bleu            nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0
    bleu-character  nrefs:1|case:mixed|eff:no|tok:char|smooth:exp|version:2.6.0

13a (WMT's default) parts ASCII punctuation from words, so a unit of Korean is nearly an eojeol; the
figure is low and comparable only with other 13a figures. Characters need no analyser and serve
Korean better. Morphemes (sacrebleu's ko-mecab) are left out: they would want another analyser of
108 MB. A corpus without any run of four units scores 0, even when all is right, as sacrebleu has
it; where no answer is right, what is written counts as wrong.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Written
from mulgil.metrics import _sacrebleu
from mulgil.objectives import RowMetric

_TOKENISED = {"bleu": "13a", "bleu-character": "char"}
_WIDTH = 10  # units written, units right; then runs of 1 to 4 that match, and that were written


class Bleu(RowMetric):
    """`bleu` with sacrebleu's default tokenisation, `bleu-character` over characters.

    Raises:
        ModelError: sacrebleu is not installed.
    """

    packages: ClassVar[tuple[str, ...]] = ("sacrebleu",)

    def __init__(self) -> None:
        made = _sacrebleu.load("bleu").BLEU
        # force: it only keeps sacrebleu from warning of texts that look tokenised.
        self._scorers: dict[str, Any] = {
            name: made(tokenize=unit, force=True) for name, unit in _TOKENISED.items()
        }

    def rows(self, scored: Written) -> Array:
        """Return float64 [N, 20], ten counts over words, then ten over characters.

        The ten are: units written, units of the right text, runs of 1, 2, 3 and 4 units that
        match, and runs of 1, 2, 3 and 4 that were written.
        """
        found = [_sacrebleu.counts(one, scored, _WIDTH) for one in self._scorers.values()]
        return np.hstack(found)

    def figures(self, total: Array, count: int) -> dict[str, float]:
        parts = total.reshape(len(self._scorers), _WIDTH)
        return {
            name: _sacrebleu.figure(scorer, part)
            for (name, scorer), part in zip(self._scorers.items(), parts, strict=True)
        }

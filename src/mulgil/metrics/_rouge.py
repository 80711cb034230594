"""ROUGE over units of any sort: F1 of the longest common subsequence, of units, of their pairs.

ROUGE (Lin 2004), sentence level: a text is one sequence of units, whatever its lines; F1 weighs
precision and recall alike; the figures of a row are the best over its right texts, each by itself,
and the figure of a corpus is the mean over rows. 0 to 1.

Chosen: units are made here and not by a package, because the common one (rouge_score 0.1.2) throws
every letter but a-z and digits away and so gives 0.0 for two equal Korean sentences. Texts are put
in NFC and lower-cased, nothing is stemmed, and units of punctuation alone do not count, unless the
text has no others. Equal sequences score 1 in every figure, also where they are too short for a
pair, for which rouge_score says 0. It costs comparability: a ROUGE of Korean means little without
the name of its units, so the figures carry it.
"""

from __future__ import annotations

import itertools
import unicodedata
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from mulgil import hangul
from mulgil.flow import Array
from mulgil.judged import Written
from mulgil.metrics import _written
from mulgil.objectives import RowMetric

_FIGURES = ("rouge-l", "rouge-1", "rouge-2")


class Rouge(RowMetric):
    """Three figures a text: `rouge-l` (the headline), `rouge-1`, `rouge-2`."""

    suffix: ClassVar[str] = ""
    """What the names of the figures end with."""

    @abstractmethod
    def units(self, texts: Sequence[str]) -> Iterable[Sequence[str]]:
        """Return the units of each text; the texts are in NFC and lower case."""

    def rows(self, scored: Written) -> Array:
        texts = [*scored.predicted, *itertools.chain.from_iterable(_written.golds(scored))]
        clean = {text: hangul.normalise(text).lower() for text in texts}
        different = list(dict.fromkeys(clean.values()))
        found = zip(different, map(_counting, self.units(different)), strict=True)
        units = dict(found)
        return _written.best(
            scored, lambda text, gold: scores(units[clean[text]], units[clean[gold]]), _FIGURES
        )

    def figures(self, total: Array, count: int) -> dict[str, float]:
        return _written.means([name + self.suffix for name in _FIGURES], total, count)


def scores(predicted: Sequence[str], gold: Sequence[str]) -> tuple[float, float, float]:
    """Return ROUGE-L, ROUGE-1 and ROUGE-2 (F1) of two sequences of units."""
    if predicted == gold:
        return 1.0, 1.0, 1.0
    pairs = list(itertools.pairwise(predicted)), list(itertools.pairwise(gold))
    return (
        2 * common(predicted, gold) / (len(predicted) + len(gold)),
        _written.overlap(predicted, gold),
        _written.overlap(*pairs) if any(pairs) else 0.0,
    )


def common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence.

    A bit of `left` is set while its unit of `other` is not yet part of the subsequence (Hyyrö
    2004): one addition of long integers a unit, instead of a table of all pairs.
    """
    places: dict[str, int] = {}
    for place, unit in enumerate(other):
        places[unit] = places.get(unit, 0) | 1 << place
    every = (1 << len(other)) - 1
    left = every
    for unit in one:
        met = left & places.get(unit, 0)
        left = (left + met | left - met) & every
    return len(other) - left.bit_count()


def stripped(word: str) -> str:
    """Return the word without punctuation at its ends, as a whole if it holds nothing else."""
    inner = [place for place, letter in enumerate(word) if not _punctuation(letter)]
    return word[inner[0] : inner[-1] + 1] if inner else word


def _counting(units: Sequence[str]) -> list[str]:
    """Return the units that hold more than punctuation, or all when none does."""
    return [unit for unit in units if not all(map(_punctuation, unit))] or list(units)


def _punctuation(letter: str) -> bool:
    return unicodedata.category(letter).startswith("P")

"""Spearman's correlation of gold and predicted ratings: whether they put rows in the same order.

Equal numbers share the mean of the ranks that they take up (average ranks), as in SciPy; the
figure is Pearson's correlation of those ranks. It is no sum over rows, because a row's rank hangs
on the others; but the order of the numbers is found once, and a resample only counts how often it
has each of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Rated
from mulgil.metrics.pearson import Pearson
from mulgil.objectives import Metric


class Spearman(Metric):
    """Spearman's rho, -1 to 1; 0 where either column is constant or there are fewer than 2 rows."""

    def compute(self, scored: Rated) -> dict[str, float]:
        return self.drawn(scored)(np.arange(len(scored)))

    def drawn(self, scored: Rated) -> Callable[[Array], dict[str, float]]:
        columns = scored.gold, scored.predicted
        gold, predicted = (np.unique(values, return_inverse=True)[1] for values in columns)

        def figures(rows: Array) -> dict[str, float]:
            ranks = Rated(_ranks(gold[rows]), _ranks(predicted[rows]))
            (rho,) = Pearson().compute(ranks).values()
            return {"spearman": rho}

        return figures


def _ranks(places: Array) -> Array:
    """Return the average rank of each row, counted from 1, of its place among the values."""
    counts = np.bincount(places)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks

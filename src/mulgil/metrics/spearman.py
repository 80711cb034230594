"""Spearman's correlation of gold and predicted ratings: whether they put rows in the same order.

Equal numbers share the mean of the ranks that they take up (average ranks), as in SciPy; the
figure is Pearson's correlation of those ranks. It is no sum over rows, because a row's rank hangs
on the others, so its interval ranks every resample anew: about 17 s for 50,000 rows on one core.
"""

from __future__ import annotations

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Rated
from mulgil.metrics.pearson import Pearson
from mulgil.objectives import Metric


class Spearman(Metric):
    """Spearman's rho, -1 to 1; 0 where either column is constant or there are fewer than 2 rows."""

    def compute(self, scored: Rated) -> dict[str, float]:
        (rho,) = Pearson().compute(Rated(_ranks(scored.gold), _ranks(scored.predicted))).values()
        return {"spearman": rho}


def _ranks(values: Array) -> Array:
    """Return the average rank of each value, counted from 1."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks

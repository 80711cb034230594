"""Pearson's correlation of gold and predicted ratings: whether one is a line of the other.

Sums of squares lose what is small beside what is large, so each column is first moved to its
median and divided by its largest distance from it; a correlation does not change by that. What is
left of a column's spread below 1e-12 of its squares is taken for rounding: it is constant.
"""

from __future__ import annotations

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Rated
from mulgil.objectives import RowMetric

ROUNDING = 1e-12


class Pearson(RowMetric):
    """Pearson's r, -1 to 1; 0 where either column is constant or there are fewer than 2 rows."""

    def rows(self, scored: Rated) -> Array:
        x, y = _scaled(scored.gold), _scaled(scored.predicted)
        return np.array([x, y, x * x, y * y, x * y]).T

    def figures(self, total: Array, count: int) -> dict[str, float]:
        if count < 2:
            return {"pearson": 0.0}
        x, y, xx, yy, xy = total
        spreads = xx - x * x / count, yy - y * y / count
        if spreads[0] <= ROUNDING * xx or spreads[1] <= ROUNDING * yy:
            return {"pearson": 0.0}
        r = (xy - x * y / count) / np.sqrt(spreads[0]) / np.sqrt(spreads[1])
        return {"pearson": float(np.clip(r, -1, 1))}


def _scaled(values: Array) -> Array:
    if not len(values):
        return values
    moved = values - np.median(values)
    largest = np.abs(moved).max()
    scaled: Array = moved / largest if largest else moved
    return scaled

"""Root of the mean squared error: how far ratings are off, in the unit of the ratings."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Rated
from mulgil.objectives import RowMetric


class Rmse(RowMetric):
    """sqrt(mean((gold - predicted)^2)); 0 where there are no rows."""

    higher_is_better: ClassVar[bool] = False

    def rows(self, scored: Rated) -> Array:
        squares: Array = np.square(scored.gold - scored.predicted)
        return squares[:, None]

    def figures(self, total: Array, count: int) -> dict[str, float]:
        return {"rmse": float(np.sqrt(total[0] / count)) if count else 0.0}

"""The share of what a language network was asked for that it had right: one sum for two metrics.

Chosen: a metric of this sort names its figure, and the sums are the same. It costs nothing.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Likelihood
from mulgil.objectives import RowMetric


class _Right(RowMetric):
    """What was right over all that was asked for; 0 where nothing was."""

    figure: ClassVar[str]

    def rows(self, scored: Likelihood) -> Array:
        return np.array([scored.correct, scored.tokens]).T

    def figures(self, total: Array, count: int) -> dict[str, float]:
        right, asked = total
        return {self.figure: float(right / asked) if asked else 0.0}

    def trials(self, total: Array, count: int) -> dict[str, float]:
        return {self.figure: count}  # rows: the tokens of one are right or wrong together

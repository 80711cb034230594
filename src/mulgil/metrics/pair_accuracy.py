"""Share of held-out pairs of words that outrank all ten drawn ones; 1/11 by chance."""

from __future__ import annotations

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Likelihood
from mulgil.objectives import RowMetric


class PairAccuracy(RowMetric):
    """Pairs that were told from all their negatives over all pairs; 0 where there are none."""

    def rows(self, scored: Likelihood) -> Array:
        return np.array([scored.correct, scored.tokens]).T

    def figures(self, total: Array, count: int) -> dict[str, float]:
        right, pairs = total
        return {"pair-accuracy": float(right / pairs) if pairs else 0.0}

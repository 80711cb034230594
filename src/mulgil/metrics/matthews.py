"""Matthews' correlation of gold and predicted labels, for any number of them (Gorodkin 2004).

With c rows right of s, p_k predicted and t_k gold rows of label k, it is
(c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)), as in scikit-learn. With several
labels a row, each label's yes or no counts as an answer, as in `ece`.
"""

from __future__ import annotations

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Scored
from mulgil.metrics._counts import labels_of
from mulgil.objectives import RowMetric


class Matthews(RowMetric):
    """Correlation, -1 to 1; 0 where all gold or all predicted labels are alike, or no rows."""

    def rows(self, scored: Scored) -> Array:
        if scored.gold.ndim == 1:
            return labels_of(scored)
        gold, predicted = (np.stack([~of, of], 1) for of in (scored.gold, scored.predicted))
        counts: Array = np.concatenate([gold & predicted, predicted, gold], 1).sum(2).astype(float)
        return counts  # [N, 6]

    def figures(self, total: Array, count: int) -> dict[str, float]:
        right, predicted, gold = total.reshape(3, -1)
        size = gold.sum()
        spreads = [size**2 - (of**2).sum() for of in (predicted, gold)]
        if not all(spreads):
            return {"matthews": 0.0}
        shared = right.sum() * size - (predicted * gold).sum()
        return {"matthews": float(shared / np.sqrt(spreads[0]) / np.sqrt(spreads[1]))}

"""Share of rows answered right, 0 where there are none; with several labels all must be right."""

from __future__ import annotations

from mulgil.flow import Array
from mulgil.judged import Scored
from mulgil.objectives import RowMetric


class Accuracy(RowMetric):
    """Exact match: single label as usual; multi-label counts a row only when the whole set fits."""

    def rows(self, scored: Scored) -> Array:
        right: Array = (scored.gold == scored.predicted).astype(float)
        return right.min(axis=1, keepdims=True, initial=1) if right.ndim == 2 else right[:, None]

    def figures(self, total: Array, count: int) -> dict[str, float]:
        return {"accuracy": float(total[0] / count) if count else 0.0}

    def trials(self, total: Array, count: int) -> dict[str, float]:
        return {"accuracy": count}

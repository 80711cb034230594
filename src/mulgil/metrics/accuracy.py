"""Share of rows answered right, 0 where there are none; with several labels all must be right."""

from __future__ import annotations

from mulgil.contracts import Metric
from mulgil.flow import Scored


class Accuracy(Metric):
    """Exact match: single label as usual; multi-label counts a row only when the whole set fits."""

    def compute(self, scored: Scored) -> dict[str, float]:
        right = scored.gold == scored.predicted
        if right.ndim == 2:
            right = right.all(axis=1)
        return {"accuracy": float(right.mean()) if len(right) else 0.0}

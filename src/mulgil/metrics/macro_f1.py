"""Mean of the labels' F1, every label alike: scikit-learn's macro average, zero_division=0.

A label that occurs neither in the gold nor in the predicted answers of these rows is left out
of the mean, as scikit-learn leaves it out when it is not given the list of labels (and, with
several labels a row, when zero_division is NaN).
"""

from __future__ import annotations

from mulgil.flow import Array
from mulgil.judged import Scored
from mulgil.metrics._counts import f1, labels_of
from mulgil.objectives import RowMetric


class MacroF1(RowMetric):
    """Macro-averaged F1."""

    def rows(self, scored: Scored) -> Array:
        return labels_of(scored)

    def figures(self, total: Array, count: int) -> dict[str, float]:
        right, predicted, gold = total.reshape(3, -1)
        seen = (predicted + gold) > 0
        mean = f1(right, predicted, gold)[seen].mean() if seen.any() else 0.0
        return {"macro-f1": float(mean)}

"""Mean of the labels' F1, every label alike: scikit-learn's macro average, zero_division=0.

A label that occurs neither in the gold nor in the predicted answers of these rows is left out
of the mean, as scikit-learn leaves it out when it is not given the list of labels (and, with
several labels a row, when zero_division is NaN).
"""

from __future__ import annotations

from mulgil.contracts import Metric
from mulgil.flow import Scored
from mulgil.metrics._counts import f1, per_label


class MacroF1(Metric):
    """Macro-averaged F1."""

    def compute(self, scored: Scored) -> dict[str, float]:
        right, predicted, gold = per_label(scored)
        seen = (predicted + gold) > 0
        if not seen.any():
            return {"macro-f1": 0.0}
        return {"macro-f1": float(f1(right, predicted, gold)[seen].mean())}

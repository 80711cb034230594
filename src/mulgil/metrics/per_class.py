"""Precision, recall, F1 and number of rows of each label; 0 where a share has no rows to count."""

from __future__ import annotations

from mulgil.contracts import Metric
from mulgil.flow import Scored
from mulgil.metrics._counts import f1, per_label, ratio


class PerClass(Metric):
    """`precision:LABEL`, `recall:LABEL`, `f1:LABEL`, `support:LABEL` (gold rows)."""

    single = False

    def compute(self, scored: Scored) -> dict[str, float]:
        right, predicted, gold = per_label(scored)
        columns = {
            "precision": ratio(right, predicted),
            "recall": ratio(right, gold),
            "f1": f1(right, predicted, gold),
            "support": gold,
        }
        return {
            f"{what}:{label}": float(values[i])
            for i, label in enumerate(scored.labels)
            for what, values in columns.items()
        }

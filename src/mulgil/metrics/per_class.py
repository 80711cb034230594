"""Precision, recall, F1 and number of rows of each label; 0 where a share has no rows to count."""

from __future__ import annotations

from mulgil.flow import Array
from mulgil.judged import Scored
from mulgil.metrics._counts import Table, labels_of


class PerClass(Table):
    """`precision:LABEL`, `recall:LABEL`, `f1:LABEL`, `support:LABEL` (gold rows)."""

    def rows(self, scored: Scored) -> Array:
        self.labels = scored.labels
        return labels_of(scored)

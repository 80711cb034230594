"""Precision, recall, F1 and number of the entities of each kind; 0 where there are none to count.

An entity is right when its first character, its last and its kind are, as in `entity-f1`.
"""

from __future__ import annotations

from mulgil.flow import Array
from mulgil.judged import Tagged
from mulgil.metrics._counts import Table, entities_of


class PerEntity(Table):
    """`precision:KIND`, `recall:KIND`, `f1:KIND`, `support:KIND` (gold entities)."""

    def rows(self, scored: Tagged) -> Array:
        self.labels = scored.labels
        return entities_of(scored)

"""F1 of entities that are right from first to last character and in kind (CoNLL, seqeval).

Micro: 2 right / (predicted + gold), whatever the kind. Macro: mean of the kinds' F1, a kind that
is neither in the gold nor in the predicted entities left out, as seqeval leaves it out. A share
with nothing to count is 0 as in seqeval, but where there is no entity to find and none was found
every figure is 1: nothing was missed (seqeval says 0). Without rows it is 0. How illegal tags were
read into entities is decided where tags are read, not here.
"""

from __future__ import annotations

from mulgil.flow import Array
from mulgil.judged import Tagged
from mulgil.metrics._counts import entities_of, f1
from mulgil.objectives import RowMetric


class EntityF1(RowMetric):
    """`entity-f1` (micro), `entity-precision`, `entity-recall`, `entity-macro-f1`."""

    def rows(self, scored: Tagged) -> Array:
        return entities_of(scored)

    def figures(self, total: Array, count: int) -> dict[str, float]:
        kinds = total.reshape(3, -1)
        right, predicted, gold = kinds.sum(1)
        seen = kinds.sum(0) > 0
        none = float(count > 0)
        return {
            "entity-f1": float(2 * right / (predicted + gold)) if predicted + gold else none,
            "entity-precision": _share(right, predicted, none if not gold else 0.0),
            "entity-recall": _share(right, gold, none if not predicted else 0.0),
            "entity-macro-f1": float(f1(*kinds)[seen].mean()) if seen.any() else none,
        }


def _share(part: float, whole: float, empty: float) -> float:
    return float(part / whole) if whole else empty

"""Area under the ROC curve: how often a row of a label is ranked above one that has not got it.

AUC = (R - P (P + 1) / 2) / (P N), R the sum of the ranks of the P rows of a label among all rows by
its probability, N the other rows; equal probabilities share their ranks (Mann-Whitney), as in
scikit-learn. Two labels have one figure, since that of the other is the same; of more labels, and
of several a row, each is compared with the rest and the mean taken over those that occur in some
rows and not in all. It is no sum over rows; but the order of the probabilities is found once a
label, and a resample only counts how often it has each of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Scored
from mulgil.objectives import Metric


class Auc(Metric):
    """Area under the curve, 0 to 1; 0.5 (chance) where no label tells rows apart."""

    def compute(self, scored: Scored) -> dict[str, float]:
        return self.drawn(scored)(np.arange(len(scored)))

    def drawn(self, scored: Scored) -> Callable[[Array], dict[str, float]]:
        shares = np.asarray(scored.probabilities, np.float64)
        count = len(scored.labels)
        single = scored.gold.ndim == 1
        asked = range(1, 2) if single and count == 2 else range(count)
        ranked = [
            (
                np.unique(shares[:, label], return_inverse=True)[1].astype(np.int32),
                (scored.gold == label if single else scored.gold[:, label]).astype(bool),
            )
            for label in asked
        ]

        def figures(rows: Array) -> dict[str, float]:
            found = [_area(places[rows], has[rows]) for places, has in ranked]
            known = [area for area in found if area is not None]
            return {"auc": float(np.mean(known)) if known else 0.5}

        return figures


def _area(places: Array, has: Array) -> float | None:
    """Return the area of one label; None where all rows have it, or none.

    Args:
        places: int [N], of each row's probability among the different ones, from the lowest.
        has: bool [N], whether it is the row's label.
    """
    with_it = int(has.sum())
    without = len(has) - with_it
    if not with_it or not without:
        return None
    inside = np.bincount(places[has], minlength=int(places.max()) + 1)
    equal = np.bincount(places)
    middle = np.cumsum(equal) - (equal - 1) / 2  # the rank that equals share
    ranks = float((inside * middle).sum())
    return (ranks - with_it * (with_it + 1) / 2) / (with_it * without)

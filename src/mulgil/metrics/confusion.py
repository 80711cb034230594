"""How often each gold label got each answer (rows); with several labels a row, yes and no.

The cells are counts and have no intervals: a thousand resamples of a table of 200 labels would be
40 million figures that nobody reads.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mulgil.judged import Scored
from mulgil.objectives import Metric


class Confusion(Metric):
    """`GOLD→PREDICTED` counts; multi-label: `LABEL:yes→no` and so on for each label."""

    single = False
    intervals: ClassVar[bool] = False

    def compute(self, scored: Scored) -> dict[str, float]:
        n = len(scored.labels)
        if scored.gold.ndim == 2:
            return {
                f"{label}:{'yes' if g else 'no'}→{'yes' if p else 'no'}": float(
                    ((scored.gold[:, i] == g) & (scored.predicted[:, i] == p)).sum()
                )
                for i, label in enumerate(scored.labels)
                for g in (True, False)
                for p in (True, False)
            }
        cells = np.bincount(scored.gold * n + scored.predicted, minlength=n * n).reshape(n, n)
        return {
            f"{gold}→{predicted}": float(cells[i, j])
            for i, gold in enumerate(scored.labels)
            for j, predicted in enumerate(scored.labels)
        }

"""How often each gold label got each answer (rows); with several labels a row, yes and no."""

from __future__ import annotations

import numpy as np

from mulgil.judged import Scored
from mulgil.objectives import Metric


class Confusion(Metric):
    """`GOLD→PREDICTED` counts; multi-label: `LABEL:yes→no` and so on for each label."""

    single = False

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

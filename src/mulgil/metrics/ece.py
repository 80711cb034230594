"""Expected calibration error: how far confidence is from the share that is right, 15 equal bins.

ECE = sum over bins of (rows in bin / rows) * |accuracy of the bin - mean confidence of the bin|
(Guo et al. 2017, "On Calibration of Modern Neural Networks"). Confidence is the probability of the
answer given; with several labels a row, each label's yes or no counts as an answer.
"""

from __future__ import annotations

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Scored
from mulgil.objectives import RowMetric

BINS = 15


class Ece(RowMetric):
    """Expected calibration error, 0 (honest) to 1."""

    higher_is_better = False

    def rows(self, scored: Scored) -> Array:
        confidence, right = answers(scored)
        bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        each = len(bins) // max(len(scored), 1)
        gaps = np.zeros((len(scored), BINS + 1))
        np.add.at(gaps, (np.repeat(np.arange(len(scored)), each), bins), right - confidence)
        gaps[:, BINS] = each
        return gaps

    def figures(self, total: Array, count: int) -> dict[str, float]:
        size = total[BINS]
        return {"ece": float(np.abs(total[:BINS]).sum() / size) if size else 0.0}


def answers(scored: Scored) -> tuple[Array, Array]:
    """Return (confidence, right) of each answer, both float64 and flat."""
    if scored.gold.ndim == 2:
        yes = scored.predicted
        confidence = np.where(yes, scored.probabilities, 1 - scored.probabilities)
        return confidence.ravel(), (yes == scored.gold).ravel().astype(float)
    confidence = np.take_along_axis(scored.probabilities, scored.predicted[:, None], axis=1)[:, 0]
    return confidence, (scored.gold == scored.predicted).astype(float)

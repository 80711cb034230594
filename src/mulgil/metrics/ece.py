"""Expected calibration error: how far confidence is from the share that is right, 15 equal bins.

ECE = sum over bins of (rows in bin / rows) * |accuracy of the bin - mean confidence of the bin|
(Guo et al. 2017, "On Calibration of Modern Neural Networks"). Confidence is the probability of the
answer given; with several labels a row, each label's yes or no counts as an answer.
"""

from __future__ import annotations

import numpy as np

from mulgil.contracts import Metric
from mulgil.flow import Array, Scored

BINS = 15


class Ece(Metric):
    """Expected calibration error, 0 (honest) to 1."""

    higher_is_better = False

    def compute(self, scored: Scored) -> dict[str, float]:
        confidence, right = answers(scored)
        if len(right) == 0:
            return {"ece": 0.0}
        bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
        return {"ece": float(np.abs(gaps).sum() / len(right))}


def answers(scored: Scored) -> tuple[Array, Array]:
    """Return (confidence, right) of each answer, both float64 and flat."""
    if scored.gold.ndim == 2:
        yes = scored.predicted
        confidence = np.where(yes, scored.probabilities, 1 - scored.probabilities)
        return confidence.ravel(), (yes == scored.gold).ravel().astype(float)
    confidence = np.take_along_axis(scored.probabilities, scored.predicted[:, None], axis=1)[:, 0]
    return confidence, (scored.gold == scored.predicted).astype(float)

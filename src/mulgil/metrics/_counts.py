"""Counts that several metrics share: right, predicted and gold rows of each label."""

from __future__ import annotations

import numpy as np

from mulgil.flow import Array, Scored


def per_label(scored: Scored) -> tuple[Array, Array, Array]:
    """Return (true positives, predicted, gold), each float64 [labels]."""
    n = len(scored.labels)
    if scored.gold.ndim == 2:
        both = scored.gold & scored.predicted
        return both.sum(0).astype(float), scored.predicted.sum(0), scored.gold.sum(0)
    right = scored.gold[scored.gold == scored.predicted]
    return (
        np.bincount(right, minlength=n).astype(float),
        np.bincount(scored.predicted, minlength=n),
        np.bincount(scored.gold, minlength=n),
    )


def f1(right: Array, predicted: Array, gold: Array) -> Array:
    """Return F1 of each label: 2 tp / (predicted + gold), 0 where a label never occurs at all."""
    return ratio(2 * right, predicted + gold)


def ratio(part: Array, whole: Array) -> Array:
    """Return part / whole, 0 where the whole is 0."""
    share: Array = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return share

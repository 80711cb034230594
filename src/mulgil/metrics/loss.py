"""Nats a token that was asked for: the cross-entropy that a language model is trained on."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Likelihood
from mulgil.objectives import RowMetric


class Loss(RowMetric):
    """Mean of -ln p over all tokens; 0 where nothing is asked."""

    higher_is_better: ClassVar[bool] = False

    def rows(self, scored: Likelihood) -> Array:
        return np.array([scored.nats, scored.tokens]).T

    def figures(self, total: Array, count: int) -> dict[str, float]:
        nats, tokens = total
        return {"loss": float(nats / tokens) if tokens else 0.0}

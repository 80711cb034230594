"""Share of the tokens asked for that were the model's first guess (masked or next token)."""

from __future__ import annotations

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Likelihood
from mulgil.objectives import RowMetric


class TokenAccuracy(RowMetric):
    """Right first guesses over all tokens asked for; 0 where there are none."""

    def rows(self, scored: Likelihood) -> Array:
        return np.array([scored.correct, scored.tokens]).T

    def figures(self, total: Array, count: int) -> dict[str, float]:
        correct, tokens = total
        return {"token-accuracy": float(correct / tokens) if tokens else 0.0}

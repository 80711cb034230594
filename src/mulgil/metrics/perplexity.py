"""How many tokens a language model wavers between: e to the nats a token."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Likelihood
from mulgil.objectives import RowMetric


class Perplexity(RowMetric):
    """exp(mean of -ln p); comparable between models with the same tokenizer only."""

    higher_is_better: ClassVar[bool] = False

    def rows(self, scored: Likelihood) -> Array:
        return np.array([scored.nats, scored.tokens]).T

    def figures(self, total: Array, count: int) -> dict[str, float]:
        nats, tokens = total
        return {"perplexity": float(np.exp(nats / tokens)) if tokens else 1.0}

"""How many tokens a language model wavers between: e to the nats a token."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mulgil.contracts import Metric
from mulgil.flow import Likelihood


class Perplexity(Metric):
    """exp(mean of -ln p); comparable between models with the same tokenizer only."""

    higher_is_better: ClassVar[bool] = False

    def compute(self, scored: Likelihood) -> dict[str, float]:
        tokens = scored.tokens.sum()
        return {"perplexity": float(np.exp(scored.nats.sum() / tokens)) if tokens else 1.0}

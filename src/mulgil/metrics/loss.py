"""Nats a token that was asked for: the cross-entropy that a language model is trained on."""

from __future__ import annotations

from typing import ClassVar

from mulgil.contracts import Metric
from mulgil.flow import Likelihood


class Loss(Metric):
    """Mean of -ln p over all tokens; 0 where nothing is asked."""

    higher_is_better: ClassVar[bool] = False

    def compute(self, scored: Likelihood) -> dict[str, float]:
        tokens = scored.tokens.sum()
        return {"loss": float(scored.nats.sum() / tokens) if tokens else 0.0}

"""Share of the tokens asked for that were the model's first guess (masked or next token)."""

from __future__ import annotations

from mulgil.contracts import Metric
from mulgil.flow import Likelihood


class TokenAccuracy(Metric):
    """Right first guesses over all tokens asked for; 0 where there are none."""

    def compute(self, scored: Likelihood) -> dict[str, float]:
        tokens = scored.tokens.sum()
        return {"token-accuracy": float(scored.correct.sum() / tokens) if tokens else 0.0}

"""Share of the tokens asked for that were the model's first guess (masked or next token)."""

from __future__ import annotations

from typing import ClassVar

from mulgil.metrics._right import _Right


class TokenAccuracy(_Right):
    """Right first guesses over all tokens asked for; 0 where there are none."""

    figure: ClassVar[str] = "token-accuracy"

"""Share of held-out pairs of words that outrank all ten drawn ones; 1/11 by chance."""

from __future__ import annotations

from typing import ClassVar

from mulgil.metrics._right import _Right


class PairAccuracy(_Right):
    """Pairs that were told from all their negatives over all pairs; 0 where there are none."""

    figure: ClassVar[str] = "pair-accuracy"

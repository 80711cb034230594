"""Bits that a language model needs for a byte of UTF-8: comparable between tokenizers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mulgil.contracts import Metric
from mulgil.flow import Likelihood


class BitsPerByte(Metric):
    """Sum of -log2 p over the bytes that the tokens asked for stand for; 0 where there are none."""

    higher_is_better: ClassVar[bool] = False

    def compute(self, scored: Likelihood) -> dict[str, float]:
        size = scored.bytes.sum()
        return {"bits-per-byte": float(scored.nats.sum() / np.log(2) / size) if size else 0.0}

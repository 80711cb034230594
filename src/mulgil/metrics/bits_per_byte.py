"""Bits that a language model needs for a byte of UTF-8: comparable between tokenizers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Likelihood
from mulgil.objectives import RowMetric


class BitsPerByte(RowMetric):
    """Sum of -log2 p over the bytes that the tokens asked for stand for; 0 where there are none."""

    higher_is_better: ClassVar[bool] = False

    def rows(self, scored: Likelihood) -> Array:
        return np.array([scored.nats, scored.bytes]).T

    def figures(self, total: Array, count: int) -> dict[str, float]:
        nats, size = total
        return {"bits-per-byte": float(nats / np.log(2) / size) if size else 0.0}

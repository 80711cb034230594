"""What all encoded rows have in common; each kind adds what `take` gives.

Chosen: a base class behind the protocol `Encoded`, so that a kind of rows says only where it
differs. It costs one more file to look into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mulgil.flow import Array


class Rows:
    """Rows that are whole texts, whose batches cost as much as their longest row.

    Args:
        lengths: of each row, in the tokenizer's unit.
        truncated: rows that were cut.
        unknown: share of unknown tokens.
    """

    width: Literal["longest", "sum", "none"] = "longest"
    owners: Array | None = None

    def __init__(
        self, lengths: Sequence[int] | Array, truncated: int = 0, unknown: float = 0.0
    ) -> None:
        self.lengths: Array = np.asarray(lengths, np.int64)
        self.truncated = truncated
        self.unknown = unknown
        self.texts = len(lengths)

    def arrays(self) -> dict[str, Array] | None:
        return None

    def __len__(self) -> int:
        return len(self.lengths)

"""Questions of prompts: parts that stand behind what all prompts share, kept as lists of tokens.

Chosen: no padding and no array, since what shares a prompt is put together by whoever asks. It
costs a list a row, which only matters where a model reads many millions of rows, and none does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mulgil.flow import Array, Segment


class AskedRows:
    """Questions; `take` gives a list of segments.

    Args:
        segments: token ids, or texts.
        truncated: rows whose text was cut.
        unknown: share of unknown tokens.
    """

    width: Literal["longest", "sum", "none"] = "longest"
    owners: Array | None = None

    def __init__(self, segments: Sequence[Segment], truncated: int, unknown: float) -> None:
        self.segments = segments
        self.truncated = truncated
        self.unknown = unknown
        self.texts = len(segments)
        self.lengths: Array = np.array([len(segment) for segment in segments], np.int64)

    def take(self, rows: Array, multiple: int) -> list[Segment]:
        return [self.segments[row] for row in rows.tolist()]

    def arrays(self) -> None:
        return None

    def __len__(self) -> int:
        return self.texts

"""Questions of prompts: parts that stand behind what all prompts share, kept as lists of tokens.

Chosen: no padding and no array, since what shares a prompt is put together by whoever asks. It
costs a list a row, which only matters where a model reads many millions of rows, and none does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mulgil.flow import Array, Segment
from mulgil.tokenizers._rows import Rows


class Question(list[int]):
    """A question's tokens, which also know the two texts that they are to a model of pairs.

    Put together with an example it is a list as any other, since it is no pair any more.

    Args:
        ids: of the whole question.
        kept: how many of them are the user's text in its place.
        line: ids of what stands between that and the last line break, and ids of the line behind
            it, by itself; None where nothing behind the text breaks the line.
    """

    __slots__ = ("_kept", "_line")

    def __init__(
        self, ids: Iterable[int], kept: int, line: tuple[list[int], list[int]] | None
    ) -> None:
        super().__init__(ids)
        self._kept = kept
        self._line = line

    @property
    def pair(self) -> tuple[list[int], list[int]] | None:
        """Return ids of what stands before the last line, and of that line; None without one."""
        if self._line is None:
            return None
        between, last = self._line
        return [*self[: self._kept], *between], last


class AskedRows(Rows):
    """Questions; `take` gives a list of segments.

    Args:
        segments: token ids, or texts.
        truncated: rows whose text was cut.
        unknown: share of unknown tokens.
    """

    def __init__(self, segments: Sequence[Segment], truncated: int, unknown: float) -> None:
        super().__init__([*map(len, segments)], truncated, unknown)
        self.segments = segments

    def take(self, rows: Array, multiple: int) -> list[Segment]:
        return [self.segments[row] for row in rows.tolist()]

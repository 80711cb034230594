"""Rows of token ids as a network reads them: sentences, or windows of longer texts.

Chosen: one flat array and the place where each row begins, so that rows can be taken in any order
and a corpus that is larger than memory can stay on the disk (`numpy.memmap`); windows keep the
number of the text that they were cut from and the bytes that they stand for. It costs 16 bytes a
row beside its tokens, 20 more for a window.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np

from mulgil.flow import Array
from mulgil.tokenizers._rows import Rows


@dataclasses.dataclass(frozen=True, slots=True)
class TokenInputs:
    """What a network reads.

    Attributes:
        ids: int64 [B, L], padded at the end.
        lengths: int64 [B].
        bytes: float64 [B], length of the windows' text in UTF-8; None for sentences.
        first: bool [B], whether the window begins its text; None for sentences.
        kinds: int64 [B, L], to which of two texts a token belongs; None where there is but one.
    """

    ids: Array
    lengths: Array
    bytes: Array | None = None
    first: Array | None = None
    kinds: Array | None = None


class Ragged(Rows):
    """Rows of token ids, one after the other in one array.

    Args:
        flat: int32 [tokens].
        starts: int64 [rows + 1], where each row begins in `flat`.
        pad: id that fills a batch up.
        truncated: rows that were cut.
        unknown: share of unknown tokens.
        kinds: int8 [tokens], to which of two texts each belongs; None where there is but one.
        most: longest row that there may be, to which no batch is rounded up beyond; None knows no
            limit.
    """

    def __init__(
        self,
        flat: Array,
        starts: Array,
        pad: int,
        truncated: int,
        unknown: float,
        kinds: Array | None = None,
        most: int | None = None,
    ) -> None:
        super().__init__(np.diff(starts), truncated, unknown)
        self.flat = flat
        self.starts = starts
        self.pad = pad
        self.kinds = kinds
        self.most = most

    def take(self, rows: Array, multiple: int) -> TokenInputs:
        ids, lengths, kinds = self._padded(rows, multiple)
        return TokenInputs(ids, lengths, kinds=kinds)

    def _padded(self, rows: Array, multiple: int) -> tuple[Array, Array, Array | None]:
        """Return ids, lengths and kinds of these rows."""
        lengths = self.lengths[rows]  # [B]
        width = -(-int(lengths.max(initial=1)) // multiple) * multiple
        width = min(width, self.most or width)  # a model may have no position behind its longest
        filled = np.arange(width) < lengths[:, None]  # [B, L]
        begin = np.repeat(self.starts[rows] - np.cumsum(lengths) + lengths, lengths)
        places = begin + np.arange(len(begin))
        ids = np.full(filled.shape, self.pad, np.int64)
        ids[filled] = self.flat[places]
        if self.kinds is None:
            return ids, lengths, None
        kinds = np.zeros(filled.shape, np.int64)
        kinds[filled] = self.kinds[places]
        return ids, lengths, kinds

    def arrays(self) -> dict[str, Array] | None:
        counts = np.array([self.truncated, self.unknown], np.float64)
        kinds = {} if self.kinds is None else {"kinds": self.kinds}
        return {"flat": self.flat, "starts": self.starts, "counts": counts, **kinds}


class Windows(Ragged):
    """Windows of whole texts, which a network packs into one batch.

    Args:
        arrays: `tokens` int32 [tokens], `lengths` int32 [windows], `owners` int64 [windows],
            `bytes` int32 [windows]; and for each chunk `lost`, its unknown tokens, and `texts`,
            how many texts it had.
        pad: id that fills a batch up.
        most: as in `Ragged`.
    """

    width: Literal["longest", "sum", "none"] = "sum"

    def __init__(self, arrays: Mapping[str, Array], pad: int, most: int | None = None) -> None:
        lengths = np.asarray(arrays["lengths"], np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        tokens = arrays["tokens"]
        unknown = float(arrays["lost"].sum()) / max(len(tokens), 1)
        super().__init__(tokens, starts, pad, 0, unknown, most=most)
        self.owners = arrays["owners"]
        self.bytes = arrays["bytes"]
        self.texts = int(arrays["texts"].sum())

    def take(self, rows: Array, multiple: int) -> TokenInputs:
        assert self.owners is not None
        first = (rows == 0) | (self.owners[rows] != self.owners[rows - 1])
        ids, lengths, _ = self._padded(rows, multiple)
        return TokenInputs(ids, lengths, self.bytes[rows].astype(float), first)

    def arrays(self) -> None:
        return None

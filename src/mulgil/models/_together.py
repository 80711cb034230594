"""Rows of tokens that are read together: of like length, and as many as memory holds.

Chosen: the shortest first, so that little is padding. It costs that rows come out of their order:
each batch brings its rows' numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mulgil.flow import Array

TOKENS = 1 << 14
"""Tokens of a batch, padding included."""


def batches(
    rows: Sequence[Sequence[int]], most: int, more: int = 0, copies: int = 1, alike: bool = False
) -> Iterator[list[int]]:
    """Yield the numbers of rows that are read together, the shortest first.

    Args:
        rows: token ids.
        most: rows of a batch at most; less than one counts as one.
        more: tokens that a row takes beside its own.
        copies: how often each row is held.
        alike: only rows of one length together.
    """
    taken: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        held = (len(taken) + 1) * copies * (len(rows[i]) + more)
        full = len(taken) >= most or held > TOKENS
        if taken and (full or (alike and len(rows[i]) != len(rows[taken[0]]))):
            yield taken
            taken = []
        taken.append(i)
    if taken:
        yield taken


def padded(rows: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Return rows as ids int64 [B, L], padded at the end, and their lengths int64 [B]."""
    lengths = np.array([len(row) for row in rows])
    ids = np.zeros((len(rows), lengths.max()), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return ids, lengths

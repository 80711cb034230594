"""Rows of a batch laid out in equal blocks, and dropout masks from a pool.

Chosen: whole rows are packed first-fit into blocks of a multiple of 32 tokens, so the packed
tensor seen as blocks is the input of attention without a copy. On NSMC 6% of the slots are empty
in random batches of 32, 12% in batches sorted by length. Multiples of 32 because torch's bfloat16
softmax takes two to eight times as long per element at other widths, and because every new shape
costs oneDNN a kernel (19 block shapes in 200 random batches). It costs attention scores between
rows of one block, which are masked.

Drawing every mask took 16% of the bare loop. A pool of 4 million mask values, redrawn every 32
forward passes and cut at a fresh place for each use, is a function of (seed, pass) alone: a
resumed run needs no generator state. It costs independence: passes share bits, displaced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_POOL = 1 << 22
_REFRESH = 32
_CHUNK = 1 << 20
_U64 = (1 << 64) - 1


@dataclass(frozen=True)
class Packing:
    """Where the tokens of a batch lie in the packed [T, H] layout; T = blocks x block."""

    index: Tensor  # [T] place in the flattened [B*L] batch; padding slots point at 0
    positions: Tensor  # [T] row of the position table
    slots: Tensor  # [tokens] places in [0, T) that hold real tokens, in batch order
    source: Tensor  # [tokens] place of each real token in the flattened [B*L] batch
    rows: Tensor  # [tokens] batch row of each real token
    first: Tensor  # [B] place in [0, T) of the first token of each row
    counts: Tensor  # [B] tokens in each row
    bias: Tensor  # [blocks, 1, block, block] zero within a row, very negative across rows
    shape: tuple[int, int]  # (B, L)

    def padded(self, hidden: Tensor) -> Tensor:
        """[T, H] to [B, L, H], zeros at padding."""
        size = self.shape[0] * self.shape[1]
        flat = hidden.new_zeros(size, hidden.shape[1])  # [B*L, H]
        flat = flat.index_copy(0, self.source, hidden.index_select(0, self.slots))
        return flat.view(*self.shape, hidden.shape[1])

    def mean(self, hidden: Tensor) -> Tensor:
        """[T, H] to [B, H]: the mean over the tokens of each row."""
        weights = hidden.new_zeros(self.shape[0], hidden.shape[0])  # [B, T]
        weights[self.rows, self.slots] = (1.0 / self.counts[self.rows]).to(hidden.dtype)
        return weights @ hidden

    def leading(self, hidden: Tensor) -> Tensor:
        """[T, H] to [B, H]: the first token of each row."""
        return hidden.index_select(0, self.first)


def pack(mask: Tensor, positions: Tensor | None, weight: float, dtype: torch.dtype) -> Packing:
    """Lay the rows of a [B, L] mask out in equal blocks; no row straddles two blocks.

    `weight` is the cost of one block column relative to one token of all other work.
    """
    device = mask.device
    present = mask.cpu().numpy() != 0  # [B, L]
    counts = present.sum(1)
    order = np.argsort(-counts, kind="stable").tolist()
    lengths = counts.tolist()
    longest = max(1, max(lengths, default=1))
    start = 32 * math.ceil(longest / 32)
    best = min(
        ((_fit(order, lengths, block), block) for block in range(start, max(start, 192) + 1, 32)),
        key=lambda pair: len(pair[0]) * pair[1] * (1.0 + weight * pair[1]),
    )
    blocks, block = best
    segment = np.full(len(blocks) * block, -1, dtype=np.int64)
    first = np.zeros(len(lengths), dtype=np.int64)
    offsets = np.zeros(len(lengths), dtype=np.int64)
    for number, members in enumerate(blocks):
        at = number * block
        for row in members:
            offsets[row] = first[row] = at
            segment[at : at + lengths[row]] = row
            at += lengths[row]
    place = offsets[:, None] + np.cumsum(present, 1) - 1  # [B, L]
    rows, columns = np.nonzero(present)
    slots = place[rows, columns]
    source = rows * present.shape[1] + columns
    index = np.zeros(len(segment), dtype=np.int64)
    index[slots] = source
    where = np.zeros(len(segment), dtype=np.int64)
    where[slots] = columns if positions is None else positions.cpu().numpy()[rows, columns]
    grid = torch.from_numpy(segment.reshape(len(blocks), block))
    same = grid[:, :, None] == grid[:, None, :]
    floor = torch.finfo(dtype).min / 2
    bias = torch.zeros(same.shape, dtype=dtype).masked_fill_(~same, floor)

    def there(array: Any) -> Tensor:
        return torch.from_numpy(array.astype(np.int64, copy=False)).to(device)

    return Packing(
        index=there(index),
        positions=there(where),
        slots=there(slots),
        source=there(source),
        rows=there(rows),
        first=there(first),
        counts=there(counts),
        bias=bias.unsqueeze(1).to(device),
        shape=(mask.shape[0], mask.shape[1]),
    )


def _fit(order: Sequence[int], lengths: Sequence[int], block: int) -> list[list[int]]:
    """First-fit decreasing: rows into blocks of `block` tokens."""
    bins: list[list[int]] = []
    room: list[int] = []
    for row in order:
        need = lengths[row]
        for number, free in enumerate(room):
            if need <= free:
                bins[number].append(row)
                room[number] -= need
                break
        else:
            bins.append([row])
            room.append(block - need)
    return bins


class MaskPool:
    """Dropout masks cut from a pool of drawn bits; a function of (seed, step) alone."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.seek(0)
        self._pools: dict[tuple[Any, ...], tuple[int, Tensor]] = {}

    def seek(self, step: int) -> None:
        """Start the stream of forward pass `step`; call it before every one."""
        self._step, self._drawn = step, 0

    def take(self, shape: Sequence[int], rate: float, like: Tensor) -> Tensor | None:
        """A mask of 0 and 1/(1-rate) in the dtype of `like`, or None at rate 0."""
        if rate <= 0.0:
            return None
        size = math.prod(shape)
        capacity = _POOL
        while capacity < 2 * size:
            capacity *= 2
        pool = self._pool(capacity, rate, like)
        self._drawn += 1
        span = (capacity - size) // 32
        offset = 32 * (_mix(self.seed, self._step, self._drawn) % span)
        return pool[offset : offset + size].view(*shape)

    def _pool(self, capacity: int, rate: float, like: Tensor) -> Tensor:
        era = self._step // _REFRESH
        key = (rate, like.dtype, like.device, capacity)
        held = self._pools.get(key)
        if held is not None and held[0] == era:
            return held[1]
        scale = float(torch.tensor(1.0 / (1.0 - rate), dtype=like.dtype))
        limit = round(65536 / scale) - 32768
        pool = torch.empty(capacity, dtype=like.dtype)
        bits = torch.empty(_CHUNK // 4, dtype=torch.int64)
        generator = torch.Generator()
        for number in range(capacity // _CHUNK):
            part = pool[number * _CHUNK : (number + 1) * _CHUNK]
            generator.manual_seed(_mix(self.seed ^ 0x5EED, era, number) >> 1)
            bits.random_(-(1 << 63), None, generator=generator)
            torch.mul(bits.view(torch.int16) < limit, scale, out=part)
        self._pools[key] = (era, pool.to(like.device))
        return self._pools[key][1]


def _mix(*values: int) -> int:
    """splitmix64 over a few integers."""
    state = 0
    for value in values:
        state = (state + value + 0x9E3779B97F4A7C15) & _U64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _U64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _U64
        state ^= state >> 31
    return state

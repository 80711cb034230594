"""An LSTM over rows of unlike length, in one direction, with its backward pass written out.

Chosen: rows are laid out step after step, the longest first, so that a step works on the rows that
are still going on and no padding is read; a row's states cannot depend on its neighbours. The
gates and cells are float32 whatever the precision, only products are bfloat16. All gradients of
weights are one product each over the whole batch, where torch adds a small one a step. Steps have
a multiple of 16 rows, because every new shape costs a kernel build. It costs a function of our own,
and one number for each gate, cell and step in memory until the backward pass.

Measured on one core with AMX, 4,094 tokens in 195 rows, 512 cells projected to 128, forward and
backward pass: torch's own LSTM on packed rows 1.0 s in float32 and 9 s in bfloat16; this 0.25 s
and 0.14 s.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_ROWS = 16
"""A step's rows are rounded up to a multiple of this; what fills it up has no gradient."""


@dataclass(frozen=True)
class Steps:
    """Where the tokens of a batch lie in the layout by steps, which has S slots.

    Attributes:
        sizes: rows of each step, never more than in the step before.
        index: int64 [S], the token that each slot reads, in the order in which it is read; slots
            that fill a step up read token 0.
        slots: int64 [T], the slot of each token.
    """

    sizes: list[int]
    index: Tensor
    slots: Tensor


def steps(lengths: Tensor) -> tuple[Steps, Steps]:
    """Return the layout of rows that are read from the left, and from the right.

    Args:
        lengths: int64 [B], tokens of each row; the batch's T tokens are counted row after row.
    """
    counts = lengths.cpu().numpy()
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    going = (counts[None] > np.arange(counts.max(initial=0))[:, None]).sum(1)  # [steps]
    sizes = -(-going // _ROWS) * _ROWS
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rows = np.repeat(np.arange(len(counts)), counts)  # [T]
    places = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
    return tuple(  # type: ignore[return-value]
        _steps(sizes.tolist(), starts[at] + rank[rows], int(starts[-1]), lengths.device)
        for at in (places, counts[rows] - 1 - places)
    )


def _steps(sizes: list[int], slots: Any, size: int, device: torch.device) -> Steps:
    index = np.zeros(size, np.int64)
    index[slots] = np.arange(len(slots))
    return Steps(sizes, torch.from_numpy(index).to(device), torch.from_numpy(slots).to(device))


class Lstm(nn.Module):
    """One layer in one direction, as torch's own `LSTM(proj_size=...)` with one bias.

    Args:
        width: numbers that it reads of a token.
        cells: numbers that it remembers.
        projection: width of its states; None leaves them as wide as the cells.
    """

    def __init__(self, width: int, cells: int, projection: int | None = None) -> None:
        super().__init__()
        states = projection or cells
        self.read = nn.Parameter(torch.empty(4 * cells, width))
        self.recall = nn.Parameter(torch.empty(4 * cells, states))
        self.bias = nn.Parameter(torch.empty(4 * cells))
        self.project = nn.Parameter(torch.empty(states, cells)) if projection else None
        with torch.no_grad():
            for weight in self.parameters():
                weight.uniform_(-1 / math.sqrt(cells), 1 / math.sqrt(cells))
            self.bias[cells : 2 * cells] = 1.0  # it begins by remembering

    def forward(self, tokens: Tensor, by: Steps) -> Tensor:
        """Return the states of tokens: [T, width] to [T, states]."""
        found: Tensor = _Run.apply(  # type: ignore[no-untyped-call]
            tokens, self.read, self.recall, self.bias, self.project, by
        )
        return found


def _parts(sizes: list[int]) -> Iterator[tuple[int, int, int]]:
    """Yield of each step where it begins, its rows, and the rows of the step after it."""
    starts = itertools.accumulate(sizes, initial=0)
    return zip(starts, sizes, [*sizes[1:], 0], strict=False)


def _before(states: Tensor, sizes: list[int]) -> Tensor:
    """Return for each slot what its row had one step earlier, zeros at first: [S, N]."""
    kept = [states[start : start + after] for start, _, after in _parts(sizes)]
    return torch.cat([states.new_zeros(sizes[0], states.shape[1]), *kept])


_sigmoid_back: Any = torch.ops.aten.sigmoid_backward.grad_input
_tanh_back: Any = torch.ops.aten.tanh_backward.grad_input


class _Run(torch.autograd.Function):
    """All steps of a layer; gates stand in torch's order: in, forget, new, out."""

    @staticmethod
    def forward(
        ctx: Any,
        tokens: Tensor,
        w_read: Tensor,
        w_recall: Tensor,
        bias: Tensor,
        project: Tensor | None,
        by: Steps,
    ) -> Tensor:
        read = tokens.index_select(0, by.index)  # [S, width]
        width = len(bias) // 4
        gates = torch.addmm(bias, read, w_read.t()).float()  # [S, 4C]
        cells, bent = gates.new_empty(2, len(read), width).unbind()
        out = torch.empty(len(read), w_recall.shape[1], dtype=read.dtype, device=read.device)
        made = out if project is None else torch.empty_like(cells, dtype=read.dtype)
        turned, narrow = w_recall.t(), None if project is None else project.t()
        held = cell = None
        for start, rows, _ in _parts(by.sizes):
            here = slice(start, start + rows)
            gate = gates[here]
            if held is not None:
                gate += torch.mm(held[:rows], turned)
            gate[:, : 2 * width].sigmoid_()
            gate[:, 2 * width : 3 * width].tanh_()
            gate[:, 3 * width :].sigmoid_()
            keep, forget, new, let = gate.chunk(4, 1)
            fresh = torch.mul(keep, new, out=cells[here])
            if cell is not None:
                fresh.addcmul_(forget, cell[:rows])
            cell = fresh
            torch.mul(let, torch.tanh(cell, out=bent[here]), out=made[here])
            if narrow is not None:
                torch.mm(made[here], narrow, out=out[here])
            held = out[here]
        ctx.by = by
        ctx.save_for_backward(read, w_read, w_recall, project, gates, cells, bent, out, made)
        return out.index_select(0, by.slots)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        read, w_read, w_recall, project, gates, cells, bent, out, made = ctx.saved_tensors
        by: Steps = ctx.by
        grads = torch.empty_like(gates, dtype=read.dtype)  # [S, 4C], of what the gates read
        states = torch.zeros_like(out).index_copy_(0, by.slots, upstream[0])  # [S, H]
        later: Tensor | None = None  # [rows, C] float32, of the cells that the next step reads
        parts = list(_parts(by.sizes))
        for number in reversed(range(len(parts))):
            start, rows, after = parts[number]
            here = slice(start, start + rows)
            state = states[here]
            if after:
                state[:after] += torch.mm(grads[start + rows : start + rows + after], w_recall)
            moved = (state if project is None else torch.mm(state, project)).float()
            before = cells[parts[number - 1][0] :][:rows] if number else None
            grads[here], later = _step_back(moved, later, gates[here], bent[here], before)
        ones = grads.new_ones(1, len(grads))
        return (
            torch.mm(grads, w_read).index_select(0, by.slots),
            torch.mm(grads.t(), read),
            torch.mm(grads.t(), _before(out, by.sizes)),
            torch.mm(ones, grads)[0],
            None if project is None else torch.mm(states.t(), made),
            None,
        )


def _step_back(
    moved: Tensor, later: Tensor | None, gate: Tensor, bent: Tensor, before: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Go one step back.

    Args:
        moved: [rows, C], gradient of the step's output before its projection.
        later: [rows after, C], gradient of its cells by way of the next step.
        gate: [rows, 4C], its gates.
        bent: [rows, C], tanh of its cells.
        before: [rows, C], the cells that it read; None read none.

    Returns:
        The gradients of what its gates' functions read [rows, 4C], of the cells that it read.
    """
    keep, forget, new, let = gate.chunk(4, 1)
    found = torch.empty_like(gate)
    to_keep, to_forget, to_new, to_let = found.chunk(4, 1)
    _sigmoid_back(moved * bent, let, grad_input=to_let)
    cell = torch.ops.aten.tanh_backward(moved * let, bent)
    if later is not None:
        cell[: len(later)] += later
    _sigmoid_back(cell * new, keep, grad_input=to_keep)
    _tanh_back(cell * keep, new, grad_input=to_new)
    if before is None:
        to_forget.zero_()
    else:
        _sigmoid_back(cell * before, forget, grad_input=to_forget)
    return found, cell.mul_(forget)

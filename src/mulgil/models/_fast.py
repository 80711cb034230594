"""What the fast bodies share: products with the bias inside, attention, rows that are looked up.

Chosen: one private torch operator adds the bias within the product, for weights stored either way
round; elsewhere, and where a torch lacks it, `addmm` does the same. It costs a look at each torch
release.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_FUSED: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def own_weight(layer: Any) -> Tensor:
    """Return what a layer multiplies by, where no method has added to it."""
    weight: Tensor = layer.weight
    return weight


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[T, K] @ [N, K].T + [N]."""
    if x.dtype is torch.bfloat16 and x.device.type == "cpu" and _FUSED is not None:
        out: Tensor = _FUSED(x, weight, bias, "none", [], "")  # the bias costs no pass of its own
        return out
    return torch.addmm(bias, x, weight.t())


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Concatenation along dim 0, without a copy where the parts already lie side by side."""
    head = parts[0]
    at = head.storage_offset()
    base = head.untyped_storage().data_ptr()
    for part in parts:
        if (
            not part.is_contiguous()
            or part.untyped_storage().data_ptr() != base
            or part.storage_offset() != at
        ):
            return torch.cat(list(parts))
        at += part.numel()
    rows = sum(part.shape[0] for part in parts)
    return head.as_strided((rows, *head.shape[1:]), head.stride(), head.storage_offset())


Heart = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""What the backward pass of attention needs: query, key and value [blocks*heads, block, width],
probabilities and those that dropout kept [blocks*heads, block, block]."""


def attend(qkv: Tensor, bias: Tensor, heads: int, mask: Tensor | None) -> tuple[Tensor, Heart]:
    """Attention in blocks: [T, 3H], what is forbidden [blocks, 1, block, block], to [T, H]."""
    blocks, _, block, _ = bias.shape
    size, hidden = qkv.shape[0], qkv.shape[1] // 3
    width = hidden // heads
    split = qkv.view(blocks, block, 3, heads, width).permute(2, 0, 3, 1, 4)
    q, k, v = split.reshape(3, blocks * heads, block, width).unbind(0)
    scores = torch.bmm(q, k.transpose(1, 2)).view(blocks, heads, block, block)
    torch.add(bias, scores, alpha=width**-0.5, out=scores)
    probs = torch.softmax(scores, -1).view(blocks * heads, block, block)
    kept = probs if mask is None else torch.mul(probs, mask, out=scores.view_as(probs))
    context = torch.bmm(kept, v).view(blocks, heads, block, width)
    return context.transpose(1, 2).reshape(size, hidden), (q, k, v, probs, kept)


def attend_back(
    upstream: Tensor, heart: Sequence[Tensor], heads: int, mask: Tensor | None
) -> Tensor:
    """The gradient of `attend`: [T, H] to [T, 3H]."""
    q, k, v, probs, kept = heart
    size, hidden = upstream.shape
    _, block, width = q.shape
    blocks = size // block
    dcontext = upstream.view(blocks, block, heads, width).transpose(1, 2)
    dcontext = dcontext.reshape(blocks * heads, block, width)
    dheads = torch.empty(3, *q.shape, dtype=q.dtype, device=q.device)
    torch.bmm(kept.transpose(1, 2), dcontext, out=dheads[2])
    dprobs = torch.bmm(dcontext, v.transpose(1, 2))
    if mask is not None:
        dprobs = torch.mul(dprobs, mask)
    dscores = torch.ops.aten._softmax_backward_data(dprobs, probs, -1, probs.dtype)
    scale = width**-0.5
    torch.baddbmm(dheads[0], dscores, k, beta=0, alpha=scale, out=dheads[0])
    torch.baddbmm(dheads[1], dscores.transpose(1, 2), q, beta=0, alpha=scale, out=dheads[1])
    dqkv = dheads.view(3, blocks, heads, block, width).permute(1, 3, 0, 2, 4)
    return dqkv.reshape(size, 3 * hidden)


class _Rows(torch.autograd.Function):
    """table[ids], the gradient a sparse tensor over the distinct ids when `sparse`."""

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, ids: Tensor, skip: int, sparse: bool, dtype: torch.dtype
    ) -> Tensor:
        distinct, inverse = torch.unique(ids, return_inverse=True)
        ctx.save_for_backward(distinct, inverse)
        ctx.meta = (table.shape, table.dtype, skip, sparse)
        return table.index_select(0, distinct).to(dtype).index_select(0, inverse)  # [T, H]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        distinct, inverse = ctx.saved_tensors
        shape, dtype, skip, sparse = ctx.meta
        rows = torch.zeros(len(distinct), shape[1], device=inverse.device)  # [U, H] fp32
        rows.index_add_(0, inverse, upstream[0].float())
        rows = rows.to(dtype).masked_fill_((distinct == skip).unsqueeze(1), 0.0)
        if sparse:
            grad = torch.sparse_coo_tensor(
                distinct[None], rows, shape, is_coalesced=True, check_invariants=False
            )
        else:
            grad = torch.zeros(shape, dtype=dtype, device=rows.device)
            grad.index_copy_(0, distinct, rows)
        return grad, None, None, None, None


lookup: Any = _Rows.apply

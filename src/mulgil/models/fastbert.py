# Copyright 2026 The Mulgil Authors
# SPDX-License-Identifier: Apache-2.0
"""A fast forward and backward pass for BERT-shaped encoders (draft docstring)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_CLASSES = {"BertModel": False, "RobertaModel": True, "XLMRobertaModel": True}
_POOL = 1 << 22
_REFRESH = 32
_CHUNK = 1 << 20
_U64 = (1 << 64) - 1
_BUILD: Any = torch.ops.mkldnn


def supports(body: nn.Module) -> bool:
    """Whether `FastBody` computes exactly what this Hugging Face encoder computes."""
    config = getattr(body, "config", None)
    if type(body).__name__ not in _CLASSES or config is None:
        return False
    wanted = {
        "hidden_act": "gelu",
        "is_decoder": False,
        "add_cross_attention": False,
        "chunk_size_feed_forward": 0,
        "position_embedding_type": "absolute",
    }
    if any(getattr(config, key, value) != value for key, value in wanted.items()):
        return False
    if getattr(body, "gradient_checkpointing", False):
        return False
    try:
        words = body.get_submodule("embeddings.word_embeddings")
        tables = [
            words,
            body.get_submodule("embeddings.position_embeddings"),
            body.get_submodule("embeddings.token_type_embeddings"),
        ]
        norms = [body.get_submodule("embeddings.LayerNorm")]
        linears: list[nn.Module] = []
        layers = list(body.get_submodule("encoder.layer").children())
        for layer in layers:
            norms += [layer.get_submodule(name) for name in _NORMS]
            linears += [layer.get_submodule(name) for name in _LINEARS]
    except AttributeError:
        return False
    hidden = int(config.hidden_size)
    plain = all(
        type(t) is nn.Embedding and t.max_norm is None and not t.scale_grad_by_freq for t in tables
    )
    plain = plain and all(type(n) is nn.LayerNorm and n.bias is not None for n in norms)
    plain = plain and all(type(m) is nn.Linear and m.bias is not None for m in linears)
    square = all(
        tuple(m.weight.shape) == (hidden, hidden) for i, m in enumerate(linears) if i % 6 < 4
    )
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in body.modules())
    return bool(layers) and plain and square and not hooked


_LINEARS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")


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
    start = 16 * math.ceil(longest / 16)
    best = min(
        ((_fit(order, lengths, block), block) for block in range(start, max(start, 128) + 1, 16)),
        key=lambda pair: len(pair[0]) * pair[1] * (1.0 + weight * pair[1]),
    )
    blocks, block = best
    place = np.zeros(present.shape, dtype=np.int64)
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
    tensors = [
        torch.from_numpy(a).to(device)
        for a in (index, where, slots, source, rows, first, counts.astype(np.int64))
    ]
    return Packing(*tensors, bias.unsqueeze(1).to(device), (mask.shape[0], mask.shape[1]))


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
        for number, part in enumerate(pool.split(_CHUNK)):
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


def _split(a: Tensor, b: Tensor) -> int:
    """Into how many row groups to cut a [M, K] x [K, N] product (1: not at all)."""
    if a.dtype is not torch.bfloat16 or a.device.type != "cpu" or not b.is_contiguous():
        return 1
    ways = torch.get_num_threads()
    deep = a.shape[1] >= 2 * b.shape[1] and 2 <= ways <= 4
    return ways if deep and 512 <= a.shape[0] < 928 and a.shape[0] % ways == 0 else 1


def _mm(a: Tensor, b: Tensor) -> Tensor:
    """[M, K] @ [K, N]."""
    ways = _split(a, b)
    if ways == 1:
        return torch.mm(a, b)
    out = torch.bmm(a.view(ways, -1, a.shape[1]), b.expand(ways, *b.shape))
    return out.view(a.shape[0], b.shape[1])


def _mm_onto(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Total += a @ b in place."""
    ways = _split(a, b)
    if ways == 1:
        return total.addmm_(a, b)
    total.view(ways, -1, b.shape[1]).baddbmm_(
        a.view(ways, -1, a.shape[1]), b.expand(ways, *b.shape)
    )
    return total


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[T, K] @ [N, K].T + [N]."""
    if x.dtype is torch.bfloat16 and x.device.type == "cpu":
        if _split(x, weight.t()) == 1 and weight.is_contiguous():
            out: Tensor = _BUILD._linear_pointwise(x, weight, bias, "none", [], "")
            return out
        return _mm(x, weight.t()).add_(bias)
    return torch.addmm(bias, x, weight.t())


def _joined(parts: Sequence[Tensor]) -> Tensor:
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


class _Layer(torch.autograd.Function):
    """One encoder layer with a backward pass written out by hand."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        bias: Tensor,
        heads: int,
        epsilon: float,
        masks: tuple[Tensor | None, Tensor | None, Tensor | None],
        *weights: Tensor,
    ) -> Tensor:
        qkv_w, qkv_b = _joined(weights[0:6:2]), _joined(weights[1:6:2])
        o_w, o_b, g1, b1, w1, c1, w2, c2, g2, b2 = weights[6:]
        blocks, _, block, _ = bias.shape
        size, hidden = x.shape
        width = hidden // heads
        qkv = _linear(x, qkv_w, qkv_b)  # [T, 3H]
        split = qkv.view(blocks, block, 3, heads, width).permute(2, 0, 3, 1, 4)
        q, k, v = split.reshape(3, blocks * heads, block, width).unbind(0)
        scores = torch.bmm(q, k.transpose(1, 2)).view(blocks, heads, block, block)
        torch.add(bias, scores, alpha=width**-0.5, out=scores)
        probs = torch.softmax(scores, -1).view(blocks * heads, block, block)
        kept = probs if masks[0] is None else torch.mul(probs, masks[0], out=scores.view_as(probs))
        context = torch.bmm(kept, v).view(blocks, heads, block, width)
        context = context.transpose(1, 2).reshape(size, hidden)  # [T, H]
        y = _linear(context, o_w, o_b)
        r1 = x + y if masks[1] is None else torch.addcmul(x, y, masks[1])
        h1, mean1, rstd1 = torch.native_layer_norm(r1, [hidden], g1, b1, epsilon)
        pre = _linear(h1, w1, c1)  # [T, I]
        act = nn.functional.gelu(pre)
        y = _linear(act, w2, c2)  # [T, H]
        r2 = h1 + y if masks[2] is None else torch.addcmul(h1, y, masks[2])
        out, mean2, rstd2 = torch.native_layer_norm(r2, [hidden], g2, b2, epsilon)
        ctx.save_for_backward(
            x,
            q,
            k,
            v,
            probs,
            kept,
            context,
            r1,
            mean1,
            rstd1,
            h1,
            pre,
            act,
            r2,
            mean2,
            rstd2,
            qkv_w,
            o_w,
            g1,
            b1,
            w1,
            w2,
            g2,
            b2,
        )
        ctx.masks, ctx.shape = masks, (blocks, block, heads, width)
        return out

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        (
            x,
            q,
            k,
            v,
            probs,
            kept,
            context,
            r1,
            mean1,
            rstd1,
            h1,
            pre,
            act,
            r2,
            mean2,
            rstd2,
            qkv_w,
            o_w,
            g1,
            b1,
            w1,
            w2,
            g2,
            b2,
        ) = ctx.saved_tensors
        blocks, block, heads, width = ctx.shape
        size, hidden = x.shape
        need = ctx.needs_input_grad
        grads: list[Tensor | None] = [None] * 16
        dr, grads[14], grads[15] = torch.ops.aten.native_layer_norm_backward(
            upstream[0], r2, [hidden], mean2, rstd2, g2, b2, [True, need[19], need[20]]
        )
        dy = dr if ctx.masks[2] is None else dr * ctx.masks[2]
        if need[17]:
            grads[12] = (
                torch.mm(act.t(), dy).t() if not w2.is_contiguous() else torch.mm(dy.t(), act)
            )
        if need[18]:
            grads[13] = dy.sum(0)
        dact = torch.mm(dy, w2)  # [T, I]
        dpre = torch.ops.aten.gelu_backward.grad_input(dact, pre, grad_input=dact)
        if need[15]:
            grads[10] = torch.mm(dpre.t(), h1)
        if need[16]:
            grads[11] = dpre.sum(0)
        if dy is dr:
            dr = dr.clone()
        dh = _mm_onto(dr, dpre, w1)  # [T, H]
        dr, grads[8], grads[9] = torch.ops.aten.native_layer_norm_backward(
            dh, r1, [hidden], mean1, rstd1, g1, b1, [True, need[13], need[14]]
        )
        dy = dr if ctx.masks[1] is None else dr * ctx.masks[1]
        if need[11]:
            grads[6] = torch.mm(dy.t(), context)
        if need[12]:
            grads[7] = dy.sum(0)
        if not any(need[:1] + need[5:11]):
            return (None,) * 5 + tuple(grads)
        dcontext = torch.mm(dy, o_w).view(blocks, block, heads, width).transpose(1, 2)
        dcontext = dcontext.reshape(blocks * heads, block, width)
        dheads = torch.empty(3, *q.shape, dtype=x.dtype, device=x.device)
        torch.bmm(kept.transpose(1, 2), dcontext, out=dheads[2])
        dprobs = torch.bmm(dcontext, v.transpose(1, 2))
        if ctx.masks[0] is not None:
            dprobs = torch.mul(dprobs, ctx.masks[0])
        dscores = torch.ops.aten._softmax_backward_data(dprobs, probs, -1, probs.dtype)
        scale = width**-0.5
        torch.baddbmm(dheads[0], dscores, k, beta=0, alpha=scale, out=dheads[0])
        torch.baddbmm(dheads[1], dscores.transpose(1, 2), q, beta=0, alpha=scale, out=dheads[1])
        dqkv = dheads.view(3, blocks, heads, block, width).permute(1, 3, 0, 2, 4)
        dqkv = dqkv.reshape(size, 3 * hidden)
        if any(need[5:11:2]):
            grads[0:6:2] = torch.mm(dqkv.t(), x).split(hidden)
        if any(need[6:11:2]):
            grads[1:6:2] = dqkv.sum(0).split(hidden)
        dx = None
        if need[0]:
            if dy is dr:
                dr = dr.clone()
            dx = _mm_onto(dr, dqkv, qkv_w)
        return (dx, None, None, None, None, *grads)


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


class FastBody:
    """Runs a supported encoder; its parameters stay where Hugging Face put them."""

    def __init__(
        self,
        body: nn.Module,
        seed: int = 0,
        sparse: bool = False,
        before_rows: Callable[[Tensor], None] | None = None,
    ) -> None:
        if not supports(body):
            raise ValueError(f"FastBody cannot run {type(body).__name__}; ask supports() first")
        config: Any = body.config
        self.body, self.masks = body, MaskPool(seed)
        self.sparse, self.before_rows = sparse, before_rows
        self._embed: Any = body.get_submodule("embeddings")
        self._layers: list[Any] = list(body.get_submodule("encoder.layer").children())
        self._weights = [
            tuple(
                layer.get_submodule(name)
                for name in (*_LINEARS[:4], _NORMS[0], *_LINEARS[4:], _NORMS[1])
            )
            for layer in self._layers
        ]
        self._heads = int(config.num_attention_heads)
        self._shifted = _CLASSES[type(body).__name__]
        self._column = 36.0 * self._heads / int(config.hidden_size) ** 2

    def transposed(self) -> Iterator[str]:
        """Weights whose products run faster from transposed storage (see MasterAdamW)."""
        for number in range(len(self._layers)):
            yield f"encoder.layer.{number}.output.dense.weight"

    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Packing]:
        """[B, L] ids and mask to the last hidden state [T, H] and its packing."""
        embed, training = self._embed, self.body.training
        dtype = embed.LayerNorm.weight.dtype
        positions = None
        if self._shifted:
            seen = input_ids.ne(embed.padding_idx).long()  # [B, L]
            positions = seen.cumsum(1) * seen + embed.padding_idx
        packing = pack(attention_mask, positions, self._column, dtype)
        words = embed.word_embeddings
        ids = input_ids.reshape(-1).index_select(0, packing.index)  # [T]
        if self.before_rows is not None and training:
            self.before_rows(ids)
        skip = -1 if words.padding_idx is None else words.padding_idx
        x = _Rows.apply(words.weight, ids, skip, self.sparse, dtype)  # [T, H]
        places = embed.position_embeddings
        skip = -1 if places.padding_idx is None else places.padding_idx
        x = x + _Rows.apply(places.weight, packing.positions, skip, False, dtype)
        if token_type_ids is None:
            x = x + embed.token_type_embeddings.weight[0].to(dtype)
        else:
            kinds = token_type_ids.reshape(-1).index_select(0, packing.index)
            x = x + embed.token_type_embeddings(kinds).to(dtype)
        norm = embed.LayerNorm
        x = nn.functional.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        kept = self.masks.take(x.shape, embed.dropout.p if training else 0.0, x)
        x = x if kept is None else x * kept
        square = (packing.bias.shape[0] * self._heads, *packing.bias.shape[2:])
        for layer, modules in zip(self._layers, self._weights, strict=True):
            rates = [
                m.dropout.p if training else 0.0
                for m in (layer.attention.self, layer.attention.output, layer.output)
            ]
            masks = tuple(
                self.masks.take(shape, rate, x)
                for shape, rate in zip((square, x.shape, x.shape), rates, strict=True)
            )
            weights = [t for m in modules for t in (m.weight, m.bias)]
            x = _Layer.apply(x, packing.bias, self._heads, modules[4].eps, masks, *weights)
        return x, packing

"""A fast forward and backward pass for BERT, RoBERTa and XLM-RoBERTa encoders.

`FastBody` computes what the Hugging Face module computes, over that module's own parameters, in
plain torch. Chosen: one hand-written autograd function per layer; tokens packed without padding
(`_packing`); one product for query, key and value where their weights lie side by side, as
`MasterAdamW` lays them; dropout masks from a pool; embedding rows gathered from the float32
table, with a sparse gradient. Everything else runs as transformers wrote it.

Measured on 2 cores with AMX, NSMC, batches of 32, in median ratios of interleaved rounds while
others used the machine: 2.3 times a bare bfloat16 loop on me5-small (12 x 384, 250,037 words),
1.7 to 1.9 times on a fresh 6 x 384 encoder. There, products take about a third of a step and
attention a fifth; most of the rest waits for memory, as no layer's activations fit the cache.

What it costs: the layer is written twice, so `supports` refuses every configuration that it does
not know; one private torch operator adds the bias inside the product (without it: `addmm`);
dropout masks repeat pool bits at random places; in bfloat16 the rate is moved so that the mask's
mean stays 1 (0.1 becomes 0.0986). Multiplying masks in place was twice as slow as into a fresh
tensor. Tried without gain: splitting narrow products by hand, flushing denormals, malloc options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mulgil.models._fast import attend, attend_back, joined, linear, lookup, own_weight
from mulgil.models._packing import MaskPool, Packing, pack

__all__ = ["FastBody", "MaskPool", "Packing", "pack", "supports"]

_CLASSES = {"BertModel": False, "RobertaModel": True, "XLMRobertaModel": True}


def supports(body: nn.Module, adapted: bool = False) -> bool:
    """Whether `FastBody` computes exactly what this Hugging Face encoder computes.

    Args:
        body: the encoder.
        adapted: look at what a method has put something around, not at that.
    """
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
        tables: list[Any] = [
            words,
            body.get_submodule("embeddings.position_embeddings"),
            body.get_submodule("embeddings.token_type_embeddings"),
        ]
        norms: list[Any] = [body.get_submodule("embeddings.LayerNorm")]
        linears: list[Any] = []
        layers = list(body.get_submodule("encoder.layer").children())
        for layer in layers:
            norms += [layer.get_submodule(name) for name in _NORMS]
            linears += [layer.get_submodule(name) for name in _LINEARS]
        linears = [getattr(m, "base_layer", m) if adapted else m for m in linears]
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
        qkv_w, qkv_b = joined(weights[0:6:2]), joined(weights[1:6:2])
        o_w, o_b, g1, b1, w1, c1, w2, c2, g2, b2 = weights[6:]
        hidden = x.shape[1]
        qkv = linear(x, qkv_w, qkv_b)  # [T, 3H]
        context, heart = attend(qkv, bias, heads, masks[0])  # [T, H]
        y = linear(context, o_w, o_b)
        r1 = x + y if masks[1] is None else torch.addcmul(x, y, masks[1])
        h1, mean1, rstd1 = torch.native_layer_norm(r1, [hidden], g1, b1, epsilon)
        pre = linear(h1, w1, c1)  # [T, I]
        act = nn.functional.gelu(pre)
        y = torch.mm(act, w2.t()).add_(c2)  # [T, H]
        r2 = h1 + y if masks[2] is None else torch.addcmul(h1, y, masks[2])
        out, mean2, rstd2 = torch.native_layer_norm(r2, [hidden], g2, b2, epsilon)
        # fmt: off
        ctx.save_for_backward(x, *heart, context, r1, mean1, rstd1, h1, pre, act,
                              r2, mean2, rstd2, qkv_w, o_w, g1, b1, w1, w2, g2, b2)
        # fmt: on
        ctx.masks, ctx.heads = masks, heads
        return out

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        # fmt: off
        (x, *heart, context, r1, mean1, rstd1, h1, pre, act,
         r2, mean2, rstd2, qkv_w, o_w, g1, b1, w1, w2, g2, b2) = ctx.saved_tensors
        # fmt: on
        hidden = x.shape[1]
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
        dh = dr.addmm_(dpre, w1)  # [T, H]
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
        dqkv = attend_back(torch.mm(dy, o_w), heart, ctx.heads, ctx.masks[0])  # [T, 3H]
        if any(need[5:11:2]):
            grads[0:6:2] = torch.mm(dqkv.t(), x).view(3, hidden, hidden).unbind(0)
        if any(need[6:11:2]):
            grads[1:6:2] = dqkv.sum(0).view(3, hidden).unbind(0)
        dx = dr.addmm_(dqkv, qkv_w) if need[0] else None
        return (dx, None, None, None, None, *grads)


_layer: Any = _Layer.apply


class FastBody:
    """Runs a supported encoder; its parameters stay where Hugging Face put them."""

    def __init__(
        self,
        body: nn.Module,
        seed: int = 0,
        sparse: bool = False,
        before_rows: Callable[[Tensor], None] | None = None,
        weight: Callable[[Any], Tensor] = own_weight,
    ) -> None:
        if not supports(body, adapted=weight is not own_weight):
            raise ValueError(f"FastBody cannot run {type(body).__name__}; ask supports() first")
        config: Any = body.config
        self.body, self.masks = body, MaskPool(seed)
        self.sparse, self.before_rows, self._weight = sparse, before_rows, weight
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
        self._column = 29.0 * self._heads / int(config.hidden_size) ** 2

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
        x = lookup(words.weight, ids, skip, self.sparse, dtype)  # [T, H]
        places = embed.position_embeddings
        skip = -1 if places.padding_idx is None else places.padding_idx
        x = x + lookup(places.weight, packing.positions, skip, False, dtype)
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
            weights = [t for m in modules for t in (self._weight(m), m.bias)]
            x = _layer(x, packing.bias, self._heads, modules[4].eps, masks, *weights)
        return x, packing

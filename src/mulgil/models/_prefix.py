"""What all prompts begin with, read once: its keys and values serve whatever is read behind it.

Chosen: a prefix is read but for its last token, which is read with each row, so that no row is ever
empty; every batch gets a copy of the keys and values, one for each of its rows. It costs those
copies, and models whose layers keep a state instead of keys and values: they are refused, since no
mask takes padding out of a state again.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mulgil.errors import ModelError

_WINDOWS = ("sliding_window", "window_size", "attention_chunk_size")
"""What configs call the tokens that a layer sees."""


class Prefix:
    """Token ids that many prompts begin with, and what a model makes of them.

    Args:
        module: a causal model of transformers, evaluating, without gradients.
        ids: token ids; none shares nothing.

    Attributes:
        head: the ids that are read here.
        last: the id that is read with each row, in a list; empty where there is none.

    Raises:
        ModelError: the model keeps a state.
    """

    def __init__(self, module: Any, ids: Sequence[int]) -> None:
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        self.head, self.last = [*ids[:-1]], [*ids[-1:]]
        self._cache = DynamicCache(config=module.config)
        if not all(isinstance(layer, DynamicLayer) for layer in self._cache.layers):
            raise ModelError(
                f"model.pretrained: {type(module).__name__} keeps a state instead of keys and"
                " values, so prompts cannot share what they begin with; take a model such as gpt2"
                " or llama"
            )
        if self.head:
            read = torch.tensor([self.head], device=module.device)
            with picked(module, lambda seen: seen[:, -1:]):
                module(input_ids=read, past_key_values=self._cache, use_cache=True)

    def copied(self, rows: int) -> Any:
        """Return keys and values for so many rows, which may be read on top of."""
        cache = copy.deepcopy(self._cache)
        if self.head and rows > 1:
            cache.batch_repeat_interleave(rows)
        return cache

    def above(self, rows: Sequence[Sequence[int]], device: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids [B, L] padded at the end, mask [B, head + L], places [B, L] of rows behind it.

        Args:
            rows: token ids; the prefix's last one is put before each.
            device: of the tensors.
        """
        read = [[*self.last, *row] for row in rows]
        before, width = len(self.head), max(map(len, read))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in read], device=device)
        lengths = torch.tensor([len(row) for row in read], device=device)
        mask = torch.arange(before + width, device=device) < before + lengths[:, None]
        places = torch.arange(before, before + width, device=device).expand(len(read), -1)
        return ids, mask, places


def window(module: Any) -> float:
    """Return the tokens that the layer sees which sees least."""
    config = module.config.get_text_config()
    if not getattr(config, "use_sliding_window", True):
        return float("inf")
    found = (getattr(config, name, None) for name in _WINDOWS)
    return min((float(size) for size in found if isinstance(size, int)), default=float("inf"))


@contextlib.contextmanager
def picked(module: Any, pick: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let the vocabulary see what is picked of [B, L, H]: its product can be most of the work."""

    def shown(_: Any, seen: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (pick(seen[0]),)

    hook = module.get_output_embeddings().register_forward_pre_hook(shown)
    try:
        yield
    finally:
        hook.remove()

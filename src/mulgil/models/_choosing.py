"""Which of a few words goes on best: ln p of choices behind a prompt that many queries share.

Chosen: what all prompts begin with is read once, and its keys and values serve every query; a batch
of queries is read on top of it, and each choice of several tokens on top of its query's. A choice
of one token costs nothing more. Where layers see a window that prompts overrun, only queries of one
length are read together, since a window counts padding as text. It costs a copy of the shared part
for each row of a batch, and models whose layers keep a state instead of keys and values: they are
refused, since no mask takes padding out of a state again.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mulgil.errors import ModelError
from mulgil.flow import Array, Segment

_TOKENS = 1 << 14
"""Tokens of a batch, what is shared counted for each row."""

_SCORES = 1 << 26
"""Scores of a batch: rows times vocabulary."""

_WINDOWS = ("sliding_window", "window_size", "attention_chunk_size")
"""What configs call the tokens that a layer sees."""


def choose(
    module: Any,
    prefix: Sequence[int],
    queries: Sequence[Sequence[int]],
    choices: Sequence[Sequence[int]],
) -> Array:
    """Return float64 [queries, choices]: ln p of each choice behind prefix and query.

    Args:
        module: a causal model of transformers, evaluating, without gradients.
        prefix: token ids; empty shares nothing.
        queries: token ids; one of prefix and query holds a token.
        choices: token ids, at least one each.

    Raises:
        ModelError: the model keeps a state.
    """
    shared, last = _read(module, list(prefix)), list(prefix[-1:])
    found = np.empty((len(queries), len(choices)))
    words = int(module.get_input_embeddings().weight.shape[0])
    longest = max(map(len, queries), default=0) + max(map(len, choices))
    alike = len(prefix) + longest > _window(module)
    for rows in _batches(queries, len(prefix), words, alike):
        asked = [list(queries[i]) for i in rows]
        found[rows] = _score(module, shared, len(prefix), last, asked, choices)
    return found


def tokens(segment: Segment) -> list[int]:
    """Return a segment as token ids.

    Raises:
        ModelError: it is a text.
    """
    if isinstance(segment, str):
        raise ModelError('a model here reads token ids; take tokenizer "subword"')
    return segment


def _window(module: Any) -> float:
    """Return the tokens that the layer sees which sees least."""
    config = module.config.get_text_config()
    if not getattr(config, "use_sliding_window", True):
        return float("inf")
    found = (getattr(config, name, None) for name in _WINDOWS)
    return min((float(size) for size in found if isinstance(size, int)), default=float("inf"))


def _batches(
    queries: Sequence[Sequence[int]], shared: int, words: int, alike: bool
) -> Iterator[list[int]]:
    """Yield the numbers of queries that are read together, the shortest first.

    Args:
        queries: token ids.
        shared: tokens of the prefix.
        words: of the vocabulary.
        alike: only queries of one length together.
    """
    rows: list[int] = []
    for i in sorted(range(len(queries)), key=lambda i: len(queries[i])):
        held = (len(rows) + 1) * (shared + len(queries[i]) + 8)
        full = held > _TOKENS or (len(rows) + 1) * words > _SCORES
        if rows and (full or (alike and len(queries[i]) != len(queries[rows[0]]))):
            yield rows
            rows = []
        rows.append(i)
    if rows:
        yield rows


def _read(module: Any, prefix: list[int]) -> Any:
    """Return the keys and values of what is shared, but for its last token.

    Raises:
        ModelError: the model keeps something else.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache(config=module.config)
    if not all(isinstance(layer, DynamicLayer) for layer in cache.layers):
        raise ModelError(
            f"model.pretrained: {type(module).__name__} keeps a state instead of keys and values,"
            " so prompts cannot share what they begin with; take a model such as gpt2 or llama"
        )
    if len(prefix) > 1:
        ids = torch.tensor([prefix[:-1]], device=module.device)
        with _one_place(module, torch.zeros(1, dtype=torch.int64, device=module.device)):
            module(input_ids=ids, past_key_values=cache, use_cache=True)
    return cache


def _score(
    module: Any,
    shared: Any,
    before: int,
    last: list[int],
    queries: list[list[int]],
    choices: Sequence[Sequence[int]],
) -> Array:
    """Return ln p [B, C] of choices behind a batch of queries.

    Args:
        module: the model.
        shared: keys and values of the prefix but for its last token.
        before: tokens of the prefix.
        last: the prefix's last token, which is read with each query; empty without a prefix.
        queries: token ids.
        choices: token ids.
    """
    device, read = module.device, [last + query for query in queries]
    lengths = torch.tensor([len(row) for row in read], device=device)  # [B]
    width, skipped = int(lengths.max()), max(before - 1, 0)
    ids = torch.tensor([row + [0] * (width - len(row)) for row in read], device=device)
    mask = torch.arange(width, device=device) < lengths[:, None]  # [B, L]
    cache = copy.deepcopy(shared)
    if skipped and len(queries) > 1:
        cache.batch_repeat_interleave(len(queries))
    if hasattr(cache, "activate_past_recording"):  # a window is cut back only when it is recorded
        cache.activate_past_recording()
    seen = torch.ones(len(queries), skipped, dtype=torch.bool, device=device)
    whole = torch.cat([seen, mask], 1)
    places = torch.arange(skipped, skipped + width, device=device).expand(len(queries), -1)
    with _one_place(module, lengths - 1):
        first = _chances(module, cache, ids, whole, places)[:, 0]  # [B, V]
    found = [first[:, choice[0]].double() for choice in choices]
    for number, choice in enumerate(choices):
        if len(choice) > 1:
            more = _go_on(module, cache, whole, skipped + lengths, choice)
            found[number] = found[number] + more
    return torch.stack(found, 1).cpu().numpy()


def _chances(module: Any, cache: Any, ids: Tensor, mask: Tensor, places: Tensor) -> Tensor:
    """Read ids [B, L] on top of a cache, which keeps them; return ln p [B, L, V] behind each."""
    out = module(
        input_ids=ids,
        attention_mask=mask.long(),
        position_ids=places,
        past_key_values=cache,
        use_cache=True,
    )
    return torch.log_softmax(out.logits.float(), 2)


@contextlib.contextmanager
def _one_place(module: Any, places: Tensor) -> Iterator[None]:
    """Let the vocabulary see one place of each row [B]: its product can be most of the work."""

    def pick(_: Any, seen: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        rows = torch.arange(len(places), device=places.device)
        return (seen[0][rows, places][:, None],)

    hook = module.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
    finally:
        hook.remove()


def _go_on(module: Any, cache: Any, whole: Tensor, ends: Tensor, choice: Sequence[int]) -> Tensor:
    """Return ln p [B] of a choice's tokens behind its first, and leave the cache as it was.

    Args:
        module: the model.
        cache: keys and values of prefix and queries.
        whole: bool [B, K], which of them count.
        ends: int64 [B], where each query ends.
        choice: token ids, two or more.
    """
    rows = len(whole)
    ids = torch.tensor(choice[:-1], device=whole.device).expand(rows, -1)  # [B, n - 1]
    places = ends[:, None] + torch.arange(ids.shape[1], device=whole.device)
    mask = torch.cat([whole, torch.ones_like(ids, dtype=torch.bool)], 1)
    chances = _chances(module, cache, ids, mask, places)  # [B, n - 1, V]
    cache.crop(-len(choice) + 1)
    wanted = torch.tensor(choice[1:], device=whole.device).expand(rows, -1)
    return chances.gather(2, wanted[..., None])[..., 0].double().sum(1)

"""Which of a few words goes on best, and how likely a text is: ln p behind what prompts share.

Chosen: what all prompts begin with is read once (`_prefix`), and its keys and values serve every
query; a batch of queries is read on top of it, and each choice of several tokens on top of its
query's. A choice of one token costs nothing more; a text of its own is read with its query. Where
layers see a window that prompts overrun, only queries of one length are read together, since a
window counts padding as text. It costs a copy of the shared part for each row of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mulgil.errors import ModelError
from mulgil.flow import Array, Segment
from mulgil.models import _together
from mulgil.models._prefix import Prefix, picked, window

_BESIDE = 8
"""Tokens that are reckoned for a choice behind each row of a batch."""

_SCORES = 1 << 26
"""Scores of a batch: rows times vocabulary."""


def choose(
    module: Any,
    prefix: Prefix | Sequence[int],
    queries: Sequence[Sequence[int]],
    choices: Sequence[Sequence[int]],
) -> Array:
    """Return float64 [queries, choices]: ln p of each choice behind prefix and query.

    Args:
        module: a causal model of transformers, evaluating, without gradients.
        prefix: token ids, or those that were read; empty shares nothing.
        queries: token ids; one of prefix and query holds a token.
        choices: token ids, at least one each.

    Raises:
        ModelError: the model keeps a state.
    """
    shared = prefix if isinstance(prefix, Prefix) else Prefix(module, prefix)
    found = np.empty((len(queries), len(choices)))
    words = int(module.get_input_embeddings().weight.shape[0])
    longest = max(map(len, queries), default=0) + max(map(len, choices))
    alike = len(shared.head) + 1 + longest > window(module)
    held = len(shared.head) + 1 + _BESIDE
    for rows in _together.batches(queries, _SCORES // words, held, alike=alike):
        found[rows] = _score(module, shared, [queries[i] for i in rows], choices)
    return found


def behind(
    module: Any,
    prefix: Prefix,
    queries: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
) -> tuple[Array, Array]:
    """Return (-ln p float64, whether it is the likeliest) of the targets' tokens, row after row.

    Args:
        module: as `choose` takes it.
        prefix: what was read.
        queries: token ids; one of prefix and query holds a token.
        targets: token ids that stand behind prefix and query, as many rows.
    """
    whole = [[*query, *target] for query, target in zip(queries, targets, strict=True)]
    ends = np.cumsum([0, *map(len, targets)])
    nats, right = np.zeros(ends[-1]), np.zeros(ends[-1], np.bool_)
    words = int(module.get_input_embeddings().weight.shape[0])
    words *= max(map(len, targets), default=1)
    held = len(prefix.head) + 1 + _BESIDE
    for rows in _together.batches(whole, _SCORES // max(words, 1), held):
        asked = [i for i in rows if len(targets[i])]
        if not asked:
            continue
        found = _measure(module, prefix, [whole[i] for i in asked], [targets[i] for i in asked])
        places = np.concatenate([np.arange(ends[i], ends[i + 1]) for i in asked])
        nats[places], right[places] = found
    return nats, right


def tokens(segment: Segment) -> list[int]:
    """Return a segment as token ids.

    Raises:
        ModelError: it is a text.
    """
    if isinstance(segment, str):
        raise ModelError('a model here reads token ids; take tokenizer "subword"')
    return segment


def _score(
    module: Any,
    prefix: Prefix,
    queries: Sequence[Sequence[int]],
    choices: Sequence[Sequence[int]],
) -> Array:
    """Return ln p [B, C] of choices behind a batch of queries."""
    ids, whole, places = prefix.above(queries, module.device)  # [B, L], [B, K], [B, L]
    lengths = whole.sum(1) - len(prefix.head)
    cache = prefix.copied(len(queries))
    if hasattr(cache, "activate_past_recording"):  # a window is cut back only when it is recorded
        cache.activate_past_recording()
    rows = torch.arange(len(queries), device=module.device)
    with picked(module, lambda seen: seen[rows, lengths - 1][:, None]):
        first = _chances(module, cache, ids, whole, places)[:, 0]  # [B, V]
    found = [first[:, choice[0]].double() for choice in choices]
    for number, choice in enumerate(choices):
        if len(choice) > 1:
            more = _go_on(module, cache, whole, len(prefix.head) + lengths, choice)
            found[number] = found[number] + more
    return torch.stack(found, 1).cpu().numpy()


def _measure(
    module: Any,
    prefix: Prefix,
    whole: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
) -> tuple[Array, Array]:
    """Return what `behind` returns, of rows that end with their targets, all in one batch."""
    ids, mask, places = prefix.above([row[:-1] for row in whole], module.device)
    ends = mask.sum(1) - len(prefix.head)
    sizes = torch.tensor([len(target) for target in targets], device=module.device)
    here = torch.arange(ids.shape[1], device=module.device)
    asked = (here >= (ends - sizes)[:, None]) & (here < ends[:, None])  # [B, L]
    with picked(module, lambda seen: seen[asked][None]):
        chances = _chances(module, prefix.copied(len(whole)), ids, mask, places)[0]  # [M, V]
    wanted = torch.tensor([token for target in targets for token in target], device=module.device)
    nats = -chances.gather(1, wanted[:, None])[:, 0].double()
    return nats.cpu().numpy(), (chances.argmax(1) == wanted).cpu().numpy()


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

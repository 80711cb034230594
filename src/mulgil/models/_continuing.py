"""Text is continued, by transformers' own `generate`.

Chosen: prompts of like length together, padded at the left, and nothing of the checkpoint's own
generation settings: what is not chosen here is off. How likely the new text is, is measured
afterwards in one pass by whoever asks, so that one thing has one definition; that pass is little
beside one for each token.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from mulgil.errors import ModelError
from mulgil.flow import Sampling
from mulgil.models import _checkpoints

_TOKENS = 1 << 14
_ROWS = 64
"""What is continued at once: tokens, prompts and what follows them, and prompts."""


def batches(module: Any, prompts: Sequence[Sequence[int]], room: int) -> Iterator[list[int]]:
    """Yield the numbers of prompts that are continued together, the shortest prompts first."""
    # A module that takes no positions counts the padding as text: there, none is made.
    padded = "position_ids" in inspect.signature(module.forward).parameters
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    rows: list[int] = []
    for i in order:
        length = len(prompts[i])
        full = len(rows) == _ROWS or (len(rows) + 1) * (length + room) > _TOKENS
        if rows and (full or not (padded or length == len(prompts[rows[0]]))):
            yield rows
            rows = []
        rows.append(i)
    if rows:
        yield rows


def continued(
    module: Any, prompts: list[list[int]], sampling: Sampling, room: int, stops: Sequence[int]
) -> list[list[int]]:
    """Return the new tokens of each prompt, up to and including the first that stops.

    Args:
        module: a transformers model of the "ForCausalLM" sort.
        prompts: token ids, at least one each.
        sampling: how to draw; torch's global generator is drawn from.
        room: new tokens at most.
        stops: ids that end a text.

    Raises:
        ModelError: the architecture cannot generate.
    """
    from transformers import GenerationConfig

    if not module.can_generate():
        raise ModelError(f"{type(module).__name__} cannot generate; use one like gpt2 or llama")
    longest = max(map(len, prompts))
    # Padded with a row's own first token: the mask hides it, and the penalty for repetition,
    # which knows no mask, has seen that token anyway.
    ids = [[p[0]] * (longest - len(p)) + p for p in prompts]
    mask = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
    drawn: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
    }
    chosen = GenerationConfig(
        max_new_tokens=room,
        do_sample=sampling.temperature > 0,
        repetition_penalty=sampling.repetition_penalty,
        eos_token_id=list(stops) or None,
        pad_token_id=stops[0] if stops else 0,
        **(drawn if sampling.temperature > 0 else {}),
    )
    own = module.generation_config
    module.generation_config = GenerationConfig()  # the checkpoint's would fill what is not chosen
    try:
        with _checkpoints.quiet():
            texts = module.generate(
                torch.tensor(ids, device=module.device),
                attention_mask=torch.tensor(mask, device=module.device),
                generation_config=chosen,
            )
    finally:
        module.generation_config = own
    return [_until(text, stops) for text in texts[:, longest:].tolist()]


def _until(tokens: list[int], stops: Sequence[int]) -> list[int]:
    ends = (i for i, token in enumerate(tokens) if token in stops)
    return tokens[: next(ends, len(tokens) - 1) + 1]

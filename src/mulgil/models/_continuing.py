"""Text is continued, or written from another, by transformers' own `generate`.

Chosen: prompts of like length together, padded at the left (where an encoder reads them, at the
right), and nothing of the checkpoint's own generation settings: what is not chosen here is off.
Only the padding token is never written by a decoder beside an encoder: nobody teaches it there, and
some checkpoints (Marian) leave it a score by chance. How likely the new text is, is measured
afterwards in one pass by whoever asks, so that one thing has one definition; that pass is little
beside one for each token.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch

from mulgil.errors import ModelError
from mulgil.flow import Sampling
from mulgil.models import _checkpoints
from mulgil.models._prefix import Prefix, window

_TOKENS = 1 << 14
_ROWS = 64
"""What is continued at once: tokens, prompts and what follows them, and prompts."""

Measure = Callable[[list[list[int]], list[list[int]]], list[list[float]]]
"""From prompts and the new tokens of each to ln p of each new token."""


Over = Callable[[list[int]], bool]
"""From new tokens to whether the text is over with them, though none of them ends it by itself."""


class Pieces(Protocol):
    """Hears of new tokens as they are made; transformers calls it a streamer."""

    def put(self, value: torch.Tensor) -> None:
        """Hear of the prompt first, then of each new token."""

    def end(self) -> None:
        """Hear that the text is over."""


def drawn(
    module: Any,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    room: int,
    stops: Sequence[int],
    measure: Measure,
    start: int | None = None,
    heard: Pieces | None = None,
    prefix: Prefix | None = None,
    over: Over | None = None,
) -> list[tuple[list[int], list[float]]]:
    """Return the new tokens of each prompt, and ln p of each; torch's own generator stays as it is.

    Args:
        module: a transformers model that generates.
        prompts: token ids, at least one each.
        sampling: how to draw.
        room: new tokens at most.
        stops: ids that end a text.
        measure: says how likely new tokens are.
        start: as `continued` takes it.
        heard: as `continued` takes it.
        prefix: as `continued` takes it.
        over: as `continued` takes it.

    Raises:
        ModelError: the architecture cannot generate.
    """
    found: dict[int, tuple[list[int], list[float]]] = {}
    beams = _beams(sampling)
    with torch.random.fork_rng([module.device] if module.device.type == "cuda" else []):
        torch.manual_seed(sampling.seed)
        shared = 0 if prefix is None else len(prefix.head)
        for rows in batches(module, prompts, room, beams, start is not None, shared):
            begun = [prompts[i] for i in rows]
            new = continued(module, begun, sampling, room, stops, start, heard, prefix, over)
            found |= zip(rows, zip(new, measure(begun, new), strict=True), strict=True)
    return [found[i] for i in range(len(prompts))]


def batches(
    module: Any,
    prompts: Sequence[Sequence[int]],
    room: int,
    beams: int = 1,
    placed: bool = False,
    shared: int = 0,
) -> Iterator[list[int]]:
    """Yield the numbers of prompts that are continued together, the shortest prompts first.

    Args:
        module: a transformers model.
        prompts: token ids.
        room: new tokens at most.
        beams: beginnings that are kept of each.
        placed: the padding of a prompt counts for nothing, whatever the module takes.
        shared: tokens that stand before each prompt, the padding behind them.
    """
    # A module that takes no positions counts the padding as text: there, none is made.
    padded = placed or "position_ids" in inspect.signature(module.forward).parameters
    if shared:  # a window counts padding behind what is shared as text
        longest = shared + max(map(len, prompts), default=0) + room
        padded = padded and longest <= window(module)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    rows: list[int] = []
    for i in order:
        length = shared + len(prompts[i])
        held = (len(rows) + 1) * beams
        full = held > _ROWS or held * (length + room) > _TOKENS
        if rows and (full or not (padded or len(prompts[i]) == len(prompts[rows[0]]))):
            yield rows
            rows = []
        rows.append(i)
    if rows:
        yield rows


def continued(
    module: Any,
    prompts: list[list[int]],
    sampling: Sampling,
    room: int,
    stops: Sequence[int],
    start: int | None = None,
    heard: Pieces | None = None,
    prefix: Prefix | None = None,
    over: Over | None = None,
) -> list[list[int]]:
    """Return the new tokens of each prompt, up to and including the first that stops.

    Args:
        module: a transformers model of the "ForCausalLM" sort, or one of two parts.
        prompts: token ids, at least one each; what the encoder reads, where there is one.
        sampling: how to draw; torch's global generator is drawn from.
        room: new tokens at most.
        stops: ids that end a text.
        start: the token that the decoder beside an encoder begins with; None where there is none.
        heard: is told of each token of the one prompt, without beams.
        prefix: what stands before all prompts, read; its last token begins each prompt.
        over: says that a text is over, whatever its last token.

    Raises:
        ModelError: the architecture cannot generate.
    """
    from transformers import GenerationConfig

    if not module.can_generate():
        raise ModelError(f"{type(module).__name__} cannot generate; use one like gpt2 or llama")
    longest = max(map(len, prompts))
    beside = start is not None
    # Padded with a row's own first token: the mask hides it, and the penalty for repetition,
    # which knows no mask, has seen that token anyway.
    head = [] if prefix is None else prefix.head
    ids = [head + _padded(p, [p[0]] * (longest - len(p)), beside) for p in prompts]
    mask = [
        [1] * len(head) + _padded([1] * len(p), [0] * (longest - len(p)), beside) for p in prompts
    ]
    begun = 1 if beside else len(head) + longest
    chosen = GenerationConfig(
        max_new_tokens=room,
        do_sample=sampling.temperature > 0,
        num_beams=_beams(sampling),
        repetition_penalty=sampling.repetition_penalty,
        eos_token_id=list(stops) or None,
        pad_token_id=stops[0] if stops else 0,
        **(_draws(sampling) if sampling.temperature > 0 else {}),
        **({} if start is None else _begins(module, start, stops)),
    )
    more: dict[str, Any] = {}
    if prefix is not None:
        more["past_key_values"] = prefix.copied(len(prompts) * _beams(sampling))
    if over is not None:
        more["stopping_criteria"] = [_criterion(over, begun)]
    own = module.generation_config
    module.generation_config = GenerationConfig()  # the checkpoint's would fill what is not chosen
    try:
        with _checkpoints.quiet(), _in_one_piece(module):
            texts = module.generate(
                input_ids=torch.tensor(ids, device=module.device),
                attention_mask=torch.tensor(mask, device=module.device),
                generation_config=chosen,
                streamer=heard,
                **more,
            )
    finally:
        module.generation_config = own
    return [_until(text, stops, over) for text in texts[:, begun:].tolist()]


@contextlib.contextmanager
def _in_one_piece(module: Any) -> Iterator[None]:
    """Let the vocabulary see its input in one piece.

    Of a slice, such as the last places of prompts, torch multiplies row by row, and copies the
    vocabulary for each of them: 21 GB for 64 rows and 262,144 words of 640 numbers in bfloat16.
    """
    layer = module.get_output_embeddings()
    if layer is None:
        yield
        return
    hook = layer.register_forward_pre_hook(lambda _, seen: (seen[0].contiguous(), *seen[1:]))
    try:
        yield
    finally:
        hook.remove()


def _criterion(over: Over, begun: int) -> Callable[..., torch.Tensor]:
    """Return what transformers asks after each token whether rows [B, L] are over."""

    def ended(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.tensor([over(row) for row in ids[:, begun:].tolist()], device=ids.device)

    return ended


def _beams(sampling: Sampling) -> int:
    return 1 if sampling.temperature > 0 else sampling.beams


def _draws(sampling: Sampling) -> dict[str, Any]:
    return {
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
    }


def _begins(module: Any, start: int, stops: Sequence[int]) -> dict[str, Any]:
    """Return how a decoder beside an encoder begins, and what it never writes."""
    pad = module.config.pad_token_id
    never = [] if pad is None or pad in stops else [pad]
    return {"decoder_start_token_id": start, "suppress_tokens": never or None}


def _padded(row: list[int], padding: list[int], behind: bool) -> list[int]:
    return row + padding if behind else padding + row


def _until(tokens: list[int], stops: Sequence[int], over: Over | None) -> list[int]:
    for count, token in enumerate(tokens, 1):
        if token in stops or (over is not None and over(tokens[:count])):
            return tokens[:count]
    return tokens

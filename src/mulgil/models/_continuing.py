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
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch

from mulgil.errors import ModelError
from mulgil.flow import Sampling
from mulgil.models import _checkpoints, _together
from mulgil.models._prefix import Prefix, window

_ROWS = 64
"""Prompts, each with its beams, that are continued at once."""

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


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """How prompts go on.

    Attributes:
        sampling: how to draw.
        room: new tokens at most.
        stops: ids that end a text.
        start: the token that the decoder beside an encoder begins with; None where there is none.
        heard: is told of each token of the one prompt, without beams.
        prefix: what stands before all prompts, read; its last token begins each prompt.
        over: says that a text is over, whatever its last token.
    """

    sampling: Sampling
    room: int
    stops: Sequence[int] = ()
    start: int | None = None
    heard: Pieces | None = None
    prefix: Prefix | None = None
    over: Over | None = None

    @property
    def beams(self) -> int:
        """Return how many beginnings of each text are kept."""
        return 1 if self.sampling.temperature > 0 else self.sampling.beams

    @property
    def head(self) -> list[int]:
        """Return the ids that are read for all prompts at once."""
        return [] if self.prefix is None else self.prefix.head


def drawn(
    module: Any, prompts: Sequence[list[int]], way: Way, measure: Measure
) -> list[tuple[list[int], list[float]]]:
    """Return the new tokens of each prompt, and ln p of each; torch's own generator stays as it is.

    Args:
        module: a transformers model that generates.
        prompts: token ids, at least one each.
        way: how they go on.
        measure: says how likely new tokens are.

    Raises:
        ModelError: the architecture cannot generate.
    """
    found: dict[int, tuple[list[int], list[float]]] = {}
    with torch.random.fork_rng([module.device] if module.device.type == "cuda" else []):
        torch.manual_seed(way.sampling.seed)
        for rows in batches(module, prompts, way):
            begun = [prompts[i] for i in rows]
            new = continued(module, begun, way)
            found |= zip(rows, zip(new, measure(begun, new), strict=True), strict=True)
    return [found[i] for i in range(len(prompts))]


def batches(module: Any, prompts: Sequence[Sequence[int]], way: Way) -> Iterator[list[int]]:
    """Yield the numbers of prompts that are continued together, the shortest prompts first."""
    # A module that takes no positions counts the padding as text: there, none is made.
    placed = way.start is not None or "position_ids" in inspect.signature(module.forward).parameters
    shared = len(way.head)
    if shared:  # a window counts padding behind what is shared as text
        longest = shared + max(map(len, prompts), default=0) + way.room
        placed = placed and longest <= window(module)
    most = _ROWS // way.beams
    return _together.batches(prompts, most, shared + way.room, way.beams, alike=not placed)


def continued(module: Any, prompts: list[list[int]], way: Way) -> list[list[int]]:
    """Return the new tokens of each prompt, up to and including the first that stops.

    Args:
        module: a transformers model of the "ForCausalLM" sort, or one of two parts.
        prompts: token ids, at least one each; what the encoder reads, where there is one.
        way: how they go on; torch's global generator is drawn from.

    Raises:
        ModelError: the architecture cannot generate.
    """
    from transformers import GenerationConfig

    if not module.can_generate():
        raise ModelError(f"{type(module).__name__} cannot generate; use one like gpt2 or llama")
    longest, head = max(map(len, prompts)), way.head
    beside = way.start is not None
    # Padded with a row's own first token: the mask hides it, and the penalty for repetition,
    # which knows no mask, has seen that token anyway.
    ids = [head + _padded(p, [p[0]] * (longest - len(p)), beside) for p in prompts]
    mask = [
        [1] * len(head) + _padded([1] * len(p), [0] * (longest - len(p)), beside) for p in prompts
    ]
    begun = 1 if beside else len(head) + longest
    more: dict[str, Any] = {}
    if way.prefix is not None:
        more["past_key_values"] = way.prefix.copied(len(prompts) * way.beams)
    if way.over is not None:
        more["stopping_criteria"] = [_criterion(way.over, begun)]
    own = module.generation_config
    module.generation_config = GenerationConfig()  # the checkpoint's would fill what is not chosen
    try:
        with _checkpoints.quiet(), _in_one_piece(module):
            texts = module.generate(
                input_ids=torch.tensor(ids, device=module.device),
                attention_mask=torch.tensor(mask, device=module.device),
                generation_config=GenerationConfig(**_chosen(module, way)),
                streamer=way.heard,
                **more,
            )
    finally:
        module.generation_config = own
    return [_until(text, way.stops, way.over) for text in texts[:, begun:].tolist()]


def _chosen(module: Any, way: Way) -> dict[str, Any]:
    """Return what of transformers' generation settings is not off."""
    sampling = way.sampling
    chosen = {
        "max_new_tokens": way.room,
        "do_sample": sampling.temperature > 0,
        "num_beams": way.beams,
        "repetition_penalty": sampling.repetition_penalty,
        "eos_token_id": list(way.stops) or None,
        "pad_token_id": way.stops[0] if way.stops else 0,
    }
    if sampling.temperature > 0:
        chosen |= {name: getattr(sampling, name) for name in ("temperature", "top_k", "top_p")}
    if way.start is not None:
        pad = module.config.pad_token_id
        never = [] if pad is None or pad in way.stops else [pad]
        chosen |= {"decoder_start_token_id": way.start, "suppress_tokens": never or None}
    return chosen


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


def _padded(row: list[int], padding: list[int], behind: bool) -> list[int]:
    return row + padding if behind else padding + row


def _until(tokens: list[int], stops: Sequence[int], over: Over | None) -> list[int]:
    for count, token in enumerate(tokens, 1):
        if token in stops or (over is not None and over(tokens[:count])):
            return tokens[:count]
    return tokens

"""What the config of an encoder-decoder says of its two sides, before anything is opened.

Chosen: the names that transformers' architectures use, read off the plain values, so that the
settings of a run are checked without torch. Both sides must read one vocabulary, since a run has
one tokenizer. It costs checkpoints with a vocabulary a side, such as many of Marian's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mulgil.errors import ModelError
from mulgil.models import _positions

_POSITIONS = {
    "encoder": ("max_encoder_position_embeddings", "max_position_embeddings"),
    "decoder": ("max_decoder_position_embeddings", "max_position_embeddings"),
}
_WORDS = ("vocab_size", "decoder_vocab_size", "src_vocab_size", "tgt_vocab_size")


def longest(config: Mapping[str, Any], side: str) -> int | None:
    """Return how many tokens a side's table of positions allows; None knows no limit.

    Args:
        config: a model's config, or that of an encoder alone.
        side: "encoder" or "decoder".
    """
    inner = config.get(side)
    held = inner if isinstance(inner, Mapping) else config
    return _positions.longest(held, _POSITIONS[side])


def fits(config: Mapping[str, Any], name: str, tokens: int) -> None:
    """Refuse a checkpoint whose sides differ in their vocabulary, or that has too few tokens.

    Args:
        config: its config.
        name: what messages call it.
        tokens: tokens that the tokenizer has.

    Raises:
        ModelError: one tokenizer cannot serve it.
    """
    inner = (config.get(side) for side in ("encoder", "decoder"))
    parts = (config, *(part for part in inner if isinstance(part, Mapping)))
    sizes = {value for part in parts for key in _WORDS if isinstance(value := part.get(key), int)}
    if len(sizes) > 1 or config.get("share_encoder_decoder_embeddings") is False:
        raise ModelError(
            f"{name}: each of its sides has a vocabulary of its own, and a run has one tokenizer;"
            " take a checkpoint whose sides share theirs, such as T5 or BART"
        )
    if tokens > max(sizes, default=0):
        raise ModelError(
            f"{name}: its tokenizer has {tokens:,} tokens, its embedding table"
            f" {max(sizes, default=0):,} rows; the two files are not of one model"
        )

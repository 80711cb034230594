"""The longest row that a model's table of positions allows, read off its config.

Chosen: the names that transformers' architectures use, and a list of those that number positions
from behind the padding token, whose table has so many rows fewer for text. It costs a new name here
where an architecture counts in a new way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")
"""What configs call the number of positions."""

_SHIFTED = {
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "layoutlmv3",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "mluke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
"""Kinds whose positions begin behind the padding token's number."""


def longest(config: Mapping[str, Any], names: Sequence[str] = NAMES) -> int | None:
    """Return the longest row in tokens, special ones included; None knows no limit.

    Args:
        config: a model's config, or that of one side of it.
        names: what it may call the number of positions, the first that is there counts.
    """
    values = (config.get(name) for name in names)
    found = next((value for value in values if isinstance(value, int)), None)
    if found is None or config.get("model_type") not in _SHIFTED:
        return found
    return found - int(config.get("pad_token_id", 1) or 0) - 1


def plain(config: Any) -> dict[str, Any]:
    """Return what `longest` reads of a config that is an object of transformers."""
    return {name: getattr(config, name, None) for name in (*NAMES, "model_type", "pad_token_id")}

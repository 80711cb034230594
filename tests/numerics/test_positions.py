"""The longest row is one that the model's table of positions holds, and no token shorter."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from mulgil.models import _positions

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
}
KINDS = ["bert", "electra", "roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "ibert"]
KINDS += ["roberta-prelayernorm", "xlm-roberta-xl", "data2vec-text"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_row_fits(kind: str) -> None:
    """One token more points behind the table."""
    more = {"attention_window": [4]} if kind == "longformer" else {}
    config = AutoConfig.for_model(kind, **SIZES, **more)
    model = AutoModel.from_config(config).eval()

    def run(length: int) -> None:
        ids = torch.full((1, length), 7)
        with torch.no_grad():
            model(input_ids=ids)

    longest = _positions.longest(config.to_dict())
    assert longest == _positions.longest(_positions.plain(config))
    assert longest is not None
    run(longest)
    if kind != "longformer":  # which fills rows up to its window
        with pytest.raises((IndexError, RuntimeError)):
            run(longest + 1)

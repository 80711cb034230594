"""`model.dropout`: a checkpoint's own rate stays, a rate that is named reaches every part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from mulgil import registry
from mulgil.flow import Head

HEADS = {
    "encoder": [Head("pool", 2), Head("pool", 2, "mean"), Head("tokens", 3, places=2)],
    "decoder": [Head("score", 0)],
}
BUNDLED = {"encoder": "mulgil/mini", "decoder": "mulgil/mini-gpt"}


def network(name: str, head: Head, **settings: Any) -> Any:
    plugin = registry.load("models", name)
    model = plugin(plugin.Settings(pretrained=BUNDLED[name], **settings))
    tokenizers = registry.load("tokenizers", "subword")
    tokenizer = tokenizers.make(tokenizers.Settings(), model.source(), [], 7)
    return model.build(tokenizer, head, "fp32", "cpu", 7)


def rates(made: Any) -> set[float]:
    return {part.p for part in made.module.modules() if isinstance(part, nn.Dropout)}


@pytest.mark.parametrize(("name", "head"), [(n, h) for n, heads in HEADS.items() for h in heads])
def test_a_rate_that_is_named_reaches_every_part(name: str, head: Head, tmp_path: Path) -> None:
    assert rates(network(name, head)) == {0.1}, "the bundled models' own"
    made = network(name, head, dropout=0.25)
    assert rates(made) == {0.25}
    made.save(tmp_path, ["가", "나", "다"][: head.outputs])
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    told = {k: v for k, v in config.items() if "drop" in k and isinstance(v, float)}
    assert told
    assert {*told.values()} <= {0.25}
    assert rates(network(name, head, dropout=0.0)) == {0.0}

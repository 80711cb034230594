"""Whether a checkpoint's head is taken over, and what plain transformers is told of a head."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

from mulgil.flow import Head
from mulgil.models._heads import HEAD_FILE, keep_head
from mulgil.models.decoder import Decoder
from mulgil.models.encoder import Encoder, EncoderSettings
from mulgil.tokenizers.subword import Subword, SubwordSettings

LABELS = ("긍정", "부정", "중립")
HEAD = Head("pool", 3, labels=LABELS)


def head_of(source: Path, head: Head = HEAD, seed: int = 5, **settings: Any) -> dict[str, Any]:
    """Return the weights outside the body of a network with this head."""
    model = Encoder(EncoderSettings(pretrained=str(source), **settings))
    tokenizer = Subword.make(SubwordSettings(max_length=32), model.source(), [], 1)
    network: Any = model.build(tokenizer, head, "fp32", "cpu", seed)
    body = {id(weight) for weight in network.body.parameters()}
    return {n: w.detach() for n, w in network.module.named_parameters() if id(w) not in body}


def alike(one: dict[str, Any], other: dict[str, Any]) -> dict[str, bool]:
    assert one.keys() == other.keys()
    return {n: torch.equal(one[n], other[n]) for n in one if n.endswith("weight")}


@pytest.fixture(params=["bert", "roberta", "electra"])
def tuned(
    request: pytest.FixtureRequest, tiny_encoder: dict[str, Path], tmp_path: Path
) -> tuple[Path, dict[str, Any]]:
    """A checkpoint that has learnt three labels, and the weights of its head."""
    folder = tmp_path / "tuned"
    model = Encoder(EncoderSettings(pretrained=str(tiny_encoder[request.param])))
    tokenizer = Subword.make(SubwordSettings(max_length=32), model.source(), [], 1)
    network: Any = model.build(tokenizer, HEAD, "fp32", "cpu", 99)
    folder.mkdir()
    tokenizer.save(folder)
    network.save(folder, LABELS)
    body = {id(weight) for weight in network.body.parameters()}
    kept = {n: w.detach() for n, w in network.module.named_parameters() if id(w) not in body}
    return folder, kept


def test_a_new_head_is_new(tuned: tuple[Path, dict[str, Any]]) -> None:
    """EV-10: three outputs are not the same three labels; the seed decides the weights."""
    folder, old = tuned
    others = [("나쁨", "보통", "좋음"), ("부정", "긍정", "중립"), ()]
    for labels in others:
        head = dataclasses.replace(HEAD, labels=labels)
        found = head_of(folder, head)
        assert not any(alike(found, old).values()), labels
        assert all(alike(found, head_of(folder, head)).values())
        assert not any(alike(found, head_of(folder, head, seed=6)).values())
        assert all(0 < float(w.std()) < 1 for n, w in found.items() if n.endswith("weight"))


def test_the_same_labels_go_on_with_their_head(tuned: tuple[Path, dict[str, Any]]) -> None:
    """EV-10: same names in the same order: what was learnt of them is kept."""
    folder, old = tuned
    assert all(alike(head_of(folder), old).values())
    assert not any(alike(head_of(folder, weights="random"), old).values())


def test_a_head_on_the_mean_goes_on_too(tiny_encoder: dict[str, Path], tmp_path: Path) -> None:
    model = Encoder(EncoderSettings(pretrained=str(tiny_encoder["bert-no-pooler"])))
    tokenizer = Subword.make(SubwordSettings(max_length=32), model.source(), [], 1)
    network: Any = model.build(tokenizer, HEAD, "fp32", "cpu", 99)
    tokenizer.save(tmp_path)
    network.save(tmp_path, LABELS)
    keep_head(tmp_path, network.module.classifier)
    assert (tmp_path / HEAD_FILE).exists()
    old = {f"classifier.{n}": w.detach() for n, w in network.module.classifier.named_parameters()}
    assert all(alike(head_of(tmp_path), old).values())
    swapped = dataclasses.replace(HEAD, labels=LABELS[::-1])
    assert not any(alike(head_of(tmp_path, swapped), old).values())


@pytest.mark.parametrize("family", [Encoder, Decoder])
@pytest.mark.parametrize(
    ("head", "said"),
    [
        (HEAD, "single_label_classification"),
        (dataclasses.replace(HEAD, several=True), "multi_label_classification"),
        (Head("rate", 1, labels=("rating",)), "regression"),
    ],
)
def test_the_config_says_what_is_asked(
    family: type[Encoder] | type[Decoder],
    head: Head,
    said: str,
    tiny_encoder: dict[str, Path],
    tmp_path: Path,
) -> None:
    """PR-04: plain pipelines take a sigmoid a label where there may be several, and no softmax."""
    first: Any = Encoder(EncoderSettings(pretrained=str(tiny_encoder["bert"])))
    tokenizer = Subword.make(SubwordSettings(max_length=32), first.source(), [], 1)
    settings = {"hidden": 16, "layers": 1, "heads": 2, "positions": 40}
    model = first if family is Encoder else family(family.Settings(**settings))
    network: Any = model.build(tokenizer, head, "fp32", "cpu", 5)
    tokenizer.save(tmp_path)
    network.save(tmp_path, head.labels)
    told = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert told["problem_type"] == said
    if family is Decoder:
        return
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    (found,) = pipeline("text-classification", str(tmp_path), top_k=None)(["정말 재밌는 영화"])
    shares = np.array([row["score"] for row in found])
    assert plain.config.problem_type == said
    ids = tokenizer.encode(["정말 재밌는 영화"]).take(np.arange(1), 8)
    scores = network.scores(ids)[0].astype(float)
    if head.several:
        assert sorted(shares) == pytest.approx(sorted(1 / (1 + np.exp(-scores))), abs=1e-4)
    elif len(head.labels) > 1:
        assert shares.sum() == pytest.approx(1, abs=1e-5)

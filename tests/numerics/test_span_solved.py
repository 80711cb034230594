"""Solved heads of a network that scores characters: what they read, and their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_span_network import HEAD, OUTPUTS, PLACES, located, module, theirs
from torch import nn
from transformers import AutoModelForTokenClassification

from mulgil.errors import ModelError
from mulgil.flow import Array
from mulgil.models._spans import SpanNetwork, opened

NAMES = ["O", "B-곳", "I-곳"]


def drawn(width: int) -> tuple[Array, Array]:
    draw = np.random.default_rng(3)
    return draw.normal(size=(PLACES * OUTPUTS, width)), draw.normal(size=PLACES * OUTPUTS)


@pytest.mark.parametrize("kind", ["Bert", "XLMRoberta", "Electra", "DistilBert"])
def test_features_times_a_head_are_the_scores(kind: str) -> None:
    """TK-10: fast and plain, for every place, the last one shared by what stands behind it."""
    inputs = located(kinds=True)
    network = SpanNetwork(module(kind), HEAD, "fp32", "cpu")
    before = network.scores(inputs)
    features = network.features(inputs)
    assert (features.shape, features.dtype) == ((len(inputs.tokens), 32), np.float32)
    weight, bias = drawn(32)
    network.set_head(weight, bias)
    scores = (features @ weight.T + bias).reshape(-1, PLACES, OUTPUTS)
    places = inputs.places.clip(max=PLACES - 1)
    expected = scores[np.arange(len(scores)), places]
    assert np.abs(network.scores(inputs) - expected).max() < 1e-4
    assert np.abs(network.scores(inputs) - before).max() > 0.1
    assert np.abs(network.features(inputs) - features).max() < 1e-6, "the head is not part of them"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_solved_head_is_saved_whole_and_opens_in_plain_transformers(
    precision: str, tmp_path: Path
) -> None:
    """EX-01: whatever the precision of the features, the head that was solved is the one kept."""
    inputs = located()
    network = SpanNetwork(module("Bert"), HEAD, precision, "cpu")
    network.features(inputs)
    weight, bias = drawn(32)
    network.set_head(weight, bias)
    ours = network.scores(inputs)
    network.save(tmp_path, NAMES)
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    assert (plain.classifier.weight.numpy(force=True) == weight.astype(np.float32)).all()
    with torch.no_grad():
        exact = theirs(plain, inputs).numpy()
    assert np.abs(ours - exact).max() < (1e-4 if precision == "fp32" else 0.6)
    again = opened(tmp_path, HEAD, precision, "cpu", whole=True)
    assert np.abs(again.scores(inputs) - ours).max() < 1e-5


def test_a_head_that_is_no_single_layer_is_refused() -> None:
    made = module("Electra")
    made.classifier = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, OUTPUTS * PLACES))
    network = SpanNetwork(made, HEAD, "fp32", "cpu")
    with pytest.raises(ModelError, match=r"no single linear layer.*take method full"):
        network.features(located())
    with pytest.raises(ModelError, match="no single linear layer"):
        network.set_head(*drawn(32))

"""TextCNN and recurrent bodies against plain numpy, word by word, as the papers write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mulgil.flow import Array
from mulgil.models._recurrent import RecurrentBody, RecurrentConfig
from mulgil.models._textcnn import TextCnnBody, TextCnnConfig

WORDS, WIDTH, HIDDEN = 30, 6, 5
LENGTHS = (7, 1, 4, 9)
IDS = np.random.default_rng(3).integers(1, WORDS, (len(LENGTHS), max(LENGTHS)))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def weighed(body: Any) -> dict[str, Array]:
    """Give a body weights far from zero, and return them in float64."""
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in body.parameters():
            weight.normal_(std=0.7)
    body.eval()
    return {name: weight.detach().double().numpy() for name, weight in body.named_parameters()}


def found(body: Any) -> tuple[list[Array], Array]:
    """Return each row's states, and the texts' vectors."""
    ids = torch.from_numpy(IDS)
    mask = (torch.arange(ids.shape[1]) < torch.tensor(LENGTHS)[:, None]).long()
    with torch.no_grad():
        states = body(ids, mask)[0]
        vectors = body.pooled(states, mask).numpy()
    return [row[:length].numpy() for row, length in zip(states, LENGTHS, strict=True)], vectors


def sigmoid(x: Array) -> Array:
    """Return the logistic function."""
    return np.asarray(1 / (1 + np.exp(-x)))


def lstm(x: Array, h: Array, c: Array, w: Callable[[str], Array]) -> tuple[Array, Array]:
    """Hochreiter and Schmidhuber 1997 with forget gates (Gers et al. 2000)."""
    raw = w("weight_ih") @ x + w("bias_ih") + w("weight_hh") @ h + w("bias_hh")
    enter, forget, new, leave = np.split(raw, 4)
    c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(new)
    return sigmoid(leave) * np.tanh(c), c


def gru(x: Array, h: Array, c: Array, w: Callable[[str], Array]) -> tuple[Array, Array]:
    """Cho et al. 2014, the reset gate behind the product as torch has it."""
    read, kept = w("weight_ih") @ x + w("bias_ih"), w("weight_hh") @ h + w("bias_hh")
    (r, z, n), (hr, hz, hn) = np.split(read, 3), np.split(kept, 3)
    z = sigmoid(z + hz)
    return (1 - z) * np.tanh(n + sigmoid(r + hr) * hn) + z * h, c


def plain(x: Array, h: Array, c: Array, w: Callable[[str], Array]) -> tuple[Array, Array]:
    """Elman 1990."""
    return np.tanh(w("weight_ih") @ x + w("bias_ih") + w("weight_hh") @ h + w("bias_hh")), c


STEPS = {"lstm": lstm, "gru": gru, "rnn": plain}


def read(cell: str, words: Array, weights: dict[str, Array], prefix: str) -> Array:
    """Return the states of one direction, a word after the other."""
    h, c, states = np.zeros(HIDDEN), np.zeros(HIDDEN), []
    for word in words:
        h, c = STEPS[cell](word, h, c, lambda name: weights[f"{prefix}.{name}_l0"])
        states.append(h)
    return np.array(states)


def pooled(way: str, states: Array, weights: dict[str, Array]) -> Array:
    """Return a text's vector."""
    if way == "max":
        return np.asarray(states.max(0))
    if way == "mean":
        return np.asarray(states.mean(0))
    if way == "last":
        return np.concatenate([states[-1, :HIDDEN], states[0, HIDDEN:]])
    inner = np.tanh(states @ weights["scorer.0.weight"].T + weights["scorer.0.bias"])
    score = (inner @ weights["scorer.2.weight"].T)[:, 0]
    share = np.exp(score) / np.exp(score).sum()
    return np.asarray(share @ states)


@pytest.mark.parametrize("way", ["attention", "max", "mean", "last"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", STEPS)
def test_recurrent_networks(cell: str, layers: int, directions: int, way: str) -> None:
    """States and vectors of rows of many lengths in one batch."""
    config = RecurrentConfig(
        vocab_size=WORDS, embedding=WIDTH, cell=cell, hidden=HIDDEN, layers=layers,
        directions=directions, hidden_size=directions * HIDDEN, pooling=way, dropout=0.3,
    )  # fmt: skip
    body = RecurrentBody(config)
    weights = weighed(body)
    states, vectors = found(body)
    for row, length in enumerate(LENGTHS):
        known = weights["words.weight"][IDS[row, :length]]
        for layer in range(layers):
            ways = [read(cell, known, weights, f"layers.{layer}.0")]
            if directions == 2:
                ways.append(read(cell, known[::-1], weights, f"layers.{layer}.1")[::-1])
            known = np.concatenate(ways, 1)
        assert np.abs(states[row] - known).max() < 1e-5
        assert np.abs(vectors[row] - pooled(way, known, weights)).max() < 1e-5


@pytest.mark.parametrize("kernels", [(3, 4, 5), (1, 2), (9,)])
def test_textcnn(kernels: tuple[int, ...]) -> None:
    """The windows around every word, zeros outside the text; the largest of each filter."""
    config = TextCnnConfig(
        vocab_size=WORDS, embedding=WIDTH, kernels=list(kernels), filters=4,
        hidden_size=4 * len(kernels), dropout=0.5,
    )  # fmt: skip
    body = TextCnnBody(config)
    weights = weighed(body)
    states, vectors = found(body)
    for row, length in enumerate(LENGTHS):
        words = weights["words.weight"][IDS[row, :length]]
        expected = np.zeros((length, config.hidden_size))
        for number, size in enumerate(kernels):
            filters = weights[f"kernels.{number}.weight"].reshape(4, size, WIDTH)
            for word in range(length):
                total = weights[f"kernels.{number}.bias"].copy()
                for place in range(size):
                    at = word + place - (size - 1) // 2
                    if 0 <= at < length:
                        total += filters[:, place] @ words[at]
                expected[word, 4 * number : 4 * number + 4] = np.maximum(total, 0)
        assert np.abs(states[row] - expected).max() < 1e-5
        assert np.abs(vectors[row] - expected.max(0)).max() < 1e-5
        assert expected.max() > 0.1

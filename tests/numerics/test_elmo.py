"""ELMo against plain arithmetic: states, gradients, guesses from both sides, files."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Batch, Blanks, Head
from mulgil.methods._gradient import GradientLearner
from mulgil.models._elmo import BEGIN, END, ElmoBody, spelling
from mulgil.models._elmo_language import FILE, ElmoLanguage
from mulgil.models._elmo_lstm import Lstm, steps
from mulgil.models.elmo import Elmo, ElmoSettings
from mulgil.models.textcnn import Textcnn
from mulgil.recipe import TrainerSettings

PIECES = ["[PAD]", "[CLS]", "[SEP]", "재밌다", "재밌음", "##는", "영화", "a", "", "돈이아깝다", "!"]
SIZES: dict[str, Any] = {
    "projection": 6,
    "cells": 5,
    "filters": [[1, 3], [2, 4], [4, 5]],
    "letter_width": 4,
    "longest": 12,
    "dropout": 0.0,
}
LENGTHS = (3, 9, 5, 9, 2)
BOTH = Head("both", 0)
POOL = Head("pool", 2)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def tokenizer(size: int = len(PIECES)) -> Any:
    """Return what a family asks of a tokenizer."""
    pieces = [*PIECES, *(f"x{number}" for number in range(size - len(PIECES)))]
    special = {"pad": 0, "cls": 1, "sep": 2}
    return SimpleNamespace(size=size, special_ids=special, pieces=lambda: pieces)


def network(head: Head = BOTH, precision: str = "fp32", size: int = 11, **settings: Any) -> Any:
    """Return a network whose weights are far from zero."""
    sizes = {} if "pretrained" in settings else SIZES
    made: Any = Elmo(ElmoSettings(**(sizes | settings))).build(
        tokenizer(size), head, precision, "cpu", 5
    )
    if "pretrained" not in settings:
        with torch.no_grad():
            for weight in made.module.parameters():
                weight.normal_(std=0.4)
    return made


def rows() -> Blanks:
    draw = np.random.default_rng(3)
    lengths = np.array(LENGTHS)
    ids = draw.integers(3, len(PIECES), (len(lengths), 12))
    inside = np.arange(12) < lengths[:, None]
    ids[:, 0], ids[~inside] = 1, 0
    ids[np.arange(len(lengths)), lengths - 1] = 2
    targets = np.full(ids.shape, UNASKED)
    targets[:, :-1] = ids[:, 1:]
    targets[np.arange(12) >= lengths[:, None] - 1] = UNASKED
    return Blanks(ids, lengths, targets, np.ones(len(lengths)))


def tensors(asked: Blanks) -> tuple[Tensor, Tensor]:
    mask = np.arange(asked.ids.shape[1]) < asked.lengths[:, None]
    return torch.from_numpy(asked.ids), torch.from_numpy(mask).long()


# ---------------------------------------------------------------- plain arithmetic


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def spelt(weights: dict[str, Array], token: int) -> Array:
    """Return a token's vector: filters at their best places, a highway layer, a projection."""
    letters = weights["spelt.known.weight"][weights["spelling"][token]]  # [C, D]
    found = []
    for number, (width, _) in enumerate(SIZES["filters"]):
        kernel, bias = (weights[f"spelt.filters.{number}.{n}"] for n in ("weight", "bias"))
        places = [
            kernel @ letters[at : at + width].reshape(-1) + bias
            for at in range(len(letters) - width + 1)
        ]
        found.append(np.maximum(np.max(places, 0), 0))
    x = np.concatenate(found)
    both = weights["spelt.highways.0.weight"] @ x + weights["spelt.highways.0.bias"]
    gate = sigmoid(both[len(x) :])
    x = gate * np.maximum(both[: len(x)], 0) + (1 - gate) * x
    projected: Array = weights["spelt.project.weight"] @ x + weights["spelt.project.bias"]
    return projected


def run(weights: dict[str, Array], layer: str, row: Array) -> Array:
    """Return an LSTM's states [L, P] of what it reads [L, P], in that order."""
    read, recall, bias, project = (
        weights[f"{layer}.{name}"] for name in ("read", "recall", "bias", "project")
    )
    state, cell, found = np.zeros(len(project)), np.zeros(project.shape[1]), []
    for x in row:
        keep, forget, new, let = np.split(read @ x + recall @ state + bias, 4)
        cell = sigmoid(forget) * cell + sigmoid(keep) * np.tanh(new)
        state = project @ (sigmoid(let) * np.tanh(cell))
        found.append(state)
    return np.array(found)


def layers(weights: dict[str, Array], row: Array) -> list[tuple[Array, Array]]:
    """Return the states from the left and from the right of all layers, [L, P] each."""
    left = right = np.array([spelt(weights, token) for token in row])
    found = [(left, right)]
    for number in range(2):
        fresh = run(weights, f"layers.{number}.left", left)
        other = run(weights, f"layers.{number}.right", right[::-1])[::-1]
        left, right = (fresh + left, other + right) if number else (fresh, other)
        found.append((left, right))
    return found


def exact(body: Any) -> dict[str, Array]:
    return {
        name: value.double().numpy() if value.is_floating_point() else value.numpy()
        for name, value in body.state_dict().items()
    }


def test_states_are_those_of_plain_arithmetic() -> None:
    """TR-04: rows of unlike length in one batch, each token within 1e-5; zeros behind a row."""
    body, asked = network().body, rows()
    weights = exact(body)
    with torch.no_grad():
        (states,) = body(*tensors(asked))
    shares = np.exp(weights["mix"]) / np.exp(weights["mix"]).sum() * weights["gamma"]
    for row, length, found in zip(asked.ids, asked.lengths, states.numpy(), strict=True):
        wanted = sum(
            share * np.concatenate(pair, 1)
            for share, pair in zip(shares, layers(weights, row[:length]), strict=True)
        )
        assert np.abs(found[:length] - wanted).max() < 1e-5
        assert not found[length:].any()


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("projection", [None, 3])
def test_gradients_are_those_of_torch(projection: int | None) -> None:
    """Of the weights and of what is read, in both directions, for one more row than a step fits."""
    torch.manual_seed(2)
    made = Lstm(6, 5, projection)
    wanted = nn.LSTM(6, 5, batch_first=True, proj_size=projection or 0)
    names = {"weight_ih_l0": made.read, "weight_hh_l0": made.recall, "bias_ih_l0": made.bias}
    if projection:
        names["weight_hr_l0"] = made.project
    with torch.no_grad():
        wanted.bias_hh_l0.zero_()
        for name, weight in names.items():
            wanted.get_parameter(name).copy_(weight)
    lengths = torch.tensor([4, 9, 1, 20, 7, *[2] * 12])
    x = torch.randn(int(lengths.sum()), 6, requires_grad=True)
    for by, turned in zip(steps(lengths), (False, True), strict=True):
        found, others = made(x, by), []
        for row in x.split(lengths.tolist()):
            states = wanted(row.flip(0)[None] if turned else row[None])[0][0]
            others.append(states.flip(0) if turned else states)
        other = torch.cat(others)
        assert torch.allclose(found, other, atol=1e-6)
        weight = torch.randn_like(other)
        ours = torch.autograd.grad((found * weight).sum(), [x, *names.values()])
        theirs = torch.autograd.grad(
            (other * weight).sum(), [x, *(wanted.get_parameter(name) for name in names)]
        )
        for one, two in zip(ours, theirs, strict=True):
            assert torch.allclose(one, two, atol=1e-5)


# ---------------------------------------------------------------- guesses


def test_loss_and_nats_are_the_mean_of_both_sides() -> None:
    """EV-05: by a softmax over the plain states; a place counts once, half where one is right."""
    made, asked = network(), rows()
    weights, words = exact(made.body), exact(made.module.vocabulary)
    nats, right = [], []
    for row, length in zip(asked.ids, asked.lengths, strict=True):
        left, back = layers(weights, row[:length])[-1]
        for states, targets in ((left[:-1], row[1:length]), (back[1:], row[: length - 1])):
            scores = states @ words["weight"].T + words["bias"]
            chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            nats.append(-np.log(chances[np.arange(length - 1), targets]))
            right.append(scores.argmax(1) == targets)
    wanted = np.concatenate([(a + b) / 2 for a, b in zip(nats[::2], nats[1::2], strict=True)])
    halves = np.concatenate(
        [(a + 0.0 + b) / 2 for a, b in zip(right[::2], right[1::2], strict=True)]
    )
    found, share = made.nats(asked)
    assert len(found) == sum(LENGTHS) - len(LENGTHS)
    assert found == pytest.approx(wanted, abs=1e-5)
    assert share.tolist() == halves.tolist()
    assert made.loss(asked).item() == pytest.approx(wanted.sum(), rel=1e-5)


def test_no_side_sees_what_it_guesses() -> None:
    """A token changes no guess from the left before it, and none from the right behind it."""
    made, asked = network(), rows()
    row = Blanks(asked.ids[1:2, :9], asked.lengths[1:2], asked.targets[1:2, :9], asked.bytes[1:2])
    other = row.ids.copy()
    other[0, 4] = 3 + (other[0, 4] - 2) % 8
    changed = Blanks(other, row.lengths, row.targets, row.bytes)
    with torch.no_grad():
        (left, _), (right, _) = made._asked(row)
        (left2, _), (right2, _) = made._asked(changed)
    same = [torch.allclose(a, b, atol=1e-6) for a, b in zip(left, left2, strict=True)]
    assert same == [True] * 4 + [False] * 4
    same = [torch.allclose(a, b, atol=1e-6) for a, b in zip(right, right2, strict=True)]
    assert same == [False] * 4 + [True] * 4


def test_a_row_is_answered_the_same_in_any_company() -> None:
    """EV-05: alone, and beside others, for a text's score and for its likelihood."""
    asked = rows()
    language, scored = network(), network(POOL, top="lstm", top_hidden=4, pooling="max")
    nats, scores = language.nats(asked)[0], scored.scores(asked)
    alone, single = [], []
    for number, length in enumerate(LENGTHS):
        row, here = slice(number, number + 1), slice(0, length)
        one = Blanks(
            asked.ids[row, here], asked.lengths[row], asked.targets[row, here], asked.bytes[row]
        )
        alone.append(language.nats(one)[0])
        single.append(scored.scores(one))
    assert np.concatenate(alone) == pytest.approx(nats, abs=1e-5)
    assert np.concatenate(single) == pytest.approx(scores, abs=1e-5)
    assert np.ptp(scores, 0).min() > 1e-3


def taught(made: Any, asked: Blanks, count: int = 12) -> Any:
    task = SimpleNamespace(loss=lambda scores, gold, _: nn.functional.cross_entropy(scores, gold))
    learner = GradientLearner(task, made, None, TrainerSettings())
    learner.seed(1)
    golds = None if isinstance(made, ElmoLanguage) else np.array([0, 1, 0, 1, 1])
    inputs: Any = asked if golds is None else SimpleNamespace(ids=asked.ids, lengths=asked.lengths)
    for _ in range(count):
        _, weight = learner.backward(Batch(np.arange(len(LENGTHS)), inputs, golds))
        assert np.isfinite(learner.update(1e-2, 1.0, weight))
    return learner


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_lower_the_loss_and_what_is_saved_says_the_same(
    precision: str, tmp_path: Path
) -> None:
    """CK-01: also as transformers opens it, whose body is ours with the same states."""
    made, asked = network(precision=precision, dropout=0.1), rows()
    before = made.nats(asked)[0].mean()
    taught(made, asked)
    wanted = made.nats(asked)[0]
    assert wanted.mean() < 0.9 * before
    made.save(tmp_path, ())
    again: Any = Elmo.load(tmp_path, BOTH, precision, "cpu")
    assert again.nats(asked)[0] == pytest.approx(wanted, abs=1e-6)
    opened = transformers.AutoModel.from_pretrained(tmp_path)
    assert isinstance(opened, ElmoBody)
    for name, value in opened.state_dict().items():
        assert torch.equal(value, made.body.state_dict()[name]), name
    further = network(precision=precision, pretrained=str(tmp_path))
    assert further.nats(asked)[0] == pytest.approx(wanted, abs=1e-6)


# ---------------------------------------------------------------- downstream


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upstream")
    network().save(folder, ())
    return folder


@pytest.mark.parametrize("freeze", [True, False])
def test_what_learns_downstream(freeze: bool, upstream: Path, tmp_path: Path) -> None:
    """Frozen, the mix and what stands above it alone; what is saved scores the same."""
    own = {"top": "lstm", "top_hidden": 4, "top_words": 3}
    made = network(POOL, pretrained=str(upstream), freeze=freeze, **own)
    body, asked = made.body, rows()
    kept = {name: value.clone() for name, value in body.state_dict().items()}
    learner = taught(made, asked)
    scores = made.scores(asked)
    made.save(tmp_path, ["가", "나"])
    moved = {n for n, value in body.state_dict().items() if not torch.equal(value, kept[n])}
    assert {"mix", "gamma", "words.weight", "top.left.read", "top.right.recall"} <= moved
    below = {name for name in kept if name.startswith(("spelt", "layers"))}
    assert (below & moved == set()) if freeze else (below <= moved)
    assert learner.trainable == sum(p.numel() for p in made.module.parameters() if p.requires_grad)
    again: Any = Elmo.load(tmp_path, POOL, "fp32", "cpu")
    assert again.scores(asked) == pytest.approx(scores, abs=1e-6)
    for name, value in exact(again.body).items():
        assert (value == exact(body)[name]).all(), name
    without = network(POOL, pretrained=str(tmp_path))
    assert without.body.top is without.body.table is None
    assert without.features(asked).shape == (len(LENGTHS), 2 * SIZES["projection"])


def test_a_fresh_one_learns_whole() -> None:
    assert all(weight.requires_grad for weight in network(POOL).module.parameters())


def test_tokens_in_bfloat16_are_near() -> None:
    asked = rows()
    scores = [network(POOL, precision).scores(asked) for precision in ("fp32", "bf16")]
    assert np.abs(scores[0] - scores[1]).max() < 0.05 * max(1.0, np.abs(scores[0]).max())


# ---------------------------------------------------------------- spelling and refusals


def test_words_share_their_jamo() -> None:
    table, letters = spelling([None, "재밌다", "재밌음", "##재밌", "재밌다며칠"], True, 10)
    assert table[0].tolist() == [letters - 1, *[0] * 9]
    assert (table[1:, 0] == BEGIN).all()
    assert table[1, 1:6].tolist() == table[2, 1:6].tolist() == table[3, 2:7].tolist()
    assert (table[1] == END).argmax() == 8
    assert table[4, 9] == END, "what is longer is cut, and ends all the same"
    whole, more = spelling([None, "재밌다", "재밌음"], False, 10)
    assert (whole[1:, :5] > 0).sum() == 10
    assert (whole.shape, more) == ((3, 5), 8)


def test_what_does_not_fit_is_refused_in_one_line(upstream: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its model spells 11 tokens, its tokenizer has 9"):
        network(POOL, size=9, pretrained=str(upstream))
    with pytest.raises(ModelError, match="its model spells 11 tokens, its tokenizer has 12"):
        network(size=12, pretrained=str(upstream))
    with pytest.raises(ModelError, match='holds a "mulgil-elmo", not a "mulgil-textcnn"'):
        Textcnn(Textcnn.Settings(pretrained=str(upstream))).source()
    config = json.loads((upstream / "config.json").read_text("utf-8"))
    for path in upstream.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    with pytest.raises(ModelError, match='holds a "bert", not a "mulgil-elmo"'):
        network(POOL, pretrained=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config | {"cells": 7}))
    with pytest.raises(ModelError, match=r"do not fit its config\.json"):
        network(POOL, pretrained=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / FILE).write_bytes(b"{}")
    with pytest.raises(ModelError, match=f"its {FILE} is no vocabulary layer"):
        network(pretrained=str(tmp_path))
    with pytest.raises(ModelError, match='take model "encoder" with task "masked-lm"'):
        network().distributions(rows())

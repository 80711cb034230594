"""Recurrent language models and writers against plain numpy, a token after the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from seq2seq_at_hand import BEAMS, GREEDY, STOP, WORDS, blanks, prompts, tokenizer

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Batch, Blanks, Given, Head, Sampling
from mulgil.methods._gradient import GradientLearner
from mulgil.models.recurrent import Recurrent, RecurrentSettings
from mulgil.recipe import TrainerSettings

LAYERS, OWN, WIDTH = 2, 5, 6
CELLS = ["lstm", "gru", "rnn"]
SKILLS = ["score", "write"]
HOT = Sampling(max_new=8, temperature=1.3, top_k=30, top_p=0.9, repetition_penalty=1.2, seed=4)
Weights = dict[str, Array]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def network(skill: str, precision: str = "fp32", **settings: Any) -> Any:
    """Return a network whose weights are far from zero, unless they are read from a folder."""
    sizes = {"embedding": WIDTH, "hidden": OWN, "layers": LAYERS, "dropout": 0.0}
    sizes = {} if "pretrained" in settings else sizes
    made: Any = Recurrent(RecurrentSettings(**(sizes | settings))).build(
        tokenizer(),
        Head(skill, 2),
        precision,
        "cpu",
        5,  # type: ignore[arg-type]
    )
    if "pretrained" not in settings:
        with torch.no_grad():
            for weight in made.module.parameters():
                weight.normal_(std=0.5)
    return made


def asked(skill: str) -> Blanks:
    """Return rows of unlike length: for "score" each token asks for the next one."""
    rows = blanks()
    if skill == "write":
        return rows
    targets = np.full(rows.ids.shape, UNASKED)
    targets[:, :-1] = rows.targets[:, 1:]
    return Blanks(rows.ids, rows.lengths, targets, rows.bytes)


# ---------------------------------------------------------------- plain arithmetic


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def step(cell: str, w: Weights, prefix: str, ending: str, x: Array, kept: Any) -> Any:
    """Return (state, cell) of one layer after a token; Hochreiter 1997, Cho 2014, Elman 1990."""
    h, c = kept
    read = w[f"{prefix}.weight_ih{ending}"] @ x + w[f"{prefix}.bias_ih{ending}"]
    back = w[f"{prefix}.weight_hh{ending}"] @ h + w[f"{prefix}.bias_hh{ending}"]
    if cell == "rnn":
        return np.tanh(read + back), c
    if cell == "gru":
        (r, z, n), (hr, hz, hn) = np.split(read, 3), np.split(back, 3)
        z = sigmoid(z + hz)
        return (1 - z) * np.tanh(n + sigmoid(r + hr) * hn) + z * h, c
    enter, forget, new, leave = np.split(read + back, 4)
    c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(new)
    return sigmoid(leave) * np.tanh(c), c


def run(cell: str, w: Weights, prefix: str, row: Array) -> Array:
    """Return a layer's states of what it reads, in that order."""
    kept, found = (np.zeros(OWN), np.zeros(OWN)), []
    for x in row:
        kept = step(cell, w, prefix, "_l0", x, kept)
        found.append(kept[0])
    return np.array(found)


def chances(w: Weights, states: Array) -> Array:
    """Return ln p of every word, [L, V]."""
    scores = states @ w["vocabulary.weight"].T + w["vocabulary.bias"]
    return np.asarray(scores - np.log(np.exp(scores).sum(1, keepdims=True)))


def following(cell: str, w: Weights, ids: Array) -> Array:
    """Return ln p [L, V] of what follows each token of a row."""
    states = w["words.weight"][ids]
    for layer in range(LAYERS):
        states = run(cell, w, f"layers.{layer}.0", states)
    return chances(w, states)


def writing(cell: str, w: Weights, given: Array, ids: Array, begins: int) -> Array:
    """Return ln p [T, V] of each token of a target, as Bahdanau et al. 2015 look at the source."""
    table = w["encoder.words.weight"]
    states = table[given]
    for layer in range(LAYERS):
        left = run(cell, w, f"encoder.layers.{layer}.0", states)
        right = run(cell, w, f"encoder.layers.{layer}.1", states[::-1])[::-1]
        states = np.concatenate([left, right], 1)
    read = np.concatenate([states[-1, :OWN], states[0, OWN:]])
    first = np.tanh(w["first.weight"] @ read + w["first.bias"]).reshape(LAYERS, OWN)
    kept = [(h, np.zeros(OWN)) for h in first]
    found = []
    for token in [begins, *ids[:-1]]:
        asks = w["query.weight"] @ kept[-1][0]
        energies = np.array(
            [
                w["scorer.weight"][0] @ np.tanh(asks + w["key.weight"] @ h + w["key.bias"])
                for h in states
            ]
        )
        weights = np.exp(energies) / np.exp(energies).sum()
        context = weights @ states
        seen = np.concatenate([table[token], context])
        for layer in range(LAYERS):
            kept[layer] = step(cell, w, f"cells.{layer}", "", seen, kept[layer])
            seen = kept[layer][0]
        whole = np.concatenate([seen, context, table[token]])
        found.append(np.tanh(w["last.weight"] @ whole + w["last.bias"]))
    return chances(w, np.array(found))


def plainly(skill: str, cell: str, made: Any, rows: Blanks) -> list[Array]:
    """Return ln p [asked, V] of each row, in float64, each row for itself."""
    w = {name: weight.detach().double().numpy() for name, weight in made.module.named_parameters()}
    found = []
    for row, length in enumerate(rows.lengths):
        ids = rows.ids[row, :length]
        if skill == "score":
            found.append(following(cell, w, ids)[: length - 1])
            continue
        assert rows.given is not None
        given = rows.given.ids[row, : rows.given.lengths[row]]
        found.append(writing(cell, w, given, ids, made.begins))
    return found


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("skill", SKILLS)
def test_likelihoods_are_those_of_plain_arithmetic(skill: str, cell: str) -> None:
    """EV-05: rows of unlike length in one batch, each by itself in numpy, within 1e-5."""
    made, rows = network(skill, cell=cell), asked(skill)
    wanted = np.concatenate(plainly(skill, cell, made, rows))
    targets = rows.targets[rows.targets != UNASKED]
    nats = -wanted[np.arange(len(targets)), targets]
    found, right = made.nats(rows)
    assert np.abs(found - nats).max() < 1e-5
    assert right.tolist() == (wanted.argmax(1) == targets).tolist()
    assert np.abs(made.distributions(rows) - wanted).max() < 1e-5
    assert made.loss(rows).item() == pytest.approx(nats.sum(), rel=1e-6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("skill", SKILLS)
def test_the_likeliest_text_is_the_one_of_plain_arithmetic(skill: str, cell: str) -> None:
    """EV-07: the state that is carried says what reading all again says."""
    made = network(skill, cell=cell)
    written = made.generate(prompts(), GREEDY, [STOP])
    w = {name: weight.detach().double().numpy() for name, weight in made.module.named_parameters()}
    for prompt, (tokens, logs) in zip(prompts(), written, strict=True):
        assert 0 < len(tokens) <= GREEDY.max_new
        for count, (token, log) in enumerate(zip(tokens, logs, strict=True)):
            if skill == "score":
                last = following(cell, w, np.array([*prompt, *tokens[:count]]))[-1]
            else:
                ids = np.array([*tokens[:count], 0])
                last = writing(cell, w, np.array(prompt), ids, made.begins)[-1]
                last[made.module.config.pad_token_id] = -np.inf
            assert token == last.argmax()
            assert log == pytest.approx(last[token], abs=1e-5)


@pytest.mark.parametrize("skill", SKILLS)
def test_what_is_heard_is_what_is_written(skill: str) -> None:
    made = network(skill)
    for sampling in (GREEDY, HOT, BEAMS):
        for prompt in prompts()[1:2]:
            ((tokens, _),) = made.generate([prompt], sampling, [STOP])
            assert list(made.stream(prompt, sampling, [STOP])) == tokens


@pytest.mark.parametrize("skill", SKILLS)
def test_beams_keep_each_their_own_state(skill: str) -> None:
    """As many as there are words find the likeliest two tokens of all."""
    made, prompt = network(skill), prompts()[5]
    w = {name: weight.detach().double().numpy() for name, weight in made.module.named_parameters()}
    best: tuple[float, list[int]] = (-np.inf, [])
    for token in range(WORDS):
        if skill == "score":
            logs = following("lstm", w, np.array([*prompt, token]))[-2:]
        else:
            logs = writing("lstm", w, np.array(prompt), np.array([token, 0]), made.begins)
            logs[:, made.module.config.pad_token_id] = -np.inf
        whole = logs[0, token] + logs[1].max()
        best = max(best, (float(whole), [token, int(logs[1].argmax())]))
    ((tokens, found),) = made.generate([prompt], Sampling(2, 0.0, beams=WORDS), [])
    assert tokens == best[1]
    assert sum(found) == pytest.approx(best[0], abs=1e-5)


# ---------------------------------------------------------------- learning and files


@pytest.mark.parametrize("skill", SKILLS)
def test_padding_changes_nothing(skill: str) -> None:
    """EV-02: a row alone, with places behind it filled with another token, says the same."""
    made, rows = network(skill), asked(skill)
    whole, _ = made.nats(rows)
    ends = np.cumsum((rows.targets != UNASKED).sum(1))[:-1]
    for row, wanted in enumerate(np.split(whole, ends)):
        one, grown = [row], ((0, 0), (0, 4))
        given = rows.given and Given(
            np.pad(rows.given.ids[one], grown, constant_values=7), rows.given.lengths[one]
        )
        alone = Blanks(
            np.pad(rows.ids[one], grown, constant_values=7),
            rows.lengths[one],
            np.pad(rows.targets[one], grown, constant_values=UNASKED),
            rows.bytes[one],
            given,
        )
        assert np.abs(made.nats(alone)[0] - wanted).max(initial=0) < 1e-5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("skill", SKILLS)
def test_it_learns_and_is_opened_again_the_same(skill: str, precision: str, tmp_path: Path) -> None:
    """PR-05: every weight learns, and what was saved says what was said before."""
    made, rows = network(skill, precision, hidden=16, dropout=0.1), asked(skill)
    before = {name: w.detach().clone() for name, w in made.module.named_parameters()}
    learner = GradientLearner(None, made, None, TrainerSettings())
    learner.seed(3)
    losses = []
    for _ in range(20):
        loss, weight = learner.backward(Batch(np.arange(6), rows, None))
        learner.update(3e-2, 1.0, weight)
        losses.append(loss)
    assert losses[-1] < losses[0] / 2
    nats, _ = made.nats(rows)
    made.save(tmp_path, [])
    still = [n for n, w in made.module.named_parameters() if torch.equal(w.float(), before[n])]
    assert still == []
    told = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert told["model_type"] == {"score": "mulgil-recurrent-lm"}.get(
        skill, "mulgil-recurrent-seq2seq"
    )
    opened = Recurrent.load(tmp_path, Head(skill, 0), precision, "cpu")  # type: ignore[arg-type]
    assert isinstance(opened, type(made))
    assert np.array_equal(opened.nats(rows)[0], nats)
    goes_on = network(skill, precision, pretrained=str(tmp_path))
    assert np.array_equal(goes_on.nats(rows)[0], nats)


@pytest.mark.parametrize("skill", SKILLS)
def test_bf16_answers_are_close(skill: str) -> None:
    rows = asked(skill)
    exact, rounded = (network(skill, precision).nats(rows)[0] for precision in ("fp32", "bf16"))
    assert 0 < np.abs(rounded - exact).max() < 0.15


def test_a_language_model_becomes_a_body_for_other_tasks(tmp_path: Path) -> None:
    """Howard, Ruder 2018: its words and layers stay, the vocabulary goes, a head comes."""
    made = network("score", directions=2)
    made.save(tmp_path, [])
    found = network("pool", pretrained=str(tmp_path))
    own = dict(made.module.named_parameters())
    assert {*own} - {*dict(found.body.named_parameters())} == {
        "vocabulary.weight",
        "vocabulary.bias",
    }
    assert all(torch.equal(w, own[name]) for name, w in found.body.named_parameters())
    found.save(tmp_path / "again", ["가", "나"])
    told = json.loads((tmp_path / "again" / "config.json").read_text("utf-8"))
    assert (told["model_type"], told["directions"]) == ("mulgil-recurrent", 1)
    rows = blanks()
    again: Any = Recurrent.load(tmp_path / "again", Head("pool", 2), "fp32", "cpu")
    assert np.array_equal(again.scores(rows), found.scores(rows))


@pytest.mark.parametrize(
    ("has", "wanted"), [("pool", "score"), ("pool", "write"), ("score", "write"), ("write", "pool")]
)
def test_folders_of_another_sort(has: str, wanted: str, tmp_path: Path) -> None:
    """One line says what is there, what is wanted, and what to give instead."""
    network(has).save(tmp_path, ["가", "나"])
    with pytest.raises(ModelError, match=r'holds a "mulgil-.*", not a "mulgil-.*"; give model/'):
        network(wanted, pretrained=str(tmp_path))


def test_words_that_rest(tmp_path: Path) -> None:
    """Vectors that were learnt elsewhere are what both sides begin with, and stay."""
    path = tmp_path / "말.vec"
    path.write_text("2 4\n낱말7 1 2 3 4\n낱말9 4 3 2 1\n", encoding="utf-8")
    speaks = tokenizer()
    speaks.pieces = lambda: [f"낱말{number}" for number in range(WORDS)]
    chosen = RecurrentSettings(vectors=str(path), freeze_vectors=True, hidden=OWN)
    for skill in SKILLS:
        made: Any = Recurrent(chosen).build(speaks, Head(skill, 0), "fp32", "cpu", 5)  # type: ignore[arg-type]
        table = made.module.get_input_embeddings().weight
        assert table[[7, 9]].tolist() == [[1, 2, 3, 4], [4, 3, 2, 1]]
        made.loss(asked(skill)).backward()
        assert not table.requires_grad
        assert table.grad is None

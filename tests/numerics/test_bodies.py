"""Families with bodies of the house's own: scores, pairs, files, words that learn by rows."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from transformers import AutoModel

from mulgil import registry
from mulgil.errors import ModelError, SettingError
from mulgil.flow import Array, Batch, Head
from mulgil.methods._gradient import GradientLearner
from mulgil.models._bodies import parted
from mulgil.models._heads import HEAD_FILE
from mulgil.settings import Table, build
from mulgil.tokenizers.subword import Subword, SubwordSettings

SMALL: dict[str, dict[str, Any]] = {
    "textcnn": {"embedding": 12, "filters": 6},
    "recurrent": {"embedding": 12, "hidden": 8},
}
KINDS = [
    ("textcnn", {}),
    ("textcnn", {"kernels": [2, 9]}),
    ("recurrent", {}),
    ("recurrent", {"cell": "gru", "pooling": "max", "layers": 2, "variational": True}),
    ("recurrent", {"cell": "rnn", "pooling": "last", "directions": 1}),
    ("recurrent", {"pooling": "mean"}),
]
TEXTS = ["정말 재밌는 영화", "돈이 아깝다", "ㅋ", "한 번은 볼 만하지만 두 번은 아니다"]
OTHERS = ["다시 보고 싶다", "표를 물려 주세요. 끝까지 볼 수가 없었다", "ㅎ", "그저 그렇다"]
HEADS = [Head("pool", 3), Head("pair", 3), Head("rate", 1), Head("tokens", 2, places=2)]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tokenizer(korean_texts: list[str]) -> Subword:
    """Return a tokenizer that was learnt here."""
    return Subword.make(SubwordSettings(vocab_size=400, max_length=40), None, korean_texts, 7)


def model(name: str, **settings: Any) -> Any:
    plugin = registry.load("models", name)
    sizes = {} if "pretrained" in settings else SMALL[name]
    return plugin(plugin.Settings(**(sizes | settings)))


def network(name: str, tokenizer: Any, head: Head = HEADS[0], **settings: Any) -> Any:
    """Return a network with weights that tell texts apart."""
    made: Any = model(name, **settings).build(tokenizer, head, "fp32", "cpu", 5)
    with torch.no_grad():
        for weight in made.module.classifier.parameters():
            weight.normal_()
    return made


def rows(tokenizer: Any, head: Head, numbers: Any = range(4), multiple: int = 1) -> Any:
    """Return the inputs of these texts, or pairs, as the head wants them."""
    chosen = np.arange(len(numbers))
    if head.skill == "tokens":
        return tokenizer.located([TEXTS[i] for i in numbers], 4).take(chosen, multiple)
    pair = head.skill in {"pair", "rate"}
    texts = [(TEXTS[i], OTHERS[i]) if pair else TEXTS[i] for i in numbers]
    return tokenizer.encode(texts).take(chosen, multiple)


# ---------------------------------------------------------------- scores


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.skill)
@pytest.mark.parametrize(("name", "settings"), KINDS)
def test_neither_padding_nor_neighbours_change_a_score(
    name: str, settings: dict[str, Any], head: Head, tokenizer: Any
) -> None:
    """EV-02, EV-05, PR-05: alone, in a batch, in a wider batch, and twice: the same."""
    made = network(name, tokenizer, head, **settings)
    together = made.scores(rows(tokenizer, head))
    assert made.scores(rows(tokenizer, head)).tolist() == together.tolist()
    assert np.abs(made.scores(rows(tokenizer, head, multiple=64)) - together).max() < 1e-5
    alone = np.concatenate([made.scores(rows(tokenizer, head, [i])) for i in range(4)])
    assert np.abs(alone - together).max() < 1e-5
    assert together.std(0).min() > 1e-3, "scores that are all alike would prove nothing"


@pytest.mark.parametrize("name", SMALL)
def test_decomposed_hangul_gives_the_same_scores(name: str, tokenizer: Any) -> None:
    """DA-03."""
    made = network(name, tokenizer)
    both = [tokenizer.encode([unicodedata.normalize(f, TEXTS[0])]) for f in ("NFC", "NFD")]
    found = [made.scores(one.take(np.arange(1), 8)).tolist() for one in both]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", SMALL)
def test_a_text_without_a_piece_has_a_score(name: str, tokenizer: Any) -> None:
    """Nothing but the special tokens is left of white space."""
    made = network(name, tokenizer)
    assert np.isfinite(made.scores(tokenizer.encode(["", " \n"]).take(np.arange(2), 1))).all()


@pytest.mark.parametrize(("name", "settings"), KINDS)
def test_each_of_two_texts_is_pooled_for_itself(
    name: str, settings: dict[str, Any], tokenizer: Any
) -> None:
    """The InferSent features [u, v, |u - v|, u * v], u and v those of the texts alone."""
    made = network(name, tokenizer, HEADS[1], **settings)
    pairs = made.features(rows(tokenizer, HEADS[1]))
    single = network(name, tokenizer, **settings)
    u, v = (
        single.features(tokenizer.encode(texts).take(np.arange(4), 8)) for texts in (TEXTS, OTHERS)
    )
    expected = np.concatenate([u, v, np.abs(u - v), u * v], 1)
    assert np.abs(pairs - expected).max() < 1e-5
    assert np.abs(u - v).max() > 1e-2


def test_rows_of_two_texts_are_parted() -> None:
    ids = torch.tensor([[2, 7, 8, 3, 9, 3, 0], [2, 7, 3, 5, 6, 4, 3]])
    kinds = torch.tensor([[0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1]])
    found, kept = parted(ids, mask, kinds)
    rows = [row[told == 1].tolist() for row, told in zip(found, kept, strict=True)]
    assert rows == [[2, 7, 8, 3], [2, 7, 3], [2, 9, 3], [2, 5, 6, 4, 3]]


@pytest.mark.parametrize(("name", "settings"), KINDS)
def test_bf16_answers_are_close(name: str, settings: dict[str, Any], tokenizer: Any) -> None:
    head, kind = HEADS[0], {"dropout": 0.0, **settings}
    exact = network(name, tokenizer, head, **kind)
    rounded: Any = model(name, **kind).build(tokenizer, head, "bf16", "cpu", 5)
    rounded.module.load_state_dict(exact.module.state_dict())
    wanted, found = exact.scores(rows(tokenizer, head)), rounded.scores(rows(tokenizer, head))
    assert found.dtype == np.float32
    assert 0 < np.abs(found - wanted).max() < 0.05 * max(1.0, float(np.abs(wanted).max()))


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.skill)
@pytest.mark.parametrize("name", SMALL)
def test_what_is_saved_answers_the_same(
    name: str, head: Head, tokenizer: Any, tmp_path: Path
) -> None:
    """TK-07: and transformers' AutoModel opens the body."""
    made = network(name, tokenizer, head)
    before = made.scores(rows(tokenizer, head))
    made.save(tmp_path, ["가", "나", "다"][: head.outputs])
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"config.json", "model.safetensors", HEAD_FILE}
    again = registry.load("models", name).load(tmp_path, head, "fp32", "cpu")
    assert again.scores(rows(tokenizer, head)).tolist() == before.tolist()
    body = AutoModel.from_pretrained(tmp_path)
    weights = made.body.state_dict()
    assert all(torch.equal(weight, weights[key]) for key, weight in body.state_dict().items())
    with pytest.raises(ModelError, match="opened for answering"):
        again.save(tmp_path, [])


@pytest.mark.parametrize("name", SMALL)
def test_a_body_serves_another_task(name: str, tokenizer: Any, tmp_path: Path) -> None:
    """`pretrained`: what one task has taught is where the next begins, with a head of its own."""
    first = network(name, tokenizer, HEADS[3])
    first.save(tmp_path, ["가", "나"])
    later = network(name, tokenizer, HEADS[1], pretrained=str(tmp_path), dropout=0.25)
    assert torch.equal(later.body.words.weight, first.body.words.weight)
    assert later.outputs == 3
    assert {p.p for p in later.module.modules() if isinstance(p, nn.Dropout)} == {0.25}


def test_the_seed_decides_the_weights(tokenizer: Any) -> None:
    """TR-07."""
    made = [model("recurrent").build(tokenizer, HEADS[0], "fp32", "cpu", s) for s in (1, 1, 2)]
    found = [one.scores(rows(tokenizer, HEADS[0])).tolist() for one in made]
    assert found[0] == found[1] != found[2]


# ---------------------------------------------------------------- learning


class Task:
    """The loss of labels."""

    def loss(self, scores: Any, targets: Any, weights: Any) -> Any:
        return nn.functional.cross_entropy(scores, targets, reduction="sum")


class Trainer:
    weight_decay = 0.01


def taught(made: Any, tokenizer: Any, steps: int) -> GradientLearner:
    """Return a learner after steps on one text each, so that most words are met now and then."""
    learner = GradientLearner(Task(), made, None, Trainer())
    learner.seed(3)
    for step in range(steps):
        inputs = rows(tokenizer, HEADS[0], [step % 4])
        _, weight = learner.backward(Batch(np.array([step]), inputs, np.array([step % 3])))
        learner.update(1e-2, 1.0, weight)
    return learner


@pytest.mark.parametrize("name", SMALL)
def test_words_that_learn_by_rows_learn_as_they_would(
    name: str, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the whole table in AdamW, whose weights move by 0.1; a word that never came stays."""
    weights = []
    layouts: list[Any] = [None, lambda self: ([], [])]
    for layout in layouts:
        if layout is not None:
            monkeypatch.setattr("mulgil.models._network.EncodingNetwork._layout", layout)
        made = network(name, tokenizer, dropout=0.0)
        before = made.body.words.weight.detach().clone()
        learner = taught(made, tokenizer, 12)
        assert made.body.sparse == (layout is None)
        weights.append(dict(learner.optimizer.weights()))
    assert weights[0].keys() == weights[1].keys()
    for key, weight in weights[0].items():
        assert float((weight - weights[1][key]).abs().max()) < 1e-3, key
    met = np.unique(rows(tokenizer, HEADS[0], range(4)).ids)
    moved = (weights[0]["body.words.weight"] != before).any(1).nonzero()[:, 0].tolist()
    assert moved
    assert {*moved} <= {*met.tolist()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", SMALL)
def test_a_table_that_rests(name: str, precision: str, tokenizer: Any, tmp_path: Path) -> None:
    """Not a bit of it moves, while the rest learns; it is saved whole."""
    made: Any = model(name, freeze_vectors=True).build(tokenizer, HEADS[0], precision, "cpu", 5)
    before = {key: weight.clone() for key, weight in made.body.state_dict().items()}
    learner = taught(made, tokenizer, 3)
    assert learner.trainable == made.parameters_total - before["words.weight"].numel()
    made.save(tmp_path, ["가", "나", "다"])
    after = safetensors.torch.load_file(tmp_path / "model.safetensors")
    still = [key for key, weight in before.items() if torch.equal(weight, after[key])]
    assert still == ["words.weight"]


def test_variational_dropout_takes_the_same_numbers_of_every_word() -> None:
    from mulgil.models._recurrent import Dropped

    torch.manual_seed(1)
    for variational in (True, False):
        found = Dropped(0.5, variational)(torch.ones(3, 5, 40))
        assert {*found.unique().tolist()} == {0.0, 2.0}
        same = bool((found == found[:, :1]).all())
        assert same == variational
        assert not torch.equal(found[0], found[1])
    assert torch.equal(Dropped(0.5, True).eval()(torch.ones(2, 3, 4)), torch.ones(2, 3, 4))


# ---------------------------------------------------------------- word vectors


def written(path: Path, words: dict[str, Array]) -> str:
    """Write word vectors in word2vec's text form."""
    lines = [f"{len(words)} {len(next(iter(words.values())))}"]
    lines += [f"{word} {' '.join(map(repr, row.tolist()))}" for word, row in words.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", SMALL)
def test_words_begin_as_vectors(name: str, tokenizer: Any, tmp_path: Path) -> None:
    """The pieces that are known, in the vectors' own width; the others random, as far spread."""
    draw = np.random.default_rng(2)
    pieces = [p for p in tokenizer.pieces() if "가" <= p[-1:] <= "힣" and not p.startswith("##")]
    words = {piece: draw.normal(0, 3.0, 20).astype(np.float32) for piece in pieces[::2]}
    path = written(tmp_path / "말.vec", words)
    made: Any = model(name, vectors=path).build(tokenizer, HEADS[0], "fp32", "cpu", 5)
    table = made.body.words.weight.detach().numpy()
    assert table.shape == (tokenizer.size, 20)
    assert made.body.config.embedding == 20
    places = {piece: number for number, piece in enumerate(tokenizer.pieces())}
    known = [places[piece] for piece in words]
    assert all(np.allclose(table[places[piece]], row) for piece, row in words.items())
    rest = np.delete(table, known, 0)
    assert 2.5 < rest.std() < 3.5
    assert np.isfinite(made.scores(rows(tokenizer, HEADS[0]))).all()


def test_vectors_that_serve_nothing(tokenizer: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "other.vec", {"zzzzz": np.ones(4, np.float32)})
    with pytest.raises(ModelError, match=r"other\.vec: has a vector for none of"):
        network("textcnn", tokenizer, vectors=path)
    settings = registry.load("models", "textcnn").Settings
    with pytest.raises(SettingError, match="vectors are for a fresh model"):
        build(settings, {"vectors": "/a", "pretrained": "/b"}, "model", Table({}, {}, "r.toml"))


# ---------------------------------------------------------------- what is refused


def test_folders_of_something_else(tokenizer: Any, tmp_path: Path) -> None:
    """Each in one line that says what is wrong and what to give instead."""
    network("textcnn", tokenizer).save(tmp_path, ["가", "나", "다"])
    with pytest.raises(ModelError, match='holds a "mulgil-textcnn", not a "mulgil-recurrent"'):
        network("recurrent", tokenizer, pretrained=str(tmp_path))
    with pytest.raises(ModelError, match='"klue/bert-base" is no local folder; give model/'):
        network("textcnn", tokenizer, pretrained="klue/bert-base")
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    with pytest.raises(ModelError, match="its embedding table 100 rows"):
        network("textcnn", tokenizer, pretrained=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config | {"filters": 7, "hidden_size": 21}))
    with pytest.raises(ModelError, match=r"do not fit its config\.json"):
        network("textcnn", tokenizer, pretrained=str(tmp_path))


@pytest.mark.parametrize("head", [HEADS[1], HEADS[3]], ids=lambda head: head.skill)
@pytest.mark.parametrize("name", SMALL)
def test_a_head_that_is_not_whole(name: str, head: Head, tokenizer: Any, tmp_path: Path) -> None:
    """A file that was cut, is missing, or is of another task."""
    network(name, tokenizer, head).save(tmp_path, ["가", "나", "다"][: head.outputs])
    plugin, path = registry.load("models", name), tmp_path / HEAD_FILE
    other = {"weight": torch.ones(5, 4), "bias": torch.ones(5)}
    whole = path.read_bytes()
    for damage in (whole[:-9], b"", safetensors.torch.save(other), None):
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
        with pytest.raises(ModelError, match=r"head\.safetensors.*copy of the run"):
            plugin.load(tmp_path, head, "fp32", "cpu")
        path.write_bytes(whole)


def test_two_texts_that_nothing_tells_apart(tokenizer: Any) -> None:
    inputs = rows(tokenizer, HEADS[0])
    with pytest.raises(ModelError, match="do not say which token is of which text"):
        network("textcnn", tokenizer, HEADS[1]).scores(inputs)

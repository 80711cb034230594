"""Word vectors that are learnt: the held-out measure by hand, what is learnt, files, one run."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulgil import pipeline, recipe
from mulgil.errors import ModelError, SettingError, StoppedError
from mulgil.flow import UNASKED, Array, Blanks
from mulgil.models import _vectors
from mulgil.models._word2vec import NEGATIVES, PairNetwork, Sequences
from mulgil.models.word2vec import Word2vec, Word2vecSettings
from mulgil.predictor import Predictor

pytest.importorskip("gensim", reason='needs the extra "word2vec"')

PIECES: list[str | None] = [None, "가", "나", "다", "라", "마", "바", "드문"]


def chosen(**settings: Any) -> Word2vecSettings:
    return Word2vecSettings(**{"dimensions": 8, "min_count": 1, "sample": 0.0} | settings)


def filled() -> PairNetwork:
    """Return a network of random tables; the special token and the rare piece have zeros."""
    draw, size = np.random.default_rng(1), (len(PIECES), 8)
    counts = np.array([0, 100, 50, 20, 7, 3, 1, 0.0])
    tables = draw.normal(size=(2, *size)).astype(np.float32) * (counts > 0)[:, None]
    return PairNetwork(chosen(), PIECES, tables[0], tables[1], counts)


def blanks(rows: Sequence[Sequence[int]], width: int) -> Blanks:
    """Ask each token for the two beside it."""
    ids = np.zeros((len(rows), width), np.int64)
    targets = np.full((len(rows), width, 2), UNASKED)
    for i, tokens in enumerate(rows):
        ids[i, : len(tokens)] = tokens
        targets[i, 1 : len(tokens), 0] = tokens[:-1]
        targets[i, : len(tokens) - 1, 1] = tokens[1:]
    lengths = np.array([len(tokens) for tokens in rows])
    return Blanks(ids, lengths, targets.reshape(len(rows), -1), np.zeros(len(rows)))


# ---------------------------------------------------------------- the measure


def mixed(number: int) -> int:
    """SplitMix64's last steps, in Python's own integers."""
    mask = (1 << 64) - 1
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & mask
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & mask
    return number ^ (number >> 31)


def by_hand(network: PairNetwork, tokens: Sequence[int]) -> list[tuple[float, bool]]:
    """Return nats and rightness of a row's pairs, one number after the other."""
    mask = (1 << 64) - 1
    shares = [float(count) ** 0.75 for count in network.counts]
    key = mixed(sum(mixed(((i + 1) << 32) + token) for i, token in enumerate(tokens)) & mask)
    found = []
    for i, word in enumerate(tokens):
        for j, near in ((0, i - 1), (1, i + 1)):
            if not 0 <= near < len(tokens):
                continue
            scores = []
            for k in range(1, NEGATIVES + 1):
                start = mixed((key + 2 * i + j) & mask)
                chance = (mixed((start + k * 0x9E3779B97F4A7C15) & mask) >> 11) / 2**53
                drawn, passed = -1, 0.0
                while passed <= chance:
                    drawn += 1
                    passed += shares[drawn] / sum(shares)
                scores.append(float(network.vectors[word] @ network.contexts[drawn]))
            own = float(network.vectors[word] @ network.contexts[tokens[near]])
            nats = math.log1p(math.exp(-own)) + sum(math.log1p(math.exp(s)) for s in scores)
            found.append((nats, own > max(scores)))
    return found


ROWS = [[1, 2, 3, 1, 2], [4, 5, 6, 7, 1, 1], [3, 3], [2], [6, 1, 2, 4]]


def test_the_measure_is_that_by_hand() -> None:
    """EV-01: word2vec's objective with ten negatives, and pairs that outrank all of them."""
    network = filled()
    nats, right = network.nats(blanks(ROWS, 9))
    wanted = [pair for row in ROWS for pair in by_hand(network, row)]
    assert len(wanted) == len(nats) == 4 * 2 + 5 * 2 + 2 + 0 + 3 * 2
    assert nats == pytest.approx([n for n, _ in wanted], abs=1e-5)
    assert right.tolist() == [r for _, r in wanted]
    assert right.any()
    assert not right.all()


def test_neither_batches_nor_padding_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """EV-02, EV-05."""
    network = filled()
    whole, right = network.nats(blanks(ROWS, 9))
    alone = [network.nats(blanks([row], len(row) + 3)) for row in ROWS]
    assert np.array_equal(whole, np.concatenate([n for n, _ in alone]))
    assert np.array_equal(right, np.concatenate([r for _, r in alone]))
    monkeypatch.setattr("mulgil.models._word2vec.SLICE", 3)
    assert np.array_equal(network.nats(blanks(ROWS, 9))[0], whole)


def test_zeros_know_nothing() -> None:
    network = PairNetwork.fresh(chosen(), PIECES)
    network.counts[1:] = 1.0
    nats, right = network.nats(blanks(ROWS, 9))
    assert nats == pytest.approx(np.full(len(nats), 11 * math.log(2)))
    assert not right.any()


def test_negatives_are_drawn_by_their_counts() -> None:
    """Scores that name the drawn word: the share of each is its count to the power of 0.75."""
    network = filled()
    network.vectors = np.ones((8, 1), np.float32)
    rows = np.random.default_rng(2).integers(1, 7, (3000, 6)).tolist()
    for number in range(1, 7):
        network.contexts = np.zeros((8, 1), np.float32)
        network.contexts[number] = -50.0  # then a pair's nats tell how often it was not drawn
        nats, _ = network.nats(blanks(rows, 6))
        own = np.array([near == number for row in rows for near in _near(row)])
        drawn = NEGATIVES - (nats[~own] - math.log(2)) / math.log(2)
        shares = network.counts**0.75
        assert drawn.mean() / NEGATIVES == pytest.approx(shares[number] / shares.sum(), abs=0.005)


def _near(row: list[int]) -> list[int]:
    return [row[j] for i in range(len(row)) for j in (i - 1, i + 1) if 0 <= j < len(row)]


# ---------------------------------------------------------------- learning


def planted(rows: int = 400) -> tuple[Array, Array]:
    """Return sequences in which 1, 2, 3 stand together, and 4, 5, 6; 7 comes once."""
    draw = np.random.default_rng(4)
    parts = [draw.integers(1, 4, 12) + 3 * (row % 2) for row in range(rows)]
    parts[0][3] = 7
    return np.concatenate(parts).astype(np.int32), np.arange(0, 12 * rows + 1, 12)


@pytest.mark.parametrize(
    "settings", [{}, {"algorithm": "cbow"}, {"subwords": [1, 2], "buckets": 50}], ids=str
)
def test_words_that_stand_together_come_near(settings: dict[str, Any]) -> None:
    network = PairNetwork.fresh(chosen(min_count=2, **settings), PIECES)
    figures = network.learn(*planted(), window=3, epochs=20, rate=0.05, seed=3)
    assert figures["tokens"] == 4800
    assert figures["pieces"] == 6
    assert figures["learning_rate"] == 0.05
    units = network.vectors / np.maximum(np.linalg.norm(network.vectors, axis=1), 1e-9)[:, None]
    alike = units @ units.T
    assert alike[1, 2:4].min() > alike[1, 4:7].max() + 0.2
    nats, _ = network.nats(blanks([[1, 2, 3, 1, 2, 3], [4, 5, 6, 4]], 8))
    assert nats.mean() < 11 * math.log(2) - 1
    assert not network.vectors[0].any()
    assert network.vectors[7].any() == ("subwords" in settings)  # of its n-grams
    assert not network.contexts[7].any()


def test_one_thread_learns_the_same_twice() -> None:
    """TR-07."""
    found = []
    for seed in (3, 3, 4):
        network = PairNetwork.fresh(chosen(), PIECES)
        network.learn(*planted(50), window=2, epochs=2, rate=None, seed=seed)
        found.append(network)
    assert np.array_equal(found[0].vectors, found[1].vectors)
    assert np.array_equal(found[0].contexts, found[1].contexts)
    assert not np.array_equal(found[0].vectors, found[2].vectors)


def test_each_pass_is_told_and_changes_nothing() -> None:
    told: list[str] = []
    quiet, telling = (PairNetwork.fresh(chosen(), PIECES) for _ in range(2))
    quiet.learn(*planted(50), window=2, epochs=3, rate=None, seed=3)
    telling.learn(*planted(50), window=2, epochs=3, rate=None, seed=3, say=told.append)
    assert np.array_equal(quiet.vectors, telling.vectors)
    assert np.array_equal(quiet.contexts, telling.contexts)
    assert [line.split()[:4] for line in told] == [["epoch", n, "of", "3"] for n in "123"]


def test_a_rehearsal_learns_and_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that `mulgil check` can say how long learning takes."""
    seen = []
    learn = PairNetwork.learn

    def noted(self: PairNetwork, *asked: Any) -> dict[str, float]:
        seen.append(asked[2:])
        return learn(self, *asked)

    monkeypatch.setattr(PairNetwork, "learn", noted)
    network = PairNetwork.fresh(chosen(min_count=99), PIECES)
    network.course = (2, 3)
    inputs = blanks(ROWS, 9)
    (found,) = network.first_features([inputs])
    assert found.shape == (len(ROWS), 0)
    assert seen == [(2, 3, None, 0)]
    assert not network.counts.any()
    assert not network.vectors.any()


def test_long_sequences_are_cut_and_special_tokens_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mulgil.models._word2vec.LONGEST", 3)
    special = np.array([True, False, False])
    made = Sequences(np.array([0, 1, 2, 0, 1, 1, 2, 0, 0]), np.array([0, 4, 8, 9]), special)
    assert list(made) == [[1, 2], [1, 1, 2]] == list(made)
    made.names = ["", "가", "나"]
    assert list(made) == [["가", "나"], ["가", "가", "나"]]
    special[:] = False
    again = Sequences(np.array([1, 2, 1, 2]), np.array([0, 4]), special)
    assert list(again) == [[1, 2, 1], [2]]


def test_too_rare_and_without_gensim(monkeypatch: pytest.MonkeyPatch) -> None:
    network = PairNetwork.fresh(chosen(min_count=5000), PIECES)
    with pytest.raises(ModelError, match=r"model\.min_count: no piece occurs 5000 times"):
        network.learn(*planted(50), window=2, epochs=1, rate=None, seed=1)
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    network = PairNetwork.fresh(chosen(), PIECES)
    with pytest.raises(ModelError, match=r'pip install "mulgil\[word2vec\]"'):
        network.learn(*planted(50), window=2, epochs=1, rate=None, seed=1)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("export", ["text", "binary", "none"])
def test_files_give_everything_back(export: str, tmp_path: Path) -> None:
    """PR-05: tables and measure; as vectors for another model, too."""
    network = filled()
    network.chosen = chosen(export=export)
    network.pieces[5] = "빈 칸"  # no word in a text file may have a space in it
    network.save(tmp_path, ())
    again = PairNetwork.open(tmp_path)
    assert np.array_equal(again.nats(blanks(ROWS, 9))[0], network.nats(blanks(ROWS, 9))[0])
    assert again.pieces == network.pieces
    assert (again.parameters_total, again.outputs) == (2 * 8 * 8, 8)
    found, known = _vectors.table(tmp_path, network.pieces)
    assert np.array_equal(found, network.vectors)
    assert known.tolist() == network.known.tolist() == [False, *[True] * 6, False]
    files = {path.name for path in tmp_path.glob("vectors.*")}
    assert files == {"text": {"vectors.vec"}, "binary": {"vectors.bin"}, "none": set()}[export]
    for name in files:
        found, known = _vectors.table(tmp_path / name, network.pieces)
        assert known.tolist() == [False, True, True, True, True, False, True, False]
        assert np.array_equal(found[known], network.vectors[known])


def test_half_a_run_is_refused(tmp_path: Path) -> None:
    """TK-06."""
    filled().save(tmp_path, ())
    (tmp_path / _vectors.PIECES).write_text('["하나"]', encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"is no whole model/ folder .* 1 pieces, vectors \(8, 8\)"
    ):
        PairNetwork.open(tmp_path)


def test_settings_that_do_not_agree() -> None:
    for values in ({"subwords": [3, 2]}, {"subwords": [0, 2]}, {"vectors": "a", "pretrained": "b"}):
        with pytest.raises(ValueError, match=r"subwords must be|both bring a table"):
            Word2vecSettings(**values)


# ---------------------------------------------------------------- a whole run


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, korean_texts: list[str]) -> Path:
    """Return a corpus with empty lines, other scripts, and lines in NFD."""
    lines = [
        unicodedata.normalize("NFD", text) if number % 3 == 0 else text
        for number, text in enumerate(korean_texts[:300])
    ]
    path = tmp_path_factory.mktemp("corpus") / "texts.txt"
    extra = ["", "   ", "Great movie, 10/10!", "映画が好き 😀", "\u3000"]
    path.write_text("\n".join([*lines, *extra]) + "\n", encoding="utf-8")
    return path


SIZES = [
    *("tokenizer.name=subword", "tokenizer.vocab_size=600", "tokenizer.max_length=48"),
    *("model.name=word2vec", "model.dimensions=12", "model.min_count=2"),
]


def vectors_of(texts: Path) -> recipe.Recipe:
    chosen = [
        *("name=vectors", "data.name=corpus", f"data.paths={texts}", "data.test_share=0.1"),
        *("task.name=skip-gram", "method.name=full", "trainer.epochs=3", *SIZES),
    ]
    return recipe.read("sample-tfidf", chosen)


@pytest.fixture(scope="module")
def run(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipeline.run(vectors_of(texts), tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_stop_says_that_nothing_is_kept(
    name: str, code: int, texts: Path, tmp_path: Path
) -> None:
    """TR-12: at once, in one line, and the same name begins anew."""

    def say(line: str) -> None:
        if "epoch 1 of" in line:
            os.kill(os.getpid(), getattr(signal, name))

    with pytest.raises(StoppedError, match=f"stopped by {name}; .*begins anew") as caught:
        pipeline.run(vectors_of(texts), tmp_path, say=say)
    assert caught.value.exit_code == code
    again = pipeline.run(vectors_of(texts), tmp_path, resume=True)
    assert (again / "result.json").exists()


def test_a_run_is_measured_told_and_asked(run: Path) -> None:
    """PR-04: the figures, neighbours, and `task.top`."""
    result = json.loads((run / "result.json").read_text("utf-8"))
    assert list(result["metrics"]) == ["loss", "pair-accuracy"]
    assert 0 < result["metrics"]["loss"]["loss"]["value"] < 11 * math.log(2)
    solved = json.loads((run / "journal.jsonl").read_text("utf-8").splitlines()[0])
    assert (solved["kind"], solved["epochs"], solved["learning_rate"]) == ("solve", 3, 0.025)
    predictor = Predictor(run, ["task.top=3"])
    composed, missing, decomposed = predictor.predict(
        ["영화 + 책", "뷁쀍", unicodedata.normalize("NFD", "영화 + 책")]
    )
    assert len(composed["neighbours"]) == 3
    assert composed == decomposed
    assert list(missing) == ["error"]


def test_a_run_is_the_model_of_a_text_task(run: Path, tmp_path: Path) -> None:
    """Its folder brings table and tokenizer; its text file brings the table to any tokenizer."""
    network = PairNetwork.open(run / "model")
    names = {
        "folder": f"model.vectors={run}/model",
        "file": f"model.vectors={run}/model/vectors.vec",
        "pretrained": f"model.pretrained={run}/model",
    }
    common = [
        *("data.name=sample", "data.train_rows=60", "data.test_rows=20", "data.test_share=0.2"),
        *("method.name=linear-probe", *SIZES),
    ]
    for name, vectors in names.items():
        more = [] if name != "file" else [f"tokenizer.pretrained={run}/model"]
        made = pipeline.prepare(recipe.read("sample-tfidf", [*common, vectors, *more]))
        built: Any = pipeline.build(made)
        assert np.array_equal(built.body.words.weight.detach().numpy(), network.vectors), name
        batch = next(iter(made.loaders.test.in_order()))
        ids, lengths = batch.inputs.ids, batch.inputs.lengths
        means = [network.vectors[row[:n]].mean(0) for row, n in zip(ids, lengths, strict=True)]
        assert np.abs(built.features(batch.inputs) - np.array(means)).max() < 1e-5
    other = [*common, names["folder"], "tokenizer.name=syllable"]
    with pytest.raises(ModelError, match="tokenizer"):
        pipeline.prepare(recipe.read("sample-tfidf", other))
    done = pipeline.run(recipe.read("sample-tfidf", [*common, names["folder"], "name=x"]), tmp_path)
    assert json.loads((done / "result.json").read_text("utf-8"))["n"] == 20


def test_what_has_vectors_learns_none(run: Path, texts: Path, tmp_path: Path) -> None:
    wanted = [
        *("name=again", "data.name=corpus", f"data.paths={texts}", "task.name=skip-gram"),
        *("method.name=full", *SIZES, f"model.vectors={run}/model"),
    ]
    with pytest.raises(ModelError, match=r"learns vectors from nothing.*leave out model\.vectors"):
        pipeline.run(recipe.read("sample-tfidf", wanted), tmp_path)
    with pytest.raises(SettingError, match="needs a model with the skill relate"):
        pipeline.prepare(recipe.read("sample-tfidf", [*wanted[:5], "model.name=encoder"]))


def test_a_tokenizer_without_pieces_is_refused() -> None:
    family = Word2vec(chosen())
    head: Any = type("Head", (), {"skill": "relate"})
    with pytest.raises(ModelError, match="take morpheme, subword or syllable"):
        family.build(object(), head, "fp32", "cpu", 1)

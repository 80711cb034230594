"""TF-IDF: the numbers of scikit-learn, files without pickle, and what cannot be opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from sklearn.feature_extraction.text import TfidfVectorizer

from mulgil.errors import ModelError
from mulgil.flow import Head
from mulgil.models.tfidf import Tfidf, TfidfNetwork, TfidfSettings
from mulgil.tokenizers.words import Words, WordSettings

TEXTS = [
    "정말 재밌는 영화",
    "정말 재미없는 영화",
    "돈이 아깝다 정말",
    "배우가 좋다",
    "배우가 아깝다",
]
NEW = ["정말 아까운 배우", "", "전혀 다른 말", "정말\u2028영화"]


def made(outputs: int = 2, **settings: Any) -> TfidfNetwork:
    network = Tfidf(TfidfSettings(**settings)).build(None, Head("pool", outputs), "fp32", "cpu", 1)
    assert isinstance(network, TfidfNetwork)
    return network


def taught(**settings: Any) -> TfidfNetwork:
    network = made(**settings)
    (features,) = network.first_features([TEXTS[:3], TEXTS[3:]])
    draw = np.random.default_rng(1)
    network.set_head(draw.normal(size=(2, features.shape[1])), draw.normal(size=2))
    return network


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({}, {"analyzer": "char", "ngram_range": (1, 4)}),
        (
            {"char_ngrams": [0, 0], "word_ngrams": [1, 2], "min_rows": 1},
            {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\S+"},
        ),
    ],
)
def test_features_are_those_of_scikit_learn(
    settings: dict[str, Any], reference: dict[str, Any]
) -> None:
    network = made(**settings)
    (features,) = network.first_features([TEXTS])
    vectors = TfidfVectorizer(
        lowercase=False, sublinear_tf=True, min_df=settings.get("min_rows", 2), **reference
    )
    assert np.abs(features - vectors.fit_transform(TEXTS)).max() < 1e-6
    assert np.abs(network.features(NEW) - vectors.transform(NEW)).max() < 1e-6
    norms = np.sqrt(np.asarray(network.features(NEW).multiply(network.features(NEW)).sum(1)))
    assert all(norm == pytest.approx(0) or norm == pytest.approx(1) for norm in norms.ravel())


def test_words_and_characters_stand_side_by_side() -> None:
    both = made(word_ngrams=[1, 1], min_rows=1)
    (features,) = both.first_features([TEXTS])
    widths = [made(min_rows=1), made(char_ngrams=[0, 0], word_ngrams=[1, 1], min_rows=1)]
    assert features.shape[1] == sum(m.first_features([TEXTS])[0].shape[1] for m in widths)


@pytest.mark.parametrize("settings", [{}, {"word_ngrams": [1, 2], "min_rows": 1}])
def test_what_is_saved_answers_the_same(settings: dict[str, Any], tmp_path: Path) -> None:
    """PR-04, EX-07: bit for bit, and saving twice gives the same bytes."""
    network = taught(**settings)
    network.save(tmp_path, ["나쁨", "좋음"])
    opened = Tfidf.load(tmp_path, Head("pool", 2), "fp32", "cpu")
    assert opened.scores([*TEXTS, *NEW]).tolist() == network.scores([*TEXTS, *NEW]).tolist()
    assert (opened.outputs, opened.parameters_total) == (2, network.parameters_total)
    again = tmp_path / "again"
    again.mkdir()
    opened.save(again, ["나쁨", "좋음"])
    for name in ("config.json", "vocabulary.json", "model.safetensors"):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()
    assert json.loads((tmp_path / "config.json").read_text("utf-8"))["labels"] == ["나쁨", "좋음"]


def test_a_text_with_nothing_known_gets_the_bias() -> None:
    network = taught()
    assert network.scores([""])[0].tolist() == pytest.approx(network.bias.tolist())


def test_too_few_rows_for_any_ngram() -> None:
    with pytest.raises(ModelError, match="no n-gram occurs in 50 training rows; lower it"):
        made(min_rows=50).first_features([TEXTS])


@pytest.mark.parametrize("limit", [1, 7])
def test_most_features(limit: int) -> None:
    assert made(max_features=limit).first_features([TEXTS])[0].shape[1] == limit


def damage(folder: Path, kind: str) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    arrays = safetensors.numpy.load_file(folder / "model.safetensors")
    if kind == "no config":
        (folder / "config.json").unlink()
    elif kind == "config is a list":
        (folder / "config.json").write_text("[]")
    elif kind == "config lacks a key":
        del config["min_rows"]
        (folder / "config.json").write_text(json.dumps(config))
    elif kind == "config is senseless":
        (folder / "config.json").write_text(json.dumps(config | {"char_ngrams": [4, 1]}))
    elif kind == "weights are pickled":
        (folder / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    elif kind == "weights are missing":
        del arrays["bias"]
        safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    elif kind == "weights of another width":
        arrays["weight"] = arrays["weight"][:, 1:].copy()
        safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    elif kind == "idf of another width":
        arrays["idf.char"] = arrays["idf.char"][1:].copy()
        safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    elif kind == "vocabulary is no list":
        (folder / "vocabulary.json").write_text('{"char": 3}')
    elif kind == "vocabulary lacks a sort":
        (folder / "vocabulary.json").write_text("{}")


@pytest.mark.parametrize(
    "kind",
    [
        "no config",
        "config is a list",
        "config lacks a key",
        "config is senseless",
        "weights are pickled",
        "weights are missing",
        "weights of another width",
        "idf of another width",
        "vocabulary is no list",
        "vocabulary lacks a sort",
    ],
)
def test_files_that_do_not_fit_are_refused(kind: str, tmp_path: Path) -> None:
    """RS-07, CK-11: one line, and nothing is unpickled."""
    taught().save(tmp_path, ["나쁨", "좋음"])
    damage(tmp_path, kind)
    with pytest.raises(ModelError) as caught:
        TfidfNetwork.open(tmp_path)
    assert tmp_path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"char_ngrams": [3, 1]},
        {"char_ngrams": [0, 3]},
        {"char_ngrams": [1, 21]},
        {"char_ngrams": [1, 2, 3]},
        {"char_ngrams": [0, 0]},
        {"word_ngrams": [-1, 2]},
    ],
)
def test_sizes_of_ngrams_that_make_no_sense(settings: dict[str, Any]) -> None:
    """CF-03."""
    with pytest.raises(ValueError, match=r"ngrams|n-grams"):
        TfidfSettings(**settings)


# ---------------------------------------------------------------- its tokenizer


def test_words_are_composed_and_folded(tmp_path: Path) -> None:
    """DA-03, TK-07: what is counted is NFC, before and after a save."""
    import unicodedata

    text = unicodedata.normalize("NFD", " 정말  Good ")
    for lowercase, expected in ((False, "정말 Good"), (True, "정말 good")):
        words = Words.make(WordSettings(lowercase=lowercase), None, [], 1)
        words.save(tmp_path)
        for tokenizer in (words, Words.load(tmp_path)):
            encoded = tokenizer.encode([text, ""])
            assert encoded.take(np.array([1, 0]), 8) == ["", expected]
            assert (encoded.lengths.tolist(), encoded.width) == ([7, 0], "none")
            assert tokenizer.fingerprint() == words.fingerprint()

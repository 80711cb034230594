"""TF-IDF of two texts: every column by hand, files, and a vocabulary of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from mulgil.errors import ModelError
from mulgil.flow import Array, Head
from mulgil.models.tfidf import Tfidf, TfidfNetwork, TfidfSettings
from mulgil.tokenizers.words import Words, WordSettings

PAIRS = [
    ("비가 많이 온다", "비가 온다"),
    ("고양이가 잔다", "개가 잔다"),
    ("비가 온다", "눈이 온다"),
    ("개가 짖는다", "개가 크게 짖는다"),
]
NEW = [("눈이 많이 온다", "비가 온다"), ("", "개가"), ("전혀", "다른 말"), ("", "")]


def taught(**settings: Any) -> TfidfNetwork:
    chosen = TfidfSettings(min_rows=1, **settings)
    network = Tfidf(chosen).build(None, Head("pool", 3), "fp32", "cpu", 1)
    assert isinstance(network, TfidfNetwork)
    (features,) = network.first_features([PAIRS[:3], PAIRS[3:]])
    assert features.shape[0] == 4
    draw = np.random.default_rng(1)
    network.set_head(draw.normal(size=(3, features.shape[1])), draw.normal(size=3))
    return network


def by_hand(ordered: bool) -> Array:
    vectors = TfidfVectorizer(
        lowercase=False, sublinear_tf=True, analyzer="char", ngram_range=(1, 4)
    )
    vectors.fit([text for pair in PAIRS for text in pair])
    a, b = (vectors.transform([pair[i] for pair in NEW]).toarray() for i in (0, 1))
    gaps = [np.maximum(a - b, 0), np.maximum(b - a, 0)] if ordered else [np.abs(a - b)]
    shares = [
        [5 / 8, 2 / 5, 4 / 10, 4 / 9],
        [0, 0, 0, 0],
        [2 / 4, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    return np.column_stack([a * b, *gaps, (a * b).sum(1), shares])


@pytest.mark.parametrize("ordered", [True, False])
def test_columns_are_those_worked_out_by_hand(ordered: bool) -> None:
    """Product, who has more, cosine, ratio of lengths, common words, letter pairs, letters."""
    found = taught(ordered=ordered).features(NEW).toarray()
    assert found.shape == by_hand(ordered).shape
    assert np.abs(found - by_hand(ordered)).max() < 1e-6


def test_the_features_of_training_rows_are_those_of_the_same_rows_again() -> None:
    network = Tfidf(TfidfSettings(min_rows=1, word_ngrams=[1, 1])).build(
        None, Head("pool", 1), "fp32", "cpu", 1
    )
    (first,) = network.first_features([PAIRS])
    assert np.abs(first - network.features(PAIRS)).max() < 1e-6


def test_only_where_the_order_matters_the_two_texts_can_be_told_apart() -> None:
    turned = [(b, a) for a, b in NEW]
    for ordered in (True, False):
        network = taught(ordered=ordered)
        same = np.abs(network.scores(NEW) - network.scores(turned)).max() < 1e-6
        assert same != ordered


@pytest.mark.parametrize("ordered", [True, False])
def test_what_is_saved_compares_the_same(ordered: bool, tmp_path: Path) -> None:
    """PR-04: two texts are still two after opening."""
    network = taught(ordered=ordered, word_ngrams=[1, 2])
    network.save(tmp_path, ["하나", "둘", "셋"])
    opened = TfidfNetwork.open(tmp_path)
    assert opened.scores(NEW).tolist() == network.scores(NEW).tolist()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"texts": 1}), "utf-8")
    with pytest.raises(ModelError, match="cannot be opened"):
        TfidfNetwork.open(tmp_path)


def test_a_run_from_before_two_texts_still_opens(tmp_path: Path) -> None:
    """CK-11: its config knows neither `texts` nor `ordered`."""
    network = Tfidf(TfidfSettings(min_rows=1)).build(None, Head("pool", 2), "fp32", "cpu", 1)
    texts = [a for a, _ in PAIRS]
    (features,) = network.first_features([texts])
    network.set_head(np.ones((2, features.shape[1])), np.zeros(2))
    network.save(tmp_path, ["가", "나"])
    path = tmp_path / "config.json"
    config = json.loads(path.read_text("utf-8"))
    del config["texts"], config["ordered"]
    path.write_text(json.dumps(config), "utf-8")
    assert TfidfNetwork.open(tmp_path).scores(texts).tolist() == network.scores(texts).tolist()


def test_the_tokenizer_hands_over_two_texts() -> None:
    """DA-03: each composed and folded by itself; the length is that of both."""
    words = Words.make(WordSettings(lowercase=True), None, [], 1)
    encoded = words.encode([("  Good  영화 ", "나"), ("", "다")])
    assert encoded.take(np.array([1, 0]), 8) == [("", "다"), ("good 영화", "나")]
    assert encoded.lengths.tolist() == [8, 1]


# ---------------------------------------------------------------- what weighs most


def weighed(weights: dict[str, float], pairs: bool = False, **settings: Any) -> TfidfNetwork:
    """Return a network of one score whose n-grams have these weights, all others none."""
    network = Tfidf(TfidfSettings(min_rows=1, **settings)).build(
        None, Head("pool", 1), "fp32", "cpu", 1
    )
    assert isinstance(network, TfidfNetwork)
    (features,) = network.first_features([PAIRS if pairs else [a for pair in PAIRS for a in pair]])
    names = [str(name) for part in network.parts for name in part.get_feature_names_out()]
    weight = np.zeros((1, features.shape[1]))
    for name, value in weights.items():
        way, _, gram = name.rpartition(":")
        block = ["both", "first", "second"].index(way) if pairs else 0
        weight[0, block * len(names) + names.index(gram)] = value
    network.set_head(weight, np.zeros(1))
    return network


def test_what_weighs_most_is_weight_times_idf() -> None:
    network = weighed({"비": 1.0, "개": 2.0, "짖": -5.0, "눈": 0.1})
    idf = dict(zip(network.parts[0].get_feature_names_out(), network.parts[0].idf_, strict=True))
    (told,) = network.telling(12)
    assert list(told) == ["개", "비", "눈"]
    assert told["개"] == pytest.approx(2 * idf["개"], abs=1e-4)
    assert list(network.telling(2)[0]) == ["개", "비"]


def test_what_lowers_a_score_most_is_told_with_its_sign() -> None:
    network = weighed({"비": 1.0, "개": -2.0, "짖": -5.0, "눈": -0.1})
    idf = dict(zip(network.parts[0].get_feature_names_out(), network.parts[0].idf_, strict=True))
    (told,) = network.telling(2, lowering=True)
    assert list(told) == ["짖", "개"]
    assert told["개"] == pytest.approx(-2 * idf["개"], abs=1e-4)


def test_an_ngram_within_another_of_nearly_its_weight_is_told_once() -> None:
    """Both "눈" and "눈이" stand in one row, so their idf is the same and weights are compared."""
    assert list(weighed({"눈": 1.0, "눈이": 0.9}).telling(5)[0]) == ["눈"]
    assert list(weighed({"눈": 0.9, "눈이": 1.0}).telling(5)[0]) == ["눈이"]
    assert list(weighed({"눈": 1.0, "눈이": 0.5}).telling(5)[0]) == ["눈", "눈이"]
    assert list(weighed({"눈": 1.0, "고양": 0.99}).telling(5)[0]) == ["눈", "고양"]


def test_of_two_texts_it_is_told_how_an_ngram_was_counted() -> None:
    network = weighed({"both:눈": 1.0, "second:눈": 1.5, "first:개": 0.2}, pairs=True)
    idf = dict(zip(network.parts[0].get_feature_names_out(), network.parts[0].idf_, strict=True))
    (told,) = network.telling(12)
    assert set(told) == {"both:눈", "second:눈", "first:개"}
    assert told["both:눈"] == pytest.approx(idf["눈"] ** 2, abs=1e-4)
    assert told["second:눈"] == pytest.approx(1.5 * idf["눈"], abs=1e-4)


def test_an_ngram_counted_in_two_sorts_is_told_once() -> None:
    network = weighed({"비가": 1.0}, word_ngrams=[1, 1])
    columns = [str(n) for part in network.parts for n in part.get_feature_names_out()]
    assert columns.count("비가") == 2
    network.weight[0, len(columns) - 1 - columns[::-1].index("비가")] = 0.1
    assert len(network.telling(12)[0]) == 1

"""The solved head: scikit-learn's answer on a network; penalty, temperature, missing labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from mulgil.errors import DataError, ModelError
from mulgil.flow import Array, Batch
from mulgil.methods._solving import logistic
from mulgil.methods.linear_probe import (
    LinearProbe,
    LinearProbeSettings,
    ProbeLearner,
    Problem,
)
from mulgil.networks import Network
from mulgil.objectives import Lesson


class Features(Network):
    """A network whose inputs are its features."""

    def __init__(self, outputs: int) -> None:
        self._outputs = outputs
        self.weight: Array = np.zeros((outputs, 0))
        self.bias: Array = np.zeros(outputs)

    def features(self, inputs: Any) -> Any:
        return inputs

    def set_head(self, weight: Array, bias: Array) -> None:
        self.weight, self.bias = weight, bias

    def scores(self, inputs: Any) -> Array:
        return np.asarray(inputs @ self.weight.T + self.bias, np.float32)

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        raise NotImplementedError

    outputs = property(lambda self: self._outputs)
    parameters_total = property(lambda self: int(self.weight.size))


def blobs(n: int, labels: int, seed: int, spread: float = 1.5) -> tuple[Array, Array]:
    """Return points in 6 dimensions, with scales that differ by a factor of a thousand."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(labels, 6)) * 2
    gold = draw.integers(0, labels, n)
    points = (centres[gold] + draw.normal(size=(n, 6)) * spread) * np.logspace(-1, 2, 6) + 50
    return points.astype(np.float32), gold


def batches(features: Any, gold: Any, size: int = 40) -> list[Batch]:
    n = features.shape[0]
    return [
        Batch(
            np.arange(i, min(i + size, n)),
            features[i : i + size],
            None if gold is None else gold[i : i + size],
        )
        for i in range(0, n, size)
    ]


def solved(
    outputs: int, train: Any, valid: Any, weights: Array | None = None, **settings: Any
) -> tuple[Features, dict[str, float]]:
    network = Features(outputs)
    learner = ProbeLearner(network, LinearProbeSettings(**settings), Problem(outputs, weights))
    figures = learner.solve(batches(*train), batches(*valid) if valid else [])
    assert learner.trainable == network.weight.size + outputs
    return network, figures


def reference(features: Array, gold: Array, strength: float, **more: Any) -> tuple[Array, Any]:
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    model = LogisticRegression(C=strength, max_iter=2000, **more)
    return deviation, model.fit((features - mean) / deviation, gold)


@pytest.mark.parametrize("labels", [2, 4])
def test_dense_features_give_the_regression_of_scikit_learn(labels: int) -> None:
    """Standardised inside, and turned back, so that the head reads raw features."""
    features, gold = blobs(300, labels, 1)
    network, figures = solved(labels, (features, gold), None, strengths=[1.0])
    _, model = reference(features, gold, 1.0)
    shares = np.exp(network.scores(features).astype(float))
    shares /= shares.sum(1, keepdims=True)
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    expected = model.predict_proba((features - mean) / deviation)
    assert np.abs(shares - expected).max() < 5e-3
    assert figures["strength"] == 1.0
    assert figures["temperature"] == 1.0


def test_counts_are_solved_as_counts() -> None:
    """Sparse features stay as they are; the answers are those of scikit-learn's own solver."""
    draw = np.random.default_rng(4)
    gold = draw.integers(0, 3, 400)
    counts = draw.poisson(0.3, (400, 30)) + 4 * np.eye(30)[gold * 7]
    rows = sparse.csr_matrix(counts.astype(np.float32))
    for labels in (2, 3):
        keep = gold < labels
        network, _ = solved(
            labels, (rows[keep], gold[keep]), None, strengths=[1.0], max_iterations=2000
        )
        right = (network.scores(rows[keep]).argmax(1) == gold[keep]).mean()
        model = LogisticRegression(max_iter=2000).fit(rows[keep], gold[keep])
        assert right >= model.score(rows[keep], gold[keep]) - 0.01


def test_the_validation_rows_pick_the_penalty() -> None:
    train, valid = blobs(60, 3, 1, spread=4), blobs(400, 3, 2, spread=4)
    _, figures = solved(3, train, valid, strengths=[1e-4, 1e-2, 1.0, 1e4])
    losses = {}
    for strength in (1e-4, 1e-2, 1.0, 1e4):
        losses[strength] = solved(3, train, valid, strengths=[strength])[1]["valid_loss"]
    assert figures["strength"] == min(losses, key=losses.__getitem__)
    assert figures["valid_loss"] == min(losses.values())
    assert solved(3, train, None, strengths=[7.0, 2.0])[1]["strength"] == 2.0, "the last"
    assert solved(3, train, None)[1]["strength"] == 0.1, "what mostly serves dense features"


def test_the_temperature_makes_probabilities_honest_and_changes_no_answer() -> None:
    train, valid = blobs(40, 3, 1, spread=5), blobs(2000, 3, 2, spread=5)
    hot, figures = solved(3, train, valid, strengths=[1e6])
    raw, _ = solved(3, train, None, strengths=[1e6])
    assert figures["temperature"] > 1.5
    assert (hot.scores(valid[0]).argmax(1) == raw.scores(valid[0]).argmax(1)).mean() > 0.999
    scores = hot.scores(valid[0]).astype(float)
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    gap = shares.max(1).mean() - (scores.argmax(1) == valid[1]).mean()
    assert abs(gap) < 0.05


def test_labels_that_training_lacks_are_never_answered() -> None:
    """And a training part of a single label is no crash: that label is the answer."""
    features, gold = blobs(100, 2, 1)
    network, _ = solved(4, (features, gold * 2), None)
    assert {*network.scores(features).argmax(1).tolist()} == {0, 2}
    assert network.scores(features)[:, [1, 3]].max() == pytest.approx(-20.0)
    for rows in (features, sparse.csr_matrix(features)):
        alone, _ = solved(3, (rows, np.ones(100, np.int64)), None)
        assert (alone.scores(rows).argmax(1) == 1).all()


def test_several_labels_are_solved_one_by_one() -> None:
    """EV-04: a label that all rows have, or none, is a constant."""
    features, gold = blobs(200, 2, 3, spread=0.5)
    hot = np.stack([gold, 1 - gold, np.ones(200), np.zeros(200)], 1).astype(np.float32)
    network, _ = solved(4, (features, hot), (features, hot))
    yes = network.scores(features) > 0
    assert (yes == (hot > 0.5)).mean() > 0.99
    assert yes[:, 2].all()
    assert not yes[:, 3].any()


def test_class_weights_move_the_answers() -> None:
    features, gold = blobs(400, 2, 5, spread=6)
    keep = (gold == 0) | (np.arange(400) % 8 == 0)
    train = features[keep], gold[keep]
    plain, _ = solved(2, train, None)
    weights = (len(train[1]) / (2 * np.bincount(train[1]))).astype(np.float32)
    fair, _ = solved(2, train, None, weights)
    _, model = reference(*train, 1.0, class_weight="balanced")
    assert (fair.scores(features).argmax(1) == 1).sum() > 1.5 * (
        plain.scores(features).argmax(1) == 1
    ).sum()
    mean, deviation = train[0].mean(0), train[0].std(0) + 1e-6
    same = model.predict((features - mean) / deviation) == fair.scores(features).argmax(1)
    assert same.mean() > 0.95


@pytest.mark.parametrize("several", [False, True])
def test_class_weights_of_counts_are_those_of_scikit_learn(several: bool) -> None:
    """A row weighs by its own label, also where each label is solved against the others."""
    features, gold = blobs(300, 3, 5, spread=6)
    counts = sparse.csr_matrix(np.abs(features) / 30)
    weights = np.array([0.5, 2.0, 7.0], np.float32)
    hot = np.eye(3, dtype=np.float32)[gold]
    weight, _ = logistic(counts, hot if several else gold, 1.0, 3, weights, 9000)
    for label in range(3):
        one = np.where(gold == label, weights[label], 1.0)
        model = LogisticRegression(solver="liblinear", dual=True, max_iter=9000, random_state=0)
        model.fit(counts, gold == label, sample_weight=one if several else weights[gold])
        assert weight[label] == pytest.approx(model.coef_[0], abs=1e-6)


def test_a_feature_that_never_varies_is_no_division_by_zero() -> None:
    features, gold = blobs(50, 2, 1)
    features[:, 3] = 7.0
    network, _ = solved(2, (features, gold), (features, gold))
    assert np.isfinite(network.weight).all()
    assert np.isfinite(network.scores(features)).all()


def test_rows_without_labels_are_refused() -> None:
    features, _ = blobs(9, 2, 1)
    with pytest.raises(DataError, match="needs rows with labels"):
        solved(2, (features, None), None)


def test_features_that_are_no_numbers_are_refused_in_one_line() -> None:
    """A checkpoint that overflows is no traceback of the solver."""
    features, gold = blobs(9, 2, 1)
    features[4, 2] = np.nan
    with pytest.raises(ModelError, match=r"no numbers; take trainer\.precision=fp32"):
        solved(2, (features, gold), None)


def test_the_answer_does_not_depend_on_the_batches() -> None:
    """EV-05."""
    features, gold = blobs(120, 3, 1)
    heads = []
    for size in (7, 120):
        network = Features(3)
        learner = LinearProbe(LinearProbeSettings()).learner(network, Lesson(None, None))  # type: ignore[arg-type]
        learner.solve(batches(features, gold, size), batches(features, gold, size))  # type: ignore[attr-defined]
        heads.append(network.weight)
    assert heads[0].tolist() == heads[1].tolist()

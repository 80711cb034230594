"""Ratings by ridge regression: scikit-learn's answer on a network, the task's scale, odd rows."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge
from test_linear_probe import Features, batches

from mulgil.flow import Array, Schema
from mulgil.methods.linear_probe import LinearProbe, LinearProbeSettings
from mulgil.objectives import Lesson
from mulgil.tasks.sts import Sts, StsSettings

SCHEMA = Schema("rated-pair", ("rating",))
TRAINER = types.SimpleNamespace(seed=7)


def rated(
    train: tuple[Any, Array],
    valid: Any = None,
    lowest: float = 0.0,
    highest: float = 5.0,
    **more: Any,
) -> tuple[Features, dict[str, float], Sts]:
    """Solve ratings [N, 1]; return the network, the figures and the task."""
    network = Features(1)
    task = Sts(StsSettings(lowest=lowest, highest=highest))
    learner: Any = LinearProbe(LinearProbeSettings(**more)).learner(
        network, Lesson(task, TRAINER, schema=SCHEMA)
    )
    figures = learner.solve(batches(*train), batches(*valid) if valid else [])
    assert learner.trainable == network.weight.size + 1
    return network, figures, task


def rows(n: int, seed: int, noise: float = 0.3) -> tuple[Array, Array]:
    """Return features whose scales differ by a factor of a thousand, and ratings from 0 to 5."""
    draw = np.random.default_rng(seed)
    points = draw.normal(size=(n, 6))
    gold = 2.5 + points @ [0.5, -0.4, 0.3, 0, 0, 0] + draw.normal(size=n) * noise
    return (points * np.logspace(-1, 2, 6) + 50).astype(np.float32), gold.clip(0, 5)[:, None]


def answers(network: Features, task: Sts, features: Any) -> Array:
    return task.probabilities(network.scores(features), SCHEMA)[:, 0]


@pytest.mark.parametrize(("lowest", "highest"), [(0.0, 5.0), (-1.0, 9.0)])
def test_dense_ratings_are_those_of_scikit_learn(lowest: float, highest: float) -> None:
    """On features of deviation 1; whatever scale the task has, the answers are ratings again."""
    features, gold = rows(300, 1)
    network, figures, task = rated(
        (features, gold), lowest=lowest, highest=highest, strengths=[0.1]
    )
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    model = Ridge(alpha=10.0).fit((features - mean) / deviation, gold[:, 0])
    expected = model.predict((features - mean) / deviation)
    assert np.abs(answers(network, task, features) - expected.clip(lowest, highest)).max() < 1e-3
    assert (figures["strength"], figures["temperature"]) == (0.1, 1.0)


def test_ratings_on_counts_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(4)
    counts = sparse.csr_matrix(draw.poisson(0.3, (400, 40)).astype(np.float32))
    gold = (counts @ draw.normal(size=40) + 2.5).clip(0, 5)[:, None]
    network, figures, task = rated((counts, gold), strengths=[2.0], max_iterations=1000)
    model = Ridge(alpha=0.5).fit(counts.toarray().astype(float), gold[:, 0])
    expected = model.predict(counts.toarray()).clip(0, 5)
    assert np.abs(answers(network, task, counts) - expected).max() < 5e-3
    assert figures["features"] == 40


def test_the_validation_rows_pick_the_penalty_of_ratings() -> None:
    train, valid = rows(12, 1, noise=2.0), rows(400, 2, noise=0.1)
    _, figures, _ = rated(train, valid)
    losses = {s: rated(train, valid, strengths=[s])[1]["valid_loss"] for s in (1e-4, 1e-2, 1.0)}
    assert figures["valid_loss"] <= min(losses.values())
    assert figures["strength"] < 1.0, "12 noisy rows want a strong penalty"
    assert rated(train)[1]["strength"] == 0.01, "what mostly serves"
    assert rated(train, strengths=[7.0, 2.0])[1]["strength"] == 2.0, "the last"


def test_the_loss_is_that_of_the_task() -> None:
    """On the scale from 0 to 1, so that runs of other tasks' scales can be compared."""
    train, valid = rows(200, 1), rows(100, 2)
    network, figures, task = rated(train, valid)
    measured = task.probabilities(network.scores(valid[0]), SCHEMA)
    assert figures["valid_loss"] == pytest.approx(
        task.loss_of(valid[1], measured, SCHEMA), rel=0.05
    )


@pytest.mark.parametrize("sort", ["dense", "counts"])
@pytest.mark.parametrize("rating", [0.0, 3.2, 5.0])
def test_ratings_that_are_all_the_same_are_the_answer(sort: str, rating: float) -> None:
    features, _ = rows(30, 1)
    held: Any = features if sort == "dense" else sparse.csr_matrix(features)
    gold = np.full((30, 1), rating)
    network, _, task = rated((held, gold), (held, gold))
    assert answers(network, task, held) == pytest.approx(np.full(30, rating), abs=1e-4)


@pytest.mark.parametrize("sort", ["dense", "counts"])
def test_rows_without_a_feature_get_the_mean(sort: str) -> None:
    nothing = np.zeros((20, 4), np.float32)
    held: Any = nothing if sort == "dense" else sparse.csr_matrix(nothing)
    gold = np.linspace(1, 4, 20)[:, None]
    network, _, task = rated((held, gold))
    assert answers(network, task, held) == pytest.approx(np.full(20, 2.5), abs=1e-4)


def test_one_row_is_enough() -> None:
    features, gold = rows(1, 1)
    network, _, task = rated((features, gold))
    assert answers(network, task, features) == pytest.approx(gold[:, 0], abs=1e-3)

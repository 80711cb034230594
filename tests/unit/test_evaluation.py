"""From scores to figures: each row once and in its place, nothing left out, defined intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulgil import evaluation
from mulgil.errors import DivergedError, StoppedError
from mulgil.flow import Array, Batch, Schema, Scored
from mulgil.networks import Network
from mulgil.tasks.classification import Classification, ClassificationSettings

TASK = Classification(ClassificationSettings())
ONE = Schema("text", ("나쁨", "보통", "좋음"))
MANY = Schema("text", ("나쁨", "보통", "좋음"), multi_label=True)
DRAW = np.random.default_rng(6)
SCORES = DRAW.normal(size=(50, 3)).astype(np.float32)
GOLD = DRAW.integers(0, 3, 50)


class Echo(Network):
    """A network whose inputs are row numbers, and whose scores are given."""

    def __init__(self, scores: Array) -> None:
        self._scores = scores

    def features(self, inputs: Any) -> Any:
        raise NotImplementedError

    def set_head(self, weight: Array, bias: Array) -> None:
        raise NotImplementedError

    def scores(self, inputs: Any) -> Array:
        found: Array = self._scores[inputs]
        return found

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        raise NotImplementedError

    outputs = property(lambda self: 3)
    parameters_total = property(lambda self: 0)


def batches(order: Array, size: int) -> Iterator[Batch]:
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield Batch(rows, rows, None)


@pytest.mark.parametrize("size", [1, 7, 32, 50])
def test_batches_and_their_order_change_nothing(size: int) -> None:
    """EV-05."""
    order = np.random.default_rng(size).permutation(50)
    found = evaluation.probabilities(Echo(SCORES), batches(order, size), 50, TASK, ONE)
    assert found.tolist() == TASK.probabilities(SCORES, ONE).tolist()


def test_a_signal_is_seen_between_batches() -> None:
    """TR-12."""

    def stop() -> None:
        raise StoppedError("stopped", 15)

    with pytest.raises(StoppedError):
        evaluation.probabilities(Echo(SCORES), batches(np.arange(50), 7), 50, TASK, ONE, stop)


@pytest.mark.parametrize("schema", [ONE, MANY])
@pytest.mark.parametrize("kind", ["row not scored", "nan", "inf"])
def test_rows_without_an_answer_are_not_left_out(schema: Schema, kind: str) -> None:
    """EV-12: a failed row never makes a figure better: it is said, and there is no figure."""
    scores, order = SCORES.copy(), np.arange(50)
    if kind == "row not scored":
        order = order[order != 20]
    else:
        scores[20] = float(kind)
    with np.errstate(all="ignore"):
        shares = evaluation.probabilities(Echo(scores), batches(order, 7), 50, TASK, schema)
    if kind == "inf" and schema.multi_label:
        assert shares[20].tolist() == pytest.approx([1.0] * 3)
        return
    gold = GOLD if schema is ONE else np.eye(3, dtype=np.float32)[GOLD]
    with pytest.raises(DivergedError, match=r"1 of 50 rows got no number.* row 21") as caught:
        evaluation.judge(TASK, schema, gold, shares)
    assert caught.value.exit_code == 3


def test_gold_and_answers_side_by_side() -> None:
    shares = TASK.probabilities(SCORES, ONE)
    scored = evaluation.judge(TASK, ONE, GOLD, shares)
    assert scored.predicted.tolist() == SCORES.argmax(1).tolist()
    hot = np.eye(3, dtype=np.float32)[GOLD]
    several = evaluation.judge(TASK, MANY, hot, TASK.probabilities(SCORES, MANY))
    assert several.gold.dtype == several.predicted.dtype == bool
    assert several.predicted.tolist() == (SCORES >= 0).tolist()
    empty = evaluation.judge(TASK, ONE, GOLD[:0], shares[:0])
    assert len(empty.gold) == 0


def test_the_loss_is_the_mean_log_loss() -> None:
    shares = TASK.probabilities(SCORES, ONE)
    expected = np.mean([-np.log(shares[i, g]) for i, g in enumerate(GOLD)])
    assert evaluation.loss(GOLD, shares) == pytest.approx(expected)
    hot = np.eye(3)[GOLD]
    each = np.where(hot > 0.5, shares, 1 - shares)
    assert evaluation.loss(hot, shares) == pytest.approx(-np.log(each).sum(1).mean())
    assert evaluation.loss(GOLD[:0], shares[:0]) == 0.0
    sure = np.array([[1.0, 0.0]])
    assert evaluation.loss(np.array([1]), sure) == pytest.approx(-np.log(1e-12)), "finite"


def scored(schema: Schema = ONE) -> Scored:
    gold = GOLD if schema is ONE else np.eye(3, dtype=np.float32)[GOLD]
    return evaluation.judge(TASK, schema, gold, TASK.probabilities(SCORES, schema))


@pytest.mark.parametrize("schema", [ONE, MANY, Schema("text", ("하나",), multi_label=True)])
def test_headlines_are_the_single_figures(schema: Schema) -> None:
    """Whatever the number of labels: a table of one row is a table still."""
    if len(schema.labels) == 1:
        shares = np.array([[0.9], [0.2]])
        found = evaluation.headlines(
            TASK, evaluation.judge(TASK, schema, np.array([[1.0], [0.0]]), shares)
        )
    else:
        found = evaluation.headlines(TASK, scored(schema))
    assert list(found) == ["accuracy", "macro-f1", "ece"]


def test_intervals_hold_the_figures_and_are_the_same_every_time() -> None:
    """EV-11."""
    found = evaluation.intervals(TASK, scored(), seed=7)
    assert list(found) == list(TASK.metrics)
    assert len(found["confusion"]) == 9
    for figures in found.values():
        for figure in figures.values():
            assert figure["low"] <= figure["value"] <= figure["high"]
    assert evaluation.intervals(TASK, scored(), seed=7) == found
    assert evaluation.intervals(TASK, scored(), seed=8) != found


def test_answers_are_named() -> None:
    assert evaluation.names(np.array(2), ONE) == "좋음"
    assert evaluation.names(np.array([True, False, True]), MANY) == ["나쁨", "좋음"]
    assert evaluation.names(np.array([False] * 3), MANY) == []

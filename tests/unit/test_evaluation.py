"""From scores to figures: each row once and in its place, nothing left out, defined intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from mulgil import evaluation, result
from mulgil.errors import DivergedError, StoppedError
from mulgil.flow import Array, Batch, Schema
from mulgil.judged import Scored
from mulgil.loader import BatchLoader
from mulgil.networks import Network
from mulgil.recipe import LoaderSettings
from mulgil.tasks.classification import Classification, ClassificationSettings

TASK = Classification(ClassificationSettings())
ONE = Schema("text", ("나쁨", "보통", "좋음"))
MANY = Schema("text", ("나쁨", "보통", "좋음"), multi_label=True)
DRAW = np.random.default_rng(6)
SCORES = DRAW.normal(size=(50, 3)).astype(np.float32)
GOLD = DRAW.integers(0, 3, 50)


class Numbers:
    """Rows whose inputs are their own numbers."""

    width: Literal["longest", "sum", "none"] = "longest"
    owners: Array | None = None
    truncated, unknown = 0, 0.0

    def __init__(self, lengths: Array) -> None:
        self.lengths = lengths
        self.texts = len(lengths)

    def take(self, rows: Array, multiple: int) -> Any:
        return rows

    def arrays(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self.lengths)


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


def loader(order: Array, size: int) -> BatchLoader:
    """Return 50 rows that are scored in this order, so many a batch."""
    lengths = np.empty(50, np.int64)
    lengths[order] = np.arange(50, 0, -1)  # the longest come first
    return BatchLoader(Numbers(lengths), None, LoaderSettings(rows=size, prefetch=0), 0)


class Forgetful(BatchLoader):
    """A loader that leaves out a row."""

    def in_order(self) -> Iterator[Batch]:
        for batch in super().in_order():
            kept = batch.rows[batch.rows != 20]
            yield Batch(kept, kept, None)


@pytest.mark.parametrize("size", [1, 7, 32, 50])
def test_batches_and_their_order_change_nothing(size: int) -> None:
    """EV-05."""
    order = np.random.default_rng(size).permutation(50)
    made = loader(order, size)
    assert np.concatenate([batch.rows for batch in made.in_order()]).tolist() == order.tolist()
    found = evaluation.measure(Echo(SCORES), made, TASK, ONE)
    assert found.tolist() == TASK.probabilities(SCORES, ONE).tolist()


def test_a_signal_is_seen_between_batches() -> None:
    """TR-12."""

    def stop() -> None:
        raise StoppedError("stopped", 15)

    with pytest.raises(StoppedError):
        evaluation.measure(Echo(SCORES), loader(np.arange(50), 7), TASK, ONE, stop)


@pytest.mark.parametrize("schema", [ONE, MANY])
@pytest.mark.parametrize("kind", ["row not scored", "nan", "inf"])
def test_rows_without_an_answer_are_not_left_out(schema: Schema, kind: str) -> None:
    """EV-12: a failed row never makes a figure better: it is said, and there is no figure."""
    scores, made = SCORES.copy(), loader(np.arange(50), 7)
    if kind == "row not scored":
        made = Forgetful(made.encoded, None, made.settings, 0)
    else:
        scores[20] = float(kind)
    with np.errstate(all="ignore"):
        shares = evaluation.measure(Echo(scores), made, TASK, schema)
    if kind == "inf" and schema.multi_label:
        assert shares[20].tolist() == pytest.approx([1.0] * 3)
        return
    with pytest.raises(DivergedError, match=r"1 of 50 rows got no number.* row 21") as caught:
        evaluation.check_numbers(shares)
    assert caught.value.exit_code == 3
    gold = GOLD if schema is ONE else np.eye(3, dtype=np.float32)[GOLD]
    with pytest.raises(DivergedError, match=r"1 of 50 rows"):
        result.score(TASK, schema, gold, shares, 7)


def judged(gold: Array, shares: Array, schema: Schema) -> Scored:
    found = TASK.judge(gold, shares, schema)
    assert isinstance(found, Scored)
    return found


def test_gold_and_answers_side_by_side() -> None:
    shares = TASK.probabilities(SCORES, ONE)
    scored = judged(GOLD, shares, ONE)
    assert scored.predicted.tolist() == SCORES.argmax(1).tolist()
    hot = np.eye(3, dtype=np.float32)[GOLD]
    several = judged(hot, TASK.probabilities(SCORES, MANY), MANY)
    assert several.gold.dtype == several.predicted.dtype == bool
    assert several.predicted.tolist() == (SCORES >= 0).tolist()
    empty = judged(GOLD[:0], shares[:0], ONE)
    assert len(empty.gold) == 0


def test_the_loss_is_the_mean_log_loss() -> None:
    shares = TASK.probabilities(SCORES, ONE)
    expected = np.mean([-np.log(shares[i, g]) for i, g in enumerate(GOLD)])
    assert TASK.loss_of(GOLD, shares, ONE) == pytest.approx(expected)
    hot = np.eye(3)[GOLD]
    each = np.where(hot > 0.5, shares, 1 - shares)
    assert TASK.loss_of(hot, shares, MANY) == pytest.approx(-np.log(each).sum(1).mean())
    assert TASK.loss_of(GOLD[:0], shares[:0], ONE) == 0.0
    sure = np.array([[1.0, 0.0]])
    assert TASK.loss_of(np.array([1]), sure, ONE) == pytest.approx(-np.log(1e-12)), "finite"


def scored(schema: Schema = ONE) -> Scored:
    gold = GOLD if schema is ONE else np.eye(3, dtype=np.float32)[GOLD]
    return judged(gold, TASK.probabilities(SCORES, schema), schema)


@pytest.mark.parametrize("schema", [ONE, MANY, Schema("text", ("하나",), multi_label=True)])
def test_headlines_are_the_single_figures(schema: Schema) -> None:
    """Whatever the number of labels: a table of one row is a table still."""
    if len(schema.labels) == 1:
        shares = np.array([[0.9], [0.2]])
        found = evaluation.headlines(TASK, judged(np.array([[1.0], [0.0]]), shares, schema))
    else:
        found = evaluation.headlines(TASK, scored(schema))
    assert list(found) == ["accuracy", "macro-f1", "auc", "ece"]


def test_intervals_hold_the_figures_and_are_the_same_every_time() -> None:
    """EV-11."""
    found = evaluation.intervals(TASK, scored(), seed=7)
    assert list(found) == list(TASK.metrics)
    assert len(found["confusion"]) == 9
    for name, figures in found.items():
        for figure in figures.values():
            if name == "confusion":
                assert set(figure) == {"value"}, "a table of counts has no intervals"
                continue
            assert figure["low"] <= figure["value"] <= figure["high"]
    assert evaluation.intervals(TASK, scored(), seed=7) == found
    assert evaluation.intervals(TASK, scored(), seed=8) != found


def test_right_throughout_is_not_certain() -> None:
    """Three of three say little: shares of yes and no have Wilson's interval at their edges."""
    found = evaluation.intervals(TASK, judged(GOLD, np.eye(3)[GOLD], ONE), seed=7)
    doubt = 3.841459
    rows = len(GOLD)
    accuracy = found["accuracy"]["accuracy"]
    assert (accuracy["value"], accuracy["high"]) == (1.0, 1.0)
    assert accuracy["low"] == pytest.approx(rows / (rows + doubt))
    for number, label in enumerate(ONE.labels):
        recall, count = (
            found["per-class"][f"recall:{label}"],
            np.bincount(GOLD, minlength=3)[number],
        )
        if count:
            assert recall["low"] == pytest.approx(count / (count + doubt))
    assert found["ece"]["ece"]["high"] == 0.0, "an error of 0 is no share"


def test_answers_are_named() -> None:
    shares = np.array([[0.1, 0.2, 0.7]])
    (one,) = TASK.records(np.array([1]), shares, ONE)
    assert (one["gold"], one["predicted"]) == (ONE.labels[1], ONE.labels[2])
    assert one["probabilities"] == dict(zip(ONE.labels, (0.1, 0.2, 0.7), strict=True))
    (several,) = TASK.records(np.array([[1.0, 0, 1]]), np.array([[0.9, 0.2, 0.1]]), MANY)
    assert several["gold"] == [MANY.labels[0], MANY.labels[2]]
    assert several["predicted"] == [MANY.labels[0]]
    (none,) = TASK.records(np.zeros((1, 3)), np.zeros((1, 3)), MANY)
    assert none["gold"] == none["predicted"] == []

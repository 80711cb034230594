"""Metrics against scikit-learn and a naive loop, and defined where there is nothing to count."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn import metrics as sk

from mulgil.contracts import Metric
from mulgil.flow import Array, Scored
from mulgil.metrics.accuracy import Accuracy
from mulgil.metrics.confusion import Confusion
from mulgil.metrics.ece import BINS, Ece, answers
from mulgil.metrics.macro_f1 import MacroF1
from mulgil.metrics.per_class import PerClass

ALL: list[type[Metric]] = [Accuracy, MacroF1, Ece, PerClass, Confusion]
CASES = 150


def single(draw: np.random.Generator) -> Scored:
    """Return rows with one label each; often some labels never occur."""
    n, labels = int(draw.integers(1, 60)), int(draw.integers(2, 8))
    weights = draw.dirichlet(np.full(labels, 0.5))
    probabilities = draw.dirichlet(np.full(labels, draw.choice([0.2, 1.0, 5.0])), n)
    return Scored(
        gold=draw.choice(labels, n, p=weights),
        predicted=probabilities.argmax(1),
        probabilities=probabilities,
        labels=tuple(f"라벨{i}" for i in range(labels)),
    )


def several(draw: np.random.Generator) -> Scored:
    """Return rows with any number of labels."""
    n, labels = int(draw.integers(1, 60)), int(draw.integers(1, 6))
    probabilities = draw.random((n, labels))
    return Scored(
        gold=draw.random((n, labels)) < draw.random(labels),
        predicted=probabilities >= 0.5,
        probabilities=probabilities,
        labels=tuple("가나다라마바"[:labels]),
    )


def cases(make: object) -> Iterator[Scored]:
    for seed in range(CASES):
        yield make(np.random.default_rng(seed))  # type: ignore[operator]


def made(gold: list[int], predicted: list[int], labels: int = 2) -> Scored:
    """Return rows that are sure of every answer."""
    shares = np.eye(labels)[np.array(predicted, int)] if predicted else np.zeros((0, labels))
    return Scored(
        np.array(gold, np.int64), np.array(predicted, np.int64), shares, ("가", "나", "다")[:labels]
    )


def value(metric: type[Metric], scored: Scored) -> float:
    """Return the one figure of a metric."""
    (found,) = metric().compute(scored).values()
    return found


# ---------------------------------------------------------------- scikit-learn (EV-01)


def test_one_label_a_row_agrees_with_scikit_learn() -> None:
    """EV-01, G22."""
    for scored in cases(single):
        gold, predicted, n = scored.gold, scored.predicted, len(scored.labels)
        assert value(Accuracy, scored) == pytest.approx(sk.accuracy_score(gold, predicted))
        reference = sk.f1_score(gold, predicted, average="macro", zero_division=0)
        assert value(MacroF1, scored) == pytest.approx(reference)
        check_classes(scored, range(n))
        cells = np.array(list(Confusion().compute(scored).values())).reshape(n, n)
        assert (cells == sk.confusion_matrix(gold, predicted, labels=range(n))).all()


def test_several_labels_a_row_agree_with_scikit_learn() -> None:
    """EV-01: exact match; labels that never occur are left out, as zero_division=NaN does."""
    for scored in cases(several):
        gold, predicted, n = scored.gold, scored.predicted, len(scored.labels)
        exact = sk.accuracy_score(gold.astype(int), predicted.astype(int))
        assert value(Accuracy, scored) == pytest.approx((gold == predicted).all(1).mean())
        if n > 1:
            assert value(Accuracy, scored) == pytest.approx(exact)
            reference = sk.f1_score(
                gold.astype(int), predicted.astype(int), average="macro", zero_division=np.nan
            )
            expected = 0.0 if math.isnan(reference) else reference
            assert value(MacroF1, scored) == pytest.approx(expected)
            check_classes(scored, None)
        cells = np.array(list(Confusion().compute(scored).values())).reshape(n, 2, 2)
        reference = sk.multilabel_confusion_matrix(gold.astype(int), predicted.astype(int))
        if n > 1:  # ours starts with yes, scikit-learn's with no
            assert (cells == reference[:, ::-1, ::-1]).all()
        assert cells.sum() == scored.gold.size


def check_classes(scored: Scored, labels: range | None) -> None:
    reference = sk.precision_recall_fscore_support(
        scored.gold.astype(int), scored.predicted.astype(int), labels=labels, zero_division=0
    )
    found = PerClass().compute(scored)
    for name, values in zip(("precision", "recall", "f1", "support"), reference, strict=True):
        ours = [found[f"{name}:{label}"] for label in scored.labels]
        assert ours == pytest.approx(list(values))


# ---------------------------------------------------------------- calibration


def naive_ece(confidence: Array, right: Array) -> float:
    """Return the expected calibration error, bin by bin, as the paper has it."""
    total = 0.0
    for i in range(BINS):
        rows = [
            k
            for k in range(len(right))
            if i / BINS <= confidence[k] < (i + 1) / BINS or (i == BINS - 1 and confidence[k] >= 1)
        ]
        if rows:
            accuracy = sum(right[k] for k in rows) / len(rows)
            mean = sum(confidence[k] for k in rows) / len(rows)
            total += len(rows) / len(right) * abs(accuracy - mean)
    return total


@pytest.mark.parametrize("make", [single, several])
def test_calibration_error_agrees_with_a_naive_loop(make: object) -> None:
    """EV-01."""
    for scored in cases(make):
        assert value(Ece, scored) == pytest.approx(naive_ece(*answers(scored)), abs=1e-12)


def test_calibration_error_knows_the_honest_and_the_boastful() -> None:
    honest = Scored(
        np.array([0] * 8 + [1] * 2), np.zeros(10, int), np.full((10, 2), [0.8, 0.2]), ("가", "나")
    )
    assert value(Ece, honest) == pytest.approx(0.0)
    boastful = Scored(honest.gold, honest.predicted, np.full((10, 2), [1.0, 0.0]), ("가", "나"))
    assert value(Ece, boastful) == pytest.approx(0.2)
    assert not Ece.higher_is_better


# ---------------------------------------------------------------- edges (EV-02, EV-04, EV-12)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    "scored",
    [
        made([], []),
        made([0, 0, 0], [0, 0, 0]),
        made([0, 0], [1, 1]),
        made([1], [2], 3),
        Scored(np.zeros((4, 2), bool), np.zeros((4, 2), bool), np.full((4, 2), 0.1), ("가", "나")),
        Scored(np.zeros((0, 2), bool), np.zeros((0, 2), bool), np.zeros((0, 2)), ("가", "나")),
    ],
    ids=[
        "no rows",
        "one class, right",
        "all wrong",
        "one row",
        "no label at all",
        "none of several",
    ],
)
def test_every_figure_is_defined(metric: type[Metric], scored: Scored) -> None:
    """EV-04: no gold, no prediction, one class, nothing: a number, no NaN, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metric().compute(scored)
    assert found
    assert all(math.isfinite(figure) for figure in found.values())


def test_nothing_right_is_zero_and_all_right_is_one() -> None:
    """EV-04: a perfect answer is never 0."""
    assert value(MacroF1, made([0, 0], [0, 0])) == 1.0
    assert value(MacroF1, made([0, 1, 1], [0, 1, 1], 3)) == 1.0
    assert value(MacroF1, made([0, 0], [1, 1])) == 0.0
    assert value(Accuracy, made([0, 1], [0, 1])) == 1.0


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("make", [single, several])
def test_the_order_of_rows_changes_nothing(metric: type[Metric], make: object) -> None:
    """EV-05."""
    draw = np.random.default_rng(5)
    scored = make(draw)  # type: ignore[operator]
    shuffled = scored.take(draw.permutation(len(scored.gold)))
    assert metric().compute(shuffled) == pytest.approx(metric().compute(scored))


@pytest.mark.parametrize("metric", [Accuracy, MacroF1, PerClass, Confusion])
def test_a_label_that_is_nowhere_changes_no_figure(metric: type[Metric]) -> None:
    """EV-02: what stands for nothing (here a third label) is not in any figure of the others."""
    two, three = made([0, 1, 1, 0], [0, 1, 0, 0]), made([0, 1, 1, 0], [0, 1, 0, 0], 3)
    found, wider = metric().compute(two), metric().compute(three)
    assert {name: wider[name] for name in found} == found
    assert sum(map(abs, wider.values())) == sum(map(abs, found.values()))


def test_rows_answered_wrong_stay_in_the_denominator() -> None:
    """EV-12: a wrong answer with a label that gold never has still counts as a row."""
    assert value(Accuracy, made([0, 0, 0, 0], [0, 2, 2, 2], 3)) == 0.25
    assert PerClass().compute(made([0, 0], [0, 2], 3))["recall:가"] == 0.5


@pytest.mark.parametrize("metric", ALL)
def test_what_is_single_has_one_figure(metric: type[Metric]) -> None:
    """The figure that picks the best weights must be one; a table of figures says so."""
    assert metric.single == (len(metric().compute(made([0, 1], [0, 1]))) == 1)

"""Metrics against scikit-learn and a naive loop, and defined where there is nothing to count."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from judged_rows import (
    ALL,
    CASES,
    KINDS,
    RATINGS,
    READ,
    Maker,
    cases,
    entities,
    ratings,
    several,
    single,
)
from scipy import stats
from sklearn import metrics as sk

from mulgil.examples import Span
from mulgil.flow import Array
from mulgil.judged import Judged, Rated, Scored, Tagged
from mulgil.metrics.accuracy import Accuracy
from mulgil.metrics.character_f1 import CharacterF1
from mulgil.metrics.confusion import Confusion
from mulgil.metrics.ece import BINS, Ece, answers
from mulgil.metrics.entity_f1 import EntityF1
from mulgil.metrics.macro_f1 import MacroF1
from mulgil.metrics.matthews import Matthews
from mulgil.metrics.pearson import Pearson
from mulgil.metrics.per_class import PerClass
from mulgil.metrics.per_entity import PerEntity
from mulgil.metrics.rmse import Rmse
from mulgil.metrics.spearman import Spearman
from mulgil.objectives import Metric
from mulgil.tagging import tags


def made(gold: list[int], predicted: list[int], labels: int = 2) -> Scored:
    """Return rows that are sure of every answer."""
    shares = np.eye(labels)[np.array(predicted, int)] if predicted else np.zeros((0, labels))
    return Scored(
        np.array(gold, np.int64), np.array(predicted, np.int64), shares, ("가", "나", "다")[:labels]
    )


def value(metric: type[Metric], scored: Judged) -> float:
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
        some = len({*gold, *predicted}) > 1  # scikit-learn warns of a single label
        reference = sk.matthews_corrcoef(gold, predicted) if some else 0.0
        assert value(Matthews, scored) == pytest.approx(reference, abs=1e-12)
        check_classes(scored, range(n))
        cells = np.array(list(Confusion().compute(scored).values())).reshape(n, n)
        assert (cells == sk.confusion_matrix(gold, predicted, labels=range(n))).all()


def test_several_labels_a_row_agree_with_scikit_learn() -> None:
    """EV-01: exact match; labels that never occur are left out, as zero_division=NaN does."""
    for scored in cases(several):
        gold, predicted, n = scored.gold, scored.predicted, len(scored.labels)
        exact = sk.accuracy_score(gold.astype(int), predicted.astype(int))
        assert value(Accuracy, scored) == pytest.approx((gold == predicted).all(1).mean())
        reference = sk.matthews_corrcoef(gold.ravel(), predicted.ravel())
        assert value(Matthews, scored) == pytest.approx(reference, abs=1e-12)
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
def test_calibration_error_agrees_with_a_naive_loop(make: Maker) -> None:
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


# ---------------------------------------------------------------- ratings


def test_ratings_agree_with_scipy() -> None:
    """EV-01, G22."""
    for scored in cases(ratings):
        gold, predicted = scored.gold, scored.predicted
        assert value(Rmse, scored) == pytest.approx(math.sqrt(np.mean((gold - predicted) ** 2)))
        if min(len(set(gold)), len(set(predicted))) > 1:
            expected = stats.pearsonr(gold, predicted).statistic
            assert value(Pearson, scored) == pytest.approx(expected, abs=1e-12)
            expected = stats.spearmanr(gold, predicted).statistic
            assert value(Spearman, scored) == pytest.approx(expected, abs=1e-12)
    assert not Rmse.higher_is_better


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_a_correlation_knows_no_unit(scale: float, shift: float) -> None:
    """EV-04: sums of squares neither overflow nor drown what is small in what is large."""
    scored = ratings(np.random.default_rng(2))
    moved = Rated((scored.gold + shift) * scale, (scored.predicted - shift) * scale)
    for metric in (Pearson, Spearman):
        assert value(metric, moved) == pytest.approx(value(metric, scored), abs=1e-8)


def test_a_resample_with_a_constant_column_has_no_correlation() -> None:
    """EV-04: its sums are those of a constant but for rounding, in either column."""
    draw = np.random.default_rng(4)
    for constant in draw.random(CASES):
        gold = np.array([constant] * 7 + [2.0] * 9 + [9.0])
        predicted = draw.random(17)
        for scored in (Rated(gold, predicted), Rated(predicted, gold)):
            drawn = Pearson().rows(scored)[:7]
            assert Pearson().figures(drawn.sum(0), 7) == {"pearson": 0.0}


@pytest.mark.parametrize("metric", RATINGS)
@pytest.mark.parametrize(
    ("gold", "predicted"),
    [([], []), ([1.0], [2.0]), ([0.1] * 7, [0.3] * 7), ([0.1] * 7, [1, 2, 3, 4, 5, 6, 7])],
)
def test_ratings_are_defined(metric: type[Metric], gold: list[float], predicted: list) -> None:
    """EV-04: a column that never changes has no order: 0, not NaN, and no warning."""
    scored = Rated(np.array(gold, float), np.array(predicted, float))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = value(metric, scored)
    if metric is not Rmse or not gold:
        assert found == 0.0
    for row in range(len(gold)):  # a resample that drew one row only
        assert math.isfinite(value(metric, scored.take(np.full(5, row))))


# ---------------------------------------------------------------- entities


def test_entities_agree_with_counting_by_hand() -> None:
    """EV-01, G22: what seqeval counts, kind by kind."""
    for scored in cases(entities):
        every = {
            "gold": {(i, span) for i, row in enumerate(scored.gold) for span in row},
            "predicted": {(i, span) for i, row in enumerate(scored.predicted) for span in row},
        }
        found, table = EntityF1().compute(scored), PerEntity().compute(scored)
        assert next(iter(found)) == "entity-f1"
        each = []
        for kind in (*KINDS, None):
            gold, predicted = (
                {(i, span) for i, span in every[of] if kind in (span.label, None)}
                for of in ("gold", "predicted")
            )
            right = len(gold & predicted)
            precision = right / len(predicted) if predicted else 0.0
            recall = right / len(gold) if gold else 0.0
            f1 = 2 * precision * recall / (precision + recall) if right else 0.0
            if kind:
                ours = [
                    table[f"{name}:{kind}"] for name in ("precision", "recall", "f1", "support")
                ]
                assert ours == pytest.approx([precision, recall, f1, len(gold)])
                each += [f1] if gold or predicted else []
            elif gold or predicted:
                ours = [found[f"entity-{name}"] for name in ("precision", "recall", "f1")]
                assert ours == pytest.approx([precision, recall, f1])
                assert found["entity-macro-f1"] == pytest.approx(np.mean(each))


def test_characters_agree_with_scikit_learn() -> None:
    """EV-01, EV-02: macro F1 of every tag but O, of one that never occurs 1, as KLUE has it."""
    asked = [f"{mark}-{kind}" for kind in KINDS for mark in "BI"]
    for scored in cases(entities):
        gold, predicted = (
            [tag for row, n in zip(of, scored.sizes, strict=True) for tag in tags(row, int(n))]
            for of in (scored.gold, scored.predicted)
        )
        if gold:
            reference = sk.f1_score(
                gold, predicted, labels=asked, average="macro", zero_division=True
            )
            assert value(CharacterF1, scored) == pytest.approx(reference)


def tagged(gold: list[tuple[Span, ...]], predicted: list[tuple[Span, ...]]) -> Tagged:
    return Tagged(tuple(gold), tuple(predicted), np.full(len(gold), 9), KINDS)


def test_an_entity_is_right_as_a_whole_or_wrong() -> None:
    """EV-12: one too long, one of another kind and one missed all stay in the denominators."""
    gold = (Span(0, 2, "사람"), Span(3, 4, "장소"), Span(5, 6, "때"), Span(7, 9, "사람"))
    answer = (Span(0, 3, "사람"), Span(3, 4, "때"), Span(7, 9, "사람"))
    found = EntityF1().compute(tagged([gold], [answer]))
    assert found["entity-precision"] == pytest.approx(1 / 3)
    assert found["entity-recall"] == pytest.approx(1 / 4)
    assert found["entity-f1"] == pytest.approx(2 / 7)
    assert found["entity-macro-f1"] == pytest.approx(0.5 / 3)
    elsewhere = EntityF1().compute(tagged([gold, ()], [(), gold]))
    assert set(elsewhere.values()) == {0.0}, "an entity of another row is no match"


def test_entities_are_defined_where_there_are_none() -> None:
    """EV-04, M21: nothing to find and nothing found is right; no rows are 0; no NaN."""
    one = (Span(0, 2, "사람"),)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric, figures in ((EntityF1, 4), (CharacterF1, 1)):
            assert list(metric().compute(tagged([], [])).values()) == [0.0] * figures
            assert list(metric().compute(tagged([()], [()])).values()) == [1.0] * figures
        missed = EntityF1().compute(tagged([one], [()]))
        assert (
            set(missed.values()) == set(EntityF1().compute(tagged([()], [one])).values()) == {0.0}
        )
        assert set(PerEntity().compute(tagged([], [])).values()) == {0.0}
        assert len(PerEntity().compute(tagged([], []))) == 4 * len(KINDS)


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


@pytest.mark.parametrize(("metric", "make"), READ)
def test_the_order_of_rows_changes_nothing(metric: type[Metric], make: Maker) -> None:
    """EV-05."""
    draw = np.random.default_rng(5)
    scored = make(draw)
    shuffled = scored.take(draw.permutation(len(scored)))
    assert metric().compute(shuffled) == pytest.approx(metric().compute(scored), abs=1e-12)


@pytest.mark.parametrize("metric", [Accuracy, MacroF1, Matthews, PerClass, Confusion])
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

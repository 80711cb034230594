"""The classification task: labels, targets, weights, loss, answers; single and several labels."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from mulgil.errors import DataError
from mulgil.examples import Example, TextExample
from mulgil.flow import Schema
from mulgil.tasks.classification import Classification, ClassificationSettings

ONE = Schema("text", ("나쁨", "보통", "좋음"))
MANY = Schema("text", ("나쁨", "보통", "좋음"), multi_label=True, threshold=0.4)


def task(**settings: Any) -> Classification:
    return Classification(ClassificationSettings(**settings))


def rows(*labels: Any) -> list[Example]:
    return [TextExample(f"a.csv:{i}", f"글 {i}", label) for i, label in enumerate(labels, 2)]


# ---------------------------------------------------------------- labels


def test_labels_are_those_of_the_training_rows_sorted() -> None:
    """DA-12: in an order that is stored, and does not depend on the order of rows."""
    schema = task().schema(rows("좋음", "나쁨", None, "좋음", "보통"))
    assert schema == Schema("text", ("나쁨", "보통", "좋음"))


def test_labels_of_the_settings_keep_their_order() -> None:
    chosen = task(labels=["좋음", "나쁨", "보통"])
    schema = chosen.schema(rows("나쁨", "좋음"))
    assert schema.labels == ("좋음", "나쁨", "보통")
    assert chosen.targets(rows("보통", "좋음"), schema).tolist() == [2, 0]


def test_labels_of_the_settings_are_composed() -> None:
    """DA-12: a decomposed name in a recipe is the composed one of the data."""
    chosen = task(labels=[unicodedata.normalize("NFD", "좋음"), " 나쁨 "])
    assert chosen.schema(rows("좋음", "나쁨")).labels == ("좋음", "나쁨")


@pytest.mark.parametrize(
    ("settings", "labels", "said"),
    [
        ({}, ["좋음", "좋음"], "needs two labels or more; found 좋음"),
        ({}, [None], "needs two labels or more; found none"),
        ({"multi_label": True}, [(), ()], "needs two labels or more; found none"),
        (
            {"labels": ["좋음", "나쁨"]},
            ["좋음", "졸음"],
            'a.csv:3: label "졸음" is not in task.labels',
        ),
        ({"labels": ["0", "1"]}, ["0", "1.0"], 'label "1.0" is not in task.labels'),
        ({}, ["좋음", ("나쁨",)], "a.csv:3: has several labels; set task.multi_label = true"),
    ],
)
def test_labels_that_make_no_task(settings: dict[str, Any], labels: list[Any], said: str) -> None:
    """DA-12: with the row."""
    with pytest.raises(DataError) as caught:
        task(**settings).schema(rows(*labels))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_label_is_enough_for_several() -> None:
    assert task(multi_label=True).schema(rows(("욕설",), ())).labels == ("욕설",)


@pytest.mark.parametrize(
    ("schema", "label", "problem"),
    [
        (ONE, "좋음", None),
        (ONE, None, "no label"),
        (ONE, ("좋음", "나쁨"), "several labels"),
        (ONE, "새것", 'label "새것" does not occur in training'),
        (MANY, (), None),
        (MANY, None, "no label"),
        (MANY, ("좋음", "나쁨"), None),
        (MANY, ("좋음", "새것"), 'label "새것" does not occur in training'),
    ],
)
def test_rows_that_cannot_be_used_say_why(schema: Schema, label: Any, problem: str | None) -> None:
    """DA-12: an unseen label is no silent zero."""
    assert task().problem(rows(label)[0], schema) == problem


def test_rows_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match="shape text"):
        task().text(Example("a.csv:2"))


# ---------------------------------------------------------------- targets and weights


def test_targets() -> None:
    found = task().targets(rows("좋음", "나쁨"), ONE)
    assert (found.tolist(), found.dtype) == ([2, 0], np.int64)
    hot = task(multi_label=True).targets(rows(("좋음", "나쁨"), ()), MANY)
    assert (hot.tolist(), hot.dtype) == ([[1, 0, 1], [0, 0, 0]], np.float32)
    assert task().targets([], ONE).shape == (0,)
    assert task().targets([], MANY).shape == (0, 3)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    targets = np.array([0] * 6 + [1] * 3 + [2])
    found = task(class_weights="balanced").class_weights(targets, ONE)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    assert found is not None
    assert found.tolist() == pytest.approx(expected.tolist())
    assert found.dtype == np.float32
    assert task().class_weights(targets, ONE) is None


def test_each_of_several_labels_is_balanced_by_itself() -> None:
    """A label of one row in ten weighs nine times as much there, however many labels there are."""
    targets = np.zeros((20, 3), np.float32)
    targets[:2, 0], targets[:10, 1] = 1, 1
    found = task(class_weights="balanced", multi_label=True).class_weights(targets, MANY)
    assert found is not None
    assert found.tolist() == [9.0, 1.0, 20.0]
    assert found.dtype == np.float32


def test_a_label_without_rows_has_a_finite_weight() -> None:
    found = task(class_weights="balanced").class_weights(np.array([0, 0]), ONE)
    assert found is not None
    assert np.isfinite(found).all()


# ---------------------------------------------------------------- loss


def test_the_loss_is_the_sum_over_the_rows() -> None:
    """TR-03, TR-04: the loop divides by the rows; two halves add up to the whole."""
    draw = torch.Generator().manual_seed(1)
    scores = torch.randn(6, 3, generator=draw, dtype=torch.float64)
    gold = torch.tensor([0, 1, 2, 2, 1, 0])
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    for weight in (None, weights):
        whole = float(task().loss(scores, gold, weight))
        logs = scores.log_softmax(1)[range(6), gold]
        each = -logs * (1 if weight is None else weight[gold])
        assert whole == pytest.approx(float(each.sum()))
        halves = [task().loss(scores[a:b], gold[a:b], weight) for a, b in ((0, 4), (4, 6))]
        assert sum(map(float, halves)) == pytest.approx(whole)


def test_the_loss_of_several_labels() -> None:
    scores = torch.tensor([[2.0, -1.0, 0.5]], dtype=torch.float64)
    hot = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    p = torch.sigmoid(scores)
    plain = -(hot * p.log() + (1 - hot) * (1 - p).log())
    assert float(task().loss(scores, hot, None)) == pytest.approx(float(plain.sum()))
    heavy = -(3 * hot * p.log() + (1 - hot) * (1 - p).log())
    weights = torch.full((3,), 3.0, dtype=torch.float64)
    assert float(task().loss(scores, hot, weights)) == pytest.approx(float(heavy.sum()))


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("size", [1.0, 1e3, 1e30])
def test_probabilities_are_probabilities_whatever_the_scores(size: float) -> None:
    scores = np.random.default_rng(2).normal(size=(9, 3)).astype(np.float32) * np.float32(size)
    found = task().probabilities(scores, ONE)
    assert found.dtype == np.float64
    assert found.sum(1).tolist() == pytest.approx([1.0] * 9)
    assert (found.argmax(1) == scores.argmax(1)).all()
    several = task().probabilities(scores, MANY)
    assert ((several >= 0) & (several <= 1)).all()
    assert several[0].tolist() == pytest.approx(
        (1 / (1 + np.exp(-scores[0].clip(-80, 80)))).tolist()
    )


def test_answers_name_the_label_and_each_probability() -> None:
    found = task().answer(np.array([0.2, 0.3, 0.5]), ONE)
    assert found == {
        "label": "좋음",
        "probability": 0.5,
        "probabilities": {"나쁨": 0.2, "보통": 0.3, "좋음": 0.5},
    }


def test_answers_of_several_labels_start_at_the_threshold() -> None:
    found = task().answer(np.array([0.4, 0.39, 0.9]), MANY)
    assert found["labels"] == ["나쁨", "좋음"]
    assert task().answer(np.array([0.1, 0.1, 0.1]), MANY)["labels"] == []


def test_the_head_has_a_score_for_each_label() -> None:
    assert (task().head(ONE).outputs, task().head(ONE).skill) == (3, "pool")

"""Tasks of two texts: labels of what holds between them, and how alike they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydantic
import pytest

from mulgil.errors import DataError
from mulgil.examples import PairExample, RatedPairExample, TextExample
from mulgil.flow import Schema
from mulgil.judged import Rated, Scored
from mulgil.tasks._labelled import LabelSettings
from mulgil.tasks.nli import Nli
from mulgil.tasks.sts import Sts, StsSettings

PAIRS = [
    PairExample("a:1", "비가 온다", "날이 맑다", "모순"),
    PairExample("a:2", "비가 온다", "길이 젖는다", "함의"),
    PairExample("a:3", "비가 온다", "길이 젖는다", "함의"),
    PairExample("a:4", "개가 잔다", "개는 갈색이다", "중립"),
]
LABELS = ("모순", "중립", "함의")


def nli(**settings: Any) -> Nli:
    return Nli(LabelSettings(**settings))


def sts(**settings: Any) -> Sts:
    return Sts(StsSettings(**settings))


def rated(*ratings: float | None) -> list[RatedPairExample]:
    return [RatedPairExample(f"b:{i}", "가", "나", rating) for i, rating in enumerate(ratings)]


# ---------------------------------------------------------------- nli


def test_labels_of_pairs_are_read_from_the_rows() -> None:
    assert nli().schema(PAIRS) == Schema("pair", LABELS)
    wanted = ["함의", "중립", "모순"]
    assert nli(labels=wanted).schema(PAIRS).labels == tuple(wanted)
    head = nli().head(nli().schema(PAIRS))
    assert (head.skill, head.outputs) == ("pair", 3)
    assert nli().needs == {"pool", "pair"}


@pytest.mark.parametrize(
    ("rows", "settings", "reason"),
    [
        (PAIRS, {"labels": ["함의", "모순"]}, r'a:4: label "중립" is not in task\.labels'),
        (PAIRS[1:3], {}, "needs two labels or more; found 함의"),
        ([PairExample("a:1", "가", "나")], {}, "needs two labels or more; found none"),
    ],
)
def test_rows_that_make_no_labels(rows: Any, settings: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        nli(**settings).schema(rows)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (PAIRS[0], None),
        (PairExample("1", "가", "나"), "no label"),
        (PairExample("1", "가", "나", "반대"), 'label "반대" does not occur in training'),
    ],
)
def test_pairs_that_cannot_be_used(row: PairExample, reason: str | None) -> None:
    task = nli()
    assert task.problem(row, task.schema(PAIRS)) == reason


def test_pairs_are_read_in_their_order() -> None:
    """DA-03: both texts as they are; a row of another shape is refused by name."""
    assert nli().text(PAIRS[0]) == ("비가 온다", "날이 맑다")
    with pytest.raises(DataError, match="c:1: nli reads rows of shape pair, not text"):
        nli().text(TextExample("c:1", "가"))
    with pytest.raises(DataError, match="a:1: sts reads rows of shape rated-pair, not pair"):
        sts().text(PAIRS[0])
    assert sts().text(rated(1.0)[0]) == ("가", "나")


def test_pairs_are_counted_and_weighed() -> None:
    task = nli(class_weights="balanced")
    schema = task.schema(PAIRS)
    assert task.tally(PAIRS, schema) == {"모순": 1, "중립": 1, "함의": 2}
    assert task.tally(PAIRS[1:3], schema) == {"모순": 0, "중립": 0, "함의": 2}
    targets = task.targets(PAIRS, schema)
    assert targets.tolist() == [0, 2, 2, 1]
    weights = task.class_weights(targets, schema)
    assert weights is not None
    assert weights.tolist() == pytest.approx([4 / 3, 4 / 3, 2 / 3])
    assert nli().class_weights(targets, schema) is None


def test_the_loss_of_measured_pairs_is_the_mean_of_what_is_learnt() -> None:
    """A report's loss and the training's are the same figure."""
    torch = pytest.importorskip("torch")
    task = nli()
    schema = task.schema(PAIRS)
    scores = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    targets = task.targets(PAIRS, schema)
    summed = task.loss(torch.from_numpy(scores), torch.from_numpy(targets), None)
    measured = task.probabilities(scores, schema)
    assert task.loss_of(targets, measured, schema) == pytest.approx(float(summed) / 4, abs=1e-6)
    assert task.loss_of(None, measured, schema) == 0.0


def test_answers_of_pairs() -> None:
    task = nli()
    schema = task.schema(PAIRS)
    shares = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    judged = task.judge(np.array([0, 1]), shares, schema)
    assert isinstance(judged, Scored)
    assert (judged.predicted.tolist(), judged.labels) == ([0, 2], LABELS)
    assert [
        (r["gold"], r["predicted"]) for r in task.records(np.array([0, 1]), shares, schema)
    ] == [
        ("모순", "모순"),
        ("중립", "함의"),
    ]
    assert task.answer(shares[1], schema) == {
        "label": "함의",
        "probability": 0.7,
        "probabilities": {"모순": 0.1, "중립": 0.2, "함의": 0.7},
    }
    assert task.fields(schema) == ("label", "probability", "p_모순", "p_중립", "p_함의")
    with pytest.raises(DataError, match="need labels"):
        task.judge(None, shares, schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": []},
        {"labels": ["함의", "함의"]},
        {"labels": ["함의", " "]},
        {"labels": ["함의", "\u1112\u1161\u11b7의"]},
        {"class_weights": "some"},
        {"multi_label": True},
        {"threshold": 0.5},
    ],
)
def test_settings_that_pairs_do_not_have(wrong: dict[str, Any]) -> None:
    """CF-01: also those of documents: a pair has one label."""
    with pytest.raises(pydantic.ValidationError):
        LabelSettings(**wrong)


# ---------------------------------------------------------------- sts


def test_the_schema_of_ratings() -> None:
    task = sts()
    assert task.schema([]) == Schema("rated-pair", ("rating",))
    head = task.head(task.schema([]))
    assert (head.skill, head.outputs) == ("rate", 1)
    assert task.needs == {"pool", "pair", "rate"}
    assert task.metrics[0] == "pearson"
    assert task.class_weights(np.zeros((2, 1)), task.schema([])) is None


@pytest.mark.parametrize(
    ("rating", "reason"),
    [
        (0.0, None),
        (5.0, None),
        (2.5, None),
        (None, "no rating"),
        (5.01, "its rating 5.01 is not between task.lowest 0 and task.highest 5"),
        (-1.0, "its rating -1 is not between task.lowest 0 and task.highest 5"),
        (float("nan"), "its rating nan is not between task.lowest 0 and task.highest 5"),
        (float("inf"), "its rating inf is not between task.lowest 0 and task.highest 5"),
    ],
)
def test_ratings_that_cannot_be_used(rating: float | None, reason: str | None) -> None:
    task = sts()
    assert task.problem(rated(rating)[0], task.schema([])) == reason


def test_ratings_are_counted_in_fifths() -> None:
    rows = rated(0.0, 0.99, 1.0, 4.99, 5.0, None, 2.0)
    assert list(sts().tally(rows, None).values()) == [2, 1, 1, 0, 2]
    assert list(sts().tally(rows, None)) == ["0 to 1", "1 to 2", "2 to 3", "3 to 4", "4 to 5"]
    assert list(sts(lowest=-1, highest=1).tally(rated(-1.0, 0.0, 1.0), None).values()) == [
        *(1, 0, 1, 0, 1)
    ]
    assert sum(sts().tally([], None).values()) == 0


@pytest.mark.parametrize("settings", [{}, {"lowest": -2.0, "highest": 3.0}])
def test_ratings_go_through_the_scale_and_back(settings: dict[str, float]) -> None:
    """What is learnt is on the scale from 0 to 1; what is answered on the user's, and within it."""
    torch = pytest.importorskip("torch")
    task = sts(**settings)
    low, high = task.settings.lowest, task.settings.highest
    schema = task.schema([])
    rows = rated(low, low + 0.25 * (high - low), high)
    targets = task.targets(rows, schema)
    assert targets.shape == (3, 1)
    perfect = torch.tensor([[0.0], [0.25], [1.0]])
    assert float(task.loss(perfect, torch.from_numpy(targets), None)) == pytest.approx(0, abs=1e-9)
    answers = task.probabilities(perfect.numpy(), schema)
    assert answers[:, 0].tolist() == pytest.approx([row.rating for row in rows])
    beyond = task.probabilities(np.array([[-3.0], [9.0]], np.float32), schema)
    assert beyond[:, 0].tolist() == [low, high]


def test_the_loss_of_measured_ratings_is_the_mean_of_what_is_learnt() -> None:
    torch = pytest.importorskip("torch")
    task = sts(highest=4.0)
    schema = task.schema([])
    targets = task.targets(rated(0.0, 1.0, 3.5, 4.0), schema)
    scores = np.random.default_rng(1).random((4, 1)).astype(np.float32)
    summed = task.loss(torch.from_numpy(scores), torch.from_numpy(targets), None)
    measured = task.probabilities(scores, schema)
    assert task.loss_of(targets, measured, schema) == pytest.approx(float(summed) / 4, abs=1e-6)
    assert task.loss_of(None, measured, schema) == 0.0
    assert task.loss_of(targets[:0], measured[:0], schema) == 0.0


def test_answers_of_ratings() -> None:
    task = sts()
    schema = task.schema([])
    gold, found = np.array([[1.0], [4.5]], np.float32), np.array([[0.5], [4.12343]])
    judged = task.judge(gold, found, schema)
    assert isinstance(judged, Rated)
    assert (judged.gold.tolist(), judged.predicted.tolist()) == ([1.0, 4.5], [0.5, 4.12343])
    assert judged.gold.dtype == judged.predicted.dtype == np.float64
    assert list(task.records(gold, found, schema)) == [
        {"gold": 1.0, "predicted": 0.5},
        {"gold": 4.5, "predicted": 4.1234},
    ]
    assert task.answer(found[1], schema) == {"rating": 4.1234}
    assert task.fields(schema) == ("rating",)
    with pytest.raises(DataError, match="need ratings"):
        task.judge(None, found, schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lowest": 5.0},
        {"lowest": 6.0, "highest": 5.5},
        {"highest": float("inf")},
        {"lowest": float("nan")},
        {"lowest": "0"},
        {"middle": 2.5},
    ],
)
def test_scales_that_are_none(wrong: dict[str, Any]) -> None:
    """CF-01, CF-03."""
    with pytest.raises(pydantic.ValidationError):
        StsSettings(**wrong)

"""Which labels are classes: rows that are scored are the same whatever is drawn (DA-12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mulgil import classes, splits
from mulgil.contracts import DataSettings
from mulgil.examples import EntitiesExample, Example, Span, TextExample
from mulgil.flow import Parts, Schema
from mulgil.methods._solving import NEVER, logistic
from mulgil.splits import Splits
from mulgil.tasks.classification import Classification, ClassificationSettings
from mulgil.tasks.ner import Ner

FEW = DataSettings(train_rows=4)


def task(**settings: Any) -> Classification:
    return Classification(ClassificationSettings(**settings))


def rows(*labels: Any, part: str = "a") -> list[Example]:
    return [TextExample(f"{part}.csv:{i + 2}", f"{part} {i}", one) for i, one in enumerate(labels)]


def made(train: Sequence[Example], test: Sequence[Example], asked: Classification) -> Splits:
    parts = Parts({"train": list(train), "valid": [], "test": list(test)})
    return splits.complete(parts, FEW, asked.text)


def test_labels_that_were_not_drawn_are_classes() -> None:
    """A learning curve stands on the same test rows at every size of the training."""
    train, test = rows(*["좋음", "나쁨"] * 20, "드묾"), rows("좋음", "드묾", "나쁨", part="b")
    found = made(train, test, task())
    assert "드묾" not in {row.label for row in found.train if isinstance(row, TextExample)}
    schema = classes.schema_of(found, task(), 0.05)
    assert schema.labels == ("나쁨", "드묾", "좋음")
    assert not [row for row in found.test if task().problem(row, schema)]
    assert any('drawn has the label "드묾"; still a class' in note for note in found.notes)
    assert found.undrawn == ()


def test_labels_that_training_never_has_count_as_wrong() -> None:
    train, test = rows(*["좋음", "나쁨"] * 20), rows(*["좋음"] * 39, "모름", part="b")
    found = made(train, test, task())
    schema = classes.schema_of(found, task(), 0.05)
    assert schema.labels == ("나쁨", "모름", "좋음")
    assert any('the label "모름"' in note and "1 (b.csv:41)" in note for note in found.notes)


def test_too_many_of_them_are_other_labels_altogether() -> None:
    found = made(rows(*["좋음", "나쁨"] * 20), rows("좋음", "pos", "neg", part="b"), task())
    assert classes.schema_of(found, task(), 0.05).labels == ("나쁨", "좋음")


def test_labels_that_the_user_named_stay() -> None:
    asked = task(labels=["좋음", "나쁨"])
    found = made(rows(*["좋음", "나쁨"] * 20), rows(*["좋음"] * 39, "모름", part="b"), asked)
    assert classes.schema_of(found, asked, 0.05).labels == ("좋음", "나쁨")


def test_kinds_of_entities_too() -> None:
    def sentence(name: str, kind: str) -> EntitiesExample:
        return EntitiesExample(name, "서울 간다", (Span(0, 2, kind),))

    ner = Ner(Ner.Settings())
    train, test = [sentence("a:1", "곳")], [sentence(f"b:{i}", "곳") for i in range(19)]
    found = Splits(train, [], [*test, sentence("b:19", "때")], [], [])
    assert classes.schema_of(found, ner, 0.05).labels == ("O", "B-곳", "I-곳", "B-때", "I-때")
    assert any('"때"' in note for note in found.notes)


@pytest.mark.parametrize(("several", "strange"), [(False, "모름"), (True, ("좋음", "모름"))])
def test_a_finished_run_is_judged_by_more_labels_than_it_has(several: bool, strange: Any) -> None:
    known: Any = ("좋음",) if several else "좋음"
    asked = task(multi_label=several)
    schema, notes = Schema("text", ("나쁨", "좋음"), several), list[str]()
    scored = rows(*[known] * 19, strange)
    found = classes.wider(scored, asked, schema, 0.05, notes)
    assert found.labels == ("나쁨", "좋음", "모름")
    assert len(notes) == 1
    assert "a.csv:21" in notes[0]
    shares = np.pad(np.tile([0.1, 0.9], (20, 1)), ((0, 0), (0, 1)))
    judged: Any = asked.judge(asked.targets(scored, found), shares, found)
    right = judged.gold == judged.predicted
    right = right.all(1) if several else right
    assert right.tolist() == [True] * 19 + [False]
    assert classes.wider(scored, asked, schema, 0.04, []) == schema
    assert classes.wider(scored[:19], asked, schema, 0.05, []) == schema


@pytest.mark.parametrize(("count", "noted"), [(30, True), (20, False)])
def test_a_column_of_ids_is_asked_about(count: int, noted: bool) -> None:
    train = rows(*map(str, range(count)))
    found = Splits(train, [], [], [], [], {"label": "번호"})
    classes.schema_of(found, task(), 0.05)
    assert [note.startswith('30 labels for 30 rows: is "번호"') for note in found.notes] == [
        True
    ] * noted


def test_a_class_without_a_row_changes_no_other() -> None:
    schema = Schema("text", ("나쁨", "드묾", "좋음"))
    weights = task(class_weights="balanced").class_weights(np.array([0, 0, 0, 2]), schema)
    assert weights is not None
    assert weights[[0, 2]] == pytest.approx([2 / 3, 2])
    features = np.array([[0.0], [0.2], [0.1], [1.0]], np.float32)
    _, bias = logistic(features, np.array([0, 0, 0, 2]), 1.0, 3, weights, 100)
    assert bias[1] == NEVER
    assert np.isfinite(bias).all()

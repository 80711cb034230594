"""Row shapes: names of columns, plain dictionaries, and what makes a row a row."""

from __future__ import annotations

import dataclasses

import pytest

from mulgil.examples import SHAPES, Example, PassageExample, TextExample, as_dict, columns


def test_every_shape_is_registered_under_its_own_name() -> None:
    names = ["text", "passage", "pair", "rated-pair", "entities", "question", "writing"]
    assert list(SHAPES) == names
    assert all(shape.shape == name for name, shape in SHAPES.items())


@pytest.mark.parametrize("name", SHAPES)
def test_what_a_model_reads_are_fields_with_usual_column_names(name: str) -> None:
    shape = SHAPES[name]
    assert shape.inputs
    assert {*shape.inputs} <= {*columns(shape)}
    first = shape("row 1", *(["글"] * len(shape.inputs)))
    assert as_dict(first)["id"] == "row 1"


def test_columns_leave_the_id_out_and_never_share_a_name() -> None:
    found = columns(TextExample)
    assert list(found) == ["text", "label"]
    assert found["text"][0] == "text"
    assert "본문" in found["text"]
    assert "라벨" in found["label"]
    assert not set(found["text"]) & set(found["label"])


def test_a_passage_is_a_text_without_a_label() -> None:
    assert columns(PassageExample) == {"text": columns(TextExample)["text"]}
    assert as_dict(PassageExample("a.txt:1", "물길")) == {"id": "a.txt:1", "text": "물길"}


def test_as_dict_is_in_the_order_of_the_fields() -> None:
    row = TextExample("a.csv:3", "재밌다", ("긍정", "짧음"))
    assert list(as_dict(row).items()) == [
        ("id", "a.csv:3"),
        ("text", "재밌다"),
        ("label", ("긍정", "짧음")),
    ]


def test_rows_are_frozen_and_equal_by_content() -> None:
    row: Example = TextExample("1", "가", None)
    assert row == TextExample("1", "가")
    assert hash(row) == hash(TextExample("1", "가"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.id = "2"  # type: ignore[misc]

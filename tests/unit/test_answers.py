"""Answers to a file's rows: what the predictor is given, and what is written of what it says."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mulgil import answers
from mulgil.errors import SettingError


class Echo:
    """Answers with what it was given."""

    def __init__(self, shape: str, field: str) -> None:
        self.task = SimpleNamespace(shape=shape, fields=lambda schema: (field,))
        self.schema = None
        self.field = field
        self.given: list[Any] = []

    def predict(self, rows: Iterable[Any]) -> Iterator[dict[str, Any]]:
        for row in rows:
            self.given.append(row)
            if isinstance(row, Exception):
                yield {"error": str(row)}
            else:
                yield {self.field: [{"start": 0, "end": len(row), "label": "곳"}]}


def answered(echo: Echo, content: str, **options) -> list[dict[str, Any]]:
    screen = io.StringIO()
    answers.write(echo, io.BytesIO(content.encode()), None, screen=screen, **options)
    return [json.loads(line) for line in screen.getvalue().splitlines()]


def test_one_text_is_a_string():
    echo = Echo("text", "label")
    assert [row["text"] for row in answered(echo, "가\n\n나\n")] == ["가", "", "나"]
    assert [row if isinstance(row, str) else str(row) for row in echo.given] == [
        "가",
        "empty text",
        "나",
    ]


@pytest.mark.parametrize("shape", ["pair", "rated-pair", "question"])
def test_two_texts_are_a_tuple(shape):
    """PR-01: and a line that is no pair is an error in its place."""
    echo = Echo(shape, "label")
    rows = answered(echo, "가\t나\n다\n")
    assert echo.given[0] == ("가", "나")
    assert "error" not in rows[0]
    assert rows[1]["error"].startswith("needs 2 texts with a tab between")


def test_columns_by_field():
    echo = Echo("pair", "label")
    answered(echo, '{"a": "가", "b": "나"}\n', columns={"first": "b", "second": "a"})
    assert echo.given == [("나", "가")]
    with pytest.raises(SettingError, match="have no single text"):
        answered(echo, '{"a": "가", "b": "나"}\n', text="a")
    echo = Echo("writing", "answer")
    answered(echo, '{"a": "가", "b": "나"}\n', text="b")
    assert echo.given == ["나"]


def test_spans_in_a_table(tmp_path):
    out = tmp_path / "a.csv"
    counts = answers.write(Echo("entities", "entities"), io.BytesIO("서울\n".encode()), out)
    assert counts == {"rows": 1, "errors": 0, "notes": []}
    assert out.read_text(encoding="utf-8").splitlines() == [
        "text,entities,error",
        '서울,"[{""start"": 0, ""end"": 2, ""label"": ""곳""}]",',
    ]

"""Rows to answer in every shape: which columns are read, pipes of pairs, answers that are lists."""

from __future__ import annotations

import csv
import io
import json

import pytest

from mulgil.errors import DataError, SettingError
from mulgil.examples import (
    EntitiesExample,
    PairExample,
    QuestionExample,
    RatedPairExample,
    WritingExample,
)
from mulgil.tables.rows import Row, Rows, iter_rows
from mulgil.tables.writer import RowWriter


def pipe(content: str, **options) -> Rows:
    return iter_rows(io.BytesIO(content.encode()), **options)


def found(rows: Rows) -> list[tuple[tuple[str, ...], str]]:
    return [(row.reads, row.error) for row in rows]


def test_two_columns_are_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("번,가설,전제\n1,나,가\n2, ,다\n3,라\n", encoding="utf-8")
    rows = iter_rows(path, shape=PairExample)
    assert (rows.columns, rows.reads) == (("번", "가설", "전제"), ("전제", "가설"))
    assert found(rows) == [
        (("가", "나"), ""),
        (("", ""), '"가설" is empty'),
        (("", ""), "has 2 columns where the file has 3"),
    ]
    columns = {"second": "번", "label": "정답"}
    assert iter_rows(path, shape=PairExample, columns=columns).reads == ("전제", "번")


def test_columns_that_are_not_there(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("전제,b\n가,나\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r'columns "전제", "b" is known as the second of a pair; na'
    ):
        iter_rows(path, shape=PairExample)
    with pytest.raises(DataError, match=r'no column is called "c" \(--text second\); known: b'):
        iter_rows(path, shape=PairExample, columns={"second": "c"})
    with pytest.raises(SettingError, match=r'no field "frist"; did you mean "first"'):
        iter_rows(path, shape=PairExample, columns={"frist": "c"})
    with pytest.raises(SettingError, match=r"name the columns of first and second"):
        iter_rows(path, shape=PairExample, text="b")


@pytest.mark.parametrize("shape", [PairExample, RatedPairExample, QuestionExample])
def test_a_pipe_of_plain_pairs(shape):
    """PR-01, PR-02: a line that is no pair is an error in its place, which says what is needed."""
    rows = pipe("가 나\t다\n라\n\n마\t바\t사\n\t아\n자\t차\r\n", shape=shape)
    assert rows.columns == rows.reads == shape.inputs
    names = ", ".join(shape.inputs)
    needed = f"needs 2 texts with a tab between ({names}), has"
    assert found(rows) == [
        (("가 나", "다"), ""),
        (("", ""), f"{needed} 1"),
        (("", ""), f"{needed} 1"),
        (("", ""), f"{needed} 3"),
        (("", ""), f'"{shape.inputs[0]}" is empty'),
        (("자", "차"), ""),
    ]


def test_a_pipe_of_pairs_is_looked_at():
    """A header that names both is a table; one that names one of them is a pair of texts."""
    assert found(pipe("premise,hypothesis\n가,나\n", shape=PairExample)) == [(("가", "나"), "")]
    assert found(pipe("전제\t가설\t라벨\n가\t나\t1\n", shape=PairExample)) == [(("가", "나"), "")]
    assert found(pipe("전제\t요지\n가\t나\n", shape=PairExample))[0] == (("전제", "요지"), "")
    assert found(pipe('{"first": "가", "second": "나"}\n', shape=PairExample)) == [
        (("가", "나"), "")
    ]
    columns = {"first": "a", "second": "b"}
    assert found(pipe("b,a\n나,가\n", shape=PairExample, columns=columns)) == [(("가", "나"), "")]


def test_shapes_with_one_text(tmp_path):
    assert found(pipe("가 나\t다\n", shape=WritingExample)) == [(("가 나\t다",), "")]
    rows = pipe('{"prompt": "가", "text": "나"}\n', shape=WritingExample)
    assert (rows.reads, next(rows).text) == (("prompt",), "가")
    assert pipe("a,b\n1,2\n", shape=WritingExample, text="b", delimiter=",").reads == ("b",)
    path = tmp_path / "a.tsv"
    path.write_text("text\tx\n서울\t1\n", encoding="utf-8")
    assert found(iter_rows(path, shape=EntitiesExample)) == [(("서울",), "")]


def test_a_file_of_questions_may_be_squads(tmp_path):
    path = tmp_path / "a.json"
    asked = [{"id": "q", "question": "누가?", "answers": []}]
    nested = {"data": [{"paragraphs": [{"context": "세종", "qas": asked}]}]}
    path.write_text(json.dumps(nested), encoding="utf-8")
    rows = list(iter_rows(path, shape=QuestionExample))
    assert [(row.id, row.reads) for row in rows] == [("a.json:1", ("누가?", "세종"))]
    assert rows[0].fields["id"] == "q"


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
def test_a_list_of_spans_is_json(form):
    """RP-02: spans go through a table and come back, and no cell of them is a formula."""
    spans = [{"start": 0, "end": 2, "label": "=곳"}]
    stream = io.StringIO(newline="")
    writer = RowWriter(stream, form, ["text"], ["entities"])
    writer.write(Row("a:1", {"text": "서울"}, ("서울",)), {"entities": spans})
    writer.write(Row("a:2", {"text": "밤"}, ("밤",)), {"entities": []})
    stream.seek(0)
    if form == "jsonl":
        cells = [json.loads(line)["entities"] for line in stream]
    else:
        dialect = "excel-tab" if form == "tsv" else "excel"
        cells = [json.loads(each["entities"]) for each in csv.DictReader(stream, dialect=dialect)]
    assert cells == [spans, []]

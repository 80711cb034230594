"""Tables of answers: no field is lost in silence, and Excel reads what came from Excel."""

from __future__ import annotations

import codecs
import csv
import io
import json
from types import SimpleNamespace
from typing import Any

import pytest

from mulgil import answers
from mulgil.errors import DataError
from mulgil.habits import Habits


class Same:
    """Answers every row with the same label."""

    task = SimpleNamespace(shape="text", fields=lambda schema: ("label",))
    schema = None

    def predict(self, rows):
        for row in rows:
            yield {"error": str(row)} if isinstance(row, Exception) else {"label": "긍정"}


def written(source: Any, out: Any, **more: Any) -> tuple[list[dict[str, str]], list[str]]:
    found = answers.write(Same(), source, out, **more)
    with open(out, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file)), found["notes"]


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


LATE = [*({"text": "가"},) * 2500, {"text": "나", "쪽": 7}, {"text": "다", "쪽": 8, "곳": "부산"}]


@pytest.mark.parametrize("name", ["in.jsonl", "in.json"])
def test_a_file_gives_every_column(tmp_path, name):
    """A field that comes after thousands of rows has its column."""
    content = jsonl(*LATE) if name == "in.jsonl" else json.dumps(LATE)
    (tmp_path / name).write_text(content, encoding="utf-8")
    rows, notes = written(tmp_path / name, tmp_path / "a.csv")
    assert notes == []
    assert [*rows[0]] == ["text", "쪽", "곳", "label", "error"]
    assert (rows[2500]["쪽"], rows[2501]["곳"]) == ("7", "부산")


def test_a_pipe_tells_what_came_too_late(tmp_path):
    """Its first rows are looked at; what comes later is told, with counts."""
    rows, notes = written(io.BytesIO(jsonl(*LATE).encode()), tmp_path / "a.csv")
    assert [*rows[0]] == ["text", "label", "error"]
    assert len(notes) == 1
    assert '"쪽" in 2 rows, "곳" in 1 rows' in notes[0]
    early = io.BytesIO(jsonl({"text": "가"}, {"text": "나", "쪽": 7}).encode())
    rows, notes = written(early, tmp_path / "b.csv")
    assert (rows[1]["쪽"], notes) == ("7", [])


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", False), ("utf-8-sig", True), ("cp949", True), ("utf-16", True)],
)
def test_a_byte_order_mark_for_who_had_one(tmp_path, encoding, mark):
    """DA-01: a CSV that did not come as plain UTF-8 begins with a mark, which Excel needs."""
    text = "text\n" + "배송도 빠르고 정말 만족해요\n" * 20
    (tmp_path / "in.csv").write_bytes(text.encode(encoding))
    for ending in ("csv", "tsv", "jsonl"):
        answers.write(Same(), tmp_path / "in.csv", tmp_path / f"a.{ending}")
        begins = (tmp_path / f"a.{ending}").read_bytes().startswith(codecs.BOM_UTF8)
        assert begins == (mark and ending == "csv")
    rows, _ = written(tmp_path / "in.csv", tmp_path / "a.csv")
    assert rows[19]["text"] == "배송도 빠르고 정말 만족해요"


def test_an_encoding_that_cannot_be_told(tmp_path):
    """DA-01: the message says what works here, and the run's own encoding goes before it."""
    few = "좋아\n".encode("cp949")
    with pytest.raises(DataError, match=r"example --encoding cp949 or --encoding shift_jis"):
        answers.write(Same(), io.BytesIO(few), None, screen=io.StringIO())
    screen = io.StringIO()
    answers.write(Same(), io.BytesIO(few), None, screen=screen, habits=Habits(encoding="cp949"))
    assert json.loads(screen.getvalue())["text"] == "좋아"
    screen = io.StringIO()  # what the bytes do tell goes before the run's encoding
    plain = io.BytesIO("참 좋아요\n".encode())
    answers.write(Same(), plain, None, screen=screen, habits=Habits(encoding="cp949"))
    assert json.loads(screen.getvalue())["text"] == "참 좋아요"
    marked = io.BytesIO("text\n가\n".encode("utf-8-sig"))
    with pytest.raises(DataError, match=r"mark of utf-8, but --encoding is \"cp949\""):
        answers.write(Same(), marked, None, screen=io.StringIO(), encoding="cp949")


def test_a_table_as_the_run_had_it(tmp_path):
    """PR-01: no header, and a delimiter that nobody guesses, hold for a file of the same kind."""
    (tmp_path / "in.csv").write_text("1^정말 좋아요\n2^별로예요\n", encoding="utf-8")
    habits = Habits({"text": "2"}, header=False, delimiter="^", ending=".csv")
    rows, notes = written(tmp_path / "in.csv", tmp_path / "a.csv", habits=habits)
    assert [(row["1"], row["2"], row["label"]) for row in rows] == [
        ("1", "정말 좋아요", "긍정"),
        ("2", "별로예요", "긍정"),
    ]
    assert notes == []
    (tmp_path / "in.txt").write_text("하나^둘\n", encoding="utf-8")
    rows, _ = written(tmp_path / "in.txt", tmp_path / "a.csv", habits=habits)
    assert rows == [{"text": "하나^둘", "label": "긍정", "error": ""}]


def test_a_header_that_the_run_knows():
    """A table in a pipe is known by the column that the run was trained with."""
    table = "리뷰 내용,번호\n정말 별로,3\n".encode()
    screen = io.StringIO()
    known = Habits({"text": "리뷰 내용"})
    answers.write(Same(), io.BytesIO(table), None, screen=screen, habits=known)
    assert json.loads(screen.getvalue()) == {"리뷰 내용": "정말 별로", "번호": "3", "label": "긍정"}
    screen = io.StringIO()
    bare = Habits({"text": "3"}, header=False)  # a number is the name of no header
    answers.write(Same(), io.BytesIO("2,3\n가,나\n".encode()), None, screen=screen, habits=bare)
    assert [json.loads(line)["text"] for line in screen.getvalue().splitlines()] == ["2,3", "가,나"]


def test_a_guess_is_told(tmp_path):
    (tmp_path / "in.csv").write_text("정말 좋아요\n별로\n", encoding="utf-8")
    _, notes = written(tmp_path / "in.csv", tmp_path / "a.csv")
    assert len(notes) == 1
    assert 'column "정말 좋아요"' in notes[0]
    assert "without a header" in notes[0]

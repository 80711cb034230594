"""From files and pipes to rows, and answers back: PR-01, PR-02, PR-06, RP-02, DA-13."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulgil.errors import DataError, SettingError
from mulgil.tables.formats import Records
from mulgil.tables.rows import (
    Row,
    Rows,
    file_format,
    iter_rows,
    output_format,
    read_records,
)
from mulgil.tables.writer import RowWriter


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def pipe(content: str, **options) -> Rows:
    return iter_rows(io.BytesIO(content.encode()), **options)


def reasons(records: Records) -> dict[int, str]:
    return {record.number: record.reason for record in records if record.reason}


# ---------------------------------------------------------------- formats


def test_formats_by_ending():
    assert file_format(Path("리뷰.CSV")) == "csv"
    assert file_format(Path("a.b.jsonl.gz")) == "jsonl"
    with pytest.raises(DataError, match=r"save the sheet as CSV"):
        file_format(Path("a.xlsx"))
    with pytest.raises(DataError, match=r"must end in"):
        file_format(Path("csv"))
    with pytest.raises(SettingError, match=r"answers are written to"):
        output_format(Path("a.txt"))
    assert output_format(None) == "jsonl"


def test_bad_json_lines_cost_themselves(tmp_path):
    """DA-13: each fault is its line's, in bounded time."""
    bad = [
        '{"text": "a", "text": "b"}',
        '{"text": "a", "score": NaN}',
        '{"text": "a", "score": -Infinity}',
        '{"text": "a", "score": 1e999}',
        '{"text": "a", "n": ' + "9" * 1_000_000 + "}",
        '{"text": ' + "[" * 100_000,
        '{"text": ' + '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '["text"]',
        '"text"',
        '{"text": "a"',
        '{"text": "\\ud83d"}',
        '{"text": "a\\u0000b"}',
        '{"inner": {"a": 1, "a": 2}}',
    ]
    lines = ['{"text": "좋아요", "label": 1}', "", *bad, '{"text": "끝", "label": [0]}']
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    start = time.monotonic()
    records = list(read_records(path))
    assert time.monotonic() - start < 5
    assert [record.number for record in records if record.reason] == list(range(3, 17))
    fine = [record.fields for record in records if not record.reason]
    assert fine == [{"text": "좋아요", "label": 1}, {"text": "끝", "label": [0]}]
    assert reasons(read_records(path))[3] == 'has the key "text" twice'
    assert reasons(read_records(path))[7] == "has a number of 1,000,000 digits"


def test_json_array_and_its_faults(tmp_path):
    path = write(
        tmp_path / "a.json", '[\n{"text": "가"},\n{"text": 1, "text": 2}, 7,\n{"text": "나"}]\n'
    )
    records = list(read_records(path))
    assert [(record.number, record.fields.get("text")) for record in records] == [
        (2, "가"),
        (3, None),
        (3, None),
        (4, "나"),
    ]
    for broken, hint in [
        ('[{"text": "가"}\n{"text": "나"}]', r"a\.json:1: after this row"),
        ('[{"text": "가"},\n{"text": ]', r"a\.json:2: is not JSON"),
        ('[{"text": "가"}', r"missing"),
        ("[" * 100_000, r"nested too deeply"),
        ('[{"text": "가"}] 1', r"goes on after"),
        ('{\n"text": "가"\n}', r"write it as \.jsonl"),
    ]:
        with pytest.raises(DataError, match=hint):
            list(read_records(write(path, broken)))
    assert len(list(read_records(write(path, '{"text": "가"}\n{"text": "나"}\n')))) == 2


def test_parquet(tmp_path):
    """Whole numbers stay whole, rows are numbered from 1."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    table = arrow.table({"text": ["좋아요", None, "굿"], "label": [1, 0, None]})
    parquet.write_table(table, path)
    records = list(read_records(path))
    assert [(record.number, record.fields["label"]) for record in records] == [
        (1, 1),
        (2, 0),
        (3, None),
    ]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_records(path)


def test_text_files_are_one_text_a_line(tmp_path):
    path = write(tmp_path / "a.txt", '첫 줄, "하나"\r\n\r\n셋째\n')
    assert [record.fields for record in read_records(path)] == [
        {"text": '첫 줄, "하나"'},
        {"text": ""},
        {"text": "셋째"},
    ]
    write(path, "text\tlabel\n좋아\t1\n")
    assert next(read_records(path, delimiter="tab")).fields == {"text": "좋아", "label": "1"}
    with pytest.raises(SettingError, match=r'one character, not "tabs"; did you mean "tab"'):
        read_records(path, delimiter="tabs")


def test_head_takes_nothing(tmp_path):
    records = read_records(write(tmp_path / "a.txt", "\n".join(map(str, range(9)))))
    assert [record.number for record in records.head(3)] == [1, 2, 3]
    assert [record.number for record in records.head(5)] == [1, 2, 3, 4, 5]
    assert next(records).number == 1
    assert [record.number for record in records] == list(range(2, 10))


# ---------------------------------------------------------------- rows to answer


def test_one_bad_row_in_ten_thousand(tmp_path):
    """PR-01: 9,999 rows to answer and one error, in the order of the file."""
    lines = [f"{number},영화 {number}" for number in range(10_000)]
    lines[5_000] = "5000,영화,또 하나"
    rows = list(iter_rows(write(tmp_path / "a.csv", "번호,리뷰\n" + "\n".join(lines) + "\n")))
    assert [row.id for row in rows] == [f"a.csv:{number}" for number in range(2, 10_002)]
    assert [row.error for row in rows if row.error] == ["has 3 columns where the file has 2"]
    assert rows[9_999].text == "영화 9999"
    assert rows[9_999].fields == {"번호": "9999", "리뷰": "영화 9999"}


def test_odd_texts_have_a_defined_result():
    """PR-02: what is no text is an error in its place, everything else is answered."""
    rows = list(pipe(f"ㅋㅋㅋ\n\n   \n😀😀\n안\0녕\n{'가' * 340_000}\n"))
    assert [row.error for row in rows] == [
        "",
        "empty text",
        "empty text",
        "",
        "holds a NUL character",
        "",
    ]
    assert [row.id for row in rows] == [f"stdin:{number}" for number in range(1, 7)]
    rows = list(pipe('{"text": 3}\n{"text": null}\n{"text": ["a"]}\n{"id": 1}\n'))
    assert [(row.text, row.error) for row in rows] == [
        ("", '"text" is a number, not a text'),
        ("", 'no "text"'),
        ("", '"text" is a list, not a text'),
        ("", 'no "text"'),
    ]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ('{"id": 1, "content": "좋아요"}\n', ("id", "content")),
        ("id,리뷰\n1,좋아요\n", ("id", "리뷰")),
        ("Text\tlabel\n좋아요\t1\n", ("Text", "label")),
        ('text;label\n"좋아\n요";1\n', ("text", "label")),
        ("좋아요, 정말\n별로, 진짜\n", ("text",)),
        ("리뷰, 별로네요\n굿\n", ("text",)),
        ("id,body_of_mail\n1,좋아요\n", ("text",)),
        ("{좋아요}\n", ("text",)),
        ("", ("text",)),
    ],
)
def test_a_pipe_is_looked_at(text, columns):
    """A table needs a header that names a known column and fits; when unsure, lines are texts."""
    rows = pipe(text)
    assert rows.columns == columns
    assert not [row for row in rows if row.error]


def test_a_pipe_whose_column_is_named():
    assert [row.text for row in pipe("id,mail\n1,좋아요\n", text="Mail")] == ["좋아요"]
    assert [row.text for row in pipe("1,좋아요\n", text="2", delimiter=",", header=False)] == [
        "좋아요"
    ]
    with pytest.raises(DataError, match=r'stdin: no column is called "mial".*did you mean "mail"'):
        pipe('{"mail": "좋아요"}\n', text="mial")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("좋아요\n별로", "예요\n"),
        ("text,label\n좋아요,1\n별로", "예요,0\n"),
        ('{"text": "좋아요"}\n{"text": "별로', '예요"}\n'),
    ],
)
def test_a_slow_pipe_does_not_wait(first, second):
    """A row comes out before the next one goes in."""
    reading, writing = os.pipe()
    signal.alarm(20)  # a hang is a failure, not a stuck run
    try:
        with open(reading, "rb") as source, open(writing, "wb", buffering=0) as sink:
            sink.write(first.encode())
            rows = iter_rows(source)
            assert next(rows).text == "좋아요"
            sink.write(second.encode())
            assert next(rows).text == "별로예요"
    finally:
        signal.alarm(0)


def test_rows_stream(tmp_path):
    """PR-06: the first rows are there without reading the file to its end."""
    path = write(tmp_path / "a.csv", "text\n" + "좋아요\n" * 500_000)
    with path.open("rb") as source:
        rows = iter_rows(source)
        assert sum(1 for _ in itertools.islice(rows, 1000)) == 1000
        assert source.tell() <= 1 << 20


def test_longest_texts_when_no_name_is_known(tmp_path):
    path = write(tmp_path / "a.csv", "이름,메모\n김,오늘 본 영화는 좋았다\n이,별로였다\n")
    assert [row.text for row in iter_rows(path)] == ["오늘 본 영화는 좋았다", "별로였다"]


# ---------------------------------------------------------------- answers


def answered(form: str, rows: list[Row], columns: list[str], added: list[str], *answers) -> str:
    stream = io.StringIO(newline="")
    writer = RowWriter(stream, form, columns, added)
    for row, answer in zip(rows, answers, strict=True):
        writer.write(row, answer)
    return stream.getvalue()


FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "\nx",
    "＝1",
    "＋1",
    "－1",
    "＠a",
    '="a"',
]


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_neutralised(form, text):
    """RP-02: in text, in headers and in answers; numbers of the answer stay numbers."""
    row = Row("a:1", {text: text}, (text,))
    written = answered(form, [row], [text], ["label", "score"], {"label": text, "score": -0.5})
    dialect = "excel-tab" if form == "tsv" else "excel"
    header, cells = csv.reader(io.StringIO(written, newline=""), dialect)
    assert header == [f"'{text}", "label", "score"]
    assert cells == [f"'{text}", f"'{text}", "-0.5"]


def test_plain_numbers_stay_numbers():
    row = Row("a:1", {"n": "-3", "m": "+1.5e3", "k": "-", "t": "가=나"}, ("",))
    assert (
        answered("csv", [row], ["n", "m", "k", "t"], [], {}).splitlines()[1] == "-3,+1.5e3,'-,가=나"
    )


def test_json_lines_are_lossless(tmp_path):
    """RP-02: every value comes back, half a surrogate pair included; NaN is null."""
    fields = {
        "text": '=1\u2028\t"가"',
        "odd": "\ud83d",
        "n": 12345678901234567890,
        "list": [1, None],
    }
    row = Row("a:1", fields, ("",))
    written = answered("jsonl", [row], list(fields), ["score"], {"score": float("nan")})
    assert written.count("\n") == 1
    assert json.loads(written.encode("utf-8")) == fields | {"score": None}


def test_names_that_are_taken():
    row = Row("a:1", {"text": "가", "label": "1"}, ("가",))
    written = answered("csv", [row], ["text", "label"], ["label"], {"label": "0"})
    assert written == "text,label,predicted_label\r\n가,1,0\r\n"
    late = Row("a:2", {"text": "나", "score": 9}, ("나",))
    line = answered("jsonl", [late], ["text"], ["score"], {"score": 0.5})
    assert json.loads(line) == {"text": "나", "score": 9, "predicted_score": 0.5}


def test_cells_of_all_kinds():
    fields = {"a": None, "b": True, "c": 1.5, "d": ["가", 1], "e": "\ud83d"}
    stream = io.StringIO(newline="")
    writer = RowWriter(stream, "csv", ["a", "b", "c", "d"], ["error"])
    writer.write(Row("a:1", {}, ("",), "empty text"), {"error": "empty text"})
    writer.write(Row("a:2", fields, ("",)), {})
    assert stream.getvalue().splitlines()[1:] == [
        ",,,,empty text",
        ',true,1.5,"[""가"", 1]",',
    ]
    assert writer.left_out == {"e": 1}
    assert answered("csv", [Row("a", {"e": "\ud83d"}, ("",))], ["e"], [], {}) == "e\r\n\\ud83d\r\n"


CELL = st.text(alphabet='가a1 ,"\n\r;', min_size=1, max_size=8).filter(
    lambda text: text[0] not in "\r\n"
)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5),
    form=st.sampled_from(["csv", "jsonl"]),
)
def test_what_is_written_is_read_back(tmp_path_factory, rows, form):
    """G20: the same rows, in the same order."""
    made = [
        Row(f"a:{at}", {"text": text, "메모": memo}, (text,))
        for at, (text, memo) in enumerate(rows)
    ]
    path = tmp_path_factory.getbasetemp() / f"back.{form}"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = RowWriter(stream, form, ["text", "메모"], [])
        for row in made:
            writer.write(row, {})
    delimiter = "," if form == "csv" else "auto"
    assert [record.fields for record in read_records(path, delimiter=delimiter)] == [
        row.fields for row in made
    ]

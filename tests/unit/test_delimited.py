"""CSV and TSV: quoting where it is meant, and no merged rows where it is not (DA-05, G20)."""

from __future__ import annotations

import csv
import io
import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulgil.errors import DataError
from mulgil.tables.delimited import MAX_FIELD
from mulgil.tables.formats import Record, Records, delimited_records
from mulgil.tables.lines import FileLines
from mulgil.tables.rows import read_records


def read(text: str, symbol: str = "", usual: str = ",", header: bool = True) -> Records:
    lines = FileLines(io.BytesIO(text.encode()), "reviews")
    return delimited_records(lines, symbol, header, usual)


def used(records: list[Record]) -> list[list[str]]:
    return [list(record.fields.values()) for record in records if not record.reason]


def test_tsv_with_stray_quotes_keeps_every_row():
    """DA-05: an opening quote in one row and a closing one in another are text."""
    text = (
        'id\tdocument\tlabel\n1\t"최고의 영화\t1\n2\t그냥 그래\t0\n3\t정말 별로"\t0\n4\t"굿"\t1\n'
    )
    records = list(read(text, usual="\t"))
    assert [record.number for record in records] == [2, 3, 4, 5]
    assert used(records) == [
        ["1", '"최고의 영화', "1"],
        ["2", "그냥 그래", "0"],
        ["3", '정말 별로"', "0"],
        ["4", "굿", "1"],
    ]


def test_stray_quote_meets_a_broken_row():
    """DA-05: the row before a broken row is not swallowed by it."""
    text = 'id\tdocument\tlabel\n1\t"최고\t1\n깨진 줄"\t0\n3\t굿\t1\n'
    records = list(read(text, usual="\t"))
    assert used(records) == [["1", '"최고', "1"], ["3", "굿", "1"]]
    assert [record.reason for record in records if record.reason] == [
        "has 2 columns where the file has 3"
    ]


def test_quoted_fields_over_several_lines():
    text = 'text,label\r\n"첫 줄, 그리고\r\n둘째 ""줄""\r\n\r\n끝",1\r\n"한 줄",0\r\n'
    records = list(read(text))
    assert used(records) == [['첫 줄, 그리고\r\n둘째 "줄"\r\n\r\n끝', "1"], ["한 줄", "0"]]
    assert [record.number for record in records] == [2, 6]


def test_quoted_last_column_of_a_tsv():
    text = 'label\ttext\n1\t"첫 줄\n둘째 줄"\n0\t그냥\n'
    assert used(list(read(text, usual="\t"))) == [["1", "첫 줄\n둘째 줄"], ["0", "그냥"]]


def test_unclosed_quote_does_not_eat_the_file():
    """DA-05: the quote of row 2 closes nowhere; the 5,000 rows behind it are all there."""
    text = 'text,label\n"좋아요,1\n' + "그냥 봐요,0\n" * 5000
    records = read(text)
    assert used(list(records)) == [['"좋아요', "1"]] + [["그냥 봐요", "0"]] * 5000
    (note,) = [note for note in records.notes() if "stray quotes" in note]
    assert note.endswith(f"({records.name}:2)")  # where, for people


def test_far_quote_does_not_swallow_rows():
    """DA-05: the only other quote stands rows later, and both readings would work out."""
    rows = "".join(f"그냥 {number},0\n" for number in range(8))
    records = list(read(f'text,label\n"좋아요, 정말,1\n{rows}별로",0\n'))
    assert len(used(records)) == 9
    assert "stray quote" in records[0].reason


def test_one_misused_quote_makes_the_file_loose():
    """DA-05: who wrote `"명작" 맞아요` quotes nothing, so the pair around it is no field."""
    text = 'text,label\n"최고의 영화,1\n별로예요",0\n"명작" 맞아요,1\n'
    assert used(list(read(text))) == [
        ['"최고의 영화', "1"],
        ['별로예요"', "0"],
        ['"명작" 맞아요', "1"],
    ]


def test_wrong_number_of_columns():
    """DA-06: rejected with line and reason, and the rows around are kept."""
    records = list(read('text,label\n좋아요,1\n나빠요\n그냥,0,3\n"명작" 정말, 최고,1\n굿,1\n'))
    assert used(records) == [["좋아요", "1"], ["굿", "1"]]
    assert [(record.number, record.reason) for record in records if record.reason] == [
        (3, "has 1 column where the file has 2"),
        (4, "has 3 columns where the file has 2"),
        (5, "has a stray quote, and as it stands has 3 columns where the file has 2"),
    ]


def test_bad_bytes_inside_a_quoted_field():
    data = 'text,label\n"첫 줄\n'.encode() + b"\xff\xfe\n" + '끝",1\n굿,1\n'.encode() + b"x,1\n" * 9
    lines = FileLines(io.BytesIO(data), "reviews", "utf-8")
    records = list(delimited_records(lines, ",", True, ","))
    assert records[0].number == 2
    assert records[0].reason.startswith("goes on in line 3, where byte 1")
    assert used(records)[0] == ["굿", "1"]


def test_long_field_is_rejected_and_not_fatal():
    """DA-06: 1,000,000 characters are a field, one more is not."""
    fine, long = "가" * MAX_FIELD, "가" * (MAX_FIELD + 1)
    records = list(read(f"text,label\n{fine},1\n{long},1\n굿,1\n"))
    assert [len(row[0]) for row in used(records)] == [MAX_FIELD, 1]
    assert "more than 1,000,000 characters" in records[1].reason


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("text,label\n좋아, 요;정말,1\n굿,0\n별로,0\n", "comma"),
        ("text;label\n좋아, 정말;1\n굿;0\n", "semicolon"),
        ("text|label\n좋아, 정말|1\n굿|0\n", "pipe"),
        ("text\tlabel\n좋아, 정말\t1\n굿; 그래\t0\n", "tab"),
        ("text\n좋아\n", "comma"),
    ],
)
def test_delimiter_is_guessed_and_told(text, word):
    assert read(text).notes() == [f"reviews: read as utf-8, columns parted by {word}"]


def test_header_rules():
    """DA-06: no rows, no header, twin columns."""
    assert list(read("text,label\n")) == []
    for empty in ("", "\n\n"):
        with pytest.raises(DataError, match=r"reviews: is empty"):
            read(empty)
    with pytest.raises(DataError, match=r'reviews:1: 2 columns are called "text"'):
        read("text,label,text\n좋아,1,굿\n")
    assert read(' text ,,"라벨"\n').columns == ("text", "column 2", "라벨")
    assert read("좋아,1\n굿,0\n", header=False).columns == ("1", "2")


CELL = st.text(alphabet='가b1 ,;|"\n\r\t', max_size=8)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.integers(2, 4).flatmap(
        lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), max_size=6)
    ),
    symbol=st.sampled_from(",;|\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_properly_written_files_come_back_exactly(rows, symbol, quoting):
    """G20: what a writer of RFC 4180 wrote is read back cell by cell (TSV: cells without tabs)."""
    if symbol == "\t":
        rows = [[cell.replace("\t", " ") for cell in row] for row in rows]
    width = len(rows[0]) if rows else 2
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=symbol, quoting=quoting, lineterminator="\r\n")
    writer.writerows([[f"열{number}" for number in range(width)], *rows])
    records = list(read(stream.getvalue(), symbol))
    assert [list(record.fields.values()) for record in records] == rows


QUOTED = st.text(alphabet='가b "', max_size=6)


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(st.tuples(QUOTED, QUOTED, QUOTED), max_size=12))
def test_tsv_rows_never_merge(rows):
    """DA-05, G20: whatever the quotes, a line of a TSV that has all its columns is one row."""
    text = "".join(f"{a}\t{b}\t{c}\n" for a, b, c in [("열1", "열2", "열3"), *rows])
    records = list(read(text, "\t"))
    assert [record.number for record in records] == list(range(2, len(rows) + 2))
    assert not [record for record in records if record.reason]


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.lists(QUOTED, min_size=1, max_size=4), max_size=12),
    symbol=st.sampled_from(",;|\t"),
)
def test_every_line_is_in_exactly_one_record(rows, symbol):
    """G20: rows in = rows used + rows rejected; a used record has all the text of its lines."""
    marked = [symbol.join([f"<{at}>{row[0]}", *row[1:]]) for at, row in enumerate(rows)]
    records = list(read("\n".join([f"열1{symbol}열2", *marked]), symbol))
    starts = [record.number for record in records] + [len(rows) + 2]
    assert starts[0] == 2
    assert all(first < second for first, second in itertools.pairwise(starts))
    for record, following in zip(records, starts[1:], strict=True):
        marks = [f"<{line - 2}>" for line in range(record.number, following)]
        found = "".join(record.fields.values())
        assert record.reason or all(found.count(mark) == 1 for mark in marks)


def test_real_file_keeps_its_number_of_rows():
    """DA-05 on public data whose texts have stray quotes: 5,749 pairs are 5,749 rows."""
    folder = os.environ.get("MULGIL_DATA")
    path = Path(folder or "") / "korsts" / "sts-train.tsv.gz"
    if not folder or not path.exists():
        pytest.skip("MULGIL_DATA has no korsts/sts-train.tsv.gz")
    records = list(read_records(path))
    assert len(records) == 5749
    assert not [record for record in records if record.reason]

"""The data set of the user's own files: columns, labels, parts and the account of the rows."""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulgil.datasets.files import Files
from mulgil.errors import DataError, SettingError
from mulgil.examples import TextExample
from mulgil.flow import Parts


@pytest.fixture
def read(tmp_path):
    """Write files by part and read them: `read(train="...", label="x", ending="csv")`."""

    def read(ending: str = "csv", **options) -> Parts:
        for part in ("train", "valid", "test"):
            if part in options:
                path = tmp_path / f"{part}.{ending}"
                path.write_bytes(options[part].encode())
                options[part] = str(path)
        return Files(Files.Settings(**options)).read({})

    return read


def labels(parts: Parts, part: str = "all") -> list:
    return [row.label for row in parts.rows[part]]


REVIEWS = "text,label\n좋아요,긍정\n별로예요,부정\n최고예요,긍정\n"


# ---------------------------------------------------------------- parts


def test_one_file_is_cut_later(read):
    parts = read(train=REVIEWS)
    assert list(parts.rows) == ["all"]
    assert parts.rows["all"][0] == TextExample("train.csv:2", "좋아요", "긍정")


def test_parts_of_their_own(read):
    parts = read(train=REVIEWS, valid=REVIEWS, test=REVIEWS)
    assert list(parts.rows) == ["train", "valid", "test"]
    assert parts.rows["test"][2].id == "test.csv:4"
    assert list(read(train=REVIEWS, test=REVIEWS).rows) == ["train", "test"]
    assert list(read(train=REVIEWS, valid=REVIEWS).rows) == ["all", "valid"]
    assert list(read(test=REVIEWS).rows) == ["test"]


def test_files_of_one_name_are_told_apart(tmp_path):
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "reviews.csv").write_text(REVIEWS, encoding="utf-8")
    named = {"train": tmp_path / "a" / "reviews.csv", "test": tmp_path / "b" / "reviews.csv"}
    files = Files(Files.Settings(**{part: str(path) for part, path in named.items()}))
    assert files.files() == tuple(named.values())
    parts = files.read({})
    assert [parts.rows[part][0].id for part in ("train", "test")] == [
        "train/reviews.csv:2",
        "test/reviews.csv:2",
    ]


def test_no_file_is_named():
    with pytest.raises(SettingError, match=r"data\.train is missing"):
        Files(Files.Settings()).read({})
    with pytest.raises(DataError, match=r"no such file"):
        Files(Files.Settings(train="nowhere/a.csv")).read({})


# ---------------------------------------------------------------- columns


def test_usual_names_are_found_and_told(read):
    parts = read(train="번호,리뷰,감정\n1,좋아요,긍정\n2,별로,부정\n")
    assert parts.rows["all"][1] == TextExample("train.csv:3", "별로", "부정")
    assert parts.notes == [
        'text = column "리뷰" (guessed)',
        'label = column "감정" (guessed)',
        "train.csv: read as utf-8, columns parted by comma",
    ]


def test_case_and_bom_do_not_matter(read):
    """DA-02: the byte order mark is no part of the first name."""
    parts = read(train="\ufeffLabel;TEXT\n1;좋아요\n")
    assert parts.rows["all"] == [TextExample("train.csv:2", "좋아요", "1")]


def test_content_tells_where_names_do_not(read):
    rows = [f"{at},{'오늘 본 영화 이야기' * 2} {at},{'가나다'[at % 3]}" for at in range(12)]
    parts = read(train="번,글,반\n" + "\n".join(rows) + "\n")
    assert 'text = column "글" (guessed)' in parts.notes
    assert 'label = column "반" (guessed)' in parts.notes
    assert Counter(labels(parts)) == {"가": 4, "나": 4, "다": 4}


def test_named_columns(read):
    parts = read(train="a,b,text\n좋아요,1,x\n", text="a", label="B")
    assert parts.rows["all"] == [TextExample("train.csv:2", "좋아요", "1")]
    assert not [note for note in parts.notes if "guessed" in note]


def test_wrong_column_names_the_nearest(read):
    """DA-06: a missing column."""
    with pytest.raises(
        DataError, match=r'train\.csv: no column is called "texts" \(data\.text\); did'
    ):
        read(train=REVIEWS, text="texts")
    with pytest.raises(DataError, match=r"\(data\.label\); known: label, text"):
        read(train=REVIEWS, label="xyz")
    with pytest.raises(DataError, match=r'test\.csv: no column is called "label"'):
        read(train=REVIEWS, test="text\n좋아요\n")


def test_no_label_column(read):
    many = "글,쪽\n" + "".join(f"이야기 {at},{at}\n" for at in range(9))
    with pytest.raises(DataError, match=r'which of the columns "글", "쪽" is the label\?'):
        read(train=many)
    assert labels(read(train=many, label="-")) == [None] * 9
    parts = read(train="첫 줄\n둘째 줄\n", ending="txt")
    assert labels(parts) == [None, None]
    assert parts.notes[0].startswith("train.txt: one column only, so no labels; for a table")


def test_a_file_without_a_header(read):
    rows = "좋아요,1\n별로예요,0\n최고예요,1\n"
    with pytest.raises(DataError, match=r'train\.csv:1: .*\("좋아요", "1"\).*data\.header = false'):
        read(train=rows)
    parts = read(train=rows, header=False, text="1", label="2")
    assert [row.id for row in parts.rows["all"]] == [f"train.csv:{at}" for at in (1, 2, 3)]
    assert labels(read(train=rows, header=False)) == ["1", "0", "1"]


# ---------------------------------------------------------------- rows and labels


def test_every_row_is_used_or_rejected(read):
    """DA-04, DA-06, G20: each with its line and reason."""
    parts = read(
        train="text,label\n좋아요,1\n   ,1\n별로, \n안\0녕,0\n하나,둘,셋\n"
        '"두 줄\n이야기",0\n\n끝,1\n'
    )
    assert [row.id for row in parts.rows["all"]] == ["train.csv:2", "train.csv:7", "train.csv:10"]
    assert {each.id: each.reason for each in parts.rejected} == {
        "train.csv:3": "empty text",
        "train.csv:4": "no label",
        "train.csv:5": "holds a NUL character",
        "train.csv:6": "has 3 columns where the file has 2",
    }


def test_nothing_to_use(read):
    """DA-06: a header only, and rows that are all bad."""
    with pytest.raises(DataError, match=r"has no rows"):
        read(train="text,label\n")
    with pytest.raises(DataError, match=r"none of its 2 rows.*train\.csv:2 no label"):
        read(train="text,label\n좋아요,\n별로,\n", text="text", label="label")
    with pytest.raises(DataError, match=r"is empty"):
        read(train="")


def test_text_is_kept_and_labels_are_composed(read):
    """DA-03, DA-12: offsets point into the user's own text; labels are compared."""
    text, label = unicodedata.normalize("NFD", "한글"), unicodedata.normalize("NFD", "긍정")
    parts = read(train=f"text,label\n {text}\u200b ,{label} \n좋아요,긍정\n")
    assert parts.rows["all"][0].text == f" {text}\u200b "
    assert labels(parts) == ["긍정", "긍정"]
    assert "labels in decomposed Hangul, composed (NFC): 1" in parts.notes


def test_labels_that_look_alike_are_told(read):
    """DA-12: `0` and `0.0` are two labels, and somebody should know."""
    parts = read(train="text,label\n가,0\n나,0.0\n다,good\n라,Good\n")
    assert labels(parts) == ["0", "0.0", "good", "Good"]
    assert 'labels that look like one are kept apart: "0", "0.0"' in parts.notes
    assert 'labels that look like one are kept apart: "good", "Good"' in parts.notes


def test_labels_of_json(read):
    lines = [
        '{"text": "가", "label": 1}',
        '{"text": "나", "label": 0.5}',
        '{"text": "다", "label": true}',
    ]
    lines += [
        '{"text": "라", "label": null}',
        '{"text": "마", "label": {"a": 1}}',
        '{"text": "바"}',
    ]
    parts = read(train="\n".join(lines), ending="jsonl")
    assert labels(parts) == ["1", "0.5", "true"]
    assert [each.reason for each in parts.rejected] == [
        "no label",
        "its label is a dict, not a name",
        "no label",
    ]


@pytest.mark.parametrize(
    ("header", "label", "also"),
    [
        ("번호,리뷰 내용,평가 결과,별점", "평가 결과", ["별점"]),
        ("번호,리뷰 내용,별점,평가 결과", "평가 결과", ["별점"]),
        ("번호,리뷰 내용,칸,별점", "별점", ["칸"]),  # a name that is known goes before the content
        ("번호,리뷰 내용,칸,수", "칸", ["수"]),  # words go before digits
        ("번호,리뷰 내용,평가 결과,label", "label", ["평가 결과"]),
    ],
)
def test_which_column_is_the_label(read, header, label, also):
    names = header.split(",")
    worded = next(n for n in names[2:] if n in ("평가 결과", "칸"))
    rows = []
    for i in range(30):
        cell = {worded: ("긍정", "부정", "중립")[i % 3]}
        rows.append(
            f"{i},이것은 {i}번 물건의 후기,{','.join(cell.get(n, str(i % 2)) for n in names[2:])}"
        )
    parts = read(train="\n".join([header, *rows]) + "\n")
    said = ", ".join(f'"{name}"' for name in also)
    assert f'label = column "{label}" (guessed; also possible: {said})' in parts.notes


def test_several_labels(read):
    parts = read(train="text,label\n가,욕설| 혐오 |욕설\n나,욕설\n다,|\n", label_separator="|")
    assert labels(parts) == [("욕설", "혐오"), ("욕설",)]
    assert [each.reason for each in parts.rejected] == ["no label"]
    parts = read(train="text,label\n가,욕설\n나,\n다,혐오\n", label_separator="|")
    assert labels(parts) == [("욕설",), (), ("혐오",)]  # an empty cell: none of them
    assert parts.rejected == []
    lines = ['{"text": "가", "label": "욕설"}', '{"text": "나", "label": []}']
    lines += ['{"text": "다", "label": ["혐오", 1]}', '{"text": "라", "label": ["\\ud800"]}']
    parts = read(train="\n".join(lines), ending="jsonl")
    assert labels(parts) == [("욕설",), (), ("혐오", "1")]


def test_parquet_labels(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    table = arrow.table({"text": ["가", "나", "다"], "label": [1, None, 0]})
    parquet.write_table(table, path)
    parts = Files(Files.Settings(train=str(path))).read({})
    assert [(row.id, row.label) for row in parts.rows["all"]] == [
        ("a.parquet:1", "1"),
        ("a.parquet:3", "0"),
    ]
    assert [each.id for each in parts.rejected] == ["a.parquet:2"]


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(
        st.text(alphabet='가1 ,"\0', max_size=10).map(lambda text: f"x{text}"), min_size=1
    )
)
def test_rows_in_are_rows_used_and_rejected(tmp_path_factory, lines):
    """G20: whatever the lines, each record is in exactly one of the two."""
    path = tmp_path_factory.getbasetemp() / "fuzz.tsv"
    rows = "".join(f"{line}\t1\n" for line in [*lines, "끝"])
    path.write_text(f"text\tlabel\n{rows}", encoding="utf-8")
    parts = Files(Files.Settings(train=str(path))).read({})
    numbers = [row.id for row in parts.rows["all"]] + [each.id for each in parts.rejected]
    assert sorted(numbers) == sorted(f"fuzz.tsv:{at}" for at in range(2, len(lines) + 3))


def test_150_000_rows_are_read_in_seconds(tmp_path):
    """Measured at 1.3 s on two shared cores; ten times that is a mistake somewhere."""
    path: Path = tmp_path / "big.csv"
    lines = (f"{at},오늘 본 영화 {at}은 꽤 재미있었다,{at % 2}\n" for at in range(150_000))
    path.write_text("id,document,label\n" + "".join(lines), encoding="utf-8")
    start = time.perf_counter()
    parts = Files(Files.Settings(train=str(path))).read({})
    assert time.perf_counter() - start < 13
    assert len(parts.rows["all"]) == 150_000

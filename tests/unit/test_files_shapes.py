"""The user's own files for tasks that read two texts, a passage, or write: fields and columns."""

from __future__ import annotations

import json
import unicodedata

import pytest

from mulgil.datasets.files import Files
from mulgil.errors import DataError, SettingError
from mulgil.examples import PairExample, PassageExample, RatedPairExample, WritingExample
from mulgil.flow import Parts


@pytest.fixture
def read(tmp_path):
    """Write files by part and read them in a shape: `read("pair", "tsv", train=...)`."""

    def read(asked: str, ending: str, **options) -> Parts:
        for part in ("train", "valid", "test"):
            if part in options:
                path = tmp_path / f"{part}.{ending}"
                path.write_bytes(options[part].encode())
                options[part] = str(path)
        files = Files(Files.Settings(**options))
        files.asked = asked
        return files.read({})

    return read


def reasons(parts: Parts) -> dict[str, str]:
    return {each.id: each.reason for each in parts.rejected}


# ---------------------------------------------------------------- pairs


def test_pairs_with_usual_names(read):
    parts = read("pair", "tsv", train="전제\t가설\t정답\n비가 온다\t날이 궂다\t함의\n")
    assert parts.rows["all"] == [PairExample("train.tsv:2", "비가 온다", "날이 궂다", "함의")]
    assert parts.notes[:3] == [
        'first = column "전제" (guessed)',
        'second = column "가설" (guessed)',
        'label = column "정답" (guessed)',
    ]


def test_named_columns_are_no_guess(read):
    columns = {"first": "b", "second": "A", "label": "c"}
    parts = read("pair", "csv", train="a,b,c\n뒤,앞,같음\n", columns=columns)
    assert parts.rows["all"] == [PairExample("train.csv:2", "앞", "뒤", "같음")]
    assert not [note for note in parts.notes if "guessed" in note]


def test_the_rest_is_guessed_beside_what_is_named(read):
    """A column serves one field: "sentence1" named as the second text is not the first too."""
    rows = "sentence1,question1,label\n뒤,앞,같음\n"
    parts = read("pair", "csv", train=rows, columns={"second": "sentence1"})
    assert parts.rows["all"] == [PairExample("train.csv:2", "앞", "뒤", "같음")]
    assert parts.notes[0] == 'first = column "question1" (guessed)'


def test_a_label_is_told_by_its_content(read):
    rows = "".join(f"앞 {at}\t뒤 {at}\t{'예' if at % 2 else '아니오'}\n" for at in range(6))
    parts = read("pair", "tsv", train=f"first\tsecond\t결과\n{rows}")
    assert 'label = column "결과" (guessed)' in parts.notes
    assert parts.rows["all"][1].label == "예"


def test_labels_of_pairs_are_names(read):
    """DA-03, DA-12: stripped and NFC; a list is no name."""
    label = unicodedata.normalize("NFD", "함의")
    lines = [
        {"first": "가", "second": "나", "label": f" {label} "},
        {"first": "가", "second": "나", "label": ["함의"]},
        {"first": "가", "second": " ", "label": "함의"},
        {"first": "가", "second": "나", "label": ""},
        {"second": "나", "label": "함의"},
    ]
    parts = read("pair", "jsonl", train="\n".join(map(json.dumps, lines)))
    assert [row.label for row in parts.rows["all"]] == ["함의"]
    assert "labels in decomposed Hangul, composed (NFC): 1" in parts.notes
    assert reasons(parts) == {
        "train.jsonl:2": "its label is a list, not a name",
        "train.jsonl:3": '"second" is empty',
        "train.jsonl:4": "no label",
        "train.jsonl:5": 'no "first"',
    }


def test_pairs_without_labels(read):
    rows = "first,second,쪽\n가,나,1\n다,라,2\n"
    with pytest.raises(DataError, match=r'is the label\? set data\.label, or "-"'):
        read("pair", "csv", train=rows)
    parts = read("pair", "csv", train=rows, label="-")
    assert parts.rows["all"][0] == PairExample("train.csv:2", "가", "나", None)
    parts = read("pair", "txt", train="가\t나\n다 라\n")
    assert parts.rows["all"] == [PairExample("train.txt:1", "가", "나", None)]
    assert reasons(parts)["train.txt:2"].startswith("needs 2 texts with a tab between")
    assert "train.txt: no column is left for the label" in parts.notes


def test_other_files_have_the_same_columns(read):
    rows = "전제,가설,label\n가,나,참\n"
    assert read("pair", "csv", train=rows, test=rows).rows["test"][0].second == "나"
    with pytest.raises(DataError, match=r'test\.csv: no column is called "전제".*columns\.first'):
        read("pair", "csv", train=rows, test="premise,hypothesis,label\n가,나,참\n")


# ---------------------------------------------------------------- ratings


@pytest.mark.parametrize(
    ("cell", "rating"), [("3.5", 3.5), (" 4 ", 4.0), ("0", 0.0), ("-.5", -0.5), ("1e-2", 0.01)]
)
def test_ratings(read, cell, rating):
    parts = read("rated-pair", "tsv", train=f"문장1\t문장2\t유사도\n가\t나\t{cell}\n")
    assert parts.rows["all"] == [RatedPairExample("train.tsv:2", "가", "나", rating)]


@pytest.mark.parametrize("cell", ["3,5", "nan", "inf", "1e999", "1_0", "셋", "٣", "4/5"])
def test_what_is_no_rating(read, cell):
    """DA-04, DA-13: nothing is repaired, and no infinity comes in by the back door."""
    rows = f"first\tsecond\trating\n가\t나\t1\n가\t나\t{cell}\n가\t나\t\n"
    parts = read("rated-pair", "tsv", train=rows)
    assert reasons(parts) == {
        "train.tsv:3": f'its rating "{cell}" is not a finite number such as 3.5',
        "train.tsv:4": "no rating",
    }


def test_ratings_of_json(read):
    lines = [f'{{"first": "가", "second": "나", "score": {cell}}}' for cell in ("3", "true", "[1]")]
    parts = read("rated-pair", "jsonl", train="\n".join(lines))
    assert [row.rating for row in parts.rows["all"]] == [3.0]
    assert [each.id for each in parts.rejected] == ["train.jsonl:2", "train.jsonl:3"]


# ---------------------------------------------------------------- writing and passages


def test_writing(read):
    parts = read("writing", "csv", train="본문,제목\n긴 글,짧은 글\n긴 글,\n")
    assert parts.rows["all"] == [WritingExample("train.csv:2", "긴 글", "짧은 글")]
    assert reasons(parts) == {"train.csv:3": "empty text"}
    parts = read("writing", "csv", train="question,answer\n묻다,답하다\n")
    assert parts.rows["all"] == [WritingExample("train.csv:2", "묻다", "답하다")]
    parts = read("writing", "txt", train="쓸 거리\n")
    assert parts.rows["all"] == [WritingExample("train.txt:1", "쓸 거리", None)]


def test_passages(read):
    parts = read("passage", "txt", train="첫 줄\n\n둘째 줄\n")
    assert parts.rows["all"] == [
        PassageExample("train.txt:1", "첫 줄"),
        PassageExample("train.txt:3", "둘째 줄"),
    ]
    parts = read("passage", "csv", train="번,글\n1,긴 이야기\n", text="글")
    assert parts.rows["all"] == [PassageExample("train.csv:2", "긴 이야기")]


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("asked", "options", "message"),
    [
        ("pair", {"columns": {"frist": "a"}}, r'data\.columns: .*"pair".*did you mean "first"'),
        ("pair", {"text": "a"}, r'data\.text: rows of shape "pair" have no field "text"'),
        ("rated-pair", {"label": "c"}, r'data\.label: .*"rated-pair" have no field "label"'),
        ("text", {"columns": {"rating": "b"}}, r'have no field "rating"; known: label, text'),
        ("pair", {"label": "c", "columns": {"label": "b"}}, r"keep one of them"),
        ("pair", {"label_separator": "|"}, r"data\.label_separator: .* leave it out"),
        ("pair", {"columns": {"answer_start": "b"}}, r'have no field "answer_start"'),
    ],
)
def test_settings_that_do_not_go_with_the_shape(read, asked, options, message):
    with pytest.raises(SettingError, match=message) as caught:
        read(asked, "csv", train="a,b,c\n가,나,1\n", **options)
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there(read):
    """DA-06: a missing column, with the nearest."""
    rows = "전제,가설,label\n가,나,1\n"
    with pytest.raises(DataError, match=r'"전재" \(data\.columns\.first\); known: label, 가설'):
        read("pair", "csv", train=rows, columns={"first": "전재"})
    with pytest.raises(DataError, match=r'columns "가1", "나1" is the first text\? set data\.col'):
        read("pair", "csv", train="가1,나1\n다,라\n")
    with pytest.raises(DataError, match=r"for a table in a \.txt set data\.delimiter"):
        read("question", "txt", train="가1,나1\n다,라\n", delimiter="comma")


def test_a_table_without_a_header(read):
    rows = "가\t나\t참\n다\t라\t참\n마\t바\t거짓\n"
    with pytest.raises(DataError, match=r"set data\.header = false, or name .* data\.columns$"):
        read("pair", "tsv", train=rows)
    columns = {"first": "1", "second": "2"}
    parts = read("pair", "tsv", train=rows, header=False, columns=columns)
    assert [row.label for row in parts.rows["all"]] == ["참", "참", "거짓"]


def test_columns_give_what_the_short_forms_give(read):
    rows = "a,b\n좋아요,1\n"
    short = read("text", "csv", train=rows, text="a", label="b")
    assert read("text", "csv", train=rows, columns={"text": "a", "label": "b"}) == short

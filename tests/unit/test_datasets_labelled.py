"""Pairs and ratings: own-written files, and counts of the published ones.

Ids such as DA-05 name the faults that a test guards against.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from labelled_files import REAL, everything, made, published, read

from mulgil import fetch
from mulgil.errors import DataError, FetchError
from mulgil.examples import PairExample, RatedPairExample
from mulgil.flow import Parts, Rejected

ROWS = {
    "klue-nli": (5010, 2490, 3000),
    "kornli": (2490, None, 5010),
    "korsts": (5749, 1500, 1379),
    "klue-sts": (5749, 1500, 519),
    "klue-ner": (4000, 500, 500),
    "korquad": (4055, 261, 1458),
    "xquad-en": (826, 99, 265),
    "paws-x-ko": (2000, None, 2000),
    "question-pair": (6136, 682, 758),
}
"""Rows of the published files: train, valid (None is cut later), test."""

NLI = "sentence1\tsentence2\tgold_label\n"
STS = "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2\n"
ASKED = "question1\tquestion2\tis_duplicate\n"
LAKE = ("호수가 얼었다.", "물이 차갑다.")


# ---------------------------------------------------------------- pairs


def nli(folder: Path, lines: str, start: str = "") -> Parts:
    return read(folder, "kornli", start + NLI + lines, NLI)


def test_a_pair_keeps_both_texts_as_they_are_and_knows_its_line(tmp_path: Path) -> None:
    parts = nli(tmp_path, " 호수가 얼었다.\t물이 차갑다. \tentailment\n")
    assert parts.rows == {
        "train": [
            PairExample("xnli.dev.ko.tsv:2", " 호수가 얼었다.", "물이 차갑다. ", "entailment")
        ],
        "test": [],
    }
    assert parts.rejected == []


@pytest.mark.parametrize("text", ['"열기만 하고', 'a "중간" b', '"', '""', '"다 쌌다"'])
def test_a_quote_is_text_and_swallows_no_line(tmp_path: Path, text: str) -> None:
    """DA-05: a stray quote in a tab-separated file; rows in = rows used + rows rejected."""
    parts = nli(tmp_path, f"{text}\t물이 차갑다.\tneutral\n다음\t줄\tneutral\n")
    (first, second) = parts.rows["train"]
    assert isinstance(first, PairExample)
    assert (first.first, second.id) == (text, "xnli.dev.ko.tsv:3")


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    """DA-02: the same rows as without it."""
    line = "호수가 얼었다.\t물이 차갑다.\tneutral\n"
    assert nli(tmp_path, line, "\ufeff").rows == nli(tmp_path, line).rows


def test_decomposed_text_and_foreign_line_ends_stay_as_they_are(tmp_path: Path) -> None:
    """DA-03: what is normalised is the machine's copy, later; the row keeps the user's text."""
    text = unicodedata.normalize("NFD", "호수") + "\u2028얼음\x0b물\r\x85"
    (row,) = nli(tmp_path, f"{text}\t물이 차갑다.\tneutral\n").rows["train"]
    assert isinstance(row, PairExample)
    assert row.first == text


def test_unusable_pairs_are_rejected_with_a_reason(tmp_path: Path) -> None:
    """DA-06, DA-12: wrong columns, empty texts, a label with a typo; every line is counted."""
    lines = [
        "하나\t둘\tentailment",
        "하나\t둘",
        "하나\t둘\t셋\tneutral",
        "하나\t둘\tentailement",
        "하나\t둘\tneutral ",
        "하나\t \tneutral",
        "",
    ]
    parts = nli(tmp_path, "".join(f"{line}\n" for line in lines))
    known = "is none of entailment, neutral, contradiction"
    assert [row.id for row in parts.rows["train"]] == ["xnli.dev.ko.tsv:2"]
    assert parts.rejected == [
        Rejected("xnli.dev.ko.tsv:3", "2 fields instead of 3"),
        Rejected("xnli.dev.ko.tsv:4", "4 fields instead of 3"),
        Rejected("xnli.dev.ko.tsv:5", f'label "entailement" {known}'),
        Rejected("xnli.dev.ko.tsv:6", f'label "neutral " {known}'),
        Rejected("xnli.dev.ko.tsv:7", "empty text"),
        Rejected("xnli.dev.ko.tsv:8", "1 fields instead of 3"),
    ]


@pytest.mark.parametrize("content", ["", "하나\t둘\tneutral\n", "sentence1\tgold_label\n"])
def test_other_columns_are_an_error_of_one_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"xnli\.dev\.ko\.tsv:1: the columns are") as caught:
        read(tmp_path, "kornli", content, NLI)
    assert "\n" not in str(caught.value)


def test_question_pairs_are_named_by_what_the_number_means(tmp_path: Path) -> None:
    """In this file 0 is "the same", whatever the column is called."""
    parts = read(
        tmp_path,
        "question-pair",
        ASKED + "언제 여나요?\t몇 시에 여나요?\t0\n언제 여나요?\t어디서 여나요?\t1\n",
        ASKED,
        ASKED + "얼마예요?\t얼마죠?\t2\n",
    )
    labels = [row.label for row in parts.rows["train"] if isinstance(row, PairExample)]
    assert labels == ["같음", "다름"]
    assert parts.rejected == [Rejected("test.txt:2", 'label "2" is none of 0, 1')]


def test_paraphrases_are_named_by_what_the_number_means(tmp_path: Path) -> None:
    header = "id\tsentence1\tsentence2\tlabel\n"
    content = header + "7\t강이 산을 돈다.\t산을 강이 돈다.\t1\n8\t강이 돈다.\t산이 돈다.\t0\n"
    parts = read(tmp_path, "paws-x-ko", content, header)
    labels = [row.label for row in parts.rows["train"] if isinstance(row, PairExample)]
    assert labels == ["같음", "다름"]


def klue(**fields: Any) -> dict[str, Any]:
    first, second = LAKE
    own = {"guid": "own-1", "premise": first, "hypothesis": second, "gold_label": "neutral"}
    return own | fields


def test_the_test_part_of_nli_is_klue_and_the_rest_is_not(tmp_path: Path) -> None:
    entries: list[Any] = [
        klue(author="entailment"),
        klue(guid="own-2", gold_label="Neutral"),
        klue(guid="own-3", hypothesis=None),
        klue(guid="own-4", gold_label=["neutral"]),
        klue(guid=5),
        "no object",
    ]
    parts = read(
        tmp_path,
        "klue-nli",
        NLI + "하나\t둘\tneutral\n",
        NLI + "하나\t셋\tentailment\n",
        json.dumps(entries),
    )
    assert {name: [row.id for row in rows] for name, rows in parts.rows.items()} == {
        "train": ["xnli.test.ko.tsv:2"],
        "valid": ["xnli.dev.ko.tsv:2"],
        "test": ["own-1"],
    }
    assert parts.rows["test"] == [PairExample("own-1", *LAKE, "neutral")]
    assert [row.id for row in parts.rejected] == [
        *("own-2", "own-3", "own-4"),
        "klue-nli-v1.1_dev.json: row 5",
        "klue-nli-v1.1_dev.json: row 6",
    ]
    (note,) = parts.notes
    assert "XNLI-ko" in note


@pytest.mark.parametrize("content", ["[", "[" * 100_000, "{}", "\ufeff{}", '"text"', b"[\xff]"])
def test_a_broken_list_is_an_error_of_one_line(tmp_path: Path, content: str | bytes) -> None:
    """DA-13: the file is named, however it is broken."""
    with pytest.raises(DataError, match=r"klue-nli-v1\.1_dev\.json: is not") as caught:
        read(tmp_path, "klue-nli", NLI, NLI, content)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- ratings


def sts(*scores: str) -> str:
    first, second = LAKE
    return STS + "".join(f"g\tf\ty\t1\t{score}\t{first}\t{second}\n" for score in scores)


def test_a_rating_is_a_number_from_0_to_5(tmp_path: Path) -> None:
    """DA-12: what is no rating is rejected, and nothing is clipped to one."""
    parts = read(tmp_path, "korsts", sts("0.000", "5.000", "2.6"), sts("3.25").rstrip(), STS)
    ratings = [row.rating for row in everything(parts) if isinstance(row, RatedPairExample)]
    assert ratings == [0.0, 5.0, 2.6, 3.25]
    wrong = ["5.1", "-0.1", "nan", "inf", "", "셋"]
    parts = read(tmp_path, "korsts", sts(*wrong), STS, STS)
    assert parts.rows["train"] == []
    assert [row.reason for row in parts.rejected] == [
        f'rating "{score}" is no number from 0 to 5' for score in wrong
    ]


def test_the_rating_of_klue_is_the_exact_mean(tmp_path: Path) -> None:
    first, second = LAKE
    labels = [
        {"label": 1.4, "real-label": 1.428571428571429, "binary-label": 0},
        {"label": 1.4},
        {"real-label": True},
        {"real-label": 10**400},
        None,
    ]
    entries = [
        {"guid": f"own-{i}", "sentence1": first, "sentence2": second, "labels": label}
        for i, label in enumerate(labels)
    ]
    parts = read(tmp_path, "klue-sts", STS, STS, json.dumps(entries))
    assert parts.rows["test"] == [RatedPairExample("own-0", first, second, 1.428571428571429)]
    assert [row.id for row in parts.rejected] == ["own-1", "own-2", "own-3", "own-4"]
    assert "out of domain" in parts.notes[0]


# ---------------------------------------------------------------- all


@pytest.mark.parametrize("name", ROWS)
def test_sources_are_pinned_and_named(name: str) -> None:
    dataset = made(name)
    assert all((dataset.title, dataset.licence, dataset.citation))
    for source in dataset.sources:
        assert source.url.startswith("https://raw.githubusercontent.com/")
        commit = source.url.split("/")[5]
        assert (len(commit), len(source.sha256)) == (40, 64)
        assert source.url.endswith(source.path.split("/")[1])
        assert source.size > 0


@REAL
@pytest.mark.parametrize("name", ROWS)
def test_published_files(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DA-05, DA-06: every row of the published files is there, in its part, with its own id."""
    parts = published(name, monkeypatch, tmp_path)
    counts = tuple(
        len(parts.rows[part]) if part in parts.rows else None for part in ("train", "valid", "test")
    )
    assert (counts, parts.rejected) == (ROWS[name], [])
    rows = everything(parts)
    assert {row.shape for row in rows} == {made(name).shape}
    assert len({row.id for row in rows}) == len(rows)


@REAL
def test_published_labels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def labels(name: str) -> Counter[str | None]:
        rows = everything(published(name, monkeypatch, tmp_path))
        return Counter(row.label for row in rows if isinstance(row, PairExample))

    assert labels("kornli") == dict.fromkeys(("entailment", "neutral", "contradiction"), 2500)
    assert labels("klue-nli") == dict.fromkeys(("entailment", "neutral", "contradiction"), 3500)
    assert labels("paws-x-ko") == {"같음": 1736, "다름": 2264}
    assert labels("question-pair") == {"같음": 5109, "다름": 2467}
    rows = everything(published("question-pair", monkeypatch, tmp_path))
    equal = [row for row in rows if isinstance(row, PairExample) if row.first == row.second]
    assert Counter(row.label for row in equal)["같음"] > 0.99 * len(equal) > 900


def test_missing_files_are_all_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DL-13: the files of both suppliers are listed when they are missing."""
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path))
    with pytest.raises(FetchError, match=r"kornli/xnli\.test.*klue/klue-nli"):
        fetch.collect(made("klue-nli"), download=False)

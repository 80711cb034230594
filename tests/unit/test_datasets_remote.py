"""Data sets that come from outside: rows from own-written files, and counts of the real ones."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mulgil import fetch, registry
from mulgil.contracts import Dataset
from mulgil.examples import TextExample
from mulgil.flow import Parts, Rejected

REAL = pytest.mark.skipif(
    not os.environ.get("MULGIL_DATA"),
    reason="MULGIL_DATA does not name a folder with the published files",
)


def made(name: str) -> Dataset:
    plugin = registry.load("datasets", name)
    return plugin(plugin.Settings())


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULGIL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def nsmc(tmp_path: Path, train: str, test: str = "") -> Parts:
    files = {}
    for name, lines in (("train", train), ("test", test)):
        path = tmp_path / f"{name}.txt"
        path.write_bytes(f"id\tdocument\tlabel\n{lines}".encode())
        files[f"nsmc/ratings_{name}.txt"] = path
    return made("nsmc").read(files)


def petitions(tmp_path: Path, *lines: str) -> Parts:
    path = tmp_path / "petitions.jsonl"
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return made("petitions").read({"petitions/petitions_6months.jsonl": path})


def petition(**changes: Any) -> str:
    row: dict[str, Any] = {
        "petition_idx": "17",
        "category": "안전/환경",
        "title": "하천 산책로에 등을 더 달아 주세요",
        "content": "밤이면 발밑이 보이지 않습니다.",
        "num_agree": 3,
    }
    return json.dumps(row | changes, ensure_ascii=False)


# ---------------------------------------------------------------- nsmc


def test_nsmc_rows_keep_their_part_their_id_and_the_name_of_their_label(tmp_path: Path) -> None:
    parts = nsmc(
        tmp_path, "11\t마지막 장면에서 울었다\t1\n12\t 졸음만 왔다 \t0\n", "11\t그저 그랬다\t0\n"
    )
    assert parts.rows == {
        "train": [
            TextExample("train:11", "마지막 장면에서 울었다", "긍정"),
            TextExample("train:12", " 졸음만 왔다 ", "부정"),
        ],
        "test": [TextExample("test:11", "그저 그랬다", "부정")],
    }
    assert parts.rejected == []


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ('"""그가 """"안녕"""" 했다"""', '그가 "안녕" 했다'),
        ('"""""""제목"""""""', '"제목"'),
        ('"""하나 """"뿐"""', '하나 "뿐'),
        ('"한 겹만 ""쌌다"""', '"한 겹만 ""쌌다"""'),
        ('따옴표 "그대로"', '따옴표 "그대로"'),
        ('"앞에만', '"앞에만'),
        ('"', '"'),
        ('""', '""'),
    ],
)
def test_nsmc_quotes_come_off_only_where_that_is_certain(
    tmp_path: Path, field: str, text: str
) -> None:
    (row,) = nsmc(tmp_path, f"1\t{field}\t1\n").rows["train"]
    assert isinstance(row, TextExample)
    assert row.text == text


def test_nsmc_a_quote_does_not_swallow_the_next_line(tmp_path: Path) -> None:
    parts = nsmc(tmp_path, '1\t"열기만 하고\t1\n2\t다음 줄\t0\n')
    assert [row.id for row in parts.rows["train"]] == ["train:1", "train:2"]


def test_nsmc_other_line_ends_of_unicode_are_text(tmp_path: Path) -> None:
    (row,) = nsmc(tmp_path, "1\t앞\u2028뒤\x0b끝\r\t1\n").rows["train"]
    assert isinstance(row, TextExample)
    assert row.text == "앞\u2028뒤\x0b끝\r"


def test_nsmc_rejects_with_a_reason_and_counts_every_row(tmp_path: Path) -> None:
    parts = nsmc(
        tmp_path, "1\t\t0\n2\t \t1\n3\t좋다\t2\n4\t탭\t하나 더\t1\n5\t남는다\t1", "6\t\t1\n"
    )
    assert parts.rejected == [
        Rejected("train:1", "empty text"),
        Rejected("train:2", "empty text"),
        Rejected("train:3", 'label "2" is neither 0 nor 1'),
        Rejected("train:line 5", "4 fields instead of 3"),
        Rejected("test:6", "empty text"),
    ]
    assert [row.id for row in parts.rows["train"]] == ["train:5"]
    assert parts.rows["test"] == []


@REAL
def test_nsmc_published_files() -> None:
    dataset = made("nsmc")
    parts = dataset.read(fetch.collect(dataset, download=False))
    assert {name: len(rows) for name, rows in parts.rows.items()} == {
        "train": 149_995,
        "test": 49_997,
    }
    assert Counter(row.id.split(":")[0] for row in parts.rejected) == {"train": 5, "test": 3}
    assert {row.reason for row in parts.rejected} == {"empty text"}
    rows = [row for part in parts.rows.values() for row in part if isinstance(row, TextExample)]
    assert {row.label for row in rows} == {"부정", "긍정"}
    assert len({row.id for row in rows}) == len(rows)
    # 856 fields held quotes; two layers off, hardly a doubled one is left.
    assert sum('"' in row.text for row in rows) == 856
    assert sum('""' in row.text for row in rows) == 14


# ---------------------------------------------------------------- petitions


def test_petitions_text_is_title_and_content(tmp_path: Path) -> None:
    parts = petitions(tmp_path, petition(), petition(petition_idx="18", content=" "))
    assert parts.rows == {
        "all": [
            TextExample(
                "17",
                "하천 산책로에 등을 더 달아 주세요\n밤이면 발밑이 보이지 않습니다.",
                "안전/환경",
            ),
            TextExample("18", "하천 산책로에 등을 더 달아 주세요", "안전/환경"),
        ]
    }


def test_petitions_that_were_posted_twice_stay(tmp_path: Path) -> None:
    parts = petitions(tmp_path, petition(), petition(petition_idx="18"))
    assert len(parts.rows["all"]) == 2


def test_petitions_rejects_with_a_reason_and_counts_every_row(tmp_path: Path) -> None:
    lines = [
        petition(),
        "{",
        "[1]",
        "[" * 100_000,
        petition(title=3),
        petition(category=" "),
        petition(title="", content=""),
        "",
    ]
    parts = petitions(tmp_path, *lines)
    assert len(parts.rows["all"]) + len(parts.rejected) == len(lines)
    missing = "one of petition_idx, category, title, content is missing or not a text"
    assert parts.rejected == [
        Rejected("line 2", "not JSON"),
        Rejected("line 3", "not a JSON object"),
        Rejected("line 4", "not JSON"),
        Rejected("line 5", missing),
        Rejected("17", "empty category"),
        Rejected("17", "empty text"),
        Rejected("line 8", "not JSON"),
    ]


@REAL
def test_petitions_published_files() -> None:
    dataset = made("petitions")
    parts = dataset.read(fetch.collect(dataset, download=False))
    rows = [row for row in parts.rows["all"] if isinstance(row, TextExample)]
    assert (len(rows), parts.rejected) == (3691, [])
    labels = Counter(row.label for row in rows)
    assert len(labels) == 17
    assert (labels["기타"], labels["저출산/고령화대책"]) == (419, 34)
    assert len({row.id for row in rows}) == 3691


@REAL
def test_petitions_pieces_are_the_published_months(tmp_path: Path) -> None:
    """What would be downloaded, month by month, is what the joined file is made of."""
    dataset = made("petitions")
    (whole,) = dataset.sources
    assert isinstance(whole, fetch.Joined)
    data = fetch.collect(dataset, download=False)[whole.path].read_bytes()
    for piece in whole.pieces:
        path = tmp_path / piece.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data[: piece.size])
        data = data[piece.size :]
    assert data == b""
    assert fetch.fetch(whole, tmp_path).stat().st_size == whole.size


# ---------------------------------------------------------------- both


@pytest.mark.parametrize("name", ["nsmc", "petitions"])
def test_sources_are_pinned_and_named(name: str) -> None:
    dataset = made(name)
    assert all((dataset.title, dataset.licence, dataset.citation))
    for source in dataset.sources:
        for piece in source.pieces if isinstance(source, fetch.Joined) else (source,):
            assert piece.url.startswith("https://raw.githubusercontent.com/")
            assert len(piece.sha256) == 64
            assert piece.size > 0

"""Data sets of something to write: rows from own-written files, and counts of the real ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest

from mulgil import fetch, hangul, registry
from mulgil.contracts import Dataset
from mulgil.errors import DataError
from mulgil.examples import WritingExample
from mulgil.flow import Parts, Rejected

REAL = pytest.mark.usefixtures("data_folder")
"""Skips with a reason where the published files are not at hand."""

NAMES = ("chatbot", "kommongen", "parallel", "petition-titles", "sae4k")

SAME = "source and target are the same text"


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULGIL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def made(name: str, **settings: Any) -> Dataset:
    plugin = registry.load("datasets", name)
    dataset: Dataset = plugin(plugin.Settings(**settings))
    return dataset


def read(tmp_path: Path, dataset: Dataset, *contents: bytes | str) -> Parts:
    """Read the data set from these contents, one for each of its files."""
    files = {}
    for source, content in zip(dataset.sources, contents, strict=True):
        path = tmp_path / source.path.replace("/", "-")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        files[source.path] = path
    return dataset.read(files)


def real(name: str, **settings: Any) -> Parts:
    dataset = made(name, **settings)
    return dataset.read(fetch.collect(dataset, download=False))


def sides(rows: Any) -> set[str]:
    return {hangul.key(side) for row in rows for side in (row.source, row.target)}


# ---------------------------------------------------------------- chatbot


def test_chatbot_a_stray_quote_costs_its_own_line_only(tmp_path: Path) -> None:
    """DA-05: in = out + rejected, and a quote never swallows the next line."""
    parts = read(
        tmp_path,
        made("chatbot"),
        "Q,A,label\r\n"
        '"비가 와, 어쩌지?",우산을 챙기세요.,0\r\n'
        '"열기만 했어,네?,0\r\n'
        "심심해,산책은 어때요?,0\r\n",
    )
    assert parts.rows == {
        "all": [
            WritingExample("line 2", "비가 와, 어쩌지?", "우산을 챙기세요."),
            WritingExample("line 4", "심심해", "산책은 어때요?"),
        ]
    }
    assert parts.rejected == [Rejected("line 3", "broken CSV quotes")]


def test_chatbot_rejects_with_a_reason(tmp_path: Path) -> None:
    """DA-06: every row is used or told about."""
    parts = read(tmp_path, made("chatbot"), "Q,A,label\na,b\n,네,0\n네, ,0\n글쎄  요,글쎄 요,0\n\n")
    assert parts.rows == {"all": []}
    assert parts.rejected == [
        Rejected("line 2", "2 fields instead of 3"),
        Rejected("line 3", "empty source"),
        Rejected("line 4", "empty target"),
        Rejected("line 5", SAME),
        Rejected("line 6", "0 fields instead of 3"),
    ]


@REAL
def test_chatbot_published_file() -> None:
    parts = real("chatbot")
    assert len(parts.rows["all"]) == 11_822
    assert [row.reason for row in parts.rejected] == [SAME]
    assert len({row.source for row in parts.rows["all"]}) == 11_661  # type: ignore[attr-defined]


# ---------------------------------------------------------------- sae4k


def test_sae4k_the_first_line_loses_its_byte_order_mark(tmp_path: Path) -> None:
    """DA-02: the same rows as without the mark."""
    lines = (
        "불 켜 줘\t불 켜기\t4\r\n내일 눈 오니\t내일 눈 오는지\t0\r\n눈\t눈\t2\r\n둘\t뿐".encode()
    )
    with_mark = read(tmp_path, made("sae4k"), b"\xef\xbb\xbf" + lines)
    assert with_mark == read(tmp_path, made("sae4k"), lines)
    assert with_mark.rows == {
        "all": [
            WritingExample("line 1", "불 켜 줘", "불 켜기"),
            WritingExample("line 2", "내일 눈 오니", "내일 눈 오는지"),
        ]
    }
    assert with_mark.rejected == [
        Rejected("line 3", SAME),
        Rejected("line 4", "2 fields instead of 3"),
    ]


@REAL
def test_sae4k_published_file() -> None:
    parts = real("sae4k")
    assert len(parts.rows["all"]) == 30_796
    assert Counter(row.reason for row in parts.rejected) == {SAME: 41}
    assert all(not row.source.startswith("\ufeff") for row in parts.rows["all"])  # type: ignore[attr-defined]


# ---------------------------------------------------------------- kommongen


def test_kommongen_development_rows_are_learnt_from(tmp_path: Path) -> None:
    row = json.dumps({"concept-set": "아이 공 찬다", "scene": "아이가 공을 찬다."})
    parts = read(tmp_path, made("kommongen"), f'{row}\n{{"scene": 3}}\n', f"{row[:-1]}\n[]\n{row}")
    assert parts.rows == {
        "train": [WritingExample("train:line 1", "아이 공 찬다", "아이가 공을 찬다.")],
        "test": [WritingExample("test:line 3", "아이 공 찬다", "아이가 공을 찬다.")],
    }
    missing = "concept-set or scene is missing or not a text"
    assert parts.rejected == [
        Rejected("train:line 2", missing),
        Rejected("test:line 1", "not JSON"),
        Rejected("test:line 2", missing),
    ]
    assert "for development" in parts.notes[0]


@REAL
def test_kommongen_published_files() -> None:
    """DA-07: no set of words and no sentence is on both sides."""
    parts = real("kommongen")
    assert {name: len(rows) for name, rows in parts.rows.items()} == {"train": 1000, "test": 1432}
    assert parts.rejected == []
    assert sides(parts.rows["train"]).isdisjoint(sides(parts.rows["test"]))


# ---------------------------------------------------------------- petition titles


def test_petition_titles_need_a_title_and_a_content(tmp_path: Path) -> None:
    row = {"petition_idx": "5", "category": "기타", "title": "다리를 놓아 주세요"}
    contents = ["강을 건너려면 한참 돌아갑니다.", " ", "다리를  놓아 주세요", None]
    lines = [json.dumps(row | {"content": content}) for content in contents]
    lines.append(json.dumps(row | {"content": "길이 멉니다.", "title": ""}))
    parts = read(tmp_path, made("petition-titles"), "".join(f"{line}\n" for line in lines))
    assert parts.rows == {
        "all": [WritingExample("5", "강을 건너려면 한참 돌아갑니다.", "다리를 놓아 주세요")]
    }
    assert [row.reason for row in parts.rejected] == [
        "empty source",
        SAME,
        "one of petition_idx, category, title, content is missing or not a text",
        "empty target",
    ]


@REAL
def test_petition_titles_published_file() -> None:
    parts = real("petition-titles")
    assert len(parts.rows["all"]) == 3659
    assert Counter(row.reason for row in parts.rejected) == {"empty source": 23, SAME: 9}


# ---------------------------------------------------------------- parallel

NEWS = ("It rained.\nThe shop closed.\n", "비가 왔다.\n가게가 닫혔다.\n")


def docs(count: int = 40) -> str:
    """Return that many documents with three sentences each."""
    rows = [
        {"file": f"{i}.po", "en": f"Page {i}, line {j}.", "ko": f"{i}쪽의 {j}째 줄."}
        for i in range(count)
        for j in range(3)
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_parallel_either_direction_has_the_same_rows(tmp_path: Path) -> None:
    found = {}
    for direction in ("ko-en", "en-ko"):
        dataset = made("parallel", corpora=["python-docs"], direction=direction)
        found[direction] = read(tmp_path, dataset, docs(), *NEWS).rows
    for name, rows in found["ko-en"].items():
        turned = [WritingExample(row.id, row.target, row.source) for row in rows]  # type: ignore[attr-defined]
        assert turned == found["en-ko"][name]
    assert found["ko-en"]["test"][0] == WritingExample(
        "park-news:test:1", "비가 왔다.", "It rained."
    )


def test_parallel_cuts_whole_documents(tmp_path: Path) -> None:
    """DA-07: the pages of a document stay together, in every part."""
    dataset = made(
        "parallel", corpora=["python-docs"], test="held-out", valid_share=0.3, test_share=0.3
    )
    parts = read(tmp_path, dataset, docs())
    pages: dict[str, set[str]] = {}
    for name, rows in parts.rows.items():
        pages[name] = {row.source.split("쪽")[0] for row in rows}  # type: ignore[attr-defined]
        assert len(rows) == 3 * len(pages[name]) > 0
    assert sum(map(len, pages.values())) == len(set.union(*pages.values())) == 40


def test_parallel_no_side_stands_in_two_parts(tmp_path: Path) -> None:
    """DA-07: neither a sentence of the news nor one cut for validation is learnt from."""
    lines = [f"Sentence {i}.\t문장 {i % 9}.\tthanks\n" for i in range(60)]
    lines += ["It  rained.\t비가 내렸다.\tthanks\n", "Closed!\t가게가 닫혔다.\tthanks\n"]
    dataset = made("parallel", corpora=["tatoeba"], valid_share=0.1)
    parts = read(tmp_path, dataset, "".join(lines), *NEWS)
    learnt, chosen, test = (sides(parts.rows[name]) for name in ("train", "valid", "test"))
    assert learnt.isdisjoint(chosen | test)
    assert chosen.isdisjoint(test)
    assert chosen
    reasons = Counter(row.reason for row in parts.rejected)
    assert reasons["a side also stands in test"] == 2
    assert sum(map(len, parts.rows.values())) + len(parts.rejected) == 64


def test_parallel_rejects_with_a_reason(tmp_path: Path) -> None:
    """DA-06, and the columns beside the two sentences are told of in the notes."""
    dataset = made("parallel", corpora=["python-docs", "tatoeba"], valid_share=0.0)
    objects = '{"file": "a.po", "en": "Yes", "ko": "Yes"}\n{"file": 1}\n[]\n{\n'
    parts = read(tmp_path, dataset, objects, "Go.\t가.\tby\nGo.\t\tby\nGo.\n", *NEWS)
    assert parts.rows["train"] == [WritingExample("tatoeba:1", "가.", "Go.")]
    missing = "one of file, en, ko is missing or not a text"
    assert parts.rejected == [
        Rejected("python-docs:1", SAME),
        Rejected("python-docs:2", missing),
        Rejected("python-docs:3", missing),
        Rejected("python-docs:4", "not JSON"),
        Rejected("tatoeba:2", "empty target"),
        Rejected("tatoeba:3", "1 fields instead of 3"),
    ]
    assert any("reST markup" in note for note in parts.notes)
    assert any("attributions" in note for note in parts.notes)


def test_parallel_two_files_must_be_of_one_length(tmp_path: Path) -> None:
    dataset = made("parallel", corpora=["tatoeba"])
    with pytest.raises(DataError, match=r"has 2 lines, but .*\.en has 1") as caught:
        read(tmp_path, dataset, "Go.\t가.\tby\n", "One.\n", "하나.\n둘.\n")
    assert "\n" not in str(caught.value)


def test_parallel_asks_only_for_the_files_that_it_needs() -> None:
    dataset = made("parallel", corpora=["tatoeba"], test="held-out")
    assert [source.path for source in dataset.sources] == ["ko_en_tatoeba/kor.txt"]
    assert len(made("parallel", corpora=["jhe", "park-news"]).sources) == 8
    assert len(registry.load("datasets", "parallel").sources) == 10


@pytest.mark.parametrize("corpora", [[], ["tatoeba", "tatoeba"], ["news"]])
def test_parallel_refuses_other_corpora(corpora: list[str]) -> None:
    with pytest.raises(pydantic.ValidationError):
        made("parallel", corpora=corpora)


@REAL
def test_parallel_published_files() -> None:
    """DA-07: no sentence of either language is in two parts, with all the corpora there are."""
    parts = real("parallel", corpora=["python-docs", "park-news", "tatoeba", "jhe"])
    assert {name: len(rows) for name, rows in parts.rows.items()} == {
        "train": 32_672,
        "valid": 4_010,
        "test": 2_000,
    }
    assert Counter(row.reason for row in parts.rejected) == {
        "a side also stands in valid": 136,
        "a side also stands in test": 6,
    }
    learnt, chosen, test = (sides(parts.rows[name]) for name in ("train", "valid", "test"))
    assert learnt.isdisjoint(chosen | test)
    assert chosen.isdisjoint(test)
    ids = [row.id for rows in parts.rows.values() for row in rows]
    assert len(set(ids)) == len(ids)


# ---------------------------------------------------------------- all


@pytest.mark.parametrize("name", NAMES)
def test_sources_are_pinned_and_named(name: str) -> None:
    """DL-02: a file of other bytes is refused, so each has its length and digest."""
    plugin = registry.load("datasets", name)
    assert plugin.shape == "writing"
    assert all((plugin.title, plugin.licence, plugin.citation))
    for source in plugin.sources:
        assert source.url.startswith("https://")
        assert len(source.sha256) == 64
        assert source.size > 0
    assert len({source.path for source in plugin.sources}) == len(plugin.sources)

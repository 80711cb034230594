"""Data sets of KLUE that the user brings: what all have in common, and topics; own-written files.

Ids such as DA-06 name the faults that a test guards against.
"""

from __future__ import annotations

import gzip
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from klue_files import ENTRIES, NAMES, articles, brought, headline, made, read, write

from mulgil import api, registry, splits
from mulgil.errors import DataError
from mulgil.examples import TextExample
from mulgil.flow import Rejected


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return brought(tmp_path, monkeypatch)


# ---------------------------------------------------------------- all three


@pytest.mark.parametrize("name", NAMES)
def test_two_files_are_train_and_test_and_nobody_calls_them_checked(
    folder: Path, name: str
) -> None:
    """The house cuts the validation part; each file is in the record of the run."""
    entry = ENTRIES[name]
    test = [entry(guid="dev-1")]
    parts = read(
        folder, name, entry(), entry(guid="own-2"), test=articles(*test) if name[5] == "m" else test
    )
    assert {part: [row.id for row in rows] for part, rows in parts.rows.items()} == {
        "train": ["own-1", "own-2"],
        "test": ["dev-1"],
    }
    files = (f"{NAMES[name]}_train.json", f"{NAMES[name]}_dev.json")
    assert parts.notes[0] == f"{files[0]}, {files[1]}: not checked: no published checksum is known"
    assert "leaderboard" in parts.notes[1]
    dataset = made(name)
    assert [path.name for path in dataset.files()] == [*files]
    assert {row.shape for rows in parts.rows.values() for row in rows} == {dataset.shape}


@pytest.mark.parametrize("name", NAMES)
def test_they_are_data_sets_like_others(name: str) -> None:
    assert name in registry.names("datasets")
    assert "brings the files" in registry.describe("datasets")[name]
    dataset = made(name)
    assert dataset.licence == "CC BY-SA 4.0"
    assert dataset.sources == ()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("own", [None, "here", "nowhere"])
def test_absent_files_are_one_line_with_path_address_and_remedy(
    name: str, own: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DL-13: both paths are named, whether MULGIL_DATA is unset, empty, or no folder at all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    if own:
        monkeypatch.setenv("MULGIL_DATA", str(tmp_path / own))
    else:  # what lies in the current folder by chance is not the user's data
        monkeypatch.delenv("MULGIL_DATA", raising=False)
        (tmp_path / "klue").mkdir()
        write(tmp_path, name, "train", [])
        write(tmp_path, name, "dev", [])
    with pytest.raises(DataError) as caught:
        made(name).files()
    message = str(caught.value)
    files = f"klue/{NAMES[name]}_train.json and klue/{NAMES[name]}_dev.json"
    assert "\n" not in message
    for part in (
        f"{files} not found below MULGIL_DATA",
        f"({tmp_path / own})" if own else "(not set)",
        f"klue_benchmark/{NAMES[name]} of https://github.com/KLUE-benchmark/KLUE",
        "name the folder in MULGIL_DATA",
    ):
        assert part in message


def test_only_the_file_that_is_absent_is_named(folder: Path) -> None:
    write(folder, "klue-ynat", "train", [headline()])
    with pytest.raises(DataError, match=r'": klue/ynat-v1\.1_dev\.json not found .* this path'):
        api.data_check("klue-ynat")


def test_a_file_may_be_gzipped(folder: Path) -> None:
    """The plain file is taken where both lie there."""
    packed = folder / "klue" / "ynat-v1.1_train.json.gz"
    packed.write_bytes(gzip.compress(json.dumps([headline(guid="packed")]).encode(), mtime=0))
    write(folder, "klue-ynat", "dev", [headline()])
    dataset = made("klue-ynat")
    assert dataset.files()[0] == packed
    assert [row.id for row in dataset.read({}).rows["train"]] == ["packed"]
    write(folder, "klue-ynat", "train", [headline(guid="plain")])
    assert [row.id for row in dataset.read({}).rows["train"]] == ["plain"]


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"[" * 999, mtime=0)[:-9], b""])
def test_a_broken_gzip_file_is_an_error_of_one_line(folder: Path, content: bytes) -> None:
    """DA-06: a copy that broke off is never taken for a short one."""
    (folder / "klue" / "ynat-v1.1_train.json.gz").write_bytes(content)
    write(folder, "klue-ynat", "dev", [headline()])
    with pytest.raises(DataError, match=r"ynat-v1\.1_train\.json\.gz: ") as caught:
        made("klue-ynat").read({})
    assert "\n" not in str(caught.value)


def test_a_pipe_is_refused_and_never_waited_for(folder: Path) -> None:
    """DA-11: a FIFO in the data folder."""
    os.mkfifo(folder / "klue" / "ynat-v1.1_train.json")
    write(folder, "klue-ynat", "dev", [headline()])
    with pytest.raises(DataError, match=r"ynat-v1\.1_train\.json: is a pipe"):
        made("klue-ynat").read({})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[" * 100_000,
        "3",
        '{"data": {}}',
        '{"data": [3]}',
        '{"data": [{"paragraphs": [3]}]}',
    ],
)
def test_another_form_is_an_error_of_one_line(folder: Path, name: str, content: str) -> None:
    """DA-13: the file is named, whatever is in it."""
    write(folder, name, "train", content)
    write(folder, name, "dev", [])
    with pytest.raises(DataError, match=rf"{NAMES[name]}_train\.json: ") as caught:
        made(name).read({})
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_list(folder: Path) -> None:
    """DA-02: the same rows as without it."""
    parts = read(folder, "klue-ynat", headline())
    write(folder, "klue-ynat", "train", "\ufeff" + json.dumps([headline()]))
    assert made("klue-ynat").read({}).rows == parts.rows


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("entry", [None, 3, [], {}, {"guid": 3}])
def test_an_entry_without_an_id_is_counted(folder: Path, name: str, entry: Any) -> None:
    """DA-06: rows in = rows used + rows rejected."""
    parts = read(folder, name, ENTRIES[name](), entry)
    assert len(parts.rows["train"]) == 1
    (rejected,) = parts.rejected
    assert rejected.id == f"{NAMES[name]}_train.json: row 2"
    assert rejected.reason == 'not an object with a "guid"'


# ---------------------------------------------------------------- topics


def test_a_headline_has_the_topic_that_people_gave_it(folder: Path) -> None:
    """Not the section of the newspaper, which the file holds too."""
    assert read(folder, "klue-ynat", headline(title=" 봄 장터 ")).rows["train"] == [
        TextExample("own-1", " 봄 장터 ", "생활문화")
    ]


def test_a_decomposed_headline_stays_and_its_topic_is_composed(folder: Path) -> None:
    """DA-03, DA-12: a topic is one class, however it is written."""
    title, label = (unicodedata.normalize("NFD", text) for text in ("봄 장터", "생활문화"))
    (row,) = read(folder, "klue-ynat", headline(title=title, label=label)).rows["train"]
    assert row == TextExample("own-1", title, "생활문화")


def test_unusable_headlines_are_rejected_with_a_reason(folder: Path) -> None:
    wrong: list[Any] = ["해당없음", "경재", "", None, ["경제"], 1]
    entries = [headline(guid=f"label-{i}", label=label) for i, label in enumerate(wrong)]
    entries += [headline(guid="title-0", title=" "), headline(guid="title-1", title=None)]
    parts = read(folder, "klue-ynat", *entries)
    assert parts.rows["train"] == []
    assert len(parts.rejected) == len(entries)
    known = "is none of IT과학, 경제, 사회, 생활문화, 세계, 스포츠, 정치"
    assert parts.rejected[0] == Rejected("label-0", f'label "해당없음" {known}')
    assert parts.rejected[-1] == Rejected("title-1", "the title is missing or empty")


def test_validation_is_cut_from_train_and_the_test_stays_whole(folder: Path) -> None:
    topics = ("경제", "세계")
    entries = [headline(guid=f"own-{i}", title=f"소식 {i}", label=topics[i % 2]) for i in range(40)]
    test = [headline(guid="dev-1", title="다른 소식"), headline(guid="dev-2", title="또 소식")]
    dataset = made("klue-ynat")
    made_parts = read(folder, "klue-ynat", *entries, test=test)
    cut = splits.complete(made_parts, dataset.settings, lambda row: getattr(row, "text", ""))
    assert (len(cut.train), len(cut.valid), len(cut.test)) == (36, 4, 2)
    assert {row.id[:3] for row in cut.valid} == {"own"}
    assert any("not checked" in note for note in cut.notes)

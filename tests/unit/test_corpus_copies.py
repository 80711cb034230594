"""The corpus: what repeats or must not be learnt, which part a passage is in, the store on disk."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_files import Read, ids, note, reader, sentences, texts
from hypothesis import given
from hypothesis import strategies as st

from mulgil import hangul, splits
from mulgil.datasets import _copies, _corpus_store
from mulgil.datasets.corpus import Corpus
from mulgil.errors import DataError, SettingError, StorageError
from mulgil.flow import Parts
from mulgil.textstore import TextStore

HELD_OUT = {"valid_share": 0.2, "test_share": 0.1}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a cache of its own."""
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return reader(tmp_path / "texts")


def everything(parts: Parts) -> dict[str, str]:
    """Return `{key: part}` of all passages, which stand in one part each."""
    found: dict[str, str] = {}
    for part in ("train", "valid", "test"):
        for text in texts(parts, part):
            assert found.setdefault(hangul.key(text), part) == part
    return found


# ---------------------------------------------------------------- exact copies


def test_copies_are_equal_after_nfc_and_folded_spaces(read: Read) -> None:
    """DA-03: the first in the order of the files stays, as its user wrote it."""
    apart = unicodedata.normalize("NFD", "물길이 흐른다")
    files: dict[str, str | bytes] = {
        "a.txt": f"처음 글\n{apart}\n",
        "b.txt": "물길이  흐른다 \n처음 글\n물길이 흐른다.\n",
    }
    parts = read(files)
    assert texts(parts) == ["처음 글", apart, "물길이 흐른다."]
    assert "left out: 2 copies of others" in parts.notes
    assert note(parts, "not NFC, compared as if").endswith(": 1")
    assert parts.rejected == []
    assert len(texts(read(duplicates="keep"))) == 5


@given(st.lists(st.lists(st.integers(0, 30), max_size=40), max_size=12))
def test_seen_is_a_set(blocks: list[list[int]]) -> None:
    """Hashes that end in NUL bytes, or consist of them, are hashes like any other."""
    seen, before = _copies.Seen(), set[int]()
    for numbers in blocks:
        hashes = np.frombuffer(b"".join(n.to_bytes(2, "big") + bytes(14) for n in numbers), "S16")
        wanted = [n not in before and n not in numbers[:at] for at, n in enumerate(numbers)]
        assert seen.has(hashes).tolist() == [n in before for n in numbers]
        assert seen.fresh(hashes).tolist() == wanted
        before.update(numbers)


# ---------------------------------------------------------------- near-copies


def changed(text: str, letters: int, draw: np.random.Generator) -> str:
    """Return the text with some of its letters changed, far from one another."""
    found = list(text)
    for at in range(letters):
        found[10 * at + int(draw.integers(5))] = "꽏"
    return "".join(found)


def similarity(one: str, other: str) -> float:
    """Return the Jaccard similarity of two texts, as the setting `near` means it."""
    sets = [{text[at : at + 5] for at in range(len(text) - 4)} for text in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_planted_near_copies_are_found(read: Read) -> None:
    """Recall over 600 pairs: all but 1 in 100 that reach the threshold, none below it."""
    draw = np.random.default_rng(5)
    originals = [" ".join(pair) for pair in zip(sentences(600), sentences(600, 2), strict=True)]
    copies = [changed(text, 1 + at % 4, draw) for at, text in enumerate(originals)]
    alike = [similarity(*pair) for pair in zip(originals, copies, strict=True)]
    wanted = {copy for copy, value in zip(copies, alike, strict=True) if value >= 0.8}
    assert 250 < len(wanted) < 400, "planted on both sides of the threshold"
    files: dict[str, str | bytes] = {"a.txt": "\n".join(originals), "b.txt": "\n".join(copies)}
    parts = read(files, duplicates="near")
    left = texts(parts)
    assert left[:600] == originals
    missed = wanted & set(left)
    assert len(missed) <= len(wanted) / 100
    assert set(copies) - wanted <= set(left)
    assert note(parts, f"left out: {len(wanted) - len(missed)} near-copies of others (Jaccard 0.8")
    assert len(texts(read(duplicates="near", near=0.5))) < 610
    assert len(texts(read())) == 1200


@pytest.mark.parametrize("threshold", [0.5, 0.65, 0.8, 0.95, 1.0])
def test_bands_find_99_of_100_at_the_threshold(threshold: float) -> None:
    bands, rows = _copies.shape(threshold)
    assert bands * rows <= 128
    assert 1 - (1 - threshold**rows) ** bands >= 0.99


def test_no_near_copy_of_a_held_out_passage_is_trained_on(read: Read) -> None:
    """Near-copies go before the split, within and across the parts."""
    draw = np.random.default_rng(6)
    originals = sentences(300)
    files: dict[str, str | bytes] = {
        "a.txt": "\n".join(originals),
        "b.txt": "\n".join(changed(text, 1, draw) for text in originals),
    }
    found = everything(read(files, duplicates="near", near=0.7, **HELD_OUT))
    assert found.keys() == set(originals)
    assert {*found.values()} == {"train", "valid", "test"}


def test_short_texts_are_near_only_when_equal(read: Read) -> None:
    parts = read({"a.txt": "좋다\n좋아\n좋아요\n좋아욧\n좋아요 \n"}, duplicates="near")
    assert texts(parts) == ["좋다", "좋아", "좋아요", "좋아욧"]


# ---------------------------------------------------------------- what must not be learnt


def test_texts_of_a_test_set_are_left_out(read: Read, tmp_path: Path) -> None:
    """DA-07: whole passages, and lines within them."""
    table, plain = tmp_path / "ratings.tsv", tmp_path / "more.txt"
    table.write_text("id\tdocument\tlabel\n1\t시험 글\t0\n2\t또  시험\t1\n", "utf-8")
    plain.write_text("딴 글\n", "utf-8")
    apart = unicodedata.normalize("NFD", "시험 글")
    files: dict[str, str | bytes] = {
        "a.txt": f"배울 글\n\n{apart}\n\n앞줄\n또 시험\n\n시험 글이다\n",
        "b.jsonl": '{"body": "배울 것\\n딴 글"}\n{"body": "글 하나"}\n',
    }
    chosen: dict[str, Any] = {"exclude": [str(table), str(plain)], "text": "body"}
    parts = read(files, **chosen)
    assert texts(parts) == ["배울 글", "앞줄", "시험 글이다", "글 하나"]
    parts = read(**chosen, unit="paragraph")
    assert texts(parts) == ["배울 글", "시험 글이다", "글 하나"]
    assert "left out: 2 passages that stand in ratings.tsv" in parts.notes
    assert "left out: 1 passages that stand in more.txt" in parts.notes
    options = Corpus.Settings(paths=[str(tmp_path / "texts")], **chosen)
    assert [path.name for path in Corpus(options).files()][2:] == ["more.txt", "ratings.tsv"]
    plain.write_bytes("딴 글\n".encode() + b"\xff\n")
    parts = read(**{**chosen, "exclude": [str(plain)], "encoding": "utf-8"})
    assert note(parts, "more.txt: 1 texts cannot be read").endswith("(more.txt:2)")
    plain.write_text("\n", "utf-8")
    with pytest.raises(DataError, match=r"data\.exclude: .*more\.txt: has no texts"):
        read(exclude=[str(plain)])
    with pytest.raises(DataError, match=r"data\.exclude: .*none\.tsv: no such file"):
        read(exclude=[str(tmp_path / "none.tsv")])


# ---------------------------------------------------------------- parts


def test_parts_have_their_shares_and_no_key_in_common(read: Read) -> None:
    lines = sentences(4000)
    again = "\n".join(f" {line}  " for line in lines[:500])
    files: dict[str, str | bytes] = {"a.txt": "\n".join(lines), "b.txt": again}
    parts = read(files, **HELD_OUT, duplicates="keep")
    assert len(everything(parts)) == 4000
    sizes = {name: len(rows) / 4500 for name, rows in parts.rows.items()}
    assert sizes == pytest.approx({"train": 0.7, "valid": 0.2, "test": 0.1}, abs=0.02)
    assert ids(parts, "test") == sorted(ids(parts, "test"), key=lambda i: (i[0], int(i[6:])))
    parts = read()
    assert [len(rows) for rows in parts.rows.values()] == [4000, 0, 0]
    assert note(parts, "parts by hash:").endswith("train 4,000, valid 0, test 0 (seed 7)")


def test_a_file_more_moves_no_passage(read: Read) -> None:
    lines = sentences(1500)
    before = everything(read({"m.txt": "\n".join(lines[:1000])}, **HELD_OUT))
    files: dict[str, str | bytes] = {"a.txt": "\n".join(lines[1000:]), "z.txt": "\n".join(lines)}
    after = everything(read(files, **HELD_OUT))
    assert len(after) == 1500
    assert after | before == after
    other = everything(read(**HELD_OUT, seed=8))
    assert sum(other[key] != after[key] for key in after) > 300
    less = everything(read(valid_share=0.01, test_share=0.1))
    assert {k for k in less if less[k] == "test"} == {k for k in after if after[k] == "test"}


def test_caps_take_the_least_hashes(read: Read) -> None:
    files: dict[str, str | bytes] = {"a.txt": "\n".join(sentences(2000))}
    few, more = (read(files, **HELD_OUT, train_rows=n, test_rows=n // 10) for n in (100, 900))
    assert [len(few.rows[part]) for part in ("train", "test")] == [100, 10]
    assert set(texts(few)) < set(texts(more)) < set(texts(read(**HELD_OUT)))
    assert few.rows["valid"] == more.rows["valid"] or texts(few, "valid") == texts(more, "valid")
    assert [int(i[6:]) for i in ids(few)] == sorted(int(i[6:]) for i in ids(few))


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="leave nothing for training"):
        Corpus.Settings(valid_share=0.5, test_share=0.5)
    with pytest.raises(ValueError, match="so nothing fits"):
        Corpus.Settings(min_characters=9, max_characters=8)
    with pytest.raises(SettingError, match=r"data\.paths is missing"):
        Corpus(Corpus.Settings()).files()


# ---------------------------------------------------------------- the store


def prints(parts: Parts) -> list[str]:
    return [splits.fingerprint(rows) for rows in parts.rows.values()]


def test_equal_files_and_settings_give_equal_stores(
    read: Read, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DA-09: anything that matters makes another; what is read later on does not."""
    files: dict[str, str | bytes] = {"a.txt": "\n".join(sentences(50)), "b/c.txt": "글이다\n\nㅋ\n"}
    first = read(files, **HELD_OUT)
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path / "other"))
    moved = reader(tmp_path / "moved")(files, **HELD_OUT)
    assert prints(first) == prints(moved)
    assert first.notes == moved.notes
    monkeypatch.setenv("MULGIL_CACHE", str(cache.parent))
    used = next(cache.iterdir())
    monkeypatch.setattr(_corpus_store, "commit_folder", None)  # nothing is made again
    assert prints(read(**HELD_OUT)) == prints(first)
    for same in ({"valid_share": 0.5}, {"train_rows": 3}, {"max_rejected": 0.5}, {"near": 0.9}):
        read(**same)
    monkeypatch.undo()
    monkeypatch.setenv("MULGIL_CACHE", str(cache.parent))
    ways: list[dict[str, Any]] = [
        *({"unit": "file"}, {"min_characters": 1}, {"max_characters": 10}, {"encoding": "utf-8"}),
        *({"duplicates": "keep"}, {"duplicates": "near"}, {"seed": 1}, {"text": "x"}),
        {"duplicates": "near", "near": 0.9},
        {"exclude": [str(tmp_path / "texts" / "b")]},
    ]
    for count, way in enumerate(ways, 2):
        read(**way)
        assert len([*cache.iterdir()]) == count, way
    read({"b/c.txt": "글이냐\n\nㅋ\n"})
    (tmp_path / "texts" / "a.txt").rename(tmp_path / "texts" / "d.txt")
    read()
    assert len([*cache.iterdir()]) == len(ways) + 3
    assert used.is_dir()


@pytest.mark.parametrize("name", ["text.utf8", "starts.npy", "marks.npy", "about.json"])
def test_a_damaged_store_is_made_again(read: Read, cache: Path, name: str) -> None:
    """DA-10: flipped or cut short, it is told, and never believed."""
    files: dict[str, str | bytes] = {"a.txt": "\n".join(sentences(50))}
    whole = read(files)
    path = next(cache.iterdir()) / name
    content = path.read_bytes()
    for damage in (content[:-1], content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]):
        path.write_bytes(damage)
        mended = read()
        assert prints(mended) == prints(whole)
        assert name in note(mended, "the kept corpus was damaged, and is made again")
        assert path.read_bytes() == content
    assert read().notes == whole.notes


def test_a_killed_build_leaves_nothing_that_is_trusted(read: Read, cache: Path) -> None:
    """DA-10: what it left is swept by the next one."""
    files: dict[str, str | bytes] = {"a.txt": "\n".join(sentences(50))}
    wanted = texts(read(files))
    TextStore.open(next(cache.iterdir()))
    code = (
        "import os, sys\nfrom mulgil import textstore\nfrom mulgil.datasets.corpus import Corpus\n"
        "textstore.Writer.finish = lambda *_: os._exit(9)\n"
        "Corpus(Corpus.Settings(paths=[sys.argv[1]], seed=1)).read({})"
    )
    texts_at = str(cache.parent.parent / "texts")
    assert subprocess.run([sys.executable, "-c", code, texts_at], check=False).returncode == 9
    assert len([path for path in cache.iterdir() if path.name.startswith(".mulgil-folder")]) == 1
    assert texts(read(seed=1)) == wanted
    assert len([path for path in cache.iterdir() if path.name.startswith(".")]) == 0


def test_a_file_that_changes_while_it_is_read(
    read: Read, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DA-08."""
    commit = _corpus_store.commit_folder

    def slow(target: Path, fill: Any) -> None:
        commit(target, fill)
        (cache.parent.parent / "texts" / "a.txt").write_text("다른 글이다\n", "utf-8")

    monkeypatch.setattr(_corpus_store, "commit_folder", slow)
    with pytest.raises(DataError, match="has changed while it was read"):
        read({"a.txt": "처음 글\n"})
    assert list(cache.iterdir()) == []


def test_a_disk_without_room(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 1000}))
    with pytest.raises(
        StorageError, match=r"the corpus needs [\d,]+ bytes, but the disk has 1,000"
    ):
        read({"a.txt": "\n".join(sentences(50))})


def test_memory_does_not_grow_with_the_texts(read: Read, tmp_path: Path) -> None:
    """A gzip of 45 MB, and less than half of it in memory; measured at 14 MB."""
    base = " ".join(sentences(4))
    read(
        {"few.txt.gz": "\n".join(f"{at} {base}" for at in range(66_000)), "a.txt": "글이다\n"},
        paths=[str(tmp_path / "texts" / "a.txt")],
    )
    code = (
        "import resource, sys\nfrom mulgil.datasets.corpus import Corpus\n"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read = lambda path: Corpus(Corpus.Settings(paths=[path])).read({})\n"
        "read(sys.argv[1])\nbefore = most()\nparts = read(sys.argv[2])\n"
        "assert sum(map(len, parts.notes)) and len(parts.rows['train']) > 60_000\n"
        "print(most() - before)"
    )
    paths = [str(tmp_path / "texts" / name) for name in ("a.txt", "few.txt.gz")]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 20_000  # KiB

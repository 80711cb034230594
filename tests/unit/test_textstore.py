"""Passages on disk: what goes in comes out, lazily, and nothing that is damaged is read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulgil import splits
from mulgil.contracts import DataSettings
from mulgil.errors import DataError, RunError
from mulgil.examples import Example, PassageExample
from mulgil.flow import Parts, Rejected
from mulgil.storage import MANIFEST, commit_folder
from mulgil.textstore import Passages, TextStore, Writer

TEXTS = ["물길이 흐른다", "두 줄의\n이야기", "", "🌊 바다", "끝"]


def made(folder: Path, texts: Sequence[str], name: str = "a.txt", about: str = "") -> TextStore:
    def fill(into: Path) -> None:
        with Writer(into) as writer:
            half = len(texts) // 2
            for some, start in ((texts[:half], 0), (texts[half:], half)):
                lines = range(start + 1, start + len(some) + 1)
                writer.add(some, [0] * len(some), lines, [2**64 - line for line in lines])
            assert writer.passages == len(texts)
            assert writer.characters == sum(map(len, texts))
            assert writer.bytes == sum(len(text.encode()) for text in texts)
            writer.finish([name], {"about": about})

    commit_folder(folder, fill)
    return TextStore.open(folder)


def every(store: TextStore) -> Passages:
    return store.part(np.arange(len(store)))


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    store = made(tmp_path / "store", TEXTS, about="강")
    part = every(store)
    assert list(part) == [PassageExample(f"a.txt:{at}", t) for at, t in enumerate(TEXTS, 1)]
    assert list(part.texts()) == TEXTS
    assert store.text(1) == TEXTS[1]
    assert (len(part), part[0], part[-1]) == (5, PassageExample("a.txt:1", TEXTS[0]), [*part][4])
    assert store.marks.tolist() == [2**64 - line for line in range(1, 6)]
    assert store.about == {"about": "강"}
    assert (tmp_path / "store" / "text.utf8").read_text("utf-8") == "\n".join(TEXTS) + "\n"


def test_a_part_is_a_sequence_in_its_own_order(tmp_path: Path) -> None:
    store = made(tmp_path / "store", TEXTS)
    part = store.part(np.array([4, 0, 3]))
    assert [row.text for row in part] == ["끝", TEXTS[0], "🌊 바다"]
    assert list(part[1:]) == list(part)[1:]
    assert list(part[::-1].texts()) == list(part.texts())[::-1]
    assert isinstance(part[:2], Passages)
    assert PassageExample("a.txt:4", "🌊 바다") in part
    assert part.index(part[np.int64(2)]) == 2  # type: ignore[call-overload]
    for at in (3, -4):
        with pytest.raises(IndexError):
            part[at]


@settings(max_examples=30)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30)))
def test_any_texts(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    store = made(tmp_path_factory.mktemp("any") / "store", texts)
    assert list(every(store).texts()) == texts


def test_half_a_character_is_the_caller_s_mistake(tmp_path: Path) -> None:
    """DA-04: the readers reject it before; nothing of it is kept in another form."""
    with pytest.raises(UnicodeEncodeError):
        made(tmp_path / "store", ["가", "\ud800"])
    assert list(tmp_path.iterdir()) == []


def test_a_fingerprint_is_of_content_places_and_order(tmp_path: Path) -> None:
    """DA-08; what is kept beside the texts does not change it."""
    part = every(made(tmp_path / "one", TEXTS, about="x"))
    same = every(made(tmp_path / "two", TEXTS, about="y"))
    assert part.fingerprint() == same.fingerprint() == splits.fingerprint(part)
    others = [
        every(made(tmp_path / "three", [*TEXTS[:4], "꿑"])),
        every(made(tmp_path / "four", TEXTS, "b.txt")),
        part[::-1],
        part[:4],
        part[:0],
    ]
    assert len({part.fingerprint(), *(other.fingerprint() for other in others)}) == 6


@pytest.mark.parametrize("name", ["text.utf8", "starts.npy", "files.json", "about.json", MANIFEST])
@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_damage_is_found_when_it_is_opened(tmp_path: Path, name: str, how: str) -> None:
    """DA-10."""
    made(tmp_path / "store", TEXTS)
    path = tmp_path / "store" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if how == "remove":
        path.unlink()
    else:
        path.write_bytes(content if how == "flip" else content[:-1])
    with pytest.raises(RunError, match="store"):
        TextStore.open(tmp_path / "store")


def test_a_folder_of_something_else_is_no_store(tmp_path: Path) -> None:
    """DA-10: arrays of objects, which would be unpickled, are refused."""
    commit_folder(tmp_path / "other", lambda into: None)
    with pytest.raises(RunError, match="is no store of texts"):
        TextStore.open(tmp_path / "other")

    def evil(into: Path) -> None:
        with Writer(into) as writer:
            writer.finish([], {})
        np.save(into / "lines.npy", np.array([print]), allow_pickle=True)

    commit_folder(tmp_path / "evil", evil)
    with pytest.raises(RunError, match="is no store of texts"):
        TextStore.open(tmp_path / "evil")


def test_rows_are_read_fast(tmp_path: Path) -> None:
    """Measured at 1.5 million texts a second on two shared cores; a tenth of it is a mistake."""
    part = every(made(tmp_path / "store", [f"영화 {at}은 볼 만하다" for at in range(100_000)]))
    start = time.perf_counter()
    assert sum(map(len, part.texts())) > 1_000_000
    assert time.perf_counter() - start < 0.7


# ---------------------------------------------------------------- in step 2


def text(row: Example) -> str:
    raise AssertionError("nobody reads the texts to cut lazy parts")


def test_lazy_parts_are_not_copied(tmp_path: Path) -> None:
    part = every(made(tmp_path / "store", TEXTS))
    rows: dict[str, Sequence[Example]] = {"train": part[:3], "valid": part[3:4], "test": part[4:]}
    rejected = [Rejected("a.txt:9", "bad")] * 9
    found = splits.complete(
        Parts(rows, rejected, ["a note"]), DataSettings(train_rows=1, max_rejected=0), text
    )
    assert [part for _, part in found.items()] == list(rows.values())
    assert all(isinstance(part, Passages) for _, part in found.items())
    assert (found.rejected, found.notes) == (rejected, ["a note"])


def test_lazy_parts_without_training_rows(tmp_path: Path) -> None:
    part = every(made(tmp_path / "store", TEXTS))
    rows: dict[str, Sequence[Example]] = {"train": part[:0], "valid": part, "test": part}
    with pytest.raises(DataError, match="no training rows are left"):
        splits.complete(Parts(rows), DataSettings(), text)

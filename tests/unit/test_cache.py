"""The cache of encoded rows: another key for whatever matters, and nothing believed unchecked."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulgil import cache
from mulgil.contracts import Encoded
from mulgil.errors import StorageError
from mulgil.examples import PassageExample
from mulgil.flow import Array
from mulgil.objectives import LanguageTask
from mulgil.storage import MANIFEST
from mulgil.tasks.causal_lm import CausalLm, CausalLmSettings
from mulgil.tasks.masked_lm import MaskedLm, MaskedLmSettings
from mulgil.tokenizers._ragged import Ragged, Windows
from mulgil.tokenizers.subword import Subword, SubwordSettings
from mulgil.tokenizers.words import Words, WordSettings

TEXTS = ["정말 재밌는 영화", "돈이 아깝다", "그저 그렇다 [SEP]", ""]


def learnt(max_length: int = 16, algorithm: str = "wordpiece", size: int = 120) -> Subword:
    settings = SubwordSettings(max_length=max_length, algorithm=algorithm, vocab_size=size)  # type: ignore[arg-type]
    return Subword.make(settings, None, [*TEXTS, "연기가 좋아서 또 보고 싶다"] * 3, 1)


TOKENIZER = learnt()


class Counting(Subword):
    """A tokenizer that counts its work."""

    calls = 0

    def encode(self, texts: Sequence[str]) -> Encoded:
        Counting.calls += 1
        return super().encode(texts)


@pytest.fixture
def counting() -> Counting:
    made = learnt()
    Counting.calls = 0
    return Counting(made.backend, made._files, made.max_length)


def same(one: Encoded, other: Encoded) -> bool:
    assert isinstance(one, Ragged)
    assert isinstance(other, Ragged)
    return (
        one.flat.tolist() == other.flat.tolist()
        and one.starts.tolist() == other.starts.tolist()
        and (one.flat.dtype, one.starts.dtype) == (other.flat.dtype, other.starts.dtype)
        and (one.truncated, one.unknown, one.pad) == (other.truncated, other.unknown, other.pad)
    )


# ---------------------------------------------------------------- the key (DA-09)


def test_whatever_decides_the_encoding_decides_the_key() -> None:
    """DA-09: text, order of rows, where one ends, tokenizer, max_length, its settings: one each."""
    keys = [
        cache.key(TEXTS, TOKENIZER),
        cache.key([*TEXTS, ""], TOKENIZER),
        cache.key(TEXTS[::-1], TOKENIZER),
        cache.key(["정말 재밌는 영화!", *TEXTS[1:]], TOKENIZER),
        cache.key(["정말 재밌는", " 영화", *TEXTS[1:]], TOKENIZER),
        cache.key(TEXTS, learnt(max_length=17)),
        cache.key(TEXTS, learnt(algorithm="bpe")),
        cache.key(TEXTS, learnt(size=70)),
        cache.key(TEXTS, Words(WordSettings())),
        cache.key(TEXTS, Words(WordSettings(lowercase=True))),
        cache.key(["\ud800"], TOKENIZER),
        cache.key([], TOKENIZER),
    ]
    assert len(set(keys)) == len(keys)


def test_a_new_way_of_encoding_is_a_new_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.key(TEXTS, TOKENIZER)
    monkeypatch.setattr(cache, "FORMAT", "another")
    assert cache.key(TEXTS, TOKENIZER) != before


def test_what_does_not_matter_leaves_the_key(tmp_path: Path) -> None:
    """The same rows of another part, a tokenizer learnt anew or opened again: the same key."""
    TOKENIZER.save(tmp_path)
    assert cache.key(tuple(TEXTS), learnt()) == cache.key(TEXTS, TOKENIZER)
    assert cache.key(TEXTS, Subword.load(tmp_path)) == cache.key(TEXTS, TOKENIZER)


# ---------------------------------------------------------------- kept and read


def test_rows_are_encoded_once(tmp_path: Path, counting: Counting) -> None:
    first = cache.encode(TEXTS, counting, tmp_path / "deep" / "er")
    second = cache.encode(TEXTS, counting, tmp_path / "deep" / "er")
    assert Counting.calls == 1
    assert same(first, second)
    assert (
        second.take(np.array([2, 0]), 8).ids.tolist()
        == first.take(np.array([2, 0]), 8).ids.tolist()
    )


def test_no_rows_are_kept_too(tmp_path: Path) -> None:
    for _ in range(2):
        assert len(cache.encode([], TOKENIZER, tmp_path)) == 0


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert same(cache.encode(TEXTS, TOKENIZER, None), TOKENIZER.encode(TEXTS))
    assert not list(tmp_path.iterdir())


def test_rows_that_are_not_worth_keeping(tmp_path: Path) -> None:
    cache.encode(TEXTS, Words(WordSettings()), tmp_path)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- damage (DA-10)


def test_every_flipped_byte_is_found(tmp_path: Path, counting: Counting) -> None:
    """DA-10, G4: each byte of the file, digest and header included, and every shorter file."""
    right = cache.encode(TEXTS, counting, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert cache._read(path) is None, place
    for length in (0, 1, 31, 32, 33, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        before = Counting.calls
        assert same(cache.encode(TEXTS, counting, tmp_path), right)
        assert Counting.calls == before + 1, "the rows are encoded again"
        assert path.read_bytes() == whole, "and the file is mended"


def test_a_body_that_is_no_safetensors_is_passed_over(tmp_path: Path, counting: Counting) -> None:
    """CK-11: a pickle under the right digest is not opened, the rows are encoded again."""
    path = tmp_path / f"{cache.key(TEXTS, counting)}.encoded"
    body = b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."
    path.write_bytes(hashlib.sha256(body).digest() + body)
    assert same(cache.encode(TEXTS, counting, tmp_path), TOKENIZER.encode(TEXTS))
    assert Counting.calls == 1


@pytest.mark.parametrize(
    "kind", ["a file in the way", "a folder in the way", "a full disk", "/proc"]
)
def test_a_cache_that_cannot_be_written_is_passed_over(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    if kind == "a file in the way":
        folder.write_text("no folder")
    elif kind == "a folder in the way":
        (folder / f"{cache.key(TEXTS, TOKENIZER)}.encoded").mkdir(parents=True)
    elif kind == "a full disk":

        def full(*_: object) -> None:
            raise StorageError("no space left")

        monkeypatch.setattr(cache, "write_atomic", full)
    elif os.path.isdir("/proc/self"):
        folder = Path("/proc/self/nowhere")
    assert same(cache.encode(TEXTS, TOKENIZER, folder), TOKENIZER.encode(TEXTS))


# ---------------------------------------------------------------- windows of whole texts


class Reading(Subword):
    """A tokenizer that counts the chunks that it was asked to cut."""

    chunks = 0

    def _windows(self, texts: list[str], *rest: Any) -> dict[str, Array]:
        Reading.chunks += 1
        return super()._windows(texts, *rest)


ROWS = [PassageExample(f"{i}", " ".join(TEXTS[: i % 4 + 1]) * (i % 3 + 1)) for i in range(11)]
CAUSAL = CausalLm(CausalLmSettings())
MASKED = MaskedLm(MaskedLmSettings())


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    monkeypatch.setattr(cache, "CHUNK", 4)
    Reading.chunks = 0
    made = learnt()
    return Reading(made.backend, made._files, made.max_length)


def content(encoded: Encoded) -> dict[str, Any]:
    assert isinstance(encoded, Windows)
    assert encoded.owners is not None
    return {
        "flat": np.asarray(encoded.flat).tolist(),
        "starts": encoded.starts.tolist(),
        "owners": np.asarray(encoded.owners).tolist(),
        "bytes": np.asarray(encoded.bytes).tolist(),
        "rest": (encoded.texts, encoded.unknown, encoded.pad, encoded.truncated),
    }


@pytest.mark.parametrize("task", [CAUSAL, MASKED])
def test_windows_are_cut_once_and_read_from_the_disk(
    task: LanguageTask, tmp_path: Path, reading: Reading
) -> None:
    """The same from memory, from the making and from the files; owners count over all chunks."""
    in_memory = content(cache.windows(ROWS, task, reading, None))
    assert Reading.chunks == 3
    first = cache.windows(ROWS, task, reading, tmp_path / "deep")
    second = cache.windows(ROWS, task, reading, tmp_path / "deep")
    assert Reading.chunks == 6
    assert content(first) == content(second) == in_memory
    assert isinstance(second, Windows)
    assert isinstance(second.flat, np.memmap)
    assert in_memory["owners"] == sorted(in_memory["owners"])
    assert {*in_memory["owners"]} == {*range(11)}
    assert in_memory["rest"][0] == 11


def test_windows_of_other_rows_tasks_and_tokenizers_are_others(
    tmp_path: Path, reading: Reading
) -> None:
    """DA-09."""
    for rows, task, tokenizer in [
        (ROWS, CAUSAL, reading),
        (ROWS[:-1], CAUSAL, reading),
        (ROWS[::-1], CAUSAL, reading),
        (ROWS, MASKED, reading),
        (ROWS, CAUSAL, learnt(max_length=17)),
        (ROWS, CAUSAL, learnt(size=70)),
    ]:
        cache.windows(rows, task, tokenizer, tmp_path)
    assert len(list(tmp_path.glob("*.windows"))) == 6
    cache.windows(tuple(ROWS), CAUSAL, learnt(), tmp_path)
    assert len(list(tmp_path.glob("*.windows"))) == 6


@pytest.mark.parametrize("kind", ["flipped", "shorter", "missing", "no manifest", "a file"])
def test_damaged_windows_are_cut_again(kind: str, tmp_path: Path, reading: Reading) -> None:
    """DA-10: whatever is not as it was written is not read."""
    right = content(cache.windows(ROWS, CAUSAL, reading, tmp_path))
    (folder,) = tmp_path.glob("*.windows")
    tokens = folder / "tokens.npy"
    whole = tokens.read_bytes()
    if kind == "flipped":
        tokens.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    elif kind == "shorter":
        tokens.write_bytes(whole[:-8])
    elif kind == "missing":
        tokens.unlink()
    elif kind == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        shutil.rmtree(folder)
        folder.write_text("in the way")
    before = Reading.chunks
    assert content(cache.windows(ROWS, CAUSAL, reading, tmp_path)) == right
    assert Reading.chunks == before + 3
    assert content(cache.windows(ROWS, CAUSAL, reading, tmp_path)) == right
    assert Reading.chunks == before + 3, "and it is mended"


@pytest.mark.parametrize("folder", [True, False])
def test_windows_of_nothing(folder: bool, tmp_path: Path) -> None:
    """No rows, and rows whose texts give no token."""
    place = tmp_path if folder else None
    for rows in ([], [PassageExample("a", ""), PassageExample("b", " \t")]):
        for _ in range(2):
            found = cache.windows(rows, CAUSAL, TOKENIZER, place)
            assert (len(found), found.texts, found.unknown) == (0, len(rows), 0.0)


def test_a_cut_that_fails_leaves_nothing(tmp_path: Path, reading: Reading) -> None:
    """A chunk that cannot be cut is an error, and no half folder is believed later."""

    class Failing(Reading):
        def _windows(self, texts: list[str], *rest: Any) -> dict[str, Array]:
            if Reading.chunks == 2:
                raise StorageError("no space left")
            return super()._windows(texts, *rest)

    failing = Failing(reading.backend, reading._files, reading.max_length)
    with pytest.raises(StorageError, match="no space left"):
        cache.windows(ROWS, CAUSAL, failing, tmp_path)
    assert not list(tmp_path.glob("*.windows"))
    assert len(cache.windows(ROWS, CAUSAL, reading, tmp_path)) > 11

"""Word vectors on the disk: both formats, gensim's files, damaged ones, what is found in them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from mulgil.errors import ModelError
from mulgil.flow import Array
from mulgil.models import _vectors

WORDS = ["▁영화", "는", "재미", "▁good"]


@pytest.fixture
def vectors() -> Array:
    return np.random.default_rng(3).normal(size=(4, 7)).astype(np.float32)


@pytest.mark.parametrize("name", ["a.vec", "a.txt", "a.bin"])
def test_what_is_written_is_read_bit_for_bit(name: str, vectors: Array, tmp_path: Path) -> None:
    path = tmp_path / name
    _vectors.write(path, WORDS, vectors, binary=name.endswith(".bin"))
    found, known = _vectors.table(path, [None, *reversed(WORDS), "없음"])
    assert np.array_equal(found[1:5], vectors[::-1])
    assert known.tolist() == [False, True, True, True, True, False]
    assert not found[0].any()
    assert not found[5].any()
    assert found.dtype == np.float32


@pytest.mark.parametrize("binary", [False, True])
def test_files_of_gensim_and_for_gensim(binary: bool, vectors: Array, tmp_path: Path) -> None:
    models = pytest.importorskip("gensim.models", reason='needs the extra "word2vec"')
    ours, theirs = (tmp_path / f"{who}.{'bin' if binary else 'vec'}" for who in ("ours", "theirs"))
    _vectors.write(ours, WORDS, vectors, binary)
    opened = models.KeyedVectors.load_word2vec_format(str(ours), binary=binary)
    assert opened.index_to_key == WORDS
    assert np.array_equal(opened.vectors, vectors)
    opened.save_word2vec_format(str(theirs), binary=binary)
    assert np.array_equal(_vectors.table(theirs, WORDS)[0], vectors)


def test_the_marks_of_a_vocabulary_and_nfd(tmp_path: Path) -> None:
    """A word without the mark is a second best; forms of Unicode do not matter."""
    path = tmp_path / "a.vec"
    decomposed = unicodedata.normalize("NFD", "배우")
    path.write_text(f"4 1\n영화 1\n▁영화 2\n{decomposed} 3\n는 4\n", encoding="utf-8")
    found, _ = _vectors.table(path, ["▁영화", "영화", "▁배우", "배우", "Ġ는", "는"])
    assert found[:, 0].tolist() == [2, 1, 3, 3, 4, 4]


def test_glove_has_no_header_and_the_first_of_two_counts(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text("가 1 2 3\n나 4 5 6\n가 7 8 9\n", encoding="utf-8")
    assert _vectors.table(path, ["나", "가"])[0].tolist() == [[4, 5, 6], [1, 2, 3]]


GOOD = b"2 3\na 1 2 3\nb 4 5 6\n"
BAD = {
    "cut.vec": (GOOD[:-2], ":3: a word and 3 numbers"),
    "more.vec": (GOOD + b"c 7 8 9\n", ":4: the header says 2 words, but there are more"),
    "fewer.vec": (GOOD.replace(b"2 3", b"3 3"), ":3: the header says 3 words, but the file ends"),
    "letters.vec": (GOOD.replace(b"5", b"five"), ":3: holds what is no number"),
    "bytes.vec": (GOOD.replace(b"a", b"\xff"), ":2: holds what is no number or no UTF-8"),
    "huge.vec": (b"99999999999 300\n", ":1: says 99999999999 words"),
    "short.vec": (b"1000000 300\n", ":1: says 1,000,000 words of 300 numbers, but the file has 12"),
    "wide.vec": (b"1 99999\n", ":1: says 1 words of 99999 numbers"),
    "empty.vec": (b"", ":1: begins with no header"),
    "empty.bin": (b"", ":1: begins with no header"),
    "cut.bin": (b"2 2\na " + bytes(8) + b"\nb " + bytes(7), ": word 2 of 2 is not whole"),
    "endless.bin": (b"1 2\n" + b"a" * 9000, ": word 1 of 1 is not whole"),
    "latin.bin": (b"1 1\n\xff " + bytes(4), ": word 1 of 1 is not UTF-8"),
    "ft.bin": (b"\xba\x16\x4f\x2f\x0c\0\0\0", ":1: this is fastText's own format"),
    "a.vec.gz": (GOOD, ": vectors are read from"),
    "nan.vec": (GOOD.replace(b"4", b"nan"), 'the vector of "b" is no finite number'),
    "other.vec": (GOOD.replace(b"a", b"c").replace(b"b", b"d"), "for none of the 2 tokens"),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_files_are_said_in_one_line(name: str, tmp_path: Path) -> None:
    """TK-06: the file and, in text, the line."""
    content, rule = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        _vectors.table(tmp_path / name, ["a", "b"])
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}")
    assert rule in message
    assert "\n" not in message


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.vec: cannot be read: No such file"):
        _vectors.table(tmp_path / "none.vec", ["a"])
    with pytest.raises(ModelError, match="is no whole model/ folder of a word2vec run"):
        _vectors.table(tmp_path, ["a"])

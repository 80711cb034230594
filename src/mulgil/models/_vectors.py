"""Word vectors on the disk: word2vec's text and binary formats, and the folder of a word2vec run.

A text file has a header (words, numbers of a vector) and a word with its numbers a line; GloVe's
has no header. A binary file has the same header, then words with their numbers as float32.

Chosen: our own reader of these two formats, which keeps the vectors of a given vocabulary alone, a
word at a time: a file of two million words costs the memory of the vocabulary, a damaged one is
said with its line, and no library is needed, nor anything unpickled. It costs a Python loop over
the words, and that numbers of words which are not wanted are counted, not looked at.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from mulgil import hangul
from mulgil.errors import ModelError
from mulgil.flow import Array

PIECES = "pieces.json"
"""Where a run's vocabulary lies: a string for each id, null for tokens that stand for no text."""
TABLE = "words.weight"
"""Name of a run's word vectors among its weights."""

MOST_WORDS = 50_000_000
MOST_NUMBERS = 8192
LONGEST_WORD = 4096
"""Bytes of a word; a longer one is no word but a damaged file."""
MARKS = ("▁", "Ġ")
"""What vocabularies write in front of a piece that begins a word."""

NOWHERE = 4
"""Rank of a token that has no vector yet; there are so many names for it (`_names`)."""

_FASTTEXT = (793712314).to_bytes(4, "little")  # how fastText's own .bin begins

Places = dict[str, list[tuple[int, int]]]
"""Which tokens a word stands for: how far it is from the token's own string, and its id."""

Rows = Iterator[tuple[str, Array]]
"""A word that is wanted, and its vector, float32 [D]."""


def table(path: Path, tokens: Sequence[str | None]) -> tuple[Array, Array]:
    """Return the vectors of a vocabulary: float32 [V, D], and bool [V], which were found.

    A token is looked for as it is, then without the mark of a word's beginning ("▁영화" is "영화").
    Of a word that stands in the file twice the first vector counts. Words are compared in NFC. What
    is not found is zero.

    Args:
        path: a file of word2vec's text (.vec, .txt) or binary format (.bin), or the `model/` folder
            of a word2vec run.
        tokens: the vocabulary's strings by id; None for special tokens.

    Raises:
        ModelError: it is not there, of another format, damaged or too large; or none of the tokens
            is in it.
    """
    wanted: Places = {}
    for number, token in enumerate(tokens):
        if token:
            for rank, word in enumerate(_names(token)):
                wanted.setdefault(word, []).append((rank, number))
    numbers, rows = _of_run(path) if path.is_dir() else _of_file(path, wanted)
    found: Array = np.zeros((len(tokens), numbers), np.float32)
    ranks = np.full(len(tokens), NOWHERE)  # the lower, the nearer to the token's own string
    for word, values in rows:
        for rank, number in _places(wanted, word):
            if rank < ranks[number]:
                found[number], ranks[number] = values, rank
    known: Array = ranks < NOWHERE
    if not known.any():
        raise ModelError(
            f"{path}: has a vector for none of the {len(tokens):,} tokens of the vocabulary; use"
            " vectors of the same language, or of the same tokenizer"
        )
    if not np.isfinite(found).all():
        worst = tokens[int((~np.isfinite(found)).any(1).argmax())]
        raise ModelError(f'{path}: the vector of "{worst}" is no finite number; get the file again')
    return found, known


def write(path: Path, words: Sequence[str], vectors: Array, binary: bool = False) -> None:
    """Write vectors [N, D] in word2vec's text or binary format, a word each.

    A word must have no white space in it.
    """
    line = " ".join(["%.9g"] * vectors.shape[1])  # nine digits give every float32 back
    with open(path, "wb") as file:
        file.write(b"%d %d\n" % vectors.shape)
        for word, vector in zip(words, vectors.astype("<f4"), strict=True):
            if binary:
                file.write(word.encode() + b" " + vector.tobytes() + b"\n")
            else:
                file.write(f"{word} {line % tuple(vector.tolist())}\n".encode())


def write_pieces(folder: Path, pieces: Sequence[str | None]) -> None:
    """Write a vocabulary's strings beside the weights of a run."""
    text = json.dumps(list(pieces), ensure_ascii=False) + "\n"
    (folder / PIECES).write_text(text, encoding="utf-8")


def weights(folder: Path) -> tuple[dict[str, Array], list[str | None]]:
    """Return the arrays of a word2vec run's `model/` folder, and its vocabulary's strings.

    Raises:
        ModelError: the folder is not of a word2vec run, or damaged.
    """
    try:
        pieces = json.loads((folder / PIECES).read_text(encoding="utf-8"))
        arrays = safetensors.numpy.load_file(folder / "model.safetensors")
        if arrays[TABLE].ndim != 2 or len(arrays[TABLE]) != len(pieces):
            raise ValueError(f"{len(pieces):,} pieces, vectors {arrays[TABLE].shape}")
    except (OSError, ValueError, TypeError, LookupError, safetensors.SafetensorError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelError(
            f"{folder}: is no whole model/ folder of a word2vec run ({reason}); give one, or a file"
            " of vectors"
        ) from error
    return arrays, pieces


def _names(token: str) -> Iterator[str]:
    """Yield what a token may be called in a file of vectors, what is nearest to it first."""
    bare = token[1:] if token[:1] in MARKS and len(token) > 1 else token
    yield from dict.fromkeys((token, hangul.normalise(token), bare, hangul.normalise(bare)))


def _places(wanted: Places, word: str) -> Sequence[tuple[int, int]]:
    return wanted.get(word) or wanted.get(hangul.normalise(word)) or ()


# ---------------------------------------------------------------- what there is to read


def _of_run(folder: Path) -> tuple[int, Rows]:
    arrays, pieces = weights(folder)
    vectors = arrays[TABLE].astype(np.float32)
    learnt = np.asarray(vectors.any(1)).tolist()
    rows = ((p, v) for p, v, known in zip(pieces, vectors, learnt, strict=True) if p and known)
    return vectors.shape[1], rows


def _of_file(path: Path, wanted: Places) -> tuple[int, Rows]:
    if path.suffix not in {".vec", ".txt", ".bin"}:
        raise ModelError(
            f"{path}: vectors are read from a .vec or .txt file (text), a .bin file (binary) or the"
            " model/ folder of a word2vec run; unpack or rename it"
        )
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.readline(LONGEST_WORD + 32 * MOST_NUMBERS)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}; give a file of vectors") from (
            error
        )
    if path.suffix == ".bin" and head.startswith(_FASTTEXT):
        raise ModelError(
            f"{path}:1: this is fastText's own format, not word2vec's; use its .vec file"
        )
    fields = head.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        words, numbers = int(fields[0]), int(fields[1])
    elif path.suffix != ".bin" and len(fields) > 2:
        words, numbers = None, len(fields) - 1  # as GloVe writes it
    else:
        raise ModelError(
            f"{path}:1: begins with no header (how many words, how many numbers each); use a file"
            " in word2vec's format"
        )
    least = 4 if path.suffix == ".bin" else 2  # bytes of a number
    if not 1 <= numbers <= MOST_NUMBERS or not (words is None or 1 <= words <= MOST_WORDS):
        raise ModelError(
            f"{path}:1: says {words or 'some'} words of {numbers} numbers; at most"
            f" {MOST_WORDS:,} of {MOST_NUMBERS:,} are read; get the file again"
        )
    if words is not None and size < words * numbers * least:
        raise ModelError(
            f"{path}:1: says {words:,} words of {numbers} numbers, but the file has {size:,} bytes"
            " only; it is cut off, get it again"
        )
    if path.suffix == ".bin":
        return numbers, _binary(path, wanted, words or 0, numbers, len(head))
    return numbers, _text(path, wanted, words, numbers)


def _text(path: Path, wanted: Places, words: int | None, numbers: int) -> Rows:
    line, longest = 0, LONGEST_WORD + 32 * numbers
    with open(path, "rb") as file:
        if words is not None:
            file.readline()
            line = 1
        while raw := file.readline(longest):
            line += 1
            if words is not None and line > words + 1:
                raise ModelError(
                    f"{path}:{line}: the header says {words:,} words, but there are more; get the"
                    " file again"
                )
            name, _, values = raw.rstrip(b" \r\n").partition(b" ")
            count = values.count(b" ") + 1
            if count != numbers or not raw.endswith(b"\n"):
                raise ModelError(
                    f"{path}:{line}: a word and {numbers} numbers belong here, but there are"
                    f" {count}; the file is cut off or damaged, get it again"
                )
            try:
                word = name.decode()
                if _places(wanted, word):
                    yield word, np.array([*map(float, values.split(b" "))], np.float32)
            except ValueError as error:
                raise ModelError(
                    f"{path}:{line}: holds what is no number or no UTF-8 ({error}); get the file"
                    " again"
                ) from error
    if words is not None and line != words + 1:
        raise ModelError(
            f"{path}:{line}: the header says {words:,} words, but the file ends after"
            f" {line - 1:,}; it is cut off, get it again"
        )


def _binary(path: Path, wanted: Places, words: int, numbers: int, start: int) -> Rows:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        for count in range(1, words + 1):
            space = whole.find(b" ", start, start + LONGEST_WORD)
            stop = space + 1 + 4 * numbers
            if space < 0 or stop > len(whole):
                raise ModelError(
                    f"{path}: word {count:,} of {words:,} is not whole; the file is cut off or"
                    " damaged, get it again"
                )
            try:
                word = whole[start:space].lstrip(b"\n").decode()
            except UnicodeDecodeError as error:
                raise ModelError(
                    f"{path}: word {count:,} of {words:,} is not UTF-8; the file is damaged, or of"
                    " another encoding; get it again"
                ) from error
            if _places(wanted, word):
                yield word, np.frombuffer(whole[space + 1 : stop], "<f4")
            start = stop

"""Encoded rows, kept between runs under a hash of content, tokenizer and settings.

Chosen for sentences: one file a split, a sha256 before a safetensors body, so that a flipped bit is
found and the rows are encoded again, and nothing is ever unpickled. A cache that cannot be written
is passed over: it saves time, it holds nothing that would be missed. It costs hashing the texts,
0.1 s for 150,000 reviews. Windows of a corpus are written to disk a chunk at a time and read from
there by `numpy.memmap`, in a folder with checksums, so that the corpus may be larger than memory;
without a folder for the cache they are held in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from mulgil import splits
from mulgil.contracts import Encoded, Tokenizer
from mulgil.errors import MulgilError
from mulgil.examples import Example
from mulgil.flow import Array, Text, each_of
from mulgil.objectives import LanguageTask
from mulgil.storage import commit_folder, verify_folder, write_atomic

CHUNK = 4096
"""Texts that are encoded at once."""

EMPTY: dict[str, Array] = {
    "tokens": np.zeros(0, np.int32),
    "lengths": np.zeros(0, np.int32),
    "owners": np.zeros(0, np.int64),
    "bytes": np.zeros(0, np.int32),
    "lost": np.zeros(0, np.int64),
    "texts": np.zeros(0, np.int64),
}
"""The arrays of no windows at all: names and kinds of what `Tokenizer.windows` gives."""

FORMAT = "3"
"""Changes when the way of encoding changes without the tokenizer's fingerprint knowing it."""


def encode(texts: Sequence[Text], tokenizer: Tokenizer, folder: Path | None) -> Encoded:
    """Encode rows, or take them from the cache.

    Args:
        texts: the rows, in the user's own characters.
        tokenizer: its fingerprint is part of the key.
        folder: where cache files lie; None does without.
    """
    if folder is None:
        return tokenizer.encode(texts)
    path = folder / f"{key(texts, tokenizer)}.encoded"
    kept = _read(path)
    if kept is not None:
        return tokenizer.revive(kept)
    encoded = tokenizer.encode(texts)
    arrays = encoded.arrays()
    if arrays is not None:
        body = safetensors.numpy.save(arrays)
        with contextlib.suppress(MulgilError, OSError):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, hashlib.sha256(body).digest() + body)
    return encoded


def windows(
    rows: Sequence[Example], task: LanguageTask, tokenizer: Tokenizer, folder: Path | None
) -> Encoded:
    """Encode whole texts as windows, or take them from the cache.

    Args:
        rows: read once, in order.
        task: gives a row's text, and says how windows are framed.
        tokenizer: its fingerprint is part of the key.
        folder: where the cache lies; None holds everything in memory.

    Raises:
        StorageError: the disk refused.
    """
    chunks = tokenizer.windows(_chunks(rows, task), task.frame)
    if folder is None:
        return tokenizer.framed(_joined(list(_counted(chunks))))
    name = f"{FORMAT} {tokenizer.fingerprint()} {task.frame} {splits.fingerprint(rows)}"
    path = folder / f"{hashlib.sha256(name.encode()).hexdigest()}.windows"
    try:
        verify_folder(path)
    except MulgilError:  # not there, or damaged
        folder.mkdir(parents=True, exist_ok=True)
        commit_folder(path, lambda temporary: _write(_counted(chunks), temporary))
    arrays = {
        file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in path.glob("*.npy")
    }
    return tokenizer.framed(arrays)


def _chunks(rows: Sequence[Example], task: LanguageTask) -> Iterator[list[str]]:
    stream = iter(rows)
    while chunk := list(itertools.islice(stream, CHUNK)):
        yield [str(task.text(row)) for row in chunk]


def _counted(chunks: Iterator[dict[str, Array]]) -> Iterator[dict[str, Array]]:
    """Let owners count from the first text of all, not of the chunk."""
    before = 0
    for chunk in chunks:
        yield chunk | {"owners": chunk["owners"] + before}
        before += int(chunk["texts"].sum())


def _joined(chunks: list[dict[str, Array]]) -> dict[str, Array]:
    names = chunks[0] if chunks else EMPTY
    return {name: np.concatenate([c[name] for c in chunks] or [EMPTY[name]]) for name in names}


def _write(chunks: Iterator[dict[str, Array]], folder: Path) -> None:
    """Write each array as an .npy file, a chunk at a time; the length comes last."""
    kinds, counts = {name: array.dtype for name, array in EMPTY.items()}, Counter[str]()
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(open(folder / f"{name}.raw", "wb")) for name in kinds}
        for chunk in chunks:
            for name, array in chunk.items():
                files[name].write(np.ascontiguousarray(array, kinds[name]).data)
                counts[name] += len(array)
    for name, kind in kinds.items():
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False}
        with open(folder / f"{name}.npy", "wb") as whole, open(folder / f"{name}.raw", "rb") as raw:
            np.lib.format.write_array_header_1_0(whole, {**header, "shape": (counts[name],)})
            shutil.copyfileobj(raw, whole, 1 << 20)
        (folder / f"{name}.raw").unlink()


def key(texts: Sequence[Text], tokenizer: Tokenizer) -> str:
    """Return the hash that the encoding of these texts is kept under."""
    digest = hashlib.sha256(f"{FORMAT} {tokenizer.fingerprint()}\n".encode())
    for text in texts:
        parts = each_of(text)
        digest.update(len(parts).to_bytes(1))
        for part in parts:
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "little"))
            digest.update(raw)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Array] | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:32], content[32:]
    if hashlib.sha256(body).digest() != digest:
        return None
    try:
        arrays: dict[str, Array] = safetensors.numpy.load(body)
    except safetensors.SafetensorError:
        return None
    return arrays

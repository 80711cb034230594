"""Passages on disk: one file of UTF-8 and where each passage begins in it, for texts beyond memory.

Chosen: everything is written in one stream and committed with checksums like any folder of ours,
then mapped, not read: a part of the passages is a sequence of row numbers, and its texts come from
the disk as they are asked for. Plain numpy arrays beside plain text, so that nothing is ever
unpickled and `less` shows what was learnt from. It costs 28 bytes a passage of index in memory
while it is written (none afterwards but the row numbers, 8 bytes each), and hashing the whole
folder when it is opened (1 GB in about a second).
"""

from __future__ import annotations

import hashlib
import json
import mmap
import operator
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np

from mulgil.errors import RunError
from mulgil.examples import PassageExample
from mulgil.flow import Array
from mulgil.storage import MANIFEST, verify_folder

TEXT = "text.utf8"
ABOUT = "about.json"
NAMES = "files.json"
_INDEX = {"starts": "<i8", "files": "<i4", "lines": "<i8", "marks": "<u8"}
_CONTENT = (TEXT, "starts.npy", "files.npy", "lines.npy", NAMES)
_BLOCK = 8192  # rows that are looked up in the index at a time


class Writer:
    """Writes a store into an empty folder; `with Writer(folder) as writer:`.

    The folder is whole only after `finish`; whoever wants it to outlive a kill writes it inside
    `storage.commit_folder`.

    Args:
        folder: where the files go; it must exist.

    Attributes:
        passages: how many have been written.
        characters: how many they have together.
        bytes: how many they have together, in UTF-8.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._text = (folder / TEXT).open("xb")
        self.passages = self.characters = self.bytes = 0
        self._index = {name: array(code) for name, code in zip(_INDEX, "qiqQ", strict=True)}

    def add(
        self,
        texts: Sequence[str],
        files: Iterable[int],
        lines: Iterable[int],
        marks: Iterable[int],
    ) -> None:
        """Append passages.

        Args:
            texts: without half characters (lone surrogates), which have no UTF-8.
            files: for each, the number of its file, in the order of the names given to `finish`.
            lines: for each, the line that it begins in, from 1.
            marks: for each, 64 bits that whoever writes the store keeps beside it.
        """
        content = [text.encode() for text in texts]
        self._index["starts"].extend(self._starts(content))
        self._text.write(b"\n".join([*content, b""]))
        self._index["files"].extend(files)
        self._index["lines"].extend(lines)
        self._index["marks"].extend(marks)
        self.characters += sum(map(len, texts))

    def copy(self, store: TextStore, rows: Array) -> None:
        """Append these rows (int64 [N]) of another store, whose files are the same."""
        for some in _blocks(rows):
            files, lines = zip(*store.places(some), strict=True)
            self.add(list(store.texts(some)), files, lines, store.marks[some].tolist())

    def _starts(self, content: Iterable[bytes]) -> Iterator[int]:
        for raw in content:
            yield self.bytes + self.passages  # a newline behind each
            self.bytes += len(raw)
            self.passages += 1

    def finish(self, names: Sequence[str], about: dict[str, Any]) -> None:
        """Write the index.

        Args:
            names: of the files, as ids of rows show them.
            about: plain data that is kept beside the passages.
        """
        self._index["starts"].append(self.bytes + self.passages)
        for name, code in _INDEX.items():
            np.save(
                self._folder / f"{name}.npy", np.asarray(self._index[name]).astype(code, copy=False)
            )
        for path, content in ((NAMES, list(names)), (ABOUT, about)):
            text = json.dumps(content, ensure_ascii=True, sort_keys=True, indent=1)
            (self._folder / path).write_text(text + "\n", encoding="ascii", newline="\n")

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._text.close()


class TextStore:
    """A store that is open for reading.

    Attributes:
        marks: uint64 [rows], what the writer kept beside each passage.
        about: the plain data that was kept beside them all.
        checksum: sha256 of texts and places, 64 hex digits.
    """

    def __init__(self, folder: Path, checksum: str) -> None:
        index = {name: _mapped(folder / f"{name}.npy") for name in _INDEX}
        self._starts, self._files, self._lines = index["starts"], index["files"], index["lines"]
        self.marks = index["marks"]
        self._names = json.loads((folder / NAMES).read_text("ascii"))
        self.about: dict[str, Any] = json.loads((folder / ABOUT).read_text("ascii"))
        self.checksum = checksum
        with (folder / TEXT).open("rb") as file:
            size = file.seek(0, 2)
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""

    @classmethod
    def open(cls, folder: Path) -> TextStore:
        """Check a committed store and open it.

        Raises:
            RunError: something is missing, or not as it was written; names the file.
            StorageError: the disk could not read it.
        """
        verify_folder(folder)
        try:
            sums = json.loads((folder / MANIFEST).read_bytes())["files"]
            checksum = hashlib.sha256(json.dumps([sums[name] for name in _CONTENT]).encode())
            return cls(folder, checksum.hexdigest())
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RunError(f"{folder}: is no store of texts: {error}; remove it") from error

    @classmethod
    def open_unchecked(cls, folder: Path) -> TextStore:
        """Open what this very process has just finished and nobody has sealed yet."""
        return cls(folder, "")

    def __len__(self) -> int:
        return len(self.marks)

    def text(self, row: int) -> str:
        """Return the text of one passage."""
        start, end = self._starts[row : row + 2].tolist()
        return str(self._text[start : end - 1], "utf-8")

    def part(self, rows: Array) -> Passages:
        """Return these passages, in this order.

        Args:
            rows: int64 [N], row numbers.
        """
        return Passages(self, rows)

    def texts(self, rows: Array) -> Iterator[str]:
        """Yield the texts of these rows, fastest when the rows ascend."""
        for some in _blocks(rows):
            starts, ends = self._starts[some].tolist(), self._starts[some + 1].tolist()
            text = self._text
            for start, end in zip(starts, ends, strict=True):
                yield str(text[start : end - 1], "utf-8")

    def places(self, rows: Array) -> Iterator[tuple[int, int]]:
        """Yield (number of the file, line) of these rows."""
        for some in _blocks(rows):
            yield from zip(self._files[some].tolist(), self._lines[some].tolist(), strict=True)

    def ids(self, rows: Array) -> Iterator[str]:
        """Yield where these rows came from, such as `news.txt.gz:123`."""
        for file, line in self.places(rows):
            yield f"{self._names[file]}:{line}"


class Passages(Sequence[PassageExample]):
    """Some passages of a store, read from the disk as they are asked for.

    Args:
        store: where they are.
        rows: int64 [N], their row numbers.
    """

    def __init__(self, store: TextStore, rows: Array) -> None:
        self._store = store
        self._rows = np.ascontiguousarray(rows, np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> PassageExample: ...
    @overload
    def __getitem__(self, at: slice) -> Passages: ...
    def __getitem__(self, at: int | slice) -> PassageExample | Passages:
        if isinstance(at, slice):
            return Passages(self._store, self._rows[at])
        row = self._rows[operator.index(at)][None]
        return PassageExample(next(self._store.ids(row)), next(self._store.texts(row)))

    def __iter__(self) -> Iterator[PassageExample]:
        pairs = zip(self._store.ids(self._rows), self._store.texts(self._rows), strict=True)
        for name, text in pairs:
            yield PassageExample(name, text)

    def texts(self) -> Iterator[str]:
        """Yield the texts, faster than the rows do."""
        return self._store.texts(self._rows)

    def fingerprint(self) -> str:
        """Return a sha256 over texts, places and order, without reading the texts again."""
        digest = hashlib.sha256(self._store.checksum.encode())
        digest.update(self._rows.astype("<i8", copy=False).data)
        return digest.hexdigest()


def _blocks(rows: Array) -> Iterator[Array]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]


def _mapped(path: Path) -> Array:
    """Return an array of a file, mapped where it holds anything."""
    found: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return found

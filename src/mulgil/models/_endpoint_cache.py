"""What a server has answered, kept on disk, so that nothing is paid for twice.

One file for each (address, model), a line for each answer: a checksum, then JSON. Chosen: lines
are only ever added, each by a single write to a file that is opened for appending, with a line end
before it and behind it, so that processes may write at once, and what a killed one left torn spoils
no line but its own. Lines that do not fit their checksum are passed over and counted. It costs
disk, 0.2 to 2 kB an answer, and that answers stay until somebody deletes the file.

PRIVACY: answers are texts, and may repeat the user's own; the file is readable by its owner alone
(mode 0600, its folder 0700). Requests themselves are kept as digests only, and the key to the
server never comes here. `model.cache = false` keeps nothing.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from mulgil import disk

_SUM = 16
"""Hex digits of a line's checksum: it guards against damage, not against malice."""

_NOTE = "n"
"""What the key of a note begins with, which no hex digit is."""


class AnswerCache:
    """Answers of one model at one address.

    Args:
        folder: holds the files; made when missing.
        url: base address of the server.
        model: the model's name there.

    Attributes:
        path: the file.
        damaged: lines that were passed over.
    """

    def __init__(self, folder: Path, url: str, model: str) -> None:
        self.path = folder / f"{_digest(canonical([url, model]))[:32]}.jsonl"
        self.damaged = 0
        self._places: dict[str, tuple[int, int]] = {}  # key: where its JSON begins, and its size
        self._read = 0  # the file is known up to here
        self._lock = threading.Lock()
        self._handle = -1
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._handle = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise disk.refused(self.path, error, 0) from error
        self.refresh()

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)

    def __len__(self) -> int:
        """Return the number of answers; notes are none."""
        with self._lock:
            return sum(not key.startswith(_NOTE) for key in self._places)

    def get(self, key: str) -> Any:
        """Return what was answered, None where nothing was."""
        with self._lock:
            place = self._places.get(key)
            if place is None:
                return None
            raw = self._bytes(*place)
        try:
            return json.loads(raw)[1]
        except (ValueError, LookupError):  # the disk has changed it since it was looked at
            return None

    def put(self, key: str, answer: Any) -> None:
        """Add an answer: plain JSON values.

        Raises:
            StorageError: the disk refused.
        """
        raw = canonical([key, answer]).encode("ascii")
        line = b"\n" + _digest(raw)[:_SUM].encode() + b" " + raw + b"\n"
        with self._lock:
            try:
                written = os.write(self._handle, line)
                if written < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise disk.refused(self.path, error, len(line)) from error
        self.refresh()

    def refresh(self) -> None:
        """Take in what was added since the last look, by other processes too.

        Raises:
            StorageError: the file cannot be read.
        """
        with self._lock:
            size = self._size()
            # Where this process alone writes, each look finds the one line that was just added.
            data = self._bytes(self._read, size - self._read)
            whole = data.rfind(b"\n") + 1  # what comes behind it may still be growing
            start = self._read
            for line in data[:whole].split(b"\n")[:-1]:
                self._take(line, start)
                start += len(line) + 1
            self._read += whole

    def _take(self, line: bytes, start: int) -> None:
        """Take in a line that begins at `start`."""
        if not line:
            return
        summed, raw = line[:_SUM], line[_SUM + 1 :]
        # Canonical JSON begins with ["<64 hex digits>", so the key needs no parsing.
        if _digest(raw)[:_SUM].encode() != summed or raw[:2] != b'["':
            self.damaged += 1
            return
        self._places[raw[2:66].decode("ascii")] = (start + _SUM + 1, len(raw))

    def _size(self) -> int:
        try:
            return os.fstat(self._handle).st_size
        except OSError as error:
            raise disk.unreadable(self.path, error) from error

    def _bytes(self, start: int, size: int) -> bytes:
        """Return bytes of the file; called under the lock, which guards the position too."""
        try:
            os.lseek(self._handle, start, os.SEEK_SET)
            parts = []
            while size > 0 and (part := os.read(self._handle, min(size, 1 << 24))):
                parts.append(part)
                size -= len(part)
            return b"".join(parts)
        except OSError as error:
            raise disk.unreadable(self.path, error) from error


def note_key(url: str, model: str, what: Any) -> str:
    """Return the key of something that was found out about a server."""
    return _NOTE + key_of(url, model, what)[1:]


def key_of(url: str, model: str, request: Any) -> str:
    """Return the digest of what is asked, whatever the order of its fields."""
    return _digest(canonical([url, model, request]))


def canonical(value: Any) -> str:
    """Return JSON that is the same for equal values: sorted, without spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(data: str | bytes) -> str:
    return hashlib.sha256(data.encode("ascii") if isinstance(data, str) else data).hexdigest()

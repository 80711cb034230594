"""One process at a time: a lock on a folder that ends with its holder, however that one ends.

Chosen: the kernel's lock (`flock`) on an open file, because the kernel lets go of it at a
SIGKILL, so that a lock file left behind means nothing; what is written in it only tells the
next one whom to wait for. It costs a rule about forks: children must not keep the lock open, so
they close it when they start. Where a file system has no such lock, the process number in the
file is believed instead, which two processes that start within the same millisecond can both
get past.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from mulgil.errors import RunError, StorageError

if sys.platform == "win32":
    import ctypes
    import msvcrt
else:
    import fcntl

UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK})
"""The numbers by which file systems say that they have no such call."""


def _place() -> str:
    """Return host and process namespace: within one place, a process number means one process."""
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    try:
        space = re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
    except OSError:
        space = "0"
    return (re.sub(r"[^A-Za-z0-9.-]", "-", host)[:48] or "host") + "+" + space


PLACE = _place()
"""This host and this container, such as `node7+4026531836`."""

TOKEN = os.urandom(4).hex()
"""Tells this process from an earlier one that had the same number."""


def may_live(place: str, pid: int, token: str) -> bool:
    """Return whether that process may still run; one of another place always may."""
    if place != PLACE:
        return True
    if pid == os.getpid():
        return token == TOKEN
    if sys.platform == "win32":
        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)
        return bool(handle and ctypes.windll.kernel32.CloseHandle(handle))
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


class Lock:
    """`with Lock(run / "lock"):` nobody else is in this block for the same file.

    The file stays afterwards, empty; it is never deleted, because deleting a lock lets two in.

    Args:
        path: the lock file; made when missing. Its folder must exist.

    Raises:
        RunError: on entry, when another process (or this one) holds it; with its number and host.
        StorageError: on entry, when the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1

    def __enter__(self) -> Lock:
        handle = -1
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            free = _take(handle)
            place, pid, token, since = _read(handle)
            if free is False or (free is None and pid and may_live(place, pid, token)):
                raise RunError(self._refusal(place, pid, since))
        except BaseException as error:
            if handle >= 0:
                os.close(handle)
            if isinstance(error, OSError):
                raise StorageError(
                    f"{self.path}: cannot be locked: {error.strerror};"
                    " choose a folder that exists and that you may write"
                ) from error
            raise
        _write(handle)
        _HELD.add(handle)
        self._handle = handle
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle in _HELD:
            _HELD.discard(self._handle)
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
            os.close(self._handle)

    def _refusal(self, place: str, pid: int, since: str) -> str:
        folder = self.path.parent
        if not pid:
            return f"{folder}: in use by another process; wait until it ends"
        host = place.partition("+")[0]
        stop = (
            f"stop it (kill {pid})" if place == PLACE else f"stop it there (kill {pid} on {host})"
        )
        return (
            f"{folder}: in use by process {pid} on {host} since {since};"
            f" wait until it ends, or {stop}"
        )


_HELD: set[int] = set()
"""Handles of the locks that this process holds."""


def _let_go_in_child() -> None:
    """Close inherited locks, so that a child that outlives its killed parent does not keep them."""
    while _HELD:
        with contextlib.suppress(OSError):
            os.close(_HELD.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


def _take(handle: int) -> bool | None:
    """Return True when the lock is taken, False when it is held, None when there are no locks."""
    try:
        if sys.platform == "win32":
            # A byte far behind the text, so that the text can be read while it is locked.
            os.lseek(handle, 1 << 30, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return None
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}:
            return False
        raise
    return True


def _write(handle: int) -> None:
    """Say who holds it. Only for people: a full disk must not stop a run that has the lock."""
    holder = [PLACE, os.getpid(), TOKEN, datetime.now(UTC).isoformat(timespec="seconds")]
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, json.dumps(holder).encode("ascii"))


def _read(handle: int) -> tuple[str, int, str, str]:
    """Return place, process number, token and start time of the holder; empty when unknown."""
    os.lseek(handle, 0, os.SEEK_SET)
    text = os.read(handle, 4096).decode("ascii", "replace")
    # Matched, not parsed: whatever else stands in the file must not reach the terminal.
    match = re.fullmatch(
        r'\["([A-Za-z0-9.+-]+)", (\d{1,10}), "([0-9a-f]{8})", "([0-9T:+-]+)"\]', text
    )
    return (match[1], int(match[2]), match[3], match[4]) if match else ("", 0, "", "")

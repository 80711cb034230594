"""What every write shares: names of temporaries, syncs, leftovers, the line for a refused write.

Chosen: the name of a temporary says whose it is (place, process, token), so that whoever starts
next can clear away what a killed process left, and never what a living one is writing. It costs
names that nobody can read; they start with a dot. An orphan of a process number that has been given
out again stays until that process ends too.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
from pathlib import Path
from typing import Literal

from mulgil.errors import MulgilError, StorageError
from mulgil.lock import PLACE, TOKEN, UNSUPPORTED, may_live

_REMEDY = {
    errno.ENOSPC: "free some space and try again",
    errno.EDQUOT: "free some of your quota and try again",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a folder that you may write",
    errno.EPERM: "choose a folder that you may write",
    errno.ENOENT: "make its folder first",
    errno.ENOTDIR: "choose a folder, not a file, to hold it",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "the disk is failing: check it before anything else",
}
_ONLY_WRITES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


# ---------------------------------------------------------------- what the disk refuses


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def refused(path: Path, error: OSError, needed: int) -> StorageError:
    """Return the one line for a write that the disk refused."""
    if error.errno == errno.ENOENT and not path.parent.is_dir():
        return StorageError(
            f"{path}: cannot be written: the folder {path.parent} is missing; make it first"
        )
    try:
        free = f"{shutil.disk_usage(_existing(path)).free:,}"
    except OSError:
        free = "an unknown number"
    remedy = _REMEDY.get(error.errno or 0, "try again, or choose another disk")
    return StorageError(
        f"{path}: cannot be written: {_reason(error)}"
        f" ({needed:,} bytes needed, {free} free); {remedy}"
    )


def unreadable(path: Path, error: OSError) -> StorageError:
    """Return the one line for a read that the disk refused."""
    return StorageError(
        f"{path}: cannot be read: {_reason(error)}; check its disk and its permissions"
    )


def disk_error(error: BaseException, guest: bool, temp: Path) -> OSError | None:
    """Return the disk's own error behind `error`, or None when it is somebody else's.

    Args:
        error: what was raised.
        guest: the caller's code ran, which may also fail to read its input; that must not be
            reported as a full disk.
        temp: where that code was writing.
    """
    if isinstance(error, MulgilError) or not isinstance(error, Exception):
        return None
    if not isinstance(error, OSError):
        # Libraries in Rust hide the number of the error in their message.
        code = re.search(r"\(os error (\d+)\)", str(error))
        if not code or int(code[1]) not in _ONLY_WRITES:
            return None
        return OSError(int(code[1]), os.strerror(int(code[1])))
    if not guest:
        return error
    if error.filename is None:
        return error if error.errno in _ONLY_WRITES else None
    return error if os.fsdecode(error.filename).startswith(str(temp)) else None


def _existing(path: Path) -> Path:
    """Return the nearest folder at or above `path` that exists."""
    path = Path(os.path.abspath(path))
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def require_space(folder: Path, needed: int, what: str) -> None:
    """Refuse before the work when a disk cannot hold its result.

    Args:
        folder: where it will be written; need not exist yet.
        needed: bytes.
        what: the thing, for the message, such as "3 checkpoints".

    Raises:
        StorageError: fewer bytes are free.
    """
    try:
        free = shutil.disk_usage(_existing(folder)).free
    except OSError as error:
        raise unreadable(folder, error) from error
    if free < needed:
        raise StorageError(
            f"{folder}: {what} needs {needed:,} bytes, but the disk has {free:,} free;"
            " free some space or choose a folder on another disk"
        )


def is_there(path: Path) -> bool:
    """Return whether the name stands for anything, even a broken link.

    Raises:
        OSError: it cannot be told, which `os.path.lexists` would call absent.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut, where the file system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(handle)


# ---------------------------------------------------------------- leftovers

_SERIAL = itertools.count()
_TEMP = re.compile(r"\.mulgil-(file|folder|old)-([A-Za-z0-9.+-]+)-(\d+)-([0-9a-f]{8})-\d+\.tmp")


def temporary(parent: Path, kind: Literal["file", "folder", "old"]) -> Path:
    """Return a fresh name in `parent` that tells `sweep` whose it is."""
    return parent / f".mulgil-{kind}-{PLACE}-{os.getpid()}-{TOKEN}-{next(_SERIAL)}.tmp"


def sweep(parent: Path, alone: bool = False) -> int:
    """Remove what killed processes left half-written in a folder.

    A folder that was being replaced when its process was killed is put back first.

    Args:
        parent: the folder to look into, not its sub-folders; it may be missing.
        alone: the caller holds the lock that guards `parent`, so that leftovers of other places
            (hosts, containers) go too. Those of a process that lives here always stay.

    Returns:
        How many were removed. One that cannot be removed stays, and is no error.
    """
    try:
        matches = [match for name in sorted(os.listdir(parent)) if (match := _TEMP.fullmatch(name))]
    except OSError:
        return 0
    removed = 0
    for match in matches:
        kind, place, pid, token = match[1], match[2], int(match[3]), match[4]
        if may_live(place, pid, token) and not (alone and place != PLACE):
            continue
        path = parent / match[0]
        with contextlib.suppress(OSError):
            if kind == "file":
                os.unlink(path)
            else:
                if kind == "old":
                    put_back(path)
                shutil.rmtree(path)
            removed += 1
    return removed


def put_back(aside: Path) -> None:
    """Return a folder that was moved aside to its place, if nothing has come there since."""
    for name in os.listdir(aside):
        if not is_there(aside.parent / name):
            os.rename(aside / name, aside.parent / name)

"""Files and folders on disk: written whole or not at all, and checked before they are used.

A file is written beside its place, synced, and renamed over it; then its folder is synced. A folder
is filled beside its place, every file synced and hashed, the manifest of hashes written last, and
renamed. So a kill, a full disk or a power cut leaves the old state or the new one, never half.

Chosen: temporaries lie in the target's own folder, because a rename out of TMPDIR may cross a file
system and becomes a copy that can be cut short. Hashing runs beside the sync, which hides most of
its price. What this costs: for a moment the disk holds old and new at once. A disk that lies about
its syncs is not survived, only noticed by `verify_folder`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

from mulgil.disk import (
    disk_error,
    is_there,
    put_back,
    refused,
    require_space,
    sweep,
    sync_folder,
    temporary,
    unreadable,
)
from mulgil.errors import RunError, UserError
from mulgil.lock import Lock

__all__ = [
    "FORMAT",
    "MANIFEST",
    "Lock",
    "VersionError",
    "atomic_file",
    "commit_folder",
    "discard_folder",
    "make_folder",
    "require_space",
    "sha256_file",
    "sweep",
    "verify_folder",
    "weights_digest",
    "write_atomic",
]

MANIFEST = "MANIFEST.json"
"""Name of the file of checksums in a committed folder."""

FORMAT = 1
"""Version of the manifest's layout; a folder of another version is refused."""

_MANIFEST_CAP = 16 << 20


class VersionError(RunError):
    """A folder or checkpoint of another format version; it is whole, but not for this release."""


# ---------------------------------------------------------------- one file


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file whole, or leave the old one as it was.

    Args:
        path: the file; its folder must exist. A symbolic link is followed.
        data: the content; text is written as UTF-8 with its line ends unchanged.

    Raises:
        StorageError: the disk refused; with path, reason, bytes needed and bytes free.
        UserError: something is there that is not a plain file.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    with atomic_file(path, "wb", len(content)) as file:
        file.write(content)


@contextlib.contextmanager
def atomic_file(path: Path, mode: Literal["w", "wb"] = "w", needed: int = 0) -> Iterator[IO[Any]]:
    """Open a file that appears, whole, when the block ends, and not at all when the block fails.

    Args:
        path: the file; its folder must exist. A symbolic link is followed.
        mode: "w" for UTF-8 text with line ends unchanged, "wb" for bytes.
        needed: bytes that will be written, where known, for the message.

    Raises:
        StorageError: the disk refused; with path, reason, bytes needed and bytes free. When only
            the last step failed, the sync of the folder, the new file is there, but may not
            outlive a power cut.
        UserError: something is there that is not a plain file.
    """
    target = Path(os.path.realpath(path))
    temp, guest = temporary(target.parent, "file"), False
    try:
        mode_before = _replaceable(target)
        with _create(temp, mode) as file:
            guest = True
            yield file
            guest = False
            file.flush()
            os.fsync(file.fileno())
        if mode_before is not None:
            os.chmod(temp, mode_before)
        os.replace(temp, target)
        sync_folder(target.parent)
    except BaseException as error:
        cause = disk_error(error, guest, temp)
        with contextlib.suppress(OSError):
            needed = max(needed, os.stat(temp).st_size)
        with contextlib.suppress(OSError):
            os.unlink(temp)
        if cause is None:
            raise
        raise refused(path, cause, needed) from error


def _replaceable(path: Path) -> int | None:
    """Return the mode of the file that is there, None for none; refuse a device or a folder."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: is not a plain file, so it cannot be replaced; give a file name")
    return stat.S_IMODE(mode)


def _create(path: Path, mode: Literal["w", "wb"]) -> IO[Any]:
    if mode == "wb":
        return open(path, "xb")
    return open(path, "x", encoding="utf-8", newline="")


def weights_digest(folder: Path) -> str | None:
    """Return one hex digest of all weights (*.safetensors) in a folder, None without any."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        return None
    return hashlib.sha256("".join(map(sha256_file, weights)).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file as 64 hex digits.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


# ---------------------------------------------------------------- a folder


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they outlive a power cut.

    Raises:
        StorageError: the disk refused.
    """
    try:
        missing = [place for place in (folder, *folder.parents) if not place.is_dir()]
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
            sync_folder(place.parent)
    except OSError as error:
        raise refused(folder, error, 0) from error


def commit_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder with checked content appear whole, or leave what was there.

    A folder that is already there is replaced; between its going and the new one's coming lie two
    renames, and a kill just there is mended by `sweep`.

    Args:
        target: the folder; the one that holds it must exist.
        fill: writes the files into the empty folder that it is given. It may make sub-folders,
            but nothing else than plain files in them. Their modes become what the umask says.

    Raises:
        StorageError: the disk refused; what was there before is there still.
        RunError: `fill` made something that is not a plain file, or a file called MANIFEST.json.
        Exception: whatever `fill` raises; what was there before is there still.
    """
    target = Path(os.path.abspath(target))
    temp, aside = temporary(target.parent, "folder"), temporary(target.parent, "old")
    guest = False
    try:
        os.mkdir(temp)
        guest = True
        fill(temp)
        guest = False
        _seal(temp)
        if is_there(target):
            os.mkdir(aside)
            os.rename(target, aside / target.name)
        os.rename(temp, target)
        sync_folder(target.parent)
    except BaseException as error:
        cause, needed = disk_error(error, guest, temp), _size(temp)
        with contextlib.suppress(OSError):
            put_back(aside)
            os.rmdir(aside)
        shutil.rmtree(temp, ignore_errors=True)
        if cause is None:
            raise
        raise refused(target, cause, needed) from error
    shutil.rmtree(aside, ignore_errors=True)


def _seal(folder: Path) -> None:
    """Sync and hash every file, then write the manifest, then sync the folders."""
    files, folders = _tree(folder)
    if folder / MANIFEST in files:
        raise RunError(f"{folder / MANIFEST}: the name is taken by the checksums; use another")
    mode = stat.S_IMODE(os.stat(folder).st_mode) & 0o666
    entries = {}
    for path in files:
        os.chmod(path, mode)
        entries[path.relative_to(folder).as_posix()] = _sync_and_hash(path)
    with open(folder / MANIFEST, "xb") as file:
        file.write(_manifest(FORMAT, entries))
        file.flush()
        os.fsync(file.fileno())
    for place in reversed(folders):
        sync_folder(place)


def _sync_and_hash(path: Path) -> tuple[str, int]:
    """Return sha256 and length of a file, which is read while the disk writes it."""
    failed: list[OSError] = []

    def sync() -> None:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            failed.append(error)

    with open(path, "rb+") as file:
        beside = threading.Thread(target=sync)
        beside.start()
        try:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        finally:
            beside.join()
        if failed:
            raise failed[0]
        return digest, file.tell()


def _manifest(version: int, files: dict[str, Any]) -> bytes:
    """Return the manifest's bytes; its own hash stands in it, because no other file has it."""
    body = {"format": version, "files": files}
    text = json.dumps(body, sort_keys=True)
    digest = hashlib.sha256(text.encode("ascii")).hexdigest()
    return (json.dumps({**body, "sha256": digest}, sort_keys=True, indent=1) + "\n").encode("ascii")


def _tree(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return all files and all folders (itself first) below a folder, sorted."""
    files, folders = [], [folder]
    for path in sorted(folder.iterdir()):
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            inner = _tree(path)
            files += inner[0]
            folders += inner[1]
        elif stat.S_ISREG(mode):
            files.append(path)
        else:
            raise RunError(f"{path}: is not a plain file; remove it")
    return files, folders


def _size(folder: Path) -> int:
    """Return the bytes in a folder, as far as they can be counted."""
    try:
        return sum(os.lstat(path).st_size for path in _tree(folder)[0])
    except (OSError, RunError):
        return 0


def verify_folder(folder: Path) -> None:
    """Check a committed folder: every file there, none besides, each as it was saved.

    Raises:
        RunError: the manifest is missing or malformed, or a file is missing, extra or changed; the
            message names it.
        VersionError: the manifest is whole, but of another format version; names both.
        StorageError: the disk could not read a file.
    """
    try:
        expected = _read_manifest(folder)
        found = {path.relative_to(folder).as_posix(): path for path in _tree(folder)[0]}
        found.pop(MANIFEST, None)  # gone already when the folder is being removed
        for name in sorted(found.keys() ^ expected.keys()):
            state = "is not in the manifest" if name in found else "is missing"
            raise RunError(f"{folder / name}: {state}; the folder is not as it was saved")
        for name, path in found.items():
            digest, size = expected[name]
            if path.stat().st_size != size or sha256_file(path) != digest:
                raise RunError(f"{path}: has changed since it was saved; use another copy")
    except FileNotFoundError as error:
        raise RunError(f"{error.filename}: is missing; the folder is not whole") from error
    except OSError as error:
        raise unreadable(folder, error) from error


def _read_manifest(folder: Path) -> dict[str, tuple[str, int]]:
    path = folder / MANIFEST
    with open(path, "rb") as file:
        raw = file.read(_MANIFEST_CAP + 1)
    try:
        content = json.loads(raw)
        version, files = content["format"], content["files"]
        # Written again and compared: then no byte of it, not even a blank, can have changed.
        whole = len(raw) <= _MANIFEST_CAP and raw == _manifest(version, files)
        entries = {name: (entry[0], entry[1]) for name, entry in files.items()}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: is malformed; the folder is not as it was saved") from error
    if not whole:
        raise RunError(f"{path}: has changed since it was saved; use another copy of the folder")
    if version != FORMAT:
        raise VersionError(
            f"{folder}: saved in format {version}, but this release reads format {FORMAT};"
            " use the release that wrote it"
        )
    return entries


def discard_folder(folder: Path) -> None:
    """Remove a folder so that a reader sees it whole or not at all.

    Raises:
        StorageError: the disk refused; the folder may be gone from its name all the same.
    """
    temp = temporary(folder.parent, "folder")
    try:
        os.rename(folder, temp)
        shutil.rmtree(temp)
    except OSError as error:
        raise refused(folder, error, 0) from error

"""Files from outside: found on this machine or downloaded, and believed only when SHA-256 fits.

A file is looked for below `MULGIL_DATA`, then in the cache, and only then on the net. Chosen:
length and digest are pinned in the data set and checked at every use, so that neither a server,
nor a mirror, nor a killed run can slip other bytes in. A download goes to a `.part` file of its
own process and gets its name by one rename: no lock is needed, and what a failed run leaves is a
start for the next, never an answer. Which addresses may be asked at all is `web`'s business.

What that costs: hashing at every use (20 MB in 0.02 s); processes that start together each
download; whoever sits behind a proxy brings the files and names their folder in `MULGIL_DATA`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import os
import re
import secrets
import shutil
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from mulgil import web
from mulgil.contracts import Dataset
from mulgil.errors import FetchError, StorageError
from mulgil.flow import Source
from mulgil.storage import atomic_file, require_space, sha256_file

Progress = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all)."""

_CHUNK = 1 << 16
_TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)


@dataclasses.dataclass(frozen=True, slots=True)
class Joined(Source):
    """A file that is published in pieces: it is these, one after another; `url` is for people."""

    pieces: tuple[Source, ...] = ()


# ---------------------------------------------------------------- where a file is


def cache_folder() -> Path:
    """Return the folder for what can be had again: `MULGIL_CACHE`, or `~/.cache/mulgil`."""
    return Path(os.environ.get("MULGIL_CACHE") or "~/.cache/mulgil").expanduser()


def collect(
    dataset: type[Dataset] | Dataset, *, download: bool = True, progress: Progress | None = None
) -> dict[str, Path]:
    """Return a checked local file for the path of each source of a data set.

    Args:
        dataset: the data set, or its class.
        download: whether what is missing may be fetched.
        progress: called while a file is downloaded.

    Raises:
        FetchError: something is missing and may not or cannot be fetched, or is another file.
        StorageError: the cache folder cannot be written.
    """
    cache = cache_folder() / "data"
    found = {source.path: _local(source, cache) for source in dataset.sources}
    missing = [
        piece
        for source in dataset.sources
        if found[source.path] is None
        for piece in (source.pieces if isinstance(source, Joined) else (source,))
        if _local(piece, cache) is None
    ]
    if missing and not download:
        files = ", ".join(f"{s.path} ({s.size:,} bytes) from {s.url}" for s in missing)
        raise FetchError(
            f'data "{dataset.title}": not on this machine, and downloads are off: {files};'
            " bring them to these paths below a folder and name it in MULGIL_DATA (.gz will do)"
        )
    return {
        source.path: found[source.path] or fetch(source, cache, progress=progress)
        for source in dataset.sources
    }


def fetch(source: Source, folder: Path, *, progress: Progress | None = None) -> Path:
    """Return the checked file at `folder / source.path`, downloading it when it is not there.

    Args:
        source: what to fetch.
        folder: where it goes; made when it is missing.
        progress: called after each piece of the body.

    Raises:
        FetchError: an address is refused or not reached, or the bytes are not the pinned ones.
        StorageError: the disk is full or broken; what was there before is whole.
    """
    target = _below(folder, source.path)
    if _matches(target, source):
        return target
    with _storage(target, source):
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, Joined):
            found = [
                _local(piece, folder) or fetch(piece, folder, progress=progress)
                for piece in source.pieces
            ]
            return _copied(target, source, _bytes_of(found))
        try:
            return _downloaded(source, target, progress)
        except FetchError as error:
            raise FetchError(
                f"{error}; or bring the file and put it at {source.path} below the folder that"
                " MULGIL_DATA names"
            ) from error


def _local(source: Source, cache: Path) -> Path | None:
    """Return a checked file of this machine, or None.

    A wrong file below `MULGIL_DATA` is an error, because the user put it there; a wrong file in the
    cache is damage, and is fetched again.
    """
    cached = _below(cache, source.path)
    if own := os.environ.get("MULGIL_DATA"):
        folder = Path(own).expanduser()
        if not folder.is_dir():
            raise FetchError(f"MULGIL_DATA: {folder} is not a folder; name one, or unset it")
        plain = _below(folder, source.path)
        packed = plain.with_name(plain.name + ".gz")
        if plain.is_file():
            if _matches(plain, source):
                return plain
            raise FetchError(
                _differs(str(plain), source, plain.stat().st_size, sha256_file(plain))
                + "; get the published file, or unset MULGIL_DATA"
            )
        if packed.is_file() and not _matches(cached, source):
            with _storage(cached, source):
                cached.parent.mkdir(parents=True, exist_ok=True)
                return _copied(cached, source, _unpacked(packed))
    return cached if _matches(cached, source) else None


def _below(folder: Path, path: str) -> Path:
    """Return `folder / path`; a path that could lead elsewhere is refused."""
    parts = path.split("/")
    if (
        re.search(r"[\x00-\x1f\x7f\\:]", path)
        or any(part in ("", ".", "..") or len(part.encode()) > 200 for part in parts)
        or not unicodedata.is_normalized("NFC", path)
    ):
        raise FetchError(
            f"file name {web.shown(path)}: must be a plain path below the data folder, without"
            " .. or a leading /; mend the sources of the data set"
        )
    return folder.joinpath(*parts)


def _matches(path: Path, source: Source) -> bool:
    """Return whether a file is there with the pinned length and digest."""
    if not path.is_file() or path.stat().st_size != source.size:
        return False
    return sha256_file(path) == source.sha256


def _differs(name: str, source: Source, size: int, digest: str) -> str:
    return (
        f"{name}: has {size:,} bytes and SHA-256 {digest}; pinned are {source.size:,} bytes and"
        f" {source.sha256}"
    )


def _copied(target: Path, source: Source, chunks: Iterator[bytes]) -> Path:
    """Write what comes to `target`; nothing is kept unless length and digest are right."""
    digest, size = hashlib.sha256(), 0
    with atomic_file(target, "wb", source.size) as file:
        for chunk in chunks:
            size += len(chunk)
            if size > source.size:
                raise FetchError(
                    f"{source.path}: more than {source.size:,} bytes came out of the local file, so"
                    " it is not the published one; get it again"
                )
            digest.update(chunk)
            file.write(chunk)
        if digest.hexdigest() != source.sha256:
            raise FetchError(
                _differs(source.path, source, size, digest.hexdigest()) + "; get it again"
            )
    return target


def _unpacked(path: Path) -> Iterator[bytes]:
    """Yield what a gzip file holds, a bounded piece at a time."""
    try:
        with gzip.open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FetchError(f"{path}: a broken gzip file ({error}); get it again") from error


def _bytes_of(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk


@contextlib.contextmanager
def _storage(target: Path, source: Source) -> Iterator[None]:
    """Turn what the disk refuses into one line with the bytes needed."""
    try:
        yield
    except OSError as error:
        folder = next(folder for folder in target.absolute().parents if folder.is_dir())
        raise StorageError(
            f"{target}: cannot be written: {error.strerror or error} ({source.size:,} bytes needed,"
            f" {shutil.disk_usage(folder).free:,} free); make room, or set MULGIL_CACHE to a folder"
            " elsewhere"
        ) from error


# ---------------------------------------------------------------- one download


def _downloaded(source: Source, target: Path, progress: Progress | None) -> Path:
    """Download into a part file of our own, then give it its name."""
    require_space(target.parent, source.size, source.path)
    part = target.with_name(f"{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with part.open("w+b") as file:
            _adopt(file, target, source)
            _receive_all(source, file, progress)
        # No sync: a file that a power cut spoiled fails its next check and is fetched again.
        with contextlib.suppress(FileNotFoundError):  # swept by a process that was faster
            os.replace(part, target)
    except (FetchError, KeyboardInterrupt):
        # What a dropped line brought is a start for the next run; what was refused is empty by now.
        with contextlib.suppress(OSError):
            if part.stat().st_size:
                os.replace(part, target.with_name(target.name + ".part"))
        raise
    finally:
        part.unlink(missing_ok=True)
    if not _matches(target, source):
        raise FetchError(f"{target}: changed right after the download; try again")
    for leftover in _leftovers(target):
        leftover.unlink(missing_ok=True)
    return target


def _leftovers(target: Path) -> list[Path]:
    name = re.compile(re.escape(target.name) + r"\.(\d+-[0-9a-f]{8}\.)?part")
    return [path for path in target.parent.iterdir() if name.fullmatch(path.name)]


def _adopt(file: BinaryIO, target: Path, source: Source) -> None:
    """Copy the longest leftover of a failed run as a start.

    It is copied, not taken over: its owner may be alive and still writing, and the beginning of
    what it writes serves as well. The digest judges it in the end.
    """
    sizes = {}
    for path in _leftovers(target):
        with contextlib.suppress(FileNotFoundError):
            sizes[path] = path.stat().st_size
    longest = max(sizes, key=lambda path: sizes[path])  # at the least our own, which is empty
    with contextlib.suppress(FileNotFoundError), longest.open("rb") as start:
        while chunk := start.read(min(_CHUNK, source.size - file.tell())):
            file.write(chunk)


def _receive_all(source: Source, file: BinaryIO, progress: Progress | None) -> None:
    """Fill `file` with the pinned bytes, in a few attempts and a limited time."""
    rules = web.RULES
    seconds = rules.grace + source.size / rules.slowest
    deadline, reason = time.monotonic() + seconds, ""
    for attempt in range(rules.attempts):
        if attempt:
            left = deadline - time.monotonic()
            time.sleep(max(0.0, min(left, rules.pause * 2 ** (attempt - 1))))
        if time.monotonic() >= deadline:
            raise FetchError(
                f"{source.url}: not done within {seconds:.0f} s ({reason}); try again later"
            )
        resumed = file.tell() > 0
        try:
            if file.tell() < source.size:
                _receive(source, file, deadline, progress)
            return _verify(source, file, resumed)
        except web.TryAgainError as error:
            reason = str(error)
    raise FetchError(f"{source.url}: {reason}, {rules.attempts} times tried; try again later")


def _receive(source: Source, file: BinaryIO, deadline: float, progress: Progress | None) -> None:
    """Append the bytes that are missing."""
    with contextlib.closing(web.follow(source.url, file.tell(), deadline)) as line:
        _accept(line, source, file)
        room = source.size - file.tell()
        if line.length is not None and line.length != room:
            fault = f"{file.tell() + line.length:,} bytes are offered, not {source.size:,}"
            raise _refused(source, file, fault, line.read())
        while chunk := line.read():
            room -= len(chunk)
            if room < 0:
                raise _refused(source, file, f"more than {source.size:,} bytes came", chunk)
            file.write(chunk)
            if progress:
                progress(file.tell(), source.size)
    if room:
        fault = f"broke off after {file.tell():,} of {source.size:,} bytes"
        if _is_page(_head(file)):
            raise _refused(source, file, fault)
        raise web.TryAgainError(fault)


def _accept(line: web.Line, source: Source, file: BinaryIO) -> None:
    """Make `file` end where the answer's body begins, or refuse the answer."""
    if line.status == 200:  # from the start, even when only the end was asked for
        _cut(file)
    elif line.status == 206:
        place = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", line.header("Content-Range"))
        wanted = (str(file.tell()), str(source.size - 1))
        if not place or place.group(1, 2) != wanted or place[3] not in (str(source.size), "*"):
            _cut(file)
            raise web.TryAgainError("another range came than was asked for")
    elif line.status == 416:
        _cut(file)
        raise web.TryAgainError("HTTP 416")
    elif line.status in _TRY_AGAIN:
        raise web.TryAgainError(f"HTTP {line.status}")
    else:
        raise FetchError(f"{line.url}: HTTP {line.status}")


def _verify(source: Source, file: BinaryIO, resumed: bool) -> None:
    """Check the digest of a file of full length; when its start was old, ask for a fresh one."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    if digest.hexdigest() == source.sha256:
        return
    if resumed:
        _cut(file)
        raise web.TryAgainError("what an earlier attempt left does not fit")
    fault = _differs("the body", source, source.size, digest.hexdigest())
    raise _refused(source, file, fault)


def _refused(source: Source, file: BinaryIO, fault: str, more: bytes = b"") -> FetchError:
    """Throw the bytes away and return the error that says what they were."""
    if _is_page(_head(file) + more):
        fault = "this is a web page, not the file (a login, a quota or an error)"
    _cut(file)
    return FetchError(f"{source.url}: {fault}")


def _cut(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _head(file: BinaryIO) -> bytes:
    """Return the file's first bytes; the position is at its end again afterwards."""
    file.seek(0)
    head = file.read(512)
    file.seek(0, os.SEEK_END)
    return head


def _is_page(head: bytes) -> bool:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head"))

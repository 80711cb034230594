"""Files that are here already, that come in pieces, or find no room; ids DL-.. name the faults."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bad_server
import pytest
from bad_server import BODY, Server, names, refused, source

from mulgil import fetch, storage
from mulgil.contracts import Dataset
from mulgil.errors import FetchError, StorageError
from mulgil.flow import Parts, Source

server, loose, no_folders = bad_server.server, bad_server.loose, bad_server.no_folders


def a_set(*sources: Source) -> type[Dataset]:
    class Own(Dataset):
        title = "two own files"

        def read(self, files: Any) -> Parts:
            return Parts(rows={})

    Own.sources = sources
    return Own


def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)


def data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "set").mkdir(parents=True)
    monkeypatch.setenv("MULGIL_DATA", str(folder))
    return folder


ONE, TWO = source("https://files.example.org/1"), source("https://files.example.org/2", "set/2.txt")


def test_downloads_off_lists_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """DL-13: nothing here: what to fetch, where from, and where to put it, in one line."""
    no_sockets(monkeypatch)
    with pytest.raises(FetchError) as caught:
        fetch.collect(a_set(ONE, TWO), download=False)
    message = str(caught.value)
    for part in ("two own files", ONE.url, TWO.url, ONE.path, TWO.path, "MULGIL_DATA"):
        assert part in message
    assert "\n" not in message


def test_everything_here_opens_no_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DL-13: plain below MULGIL_DATA, packed below MULGIL_DATA, and in the cache."""
    no_sockets(monkeypatch)
    folder = data_folder(monkeypatch, tmp_path)
    three = source("https://files.example.org/3", "set/3.txt")
    (folder / ONE.path).write_bytes(BODY)
    (folder / "set/2.txt.gz").write_bytes(gzip.compress(BODY))
    cache = fetch.cache_folder() / "data/set"
    cache.mkdir(parents=True)
    (cache / "3.txt").write_bytes(BODY)
    files = fetch.collect(a_set(ONE, TWO, three)(None))
    assert files == {
        ONE.path: folder / ONE.path,
        TWO.path: cache / "2.txt",
        three.path: cache / "3.txt",
    }
    assert all(path.read_bytes() == BODY for path in files.values())


def test_a_packed_file_is_unpacked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = data_folder(monkeypatch, tmp_path)
    (folder / "set/file.txt.gz").write_bytes(gzip.compress(BODY))
    path = fetch.collect(a_set(ONE), download=False)[ONE.path]
    before = path.stat().st_mtime_ns
    assert fetch.collect(a_set(ONE), download=False)[ONE.path] == path
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"damaged")
    assert fetch.collect(a_set(ONE), download=False)[ONE.path].read_bytes() == BODY


@pytest.mark.parametrize(
    ("packed", "says"),
    [
        (gzip.compress(bytes(50_000_000)), "more than"),
        (gzip.compress(BODY[:-1] + b"?"), hashlib.sha256(BODY).hexdigest()),
        (gzip.compress(BODY[:-1]), f"{len(BODY) - 1:,} bytes"),
        (gzip.compress(BODY)[:-2000], "broken gzip"),
        (gzip.compress(BODY)[:500] + b"????" + gzip.compress(BODY)[504:], "broken gzip|pinned"),
        (gzip.compress(BODY) + b"rubbish", "broken gzip"),
        (gzip.compress(gzip.compress(BODY)), "pinned are"),
        (b"not gzip at all", "broken gzip"),
        (b"", "pinned are"),
    ],
)
def test_a_packed_file_that_is_a_bomb_or_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, packed: bytes, says: str
) -> None:
    """DL-11: refused while it streams, with nothing left in the cache."""
    folder = data_folder(monkeypatch, tmp_path)
    (folder / "set/file.txt.gz").write_bytes(packed)
    with pytest.raises(FetchError, match=says):
        fetch.collect(a_set(ONE), download=False)
    assert not fetch.cache_folder().exists() or names(fetch.cache_folder()) == []


def test_a_bomb_is_stopped_at_the_cap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DL-11: no more than one piece beyond the pinned length is ever unpacked."""
    folder = data_folder(monkeypatch, tmp_path)
    (folder / "set/file.txt.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    unpacked = 0
    ordinary = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        nonlocal unpacked
        chunk = ordinary(self, size)
        unpacked += len(chunk)
        return chunk

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    with pytest.raises(FetchError):
        fetch.collect(a_set(ONE), download=False)
    assert len(BODY) < unpacked < len(BODY) + 100_000


def test_a_wrong_own_file_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DL-14: what the user put there is not passed over in silence."""
    folder = data_folder(monkeypatch, tmp_path)
    (folder / ONE.path).write_bytes(b"another edition")
    with pytest.raises(FetchError, match=r"data/set/file\.txt: has 15 bytes"):
        fetch.collect(a_set(ONE))


def test_a_missing_data_folder_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MULGIL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FetchError, match="MULGIL_DATA"):
        fetch.collect(a_set(ONE))


def test_collect_downloads_what_is_missing(server: Server, loose: Callable[..., None]) -> None:
    files = fetch.collect(a_set(source(server.url())))
    assert files == {"set/file.txt": fetch.cache_folder() / "data/set/file.txt"}
    assert files["set/file.txt"].read_bytes() == BODY


# ---------------------------------------------------------------- published in pieces


def joined(server: Server) -> fetch.Joined:
    cut = 90_000
    pieces = (
        source(server.url("/1"), "set/1", BODY[:cut]),
        source(server.url("/2"), "set/2", BODY[cut:]),
    )
    whole = source("https://files.example.org")
    return fetch.Joined(whole.path, whole.url, whole.sha256, whole.size, pieces)


def test_pieces_are_fetched_and_joined(
    server: Server, loose: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.scripts = [lambda ask: ask.serve(BODY[:90_000] if ask.path == "/1" else BODY[90_000:])]
    files = fetch.collect(a_set(joined(server)))
    assert files["set/file.txt"].read_bytes() == BODY
    no_sockets(monkeypatch)
    assert fetch.collect(a_set(joined(server)), download=False) == files


def test_pieces_of_this_machine_are_used(
    server: Server, loose: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DL-13: only the missing piece is listed, and only that is fetched."""
    folder = data_folder(monkeypatch, tmp_path)
    (folder / "set/1.gz").write_bytes(gzip.compress(BODY[:90_000]))
    with pytest.raises(FetchError) as caught:
        fetch.collect(a_set(joined(server)), download=False)
    assert "set/2" in str(caught.value)
    assert "set/1 " not in str(caught.value)
    server.scripts = [lambda ask: ask.serve(BODY[90_000:])]
    assert fetch.collect(a_set(joined(server)))["set/file.txt"].read_bytes() == BODY
    assert server.asked == [("/2", None)]


def test_the_whole_of_this_machine_needs_no_pieces(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_sockets(monkeypatch)
    folder = data_folder(monkeypatch, tmp_path)
    (folder / "set/file.txt.gz").write_bytes(gzip.compress(BODY))
    files = fetch.collect(a_set(joined(server)), download=False)
    assert files["set/file.txt"].read_bytes() == BODY


# ---------------------------------------------------------------- the disk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_full_or_broken_disk(
    server: Server,
    loose: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    number: int,
) -> None:
    """DL-12: the bytes needed are named, the part file gives its room back, the rest is whole."""

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() + len(data) > 50_000:
                raise OSError(number, os.strerror(number))
            return super().write(data) or 0

    ordinary = Path.open

    def opened(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        return Full(path, "w+") if mode == "w+b" else ordinary(path, mode, *rest, **more)

    (tmp_path / "set").mkdir()
    (tmp_path / "set/other.txt").write_bytes(b"old")
    monkeypatch.setattr(Path, "open", opened)
    message = refused(server, tmp_path, StorageError)
    assert f"{len(BODY):,} bytes needed" in message
    assert names(tmp_path) == ["set/other.txt"]


def test_too_little_room_is_said_before_the_download(
    server: Server,
    loose: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """DL-12."""
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: usage)
    assert f"{len(BODY):,} bytes" in refused(server, tmp_path, StorageError)
    assert server.asked == []


@pytest.mark.parametrize(
    "path",
    [
        "../out.txt", "set/../../out.txt", "/etc/out.txt", "set//out.txt", "set/./out.txt", "",
        "set/", "out\0.txt", "set\\..\\out.txt", "c:out.txt", "a\nb.txt", "x" * 300 + ".txt",
        "가" * 100, "set/\u1106\u116e\u11af.txt",
    ],
)  # fmt: skip
def test_file_names_that_lead_elsewhere(
    server: Server, loose: Callable[..., None], tmp_path: Path, path: str
) -> None:
    """DL-15: dots, roots, NUL, 300 bytes, decomposed Hangul; refused before anything is asked."""
    with pytest.raises(FetchError, match="must be a plain path") as caught:
        fetch.fetch(source(server.url(), path), tmp_path / "in")
    assert "\n" not in str(caught.value)
    assert server.asked == []
    assert names(tmp_path) == []

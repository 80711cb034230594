"""Downloads from a server that misbehaves on purpose; ids DL-.. name the faults."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import bad_server
import pytest
from bad_server import BODY, PAGE, Ask, Script, Server, names, refused, source
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mulgil import fetch
from mulgil.errors import FetchError
from mulgil.flow import Source

server, loose, no_folders = bad_server.server, bad_server.loose, bad_server.no_folders


# ---------------------------------------------------------------- the ordinary way


def test_fetches_once_and_reports_progress(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch.fetch(source(server.url()), tmp_path, progress=lambda *at: seen.append(at))
    assert path == tmp_path / "set/file.txt"
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)
    fetch.fetch(source(server.url()), tmp_path)
    assert len(server.asked) == 1
    assert names(tmp_path) == ["set/file.txt"]


def test_chunked_body_without_a_length(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    def chunked(ask: Ask) -> None:
        ask.send(200, "Transfer-Encoding: chunked")
        for at in range(0, len(BODY), 50_000):
            piece = BODY[at : at + 50_000]
            ask.plug.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        ask.plug.sendall(b"0\r\n\r\n")

    server.scripts = [chunked]
    assert fetch.fetch(source(server.url()), tmp_path).read_bytes() == BODY


def test_a_damaged_cached_file_is_fetched_again(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    wanted = source(server.url())
    path = fetch.fetch(wanted, tmp_path)
    path.write_bytes(BODY[:-1] + b"?")
    assert fetch.fetch(wanted, tmp_path).read_bytes() == BODY


# ---------------------------------------------------------------- broken transfers


def test_truncated_body_is_taken_up_where_it_broke(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    """DL-01: half of the body, then the line closes."""
    server.scripts = [lambda ask: ask.serve(upto=70_000), Ask.serve]
    assert fetch.fetch(source(server.url()), tmp_path).read_bytes() == BODY
    assert server.asked == [("/file", None), ("/file", 70_000)]


def test_always_truncated_gives_up_with_nothing_at_the_final_name(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    """DL-01: a clear error; what came is kept as a start for the next run only."""
    server.scripts = [lambda ask: ask.serve(upto=5000), lambda ask: ask.send(206)]
    message = refused(server, tmp_path)
    assert "4 times tried" in message
    assert "MULGIL_DATA" in message
    server.scripts = [lambda ask: ask.serve(upto=5000)]
    refused(server, tmp_path)
    assert names(tmp_path) == ["set/file.txt.part"]
    assert (tmp_path / "set/file.txt.part").stat().st_size == 5000
    server.scripts = [Ask.serve]
    fetch.fetch(source(server.url()), tmp_path)
    assert server.asked[-1] == ("/file", 5000)
    assert names(tmp_path) == ["set/file.txt"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(
    server: Server, loose: Callable[..., None], tmp_path: Path, status: int
) -> None:
    server.scripts = [lambda ask: ask.send(status), Ask.serve]
    assert fetch.fetch(source(server.url()), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusing_server_is_not(
    server: Server, loose: Callable[..., None], tmp_path: Path, status: int
) -> None:
    server.scripts = [lambda ask: ask.send(status)]
    assert f"HTTP {status}" in refused(server, tmp_path)
    assert len(server.asked) == 1


def test_wrong_bytes_name_both_digests(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    """DL-02, DL-14: the right length, one byte off."""
    wrong = b"?" + BODY[1:]
    server.scripts = [lambda ask: ask.serve(wrong)]
    message = refused(server, tmp_path)
    assert hashlib.sha256(wrong).hexdigest() in message
    assert hashlib.sha256(BODY).hexdigest() in message
    assert names(tmp_path) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("longer", [-1000, 1000])
def test_another_length_is_refused_before_the_body(
    server: Server, loose: Callable[..., None], tmp_path: Path, longer: int
) -> None:
    """DL-14: the file was changed upstream."""
    other = (BODY * 2)[: len(BODY) + longer]
    server.scripts = [lambda ask: ask.serve(other)]
    assert f"{len(other):,} bytes are offered, not {len(BODY):,}" in refused(server, tmp_path)
    assert names(tmp_path) == []


CHILD = textwrap.dedent("""
    import sys, pathlib
    from mulgil import fetch, web
    from mulgil.contracts import Source
    try:
        import fcntl
        fcntl.flock = lambda *a: None
    except ImportError:
        pass
    web.RULES = web.Rules(schemes=("http",), allowed=lambda a: a == "127.0.0.1", pause=0.01)
    url, folder, sha256, size = sys.argv[1:]
    path = fetch.fetch(Source("set/file.txt", url, sha256, int(size)), pathlib.Path(folder))
    sys.exit(0 if path.read_bytes()[:1] == b"0" else 9)
""")


def child(wanted: Source, folder: Path) -> subprocess.Popen[bytes]:
    arguments = [wanted.url, str(folder), wanted.sha256, str(wanted.size)]
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("spoiled", [False, True])
def test_killed_while_downloading(
    server: Server, loose: Callable[..., None], tmp_path: Path, spoiled: bool
) -> None:
    """DL-03: the next run takes up the leftover, and is right also when the leftover is rubbish."""

    def stalls(ask: Ask) -> None:
        ask.send(200, f"Content-Length: {len(BODY)}", body=BODY[:150_000])
        time.sleep(30)

    server.scripts = [stalls, Ask.serve]
    process = child(source(server.url()), tmp_path)
    limit = time.monotonic() + 20
    while sum(f.stat().st_size for f in tmp_path.rglob("*.part")) < 100_000:
        assert time.monotonic() < limit
        time.sleep(0.01)
    process.kill()
    process.wait()
    (leftover,) = tmp_path.rglob("*.part")
    size = leftover.stat().st_size
    assert not (tmp_path / "set/file.txt").exists()
    if spoiled:
        leftover.write_bytes(b"?" * size)
    assert fetch.fetch(source(server.url()), tmp_path).read_bytes() == BODY
    assert server.asked[1] == ("/file", size)
    assert len(server.asked) == (3 if spoiled else 2)
    assert names(tmp_path) == ["set/file.txt"]


@pytest.mark.parametrize("good", [True, False])
def test_a_leftover_of_full_length_is_checked_too(
    server: Server, loose: Callable[..., None], tmp_path: Path, good: bool
) -> None:
    """DL-03: killed between the last byte and the rename."""
    (tmp_path / "set").mkdir()
    whole = BODY if good else BODY[::-1]
    (tmp_path / "set/file.txt.4711-00c0ffee.part").write_bytes(whole + b"more")
    assert fetch.fetch(source(server.url()), tmp_path).read_bytes() == BODY
    assert len(server.asked) == (0 if good else 1)
    assert names(tmp_path) == ["set/file.txt"]


def test_four_processes_without_a_lock(server: Server, tmp_path: Path) -> None:
    """DL-04: flock does nothing; four processes, one valid file, no litter."""

    def slowly(ask: Ask) -> None:
        begin = ask.start or 0
        size = len(BODY)
        if begin:
            ask.send(206, f"Content-Range: bytes {begin}-{size - 1}/{size}")
        else:
            ask.send(200)
        for at in range(begin, size, 40_000):
            ask.plug.sendall(BODY[at : at + 40_000])
            time.sleep(0.05)

    server.scripts = [slowly]
    processes = [child(source(server.url()), tmp_path) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0, 0]
    assert (tmp_path / "set/file.txt").read_bytes() == BODY
    assert names(tmp_path) == ["set/file.txt"]


def test_swept_by_a_faster_process(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    """DL-04: another process finishes first and sweeps our part file away."""

    def sweep(done: int, size: int) -> None:
        for part in tmp_path.rglob("*.part"):
            part.unlink()
        (tmp_path / "set/file.txt").write_bytes(BODY)

    path = fetch.fetch(source(server.url()), tmp_path, progress=sweep)
    assert path.read_bytes() == BODY
    assert names(tmp_path) == ["set/file.txt"]


@pytest.mark.parametrize(
    "place",
    ["bytes {lower}-{last}/{size}", "bytes {start}-{last}/{more}", "bytes */{size}", "rubbish", ""],
)
def test_a_wrong_content_range_starts_anew(
    server: Server, loose: Callable[..., None], tmp_path: Path, place: str
) -> None:
    """DL-05: the bytes that come belong elsewhere."""

    def misplaced(ask: Ask) -> None:
        start, size = ask.start or 0, len(BODY)
        text = place.format(lower=start - 10, start=start, last=size - 1, size=size, more=size + 10)
        ask.send(206, f"Content-Range: {text}", body=BODY[start - 10 :])

    server.scripts = [lambda ask: ask.serve(upto=70_000), misplaced, Ask.serve]
    assert fetch.fetch(source(server.url()), tmp_path).read_bytes() == BODY
    assert [start for _, start in server.asked] == [None, 70_000, None]


def test_a_lying_content_range_is_found_by_the_digest(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    """DL-05: the header is right, the bytes are not."""

    def lying(ask: Ask) -> None:
        start, size = ask.start or 0, len(BODY)
        ask.send(206, f"Content-Range: bytes {start}-{size - 1}/{size}", body=BODY[: size - start])

    server.scripts = [lambda ask: ask.serve(upto=70_000), lying, Ask.serve]
    assert fetch.fetch(source(server.url()), tmp_path).read_bytes() == BODY
    assert [start for _, start in server.asked] == [None, 70_000, None]


def test_a_server_that_ignores_range(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    """DL-06: 200 and the whole file, though its end was asked for."""

    def whole(ask: Ask) -> None:
        ask.start = None
        ask.serve()

    server.scripts = [lambda ask: ask.serve(upto=70_000), whole]
    assert fetch.fetch(source(server.url()), tmp_path).read_bytes() == BODY
    assert len(server.asked) == 2


def test_range_not_satisfiable_starts_anew(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    server.scripts = [
        lambda ask: ask.serve(upto=70_000),
        lambda ask: ask.send(416, f"Content-Range: bytes */{len(BODY)}"),
        Ask.serve,
    ]
    assert fetch.fetch(source(server.url()), tmp_path).read_bytes() == BODY


def test_endless_body_is_cut_at_the_cap(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    """DL-08: no length, no end."""
    sent = 0

    def endless(ask: Ask) -> None:
        nonlocal sent
        ask.send(200)
        while sent < 200 * len(BODY):
            ask.plug.sendall(BODY)
            sent += len(BODY)

    server.scripts = [endless]
    assert f"more than {len(BODY):,} bytes" in refused(server, tmp_path)
    assert names(tmp_path) == []
    assert sent < 100 * len(BODY)


@pytest.mark.parametrize("where", ["headers", "body"])
def test_slow_drip_ends_at_the_deadline(
    server: Server, loose: Callable[..., None], tmp_path: Path, where: str
) -> None:
    """DL-08: a byte every 50 ms keeps every read alive; the total deadline does not care."""
    loose(grace=0.5, slowest=1e9)

    def drips(ask: Ask) -> None:
        ask.plug.sendall(b"HTTP/1.1 200 -\r\nX: ")
        if where == "body":
            ask.plug.sendall(b"x\r\n\r\n")
        for _ in range(200):
            ask.plug.sendall(b"0")
            time.sleep(0.05)

    server.scripts = [drips]
    begin = time.monotonic()
    assert "not done within" in refused(server, tmp_path)
    assert time.monotonic() - begin < 2.0


def test_silence_is_not_waited_for(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    """DL-08: a server that says nothing at all is asked again after `silence`."""
    loose(silence=0.2)
    server.scripts = [lambda ask: time.sleep(5), Ask.serve]
    begin = time.monotonic()
    assert fetch.fetch(source(server.url()), tmp_path).read_bytes() == BODY
    assert time.monotonic() - begin < 2.0


@pytest.mark.parametrize("length", [True, False])
def test_a_web_page_is_not_the_file(
    server: Server, loose: Callable[..., None], tmp_path: Path, length: bool
) -> None:
    """DL-09: 200 with a quota page; asked once, for it would come again."""
    headers = [f"Content-Length: {len(PAGE)}"] if length else []
    server.scripts = [lambda ask: ask.send(200, "Content-Type: text/html", *headers, body=PAGE)]
    assert "this is a web page, not the file" in refused(server, tmp_path)
    assert names(tmp_path) == []
    assert len(server.asked) == 1


def test_a_web_page_of_the_right_length_is_not_either(
    server: Server, loose: Callable[..., None], tmp_path: Path
) -> None:
    """DL-09."""
    server.scripts = [lambda ask: ask.serve(PAGE + b" " * (len(BODY) - len(PAGE)))]
    assert "this is a web page, not the file" in refused(server, tmp_path)


FAULTS: dict[str, Script] = {
    "cut": lambda ask: ask.serve(upto=(ask.start or 0) + 30_000),
    "flip": lambda ask: ask.serve(BODY[:99] + b"?" + BODY[100:]),
    "busy": lambda ask: ask.send(503),
    "whole": lambda ask: ask.send(200, body=BODY),
    "reset": lambda ask: None,
    "misplaced": lambda ask: ask.send(206, "Content-Range: bytes 5-9/10", body=b"abcde"),
    "half length": lambda ask: ask.send(200, "Content-Length: 10", body=BODY[:10]),
    "rubbish": lambda ask: ask.plug.sendall(b"\x00\xffnot http\r\n\r\n"),
    "good": Ask.serve,
}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(faults=st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=5))
def test_any_mixture_of_faults_gives_the_file_or_nothing(
    server: Server, loose: Callable[..., None], tmp_path: Path, faults: list[str]
) -> None:
    """DL-01, 02, 05, 06 together: the pinned bytes or an error, never anything else."""
    loose(pause=0.0)
    server.asked.clear()
    server.scripts = [FAULTS[fault] for fault in faults]
    folder = tmp_path / "any"
    shutil.rmtree(folder, ignore_errors=True)
    for _ in range(2):
        with contextlib.suppress(FetchError):
            assert fetch.fetch(source(server.url()), folder).read_bytes() == BODY
            return
        assert not (folder / "set/file.txt").exists()
    assert len(names(folder)) <= 1

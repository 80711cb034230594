"""A loopback server that misbehaves on purpose, and fixtures that let tests reach it."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mulgil import fetch, web
from mulgil.errors import FetchError
from mulgil.flow import Source

BODY = "".join(f"{n}\t물길은 {n}번째 줄을 보낸다\n" for n in range(6000)).encode()
PAGE = "<!DOCTYPE html>\n<html><body>하루 한도를 넘었습니다</body></html>".encode()

Script = Callable[["Ask"], None]


class Ask:
    """One request, and the means to answer it badly."""

    def __init__(self, plug: socket.socket, head: str) -> None:
        self.plug = plug
        self.path = head.split(" ")[1]
        found = re.search(r"(?im)^range: bytes=(\d+)-", head)
        self.start = int(found[1]) if found else None

    def send(self, status: int, *headers: str, body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status} -", *headers, "Connection: close", "", ""]
        self.plug.sendall("\r\n".join(lines).encode() + body)

    def serve(self, body: bytes = BODY, upto: int | None = None) -> None:
        """Answer properly, Range included, but hang up at `upto`."""
        if self.start is None:
            self.send(200, f"Content-Length: {len(body)}", body=body[:upto])
        else:
            size = len(body)
            self.send(
                206,
                f"Content-Range: bytes {self.start}-{size - 1}/{size}",
                f"Content-Length: {size - self.start}",
                body=body[self.start : upto],
            )


class Server:
    """Answers the n-th request by the n-th script, and later ones by the last."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.scripts: list[Script] = [Ask.serve]
        self.asked: list[tuple[str, int | None]] = []
        self.context = context
        self.plug = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self.plug.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path: str = "/file", host: str = "127.0.0.1") -> str:
        return f"{'https' if self.context else 'http'}://{host}:{self.port}{path}"

    def _accept(self) -> None:
        while True:
            try:
                plug, _ = self.plug.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(plug,), daemon=True).start()

    def _answer(self, plug: socket.socket) -> None:
        with contextlib.suppress(OSError, IndexError), plug:
            if self.context:
                plug = self.context.wrap_socket(plug, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                head += plug.recv(4096) or b"\r\n\r\n"
            ask = Ask(plug, head.decode("latin-1"))
            self.asked.append((ask.path, ask.start))
            self.scripts[min(len(self.asked), len(self.scripts)) - 1](ask)
            plug.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.plug.close()


def only_here(address: str) -> bool:
    return address == "127.0.0.1"


LOOSE: dict[str, Any] = {
    "schemes": ("http",),
    "allowed": only_here,
    "pause": 0.01,
    "silence": 5.0,
    "grace": 10.0,
}


@pytest.fixture
def loose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Allow http to 127.0.0.1, and nothing else, in this test; calling it changes more rules."""

    def use(**changes: Any) -> None:
        monkeypatch.setattr(web, "RULES", web.Rules(**LOOSE | changes))

    use()
    return use


@pytest.fixture(autouse=True)
def no_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MULGIL_DATA", raising=False)
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path / "cache"))


def source(url: str, path: str = "set/file.txt", body: bytes = BODY) -> Source:
    return Source(path, url, hashlib.sha256(body).hexdigest(), len(body))


def names(folder: Path) -> list[str]:
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


def refused(server: Server, folder: Path, error: type[Exception] = FetchError) -> str:
    """Fetch, expect one line of refusal, and nothing at the final name."""
    with pytest.raises(error) as caught:
        fetch.fetch(source(server.url()), folder)
    assert not (folder / "set/file.txt").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)

"""A small OpenAI-compatible server on loopback, scripted, and what tests ask it by.

Its model is arithmetic: each character is a token, and ln p of a character depends on it alone.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mulgil.flow import Head, Sampling
from mulgil.models._endpoint import EndpointNetwork
from mulgil.models.endpoint import Endpoint, EndpointSettings

KEY = "sk-vErYsEcReT0123456789"

ALL = frozenset({"completions", "chat", "echo", "empty", "logprobs", "tops", "guided", "seed"})
"""What a server can do: its doors; repeat the prompt; write nothing; tell likelihoods; tell those
of the likeliest tokens; take `guided_choice`; take `seed`."""

Fault = Callable[["Handler"], None]


def chance(character: str) -> float:
    """Return ln p of a character."""
    return -(ord(character) % 11 + 1) / 10


class Server(ThreadingHTTPServer):
    """Answers requests; `with Server() as server:`.

    Attributes:
        skills: what it can do, of `ALL`.
        faults: by number of the request, counted from 0: what it does instead of answering.
        answer: from prompt to text.
        tops: from prompt to the likeliest first tokens, (token, bytes or None, probability).
        ignores: fields that it passes over without a word.
        before: stands before each text as a token, as `<s>` does.
        asked: (path, body) of each request, in the order in which they came.
        headers: of each request.
        most: requests that were under way at once.
        meet: waits for other requests, where set.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *skills: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.skills = frozenset(skills) or ALL
        self.faults: dict[int, Fault] = {}
        self.answer: Callable[[str], str] = lambda prompt: "긍정"
        self.tops: Callable[[str], list[tuple[str, list[int] | None, float]]] = lambda prompt: [
            ("긍", None, 0.6),
            ("부", None, 0.3),
        ]
        self.ignores: set[str] = set()
        self.before = ""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.most = self.running = 0
        self.meet: Callable[[dict[str, Any]], None] = lambda body: None
        self.released = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are a part of the tests."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            number = len(server.asked)
            server.asked.append((self.path, body))
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.running += 1
            server.most = max(server.most, server.running)
        try:
            server.meet(body)
            fault = server.faults.get(number, server.faults.get(-1))
            if fault is not None:
                fault(self)
            else:
                self.answer(body)
        finally:
            with server.lock:
                server.running -= 1

    def send(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, message: str, *headers: tuple[str, str], code: str = "") -> None:
        error = {"message": message, "type": "error", "code": code}
        self.send(status, json.dumps({"error": error}).encode(), *headers)

    def answer(self, body: dict[str, Any]) -> None:
        skills = self.server.skills
        body = {name: value for name, value in body.items() if name not in self.server.ignores}
        door = "chat" if self.path.endswith("/chat/completions") else "completions"
        if door not in skills:
            return self.refuse(404, "Not Found")
        if "guided_choice" in body and "guided" not in skills:
            return self.refuse(400, "Unrecognized request argument supplied: guided_choice")
        if "seed" in body and "seed" not in skills:
            return self.refuse(422, "Unsupported parameter: 'seed'")
        if body.get("echo") and "echo" not in skills:
            return self.refuse(400, "echo is not supported")
        if body.get("max_tokens") == 0 and "empty" not in skills:
            return self.refuse(400, "max_tokens must be at least 1")
        found = self.chat(body) if door == "chat" else self.completion(body)
        self.send(200, json.dumps(found).encode())
        return None

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt, server = body["prompt"], self.server
        new = server.answer(prompt)[: body["max_tokens"]]
        tokens = [*([server.before] if server.before else [])]
        tokens += [*(prompt if body.get("echo") else ""), *new]
        read = len(prompt) + bool(server.before)
        told = None
        if "logprobs" in body and "logprobs" in server.skills:
            chances = [None if i == 0 else chance(t[-1]) for i, t in enumerate(tokens)]
            tops = [{token: math.log(p) for token, _, p in server.tops(prompt)}]
            told = {
                "tokens": tokens,
                "token_logprobs": chances,
                "text_offset": [sum(map(len, tokens[:i])) for i in range(len(tokens))],
                "top_logprobs": tops if body["logprobs"] > 1 and "tops" in server.skills else None,
            }
        text = (prompt if body.get("echo") else "") + new
        choice = {"text": text, "index": 0, "logprobs": told, "finish_reason": "length"}
        return {"choices": [choice], "usage": usage(read, len(new))}

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        server = self.server
        prompt = "\n".join(message["content"] for message in body["messages"])
        new = server.answer(prompt)[: body.get("max_tokens", body.get("max_completion_tokens"))]
        told = None
        if body.get("logprobs") and "logprobs" in server.skills:
            tops = [
                {"token": token, "bytes": raw, "logprob": math.log(p)}
                for token, raw, p in server.tops(prompt)
            ]
            shown = tops if "tops" in server.skills and body.get("top_logprobs") else []
            content = [
                {"token": t, "bytes": [*t.encode()], "logprob": chance(t), "top_logprobs": shown}
                for t in new
            ]
            told = {"content": content}
        message = {"role": "assistant", "content": new}
        choice = {"message": message, "index": 0, "logprobs": told, "finish_reason": "stop"}
        return {"choices": [choice], "usage": usage(len(prompt), len(new))}


def usage(read: int, written: int) -> dict[str, int]:
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


# ---------------------------------------------------------------- faults


def status(
    number: int, message: str = "나중에", *headers: tuple[str, str], code: str = ""
) -> Fault:
    """Answer with an HTTP status."""
    return lambda ask: ask.refuse(number, message, *headers, code=code)


def body(raw: bytes) -> Fault:
    """Answer with status 200 and these bytes."""
    return lambda ask: ask.send(200, raw, ("Content-Type", "application/json"))


def silence(ask: Handler) -> None:
    """Say nothing until the test ends."""
    ask.server.released.wait(10)


def hang_up(ask: Handler) -> None:
    """Close the line without a word."""
    ask.close_connection = True
    ask.connection.close()


# ---------------------------------------------------------------- what the tests ask


PREFIX = "영화평: 다시 볼 것 같다. 느낌: 긍정\n\n"
QUERIES = [f"영화평: {n}번째로 본 영화다. 느낌: " for n in range(6)]
CHOICES = ["긍정", "부정"]
SAMPLING = Sampling(max_new=5, temperature=0.0)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give each test of a module that imports this a cache of its own, and a key."""
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return tmp_path / "cache" / "endpoint"


@pytest.fixture
def server(own_cache: Path) -> Iterator[Server]:
    with Server() as found:
        yield found


def opened(server: Server | str, **more: Any) -> EndpointNetwork:
    """Return a network whose pauses are noted down in `pauses`, not made."""
    url = server if isinstance(server, str) else server.url
    chosen = EndpointSettings(**{"pretrained": "HCX-007", "url": url} | more)
    network = Endpoint(chosen).build(None, Head("choose", 0), "fp32", "cpu", 3)
    assert isinstance(network, EndpointNetwork)
    network.pauses = []  # type: ignore[attr-defined]
    network.client._pause = lambda seconds, vain: network.pauses.append(seconds)  # type: ignore[attr-defined]
    return network


def one_line(error: Exception) -> None:
    """Check what every message keeps: one line, not endless, no key."""
    text = str(error)
    assert "\n" not in text
    assert len(text) < 500
    assert KEY not in text

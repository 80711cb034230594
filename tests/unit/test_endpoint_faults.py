"""Served models: what a server may do wrong, and many requests at once."""

from __future__ import annotations

import json
import sys
import threading
import time
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest
from endpoint_server import (
    CHOICES,
    KEY,
    PREFIX,
    QUERIES,
    SAMPLING,
    Server,
    body,
    chance,
    hang_up,
    one_line,
    opened,
    own_cache,
    server,
    silence,
    status,
)

from mulgil.errors import ModelError
from mulgil.models._endpoint_answers import BrokenAnswerError, Request, read_answer

__all__ = ["own_cache", "server"]


def summed(text: str) -> float:
    return sum(map(chance, text))


@pytest.mark.parametrize(
    ("fault", "pause"),
    [
        (status(429, "slow down", ("Retry-After", "7")), 7.0),
        (status(429, "slow down", ("Retry-After", "86400")), 60.0),
        (status(503, "busy", ("Retry-After", "soon")), None),
        (status(500), None),
        (status(409), None),
        (hang_up, None),
        (body(b"<html>login</html>"), None),
        (body(b'{"choices": []}'), None),
        (body(b'{"choices": [{"text": 3}]}'), None),
        (body(b'{"choices": [{"message": null}]}'), None),
        (body(b"[" * 100_000), None),
        (body("가".encode("cp949")), None),
    ],
)
def test_what_passes_is_tried_again(server: Server, fault: Any, pause: float | None) -> None:
    """DL-09 and the like: a page, half an answer or an error is never taken for an answer."""
    server.faults = {2: fault}
    network = opened(server, concurrency=1)
    found = network.choose(PREFIX, QUERIES, CHOICES)
    np.testing.assert_allclose(found, [[summed(choice) for choice in CHOICES]] * 6)
    assert (network.usage["retried"], network.usage["requests"]) == (1, 13)
    (waited,) = network.pauses  # type: ignore[attr-defined]
    assert waited == pause if pause is not None else 0 <= waited <= 0.5


def test_a_likelihood_that_is_no_number_is_no_answer() -> None:
    raw = b'{"choices": [{"text": "ab", "logprobs": {"tokens": ["a"], "token_logprobs": [%s]}}]}'
    request = Request("completions", {"prompt": "a", "max_tokens": 1})
    for wrong in (b"NaN", b"Infinity", b"0.5", b'"x"', b"1e999"):
        with pytest.raises(BrokenAnswerError):
            read_answer(raw % wrong, request)
    assert read_answer(raw % b"-Infinity", request).chances == [-9999.0]


def test_a_date_to_come_back_at_is_understood(server: Server) -> None:
    server.faults = {0: status(429, "", ("Retry-After", formatdate(time.time() + 20)))}
    network = opened(server)
    network.choose(PREFIX, QUERIES, CHOICES)
    assert 15 < network.pauses[0] <= 20  # type: ignore[attr-defined]


def test_silence_is_not_waited_for(server: Server) -> None:
    server.faults = {0: silence}
    network = opened(server, timeout=0.2)
    network.choose(PREFIX, QUERIES, CHOICES)
    assert network.usage["retried"] == 1


def test_pauses_grow_and_come_from_the_seed(server: Server) -> None:
    server.faults = {-1: status(503)}
    told = []
    for _ in range(2):
        network = opened(server, retries=12)
        with pytest.raises(ModelError, match="no answer in 13 tries"):
            network.choose(PREFIX, QUERIES, CHOICES)
        told.append(network.pauses)  # type: ignore[attr-defined]
    assert told[0] == told[1]
    limits = [min(60, 0.5 * 2**n) for n in range(12)]
    assert all(0 <= pause <= most for pause, most in zip(told[0], limits, strict=True))
    assert max(told[0]) > 10


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (status(401, f"bad key {KEY}"), r"model\.key: 127\.0\.0\.1 refuses the key \(HTTP 401"),
        (status(403), r"OPENAI_API_KEY"),
        (status(404, "no such model"), r"HTTP 404: no such model.*model\.url"),
        (status(400, "too long\n" * 99), r"shorten the texts"),
        (status(422), r"HTTP 422"),
        (status(429, "pay first", code="insufficient_quota"), "1 answers are kept.*goes on"),
    ],
)
def test_what_does_not_pass_is_said_at_once(server: Server, fault: Any, told: str) -> None:
    """RP-07: the key is in no message, whatever the server repeats."""
    opened(server).choose(PREFIX, QUERIES[:1], CHOICES[:1])
    server.faults = {-1: fault}
    network = opened(server)
    with pytest.raises(ModelError, match=told) as caught:
        network.choose(PREFIX, QUERIES[1:2], CHOICES[:1])
    one_line(caught.value)
    assert network.usage["retried"] == 0
    assert network.pauses == []  # type: ignore[attr-defined]


def test_a_refusal_as_fastapi_words_it_is_told(server: Server) -> None:
    """The server of transformers says `detail`, and 400 where it has another model."""
    told = "Server is pinned to 'small'; requested 'HCX-007'."
    server.faults = {-1: lambda ask: ask.send(400, json.dumps({"detail": told}).encode())}
    with pytest.raises(ModelError) as caught:
        opened(server).choose(PREFIX, QUERIES, CHOICES)
    assert (
        f'(HTTP 400: {told}); see that model.url is right and the server has the model "HCX-007"'
        in (str(caught.value))
    )
    one_line(caught.value)


def test_nobody_is_there() -> None:
    with Server() as server:
        url = server.url
    network = opened(url, retries=2)
    with pytest.raises(ModelError, match=r"no answer in 3 tries .*; 0 answers are kept") as caught:
        network.choose(PREFIX, QUERIES, CHOICES)
    one_line(caught.value)
    with pytest.raises(ModelError, match=r"1 try .* no answers are kept, since"):
        opened(url, retries=0, cache=False).generate(QUERIES, SAMPLING, [])


def test_a_redirect_is_not_followed(server: Server) -> None:
    """DL-07: neither texts nor the key go to another place than the recipe's."""
    with Server() as other:
        server.faults = {-1: status(307, "", ("Location", f"{other.url}/completions"))}
        with pytest.raises(ModelError, match=r"it has moved to http://127\.0\.0\.1") as caught:
            opened(server).choose(PREFIX, QUERIES, CHOICES)
        one_line(caught.value)
        assert not other.asked


def test_a_proxy_of_the_environment_gets_no_local_requests(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("OPENAI_ORG_ID", "org-of-another-account")
        opened(server).choose(PREFIX, QUERIES[:1], CHOICES)
        assert not proxy.asked
    assert server.asked
    assert not any("org-of-another-account" in h.values() for h in server.headers)


def test_without_openai_it_says_what_to_install(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ModelError, match=r'pip install "mulgil\[endpoint\]"') as caught:
        opened(server)
    one_line(caught.value)


# ---------------------------------------------------------------- many at once


def test_answers_keep_their_order_and_leave_together(server: Server) -> None:
    """Four are under way at once, and the last to come is the first to be answered."""
    server.skills = frozenset({"chat"})
    server.answer = lambda prompt: prompt[-1]
    network = opened(server, concurrency=4)
    prompts = [f"몇 번째 {n}" for n in range(5)]
    network.generate(prompts[:1], SAMPLING, [])  # from here on the server is known
    server.most = 0
    together = threading.Barrier(4, timeout=10)
    turns = [threading.Event() for _ in prompts]
    turns[-1].set()

    def meet(sent: dict[str, Any]) -> None:
        number = int(sent["messages"][-1]["content"][-1])
        together.wait()
        turns[number].wait(10)
        turns[number - 1].set()

    server.meet = meet
    found = network.generate(prompts, SAMPLING, [])
    assert [text for text, _ in found] == ["0", "1", "2", "3", "4"]
    assert server.most == 4


def test_requests_leave_at_equal_distances(server: Server) -> None:
    network = opened(server, per_minute=60, concurrency=1)
    network.choose(PREFIX, QUERIES[:2], CHOICES)
    assert [round(p) for p in network.pauses] == [1, 2, 3]  # type: ignore[attr-defined]


def test_equal_requests_are_sent_once(server: Server) -> None:
    network = opened(server)
    network.choose(PREFIX, [QUERIES[0]] * 5, CHOICES)
    assert len(server.asked) == 2
    assert network.usage["prompt_tokens"] == len(PREFIX + QUERIES[0] + CHOICES[0]) * 2

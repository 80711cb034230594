"""Served models against a server that is scripted: choices, texts, faults, the cache, the key."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from endpoint_server import KEY, Server, body, chance, hang_up, silence, status

from mulgil import fetch, recipe, settings
from mulgil.errors import ModelError, SettingError, StorageError
from mulgil.flow import Head, Sampling
from mulgil.models import _endpoint_choices as choosing
from mulgil.models._endpoint import EndpointNetwork
from mulgil.models._endpoint_answers import Answer, BrokenAnswerError, Request, read_answer
from mulgil.models._endpoint_cache import AnswerCache, key_of
from mulgil.models.endpoint import Endpoint, EndpointSettings
from mulgil.settings import Table
from mulgil.tokenizers.text import Plain, TextSettings

PREFIX = "영화평: 다시 볼 것 같다. 느낌: 긍정\n\n"
QUERIES = [f"영화평: {n}번째로 본 영화다. 느낌: " for n in range(6)]
CHOICES = ["긍정", "부정"]
SAMPLING = Sampling(max_new=5, temperature=0.0)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give each test a cache of its own, and a key."""
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return tmp_path / "cache" / "endpoint"


@pytest.fixture
def server() -> Iterator[Server]:
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


def summed(text: str) -> float:
    return sum(map(chance, text))


# ---------------------------------------------------------------- choosing


@pytest.mark.parametrize(
    ("lacks", "before", "way"),
    [
        ((), "", "completions/echo"),
        ((), "<s>", "completions/echo"),
        (("empty",), "", "completions/echo+1"),
        (("empty",), "<s>", "completions/echo+1"),
    ],
)
def test_echo_tells_the_likelihood_of_each_choice(
    server: Server, lacks: tuple[str, ...], before: str, way: str
) -> None:
    """The sum over the choice's own tokens, whether or not the offsets are those of the text."""
    server.skills -= {*lacks}
    server.before = before
    network = opened(server)
    choices = ["긍정", "긍정적이다", "no"]
    found = network.choose(PREFIX, QUERIES, choices)
    assert found.dtype == np.float64
    assert found.shape == (6, 3)
    np.testing.assert_allclose(found, [[summed(choice) for choice in choices]] * 6)
    assert network.way == way
    assert all(b["prompt"].startswith(PREFIX) for _, b in server.asked)


def test_choices_without_a_prompt(server: Server) -> None:
    """Content-free prompts are asked too; a first token without a likelihood counts nothing."""
    found = opened(server).choose("", [""], ["긍정", "가"])
    np.testing.assert_allclose(found, [[chance("정"), 0.0]])
    assert opened(server).choose(PREFIX, [], CHOICES).shape == (0, 2)


@pytest.mark.parametrize("door", ["completions", "chat"])
def test_first_tokens_share_their_mass(server: Server, door: str) -> None:
    server.skills = frozenset({door, "logprobs", "tops"})
    server.tops = lambda prompt: [(" 긍정", None, 0.5), ("긍", None, 0.1), ("부", None, 0.2)]
    network = opened(server)
    found = np.exp(network.choose(PREFIX, QUERIES, CHOICES))
    assert network.way == f"{door}/first token"
    np.testing.assert_allclose(found, [[0.7, 0.3]] * 6)  # and 0.2 shared
    assert network.usage["nonsense"] == 0


def test_a_part_of_a_syllable_counts_as_its_bytes(server: Server) -> None:
    server.skills = frozenset({"chat", "logprobs", "tops"})
    gist, other = [*"긍".encode()[:2]], [*"부".encode()]
    server.tops = lambda prompt: [("�", gist, 0.5), ("부", other, 0.3), ("음", None, 0.2)]
    found = np.exp(opened(server).choose(PREFIX, QUERIES[:1], CHOICES))
    np.testing.assert_allclose(found, [[0.6, 0.4]])


def test_a_first_token_that_tells_no_choices_apart_is_not_relied_on(server: Server) -> None:
    """매우 긍정 and 매우 부정 begin alike: the model is asked to write instead."""
    server.skills = frozenset({"chat", "logprobs", "tops"})
    server.tops = lambda prompt: [("매", None, 0.9)]
    server.answer = lambda prompt: "매우 부정"
    network = opened(server)
    found = network.choose(PREFIX, QUERIES, ["매우 긍정", "매우 부정"])
    assert network.way == "chat/answer"
    np.testing.assert_allclose(np.exp(found), [[0.1, 0.9]] * 6)


@pytest.mark.parametrize("guided", [True, False])
def test_without_likelihoods_the_answer_is_matched(server: Server, guided: bool) -> None:
    server.skills = frozenset({"chat", "guided"} if guided else {"chat"})
    server.answer = lambda prompt: " 부정.\n" if "3번째" in prompt else "긍정"
    network = opened(server)
    found = np.exp(network.choose(PREFIX, QUERIES, CHOICES))
    assert network.way == "chat/answer"
    wanted = [[0.1, 0.9] if n == 3 else [0.9, 0.1] for n in range(6)]
    np.testing.assert_allclose(found, wanted)
    _, sent = server.asked[-1]
    assert sent["messages"][0] == {
        "role": "system",
        "content": "다음 중 하나로만 답하세요: 긍정 / 부정",
    }
    assert sent["temperature"] == 0
    assert network.without == (set() if guided else {"guided_choice"})
    assert ("guided_choice" in sent) is guided


def test_nonsense_is_asked_for_once_more_and_counted(server: Server) -> None:
    server.skills = frozenset({"chat"})

    def answer(prompt: str) -> str:
        if "1번째" in prompt:
            return "모르겠습니다"
        if "2번째" in prompt:  # it obeys the stricter sentence
            return "긍정" if "설명도" in prompt else "긍정과 부정이 섞여 있다"
        return "부정"

    server.answer = answer
    network = opened(server)
    found = np.exp(network.choose(PREFIX, QUERIES[:3], CHOICES))
    np.testing.assert_allclose(found, [[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]])
    assert network.usage["nonsense"] == 1


@pytest.mark.parametrize(
    ("text", "names", "wanted"),
    [
        ("“매우 긍정”입니다.", ["긍정", "매우 긍정"], 1),
        ("긍정", ["긍정", "매우 긍정"], 0),
        ("NO.", ["yes", "no"], 1),
        ("I do not know", ["yes", "no"], None),
        ("긍정", ["긍정"], 0),  # decomposed Hangul
        ("긍정 아니면 부정", ["긍정", "부정"], None),
        ("", ["긍정", "부정"], None),
        ("점수는 3", ["1", "2", "3"], 2),
        ("13", ["1", "3"], None),
    ],
)
def test_how_an_answer_is_matched(text: str, names: list[str], wanted: int | None) -> None:
    assert choosing.named(text, names) == wanted


def test_the_way_is_found_once_and_remembered(server: Server) -> None:
    server.skills = frozenset({"chat"})
    first = opened(server)
    found = first.choose(PREFIX, QUERIES, CHOICES)
    asked = len(server.asked)
    assert [path.rpartition("/v1")[2] for path, _ in server.asked[:4]] == ["/completions"] * 4
    again = opened(server)
    np.testing.assert_array_equal(again.choose(PREFIX, QUERIES, CHOICES), found)
    assert len(server.asked) == asked
    assert again.usage["requests"] == 0
    assert again.usage["cached"] == 6
    again.choose(PREFIX, ["영화평: 새로 본 것. 느낌: "], CHOICES)
    assert len(server.asked) == asked + 1, "no way is tried again"
    assert "guided_choice" not in server.asked[-1][1]


@pytest.mark.parametrize(("mode", "path"), [("chat", "chat/"), ("completions", "")])
def test_a_mode_keeps_to_its_door(server: Server, mode: str, path: str) -> None:
    network = opened(server, mode=mode)
    network.choose(PREFIX, QUERIES, CHOICES)
    network.generate(QUERIES, SAMPLING, [])
    assert {p for p, _ in server.asked} == {f"/v1/{path}completions"}


def test_a_door_that_always_breaks_is_passed_by(server: Server) -> None:
    """A base model has no chat template, and some servers say 500 to that."""
    server.skills = frozenset({"completions", "guided"})
    server.answer = lambda prompt: "부정"
    broken = status(500, "no chat template")

    def meet(sent: dict[str, Any]) -> None:
        server.faults = {-1: broken} if "messages" in sent else {}

    server.meet = meet
    network = opened(server, concurrency=1)
    found = np.exp(network.choose(PREFIX, QUERIES, CHOICES))
    np.testing.assert_allclose(found, [[0.1, 0.9]] * 6)
    assert network.way == "completions/answer"
    assert network.generate(QUERIES[:1], SAMPLING, [])[0][0] == "부정"


def test_no_way_at_all_is_said(server: Server) -> None:
    server.skills = frozenset({"logprobs"})
    with pytest.raises(ModelError, match=r"HTTP 404.*model\.url is right.*HCX-007") as caught:
        opened(server).choose(PREFIX, QUERIES, CHOICES)
    one_line(caught.value)


# ---------------------------------------------------------------- writing


def test_texts_are_written(server: Server) -> None:
    server.answer = lambda prompt: f"봄{prompt[5:6]}이 왔다"
    network = opened(server)
    sampling = Sampling(max_new=4, temperature=0.5, top_p=0.9, seed=11)
    found = network.generate(QUERIES, sampling, [""])
    assert [text for text, _ in found] == [f"봄{n}이 " for n in range(6)]
    assert found[3][1] == [chance(c) for c in "봄3이 "]
    sent = server.asked[-1][1]
    assert (sent["max_tokens"], sent["temperature"]) == (4, 0.5)
    assert (sent["top_p"], sent["seed"]) == (0.9, 11)
    assert network.usage["completion_tokens"] == 24
    assert network.generate([], sampling, []) == []


def test_what_a_server_does_not_know_is_left_out(server: Server) -> None:
    server.skills = frozenset({"completions"})
    network = opened(server)
    found = network.generate(QUERIES, SAMPLING, [])
    assert found == [("긍정", [])] * 6
    assert network.without == {"seed"}
    assert all("seed" in b for _, b in server.asked[:2])
    assert not any("seed" in b for _, b in server.asked[2:])


def test_a_refusal_without_a_reason_costs_what_is_no_loss(server: Server) -> None:
    server.skills = frozenset({"chat"})

    def meet(sent: dict[str, Any]) -> None:
        wrong = {"seed", "logprobs"} & {*sent}
        server.faults = {-1: status(400, "Invalid parameter")} if wrong else {}

    server.meet = meet
    network = opened(server)
    assert network.generate(QUERIES, SAMPLING, []) == [("긍정", [])] * 6
    assert network.without == {"seed", "logprobs"}
    server.faults, server.meet = {-1: status(400, "too long")}, lambda sent: None
    network = opened(server, mode="chat")
    with pytest.raises(ModelError, match="too long"):
        network.generate(["새 글"], SAMPLING, [])
    assert network.without == set(), "it was something else"


def test_newer_servers_name_the_limit_otherwise(server: Server) -> None:
    server.skills = frozenset({"chat"})
    server.faults[0] = status(400, "Unsupported parameter: 'max_tokens'; use another")
    network = opened(server, extra={"reasoning_effort": "none"})
    network.generate(QUERIES[:1], SAMPLING, [])
    sent = server.asked[-1][1]
    assert sent["max_completion_tokens"] == 5
    assert "max_tokens" not in sent
    assert sent["reasoning_effort"] == "none"


@pytest.mark.parametrize(
    "sampling",
    [Sampling(beams=2, temperature=0), Sampling(top_k=3), Sampling(repetition_penalty=2)],
)
def test_what_servers_do_not_offer_is_refused(server: Server, sampling: Sampling) -> None:
    with pytest.raises(ModelError, match=r"task\..* is [23], but .* set it to"):
        opened(server).generate(QUERIES, sampling, [])
    assert not server.asked


# ---------------------------------------------------------------- faults


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
    server.faults = {-1: status(500)}
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


def one_line(error: Exception) -> None:
    """Check what every message keeps: one line, not endless, no key."""
    text = str(error)
    assert "\n" not in text
    assert len(text) < 500
    assert KEY not in text


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


# ---------------------------------------------------------------- the cache


SCRIPT = """
import sys
from mulgil.flow import Head
from mulgil.models.endpoint import Endpoint, EndpointSettings
chosen = EndpointSettings(pretrained="HCX-007", url=sys.argv[1], concurrency=2)
network = Endpoint(chosen).build(None, Head("choose", 0), "fp32", "cpu", 3)
network.choose("앞 ", [f"{n}번째 " for n in range(20)], ["긍정", "부정"])
"""


def test_a_killed_run_goes_on_from_its_answers(server: Server, own_cache: Path) -> None:
    """DL-03: SIGKILL in the middle; no answer that came is asked for again."""
    running: list[subprocess.Popen[bytes]] = []
    gate = threading.Event()

    def meet(sent: dict[str, Any]) -> None:
        gate.wait(10)
        if len(server.asked) == 17:
            time.sleep(0.3)  # what was answered before is on the disk by now
            running[0].send_signal(signal.SIGKILL)
            server.released.wait(10)

    server.meet = meet
    running.append(subprocess.Popen([sys.executable, "-c", SCRIPT, server.url]))
    gate.set()
    assert running[0].wait(30) == -signal.SIGKILL
    answered = {json.dumps(sent) for _, sent in server.asked[:15]}  # two were under way
    server.released.set()
    server.meet, server.asked = lambda sent: None, []
    network = opened(server)
    network.choose("앞 ", [f"{n}번째 " for n in range(20)], CHOICES)
    assert not answered & {json.dumps(sent) for _, sent in server.asked}
    assert 0 < len(server.asked) <= 25
    assert network.usage["cached"] + len(server.asked) == 40


def test_an_error_in_the_middle_loses_nothing(server: Server) -> None:
    server.faults = {n: status(500) for n in range(5, 9)}
    network = opened(server, concurrency=1, retries=3)
    with pytest.raises(ModelError, match="5 answers are kept in the cache"):
        network.choose(PREFIX, QUERIES, CHOICES)
    server.asked.clear()
    server.faults = {}
    opened(server).choose(PREFIX, QUERIES, CHOICES)
    assert len(server.asked) == 7


def test_the_cache_is_private_and_holds_no_key(
    server: Server, own_cache: Path, tmp_path: Path
) -> None:
    """RP-07: neither cache, recipe nor run folder has the key."""
    server.answer = lambda prompt: f"긍정 {KEY[:4]}"
    network = opened(server)
    network.choose(PREFIX, QUERIES, CHOICES)
    network.generate(QUERIES, SAMPLING, [])
    network.save(tmp_path, ["긍정", "부정"])
    assert all(h["authorization"] == f"Bearer {KEY}" for h in server.headers)
    (path,) = own_cache.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(own_cache.stat().st_mode) == 0o700
    for written in (path, tmp_path / "endpoint.json"):
        assert KEY not in written.read_text(encoding="utf-8")
    told = json.loads((tmp_path / "endpoint.json").read_text(encoding="utf-8"))
    assert (told["model"], told["host"], told["way"]) == (
        "HCX-007",
        "127.0.0.1",
        "completions/echo",
    )
    assert KEY not in repr(network.client.rules)


def test_without_a_cache_nothing_is_kept(server: Server, own_cache: Path) -> None:
    for _ in range(2):
        opened(server, cache=False).choose(PREFIX, QUERIES, CHOICES)
    assert len(server.asked) > 12
    assert not own_cache.exists()


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    """DA-10: a line that was cut off, and one that changed, are passed over and counted."""
    cache = AnswerCache(tmp_path, "u", "m")
    keys = [key_of("u", "m", n) for n in range(5)]
    for n in range(4):
        cache.put(keys[n], {"답": n})
    raw = cache.path.read_bytes()
    changed = raw.replace(b'":1}', b'":7}')
    assert changed != raw
    cache.path.write_bytes(changed[: changed.rindex(b"\n", 0, -1) + 30])
    again = AnswerCache(tmp_path, "u", "m")
    assert [again.get(key) for key in keys] == [{"답": 0}, None, {"답": 2}, None, None]
    again.put(keys[4], {"답": 4})
    assert again.get(keys[4]) == {"답": 4}
    assert AnswerCache(tmp_path, "u", "m").damaged == 2
    assert len(AnswerCache(tmp_path, "u", "m")) == 3


WRITER = """
import sys
from pathlib import Path
from mulgil.models._endpoint_cache import AnswerCache, key_of
cache = AnswerCache(Path(sys.argv[1]), "u", "m")
for n in range(300):
    cache.put(key_of("u", "m", f"{sys.argv[2]} {n}"), "글" * n)
"""


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    """Every line of both is whole."""
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name]) for name in ("가", "나")]
    watching = AnswerCache(tmp_path, "u", "m")
    while any(writer.poll() is None for writer in writers):
        watching.refresh()
    assert [writer.wait() for writer in writers] == [0, 0]
    watching.refresh()
    assert (len(watching), watching.damaged) == (600, 0)
    assert watching.get(key_of("u", "m", "나 299")) == "글" * 299


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DL-12: what was there before stays readable."""
    cache = AnswerCache(tmp_path, "u", "m")
    cache.put(key_of("u", "m", 1), "하나")
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: real(handle, data[: len(data) // 2]))
        with pytest.raises(StorageError, match="cannot be written: No space left"):
            cache.put(key_of("u", "m", 2), "둘")
    cache.put(key_of("u", "m", 3), "셋")
    again = AnswerCache(tmp_path, "u", "m")
    assert [again.get(key_of("u", "m", n)) for n in (1, 2, 3)] == ["하나", None, "셋"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        AnswerCache(tmp_path / "file", "u", "m")


def test_what_is_kept_comes_back_as_it_was() -> None:
    answer = Answer(
        "글", ["그", "ㄹ"], [None, -0.5], [0, 1], [[("ea", -1.0)]], 3, True, True, (4, 5)
    )
    again = Answer.of(json.loads(json.dumps(answer.plain())))
    assert again is not None
    assert again.plain() == answer.plain() or again.tops == [[["ea", -1.0]]]  # type: ignore[list-item]
    assert Answer.of(["older"]) is None
    assert Answer.of(None) is None


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "value", [KEY, "sk-proj-abc", "A" * 65, "a1b2c3d4e5f6", "HAS SPACE", "", "${KEY}"]
)
def test_a_key_in_the_recipe_is_refused_and_not_repeated(value: str) -> None:
    """RP-07: a pasted key is not even in the message that refuses it."""
    with pytest.raises(SettingError, match="key must be the NAME") as caught:
        built(key=value)
    if value:
        assert value not in str(caught.value)
    one_line(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/v1", "http://8.8.8.8/v1", "http://169.254.169.254/v1"),
        *("http://0.0.0.0/v1", "ftp://127.0.0.1", "file:///etc/passwd", "127.0.0.1:8000", ""),
        *("https://user:geheim@example.com/v1", "https://example.com/v1?key=geheim"),
        *("http://[::1", "https://host:port/v1", "http://localhost.example.com/v1"),
    ],
)
def test_addresses_to_which_texts_must_not_go(url: str) -> None:
    """DL-07: plain http leaves this machine and its network never."""
    with pytest.raises(SettingError, match="model: url must") as caught:
        built(url=url)
    assert "geheim" not in str(caught.value)
    one_line(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8000/v1/", "http://localhost:1/v1", "http://[::1]:8000/v1"),
        *("http://10.0.0.5:8000/v1", "http://192.168.0.7/v1", "https://example.com/v1"),
    ],
)
def test_addresses_to_which_texts_may_go(url: str) -> None:
    assert built(url=url).url == url.rstrip("/")


def test_other_mistakes_in_settings() -> None:
    with pytest.raises(SettingError, match="extra must not set messages"):
        built(extra={"messages": "x"})
    with pytest.raises(ModelError, match=r"model\.pretrained is missing; give"):
        Endpoint(built(pretrained="")).source()
    model = Endpoint(built())
    assert model.source() is None
    assert model.longest() is None
    with pytest.raises(ModelError, match="recipe"):
        Endpoint.load(Path("run"), Head("choose", 0), "fp32", "cpu")


def built(**values: Any) -> EndpointSettings:
    table = Table.parse("", "recipe.toml")
    return settings.build(EndpointSettings, {"pretrained": "HCX-007"} | values, "model", table)


def test_a_key_is_needed_outside_and_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    network = opened("http://127.0.0.1:9/v1")
    assert network.outputs == network.parameters_total == 0
    with pytest.raises(ModelError, match=r"OPENAI_API_KEY is not set, and example\.com needs"):
        opened("https://example.com/v1")
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX-Header: 1")
    with pytest.raises(ModelError, match="holds is no key") as caught:
        opened("https://example.com/v1")
    one_line(caught.value)


def test_the_recipe_names_the_variable_alone(tmp_path: Path) -> None:
    path = tmp_path / "asked.toml"
    path.write_text(
        '[data]\nname = "sample"\n[model]\nname = "endpoint"\npretrained = "HCX-007"\n'
        'url = "https://example.com/v1"\nextra = { reasoning_effort = "none" }\n',
        encoding="utf-8",
    )
    made = recipe.read(str(path))
    assert made.tokenizer.name == "text"
    written = made.dump(tmp_path)
    assert 'key = "OPENAI_API_KEY"' in written
    assert 'extra = { "reasoning_effort" = "none" }' in written
    assert KEY not in written


def test_what_requests_cost() -> None:
    usage = {"prompt_tokens": 2_000_000, "completion_tokens": 500_000}
    assert Endpoint(built()).cost(usage) is None
    assert Endpoint(built(price_in=1.5, price_out=4.0)).cost(usage) == 5.0
    assert Endpoint(built(price_in=1.5)).cost(usage) == 3.0


def test_it_makes_no_features() -> None:
    network = opened("http://127.0.0.1:9/v1")
    for call in (
        lambda: network.features([]),
        lambda: network.set_head(np.zeros(1), np.zeros(1)),
        lambda: network.scores([]),
    ):
        with pytest.raises(ModelError, match=r'model "endpoint" .*; use method'):
            call()


def test_looking_at_the_plug_in_loads_neither_openai_nor_torch() -> None:
    code = (
        "import sys, mulgil.models.endpoint, mulgil.tokenizers.text;"
        "print({'openai', 'torch', 'transformers'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# ---------------------------------------------------------------- texts


def test_texts_stay_texts(tmp_path: Path) -> None:
    """DA-09, TK-07: NFC, cut in characters, what stands behind a text never is."""
    plain = Plain.make(TextSettings(max_length=5), None, [], 1)
    assert plain.segment("각") == "각"
    assert plain.opening() + plain.segment("가 ") + "나" == "가 나"
    found = plain.asked([("하나둘셋넷다섯", " 답: "), ("봄", " 답: ")])
    assert found.take(np.array([1, 0]), 8) == ["봄 답: ", "하나둘셋넷 답: "]
    assert found.segments == ["하나둘셋넷 답: ", "봄 답: "]  # type: ignore[attr-defined]
    assert found.lengths.tolist() == [9, 5]
    assert (found.truncated, found.texts, len(found)) == (1, 2, 2)
    written = plain.written(
        [("하나둘셋넷다섯", "여섯"), ("봄", None)], ("글: ", "\n요약: "), False, 8
    )
    assert written.prompts == ["글: 하나둘셋넷\n요약: ", "글: 봄\n요약: "]  # type: ignore[attr-defined]
    assert written.truncated == 1
    assert plain.encode([("첫", "둘"), "셋"]).take(np.arange(2), 1) == ["첫\n둘", "셋"]
    assert (plain.decode("그대로"), plain.ends()) == ("그대로", ("", ""))
    plain.save(tmp_path)
    assert Plain.load(tmp_path).fingerprint() == plain.fingerprint()
    assert Plain(TextSettings()).fingerprint() != plain.fingerprint()
    (tmp_path / "mulgil_tokenizer.json").write_text('{"tokenizer": "text"}')
    with pytest.raises(ModelError, match="max_length"):
        Plain.load(tmp_path)
    (tmp_path / "mulgil_tokenizer.json").write_text('{"tokenizer": "jamo"}')
    with pytest.raises(ModelError, match="jamo"):
        Plain.load(tmp_path)


def test_the_cache_lies_in_the_cache_folder(server: Server, own_cache: Path) -> None:
    opened(server).choose(PREFIX, QUERIES[:1], CHOICES)
    assert own_cache.parent == fetch.cache_folder()
    assert len([*own_cache.iterdir()]) == 1

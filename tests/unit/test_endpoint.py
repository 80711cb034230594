"""Served models: how they choose among texts, and how they write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from endpoint_server import (
    CHOICES,
    PREFIX,
    QUERIES,
    SAMPLING,
    Server,
    chance,
    one_line,
    opened,
    own_cache,
    server,
    status,
)

from mulgil.errors import ModelError
from mulgil.flow import Sampling
from mulgil.models import _endpoint_choices as choosing

__all__ = ["own_cache", "server"]


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


def test_a_server_that_passes_over_echo_is_seen_through(server: Server) -> None:
    """What it wrote is not what it was to read, even though likelihoods came."""
    server.ignores = {"echo"}
    network = opened(server)
    found = np.exp(network.choose(PREFIX, QUERIES, CHOICES))
    assert network.way == "completions/first token"
    np.testing.assert_allclose(found, [[0.65, 0.35]] * 6)


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


def test_a_server_that_breaks_when_nothing_shall_be_written(server: Server) -> None:
    """The server of transformers says 500 to `max_tokens` 0, and knows no likelihoods."""
    server.skills = frozenset({"completions", "chat", "guided"})

    def meet(sent: dict[str, Any]) -> None:
        server.faults = {-1: status(500)} if sent.get("max_tokens") == 0 else {}

    server.meet = meet
    network = opened(server, concurrency=1, retries=1)
    np.testing.assert_allclose(np.exp(network.choose(PREFIX, QUERIES, CHOICES)), [[0.9, 0.1]] * 6)
    assert network.way == "chat/answer"


def test_a_server_that_always_breaks_is_asked_in_two_ways_alone(server: Server) -> None:
    server.faults = {-1: status(500)}
    with pytest.raises(ModelError, match="gave no answer in 2 tries"):
        opened(server, concurrency=1, retries=1).choose(PREFIX, QUERIES, CHOICES)
    assert len(server.asked) == 4


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

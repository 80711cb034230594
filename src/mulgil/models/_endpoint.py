"""A network that is somewhere else: prompts go to an OpenAI-compatible server as text.

There are three ways to choose among texts. "echo": the server reads prompt and choice, and tells
ln p of each token that it has read; this is what a model of one's own would say. "first token":
the likeliest first tokens of an answer, each counted for the one choice that it begins. "answer":
the model writes, and what it wrote is matched to a choice. Chosen: the best way that the server
takes is found with the first query, and kept for all others of the same choices, in the cache too,
so that one run never mixes two. It costs a few requests; `way` and `usage` tell what was done.
Which tokens are a choice's own is read from the text's offsets where the tokens make up the text
that was sent; where they do not (byte tokens, a token before the text), the prompt is sent once
without a choice, and what differs from it is the choice.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np

from mulgil.errors import ModelError
from mulgil.flow import Array, Sampling, Segment
from mulgil.models import _endpoint_choices as choosing
from mulgil.models._endpoint_answers import Answer, Door, Request
from mulgil.models._endpoint_cache import note_key
from mulgil.models._endpoint_client import Client, GivenUpError, RefusedError
from mulgil.networks import PromptedNetwork

Mode = Literal["auto", "completions", "chat"]

_MARGIN = 16
"""Tokens kept before a choice: more than can straddle its beginning."""

_WAYS = (
    *("completions/echo", "completions/echo+1"),
    *("completions/first token", "completions/first token of 5"),
    *("chat/first token", "chat/first token of 5"),
    *("chat/answer", "completions/answer"),
)
"""The ways to choose, the best one first; "+1": the server must write a token to answer."""

_DOORS: dict[str, tuple[Door, ...]] = {
    "auto": ("chat", "completions"),
    "chat": ("chat",),
    "completions": ("completions",),
}
"""The doors behind which texts are written, by mode: a chat model first of all answers."""

_RENAMED = {"max_tokens": "max_completion_tokens"}
"""Fields that newer servers know by another name."""


_SPARE = ("guided_choice", "seed", "logprobs")
"""Optional fields without which an answer is what it would have been."""


class EndpointNetwork(PromptedNetwork):
    """A served model.

    Args:
        client: asks it.
        mode: at which doors.
        extra: further fields of each request.

    Attributes:
        way: how the last choice was made; "" before the first.
        usage: what `Client.usage` counts, and `nonsense`: queries whose answer named no choice, or
            several.
        without: fields that the server does not know, left out.
    """

    def __init__(self, client: Client, mode: Mode, extra: dict[str, Any]) -> None:
        self.client = client
        self.way = ""
        self.usage = client.usage
        self.usage["nonsense"] = 0
        self.without: set[str] = set()
        self._mode = mode
        self._extra = extra
        self._settled: dict[str, Any] = {}

    # ------------------------------------------------------------ choosing

    def choose(
        self, prefix: Segment, queries: Sequence[Segment], choices: Sequence[Segment]
    ) -> Array:
        """Return float64 [queries, choices]: ln p of each choice; see `PromptedNetwork.choose`.

        The answer of "first token" and "answer" is a distribution over the choices; "answer" gives
        the one that was named 0.9.

        Raises:
            ModelError: the server cannot be asked, or takes none of the ways.
            StorageError: an answer cannot be kept.
        """
        prompts = [str(prefix) + str(query) for query in queries]
        names = [str(choice) for choice in choices]
        if not prompts:
            return np.zeros((0, len(names)))
        self.way = self._found_way(prompts[0], names)
        return self._chosen(self.way, prompts, names)

    def _found_way(self, prompt: str, names: list[str]) -> str:
        """Return the best way that works with this prompt, tried or remembered."""

        def try_all() -> str:
            refusal: ModelError | None = None
            alive = stumbled = False
            for way in _WAYS:
                if self._mode not in ("auto", way.partition("/")[0]):
                    continue
                try:
                    if self._works(way, prompt, names):
                        return way
                    alive = True
                except RefusedError as error:
                    refusal = error
                except GivenUpError as error:
                    # A server that answers elsewhere stumbles over this way, not in general; one
                    # that has not answered yet may do so once: transformers serve says 500 to who
                    # asks it to write nothing.
                    if error.status != 500 or (stumbled and not alive):
                        raise
                    stumbled, refusal = True, error
            raise refusal or ModelError(
                f"model.mode: {self.client.rules.host} gives no answer that can be used; set"
                " another model.mode"
            )

        return str(self._remembered(["way", self._mode, self._extra, names], try_all))

    def _works(self, way: str, prompt: str, names: list[str]) -> bool:
        """Try a way with one prompt; its answers are kept, and are not asked for again."""
        if "answer" in way:
            self._ask([self._answer_request(way, prompt, names, choosing.sentence(names))])
            return True
        if "echo" in way:
            (answer,) = self._ask([self._echo_request(way, prompt, names[0])])
            return answer.echoed and any(p is not None for p in answer.chances)
        (answer,) = self._ask([self._first_request(way, prompt)])
        shares = choosing.shares(answer, names)
        return shares is not None and shares.shared < 0.5

    def _chosen(self, way: str, prompts: list[str], names: list[str]) -> Array:
        if "echo" in way:
            return self._echoed(way, prompts, names)
        if "first token" in way:
            answers = self._ask([self._first_request(way, prompt) for prompt in prompts])
            found = [choosing.shares(answer, names) for answer in answers]
            self.usage["nonsense"] += sum(s is None or sum(s.own) < 0.5 for s in found)
            return np.stack([choosing.spread(shares, len(names)) for shares in found])
        return self._named(way, prompts, names)

    def _echoed(self, way: str, prompts: list[str], names: list[str]) -> Array:
        answers = self._ask([self._echo_request(way, p, name) for p in prompts for name in names])
        table = [answers[i * len(names) : (i + 1) * len(names)] for i in range(len(prompts))]
        bare: dict[str, Answer] = {}
        odd = [
            prompt
            for prompt, row in zip(prompts, table, strict=True)
            if prompt and not all(answer.aligned for answer in row)
        ]
        if odd:
            found = self._ask([self._echo_request(way, prompt, "") for prompt in odd])
            bare = dict(zip(odd, found, strict=True))
        more = way.endswith("+1")
        return np.array(
            [
                [
                    choosing.likelihood(answer, prompt, name, bare.get(prompt), more)
                    for name, answer in zip(names, row, strict=True)
                ]
                for prompt, row in zip(prompts, table, strict=True)
            ],
            np.float64,
        )

    def _named(self, way: str, prompts: list[str], names: list[str]) -> Array:
        """Match written answers to choices; one that names none or several is asked for again."""
        found: list[int | None] = [None] * len(prompts)
        for strict in (False, True):
            open_ = [i for i, number in enumerate(found) if number is None]
            told = choosing.sentence(names, strict=strict)
            asked = [self._answer_request(way, prompts[i], names, told) for i in open_]
            for i, answer in zip(open_, self._ask(asked), strict=True):
                found[i] = choosing.named(answer.text, names)
        self.usage["nonsense"] += found.count(None)
        return np.stack([choosing.told(number, len(names)) for number in found])

    # ------------------------------------------------------------ writing

    def generate(
        self, prompts: Sequence[Any], sampling: Sampling, stops: Sequence[Any]
    ) -> list[tuple[str, list[float]]]:
        """Let the server go on with each prompt, or answer it: (text, ln p of its tokens).

        The server ends texts itself: `stops` say nothing. Equal prompts get the same text.

        Args:
            prompts: texts.
            sampling: `max_new`, `temperature`, `top_p` and, where the server knows it, `seed`.
            stops: not used.

        Raises:
            ModelError: the server cannot be asked, or `sampling` wants what it does not offer.
            StorageError: an answer cannot be kept.
        """
        for name, value, off in (
            ("beams", sampling.beams, 1),
            ("top_k", sampling.top_k, 0),
            ("repetition_penalty", sampling.repetition_penalty, 1.0),
        ):
            if value != off:
                raise ModelError(
                    f"task.{name} is {value}, but a served model does not offer it; set it to {off}"
                )
        if not prompts:
            return []
        texts = [str(prompt) for prompt in prompts]
        door = self._found_door(texts[0], sampling)
        answers = self._ask([self._writing_request(door, text, sampling) for text in texts])
        return [(a.text, [p for p in a.chances if p is not None]) for a in answers]

    def _found_door(self, prompt: str, sampling: Sampling) -> Door:
        doors = _DOORS[self._mode]

        def try_all() -> Door:
            for door in doors[:-1]:
                try:
                    self._ask([self._writing_request(door, prompt, sampling)])
                    return door
                except RefusedError:
                    continue  # the last door's refusal is what the user is told
                except GivenUpError as error:
                    if error.status != 500:  # as servers say it whose model has no chat template
                        raise
            return doors[-1]

        door: Door = self._remembered(["door", self._mode, self._extra], try_all)
        return door

    # ------------------------------------------------------------ requests

    def _echo_request(self, way: str, prompt: str, choice: str) -> Request:
        body = {
            "prompt": prompt + choice,
            "echo": True,
            "logprobs": 1,
            "max_tokens": int(way.endswith("+1")),
            "temperature": 0,
        }
        # A choice has as many tokens as it has bytes at most.
        tail = len(choice.encode("utf-8", "replace")) + _MARGIN + 1
        return Request("completions", body, tail, ("temperature",))

    def _first_request(self, way: str, prompt: str) -> Request:
        tops = 5 if way.endswith("of 5") else 20
        body: dict[str, Any] = {"max_tokens": 4, "temperature": 0}
        optional = ("temperature", "max_tokens")
        if way.startswith("chat"):
            return self._chat([prompt], body | {"logprobs": True, "top_logprobs": tops}, optional)
        return Request(
            "completions", {"prompt": prompt, **body, "logprobs": tops}, optional=optional
        )

    def _answer_request(self, way: str, prompt: str, names: list[str], told: str) -> Request:
        longest = max(len(name) for name in names)
        body = {
            "temperature": 0,
            "max_tokens": max(16, 4 * longest),
            "guided_choice": [name.strip() for name in names],
        }
        optional = ("guided_choice", "temperature", "max_tokens")
        if way.startswith("chat"):
            return self._chat([told, prompt], body, optional)
        return Request("completions", {"prompt": f"{told}\n\n{prompt}", **body}, optional=optional)

    def _writing_request(self, door: Door, prompt: str, sampling: Sampling) -> Request:
        body: dict[str, Any] = {
            "max_tokens": sampling.max_new,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "logprobs": True if door == "chat" else 0,
        }
        if sampling.top_p < 1:
            body["top_p"] = sampling.top_p
        optional = ("seed", "logprobs", "max_tokens")
        if door == "chat":
            return self._chat([prompt], body, optional)
        return Request("completions", {"prompt": prompt, **body}, optional=optional)

    def _chat(self, texts: list[str], body: dict[str, Any], optional: tuple[str, ...]) -> Request:
        """Return a message of the user; before it, where there are two texts, the system's."""
        roles = ("system", "user")[-len(texts) :]
        messages = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=True)]
        return Request("chat", {"messages": messages, **body}, optional=optional)

    def _ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Ask; a field that the server does not know is left out from then on.

        The first request goes alone as long as it is not known what the server takes.
        """
        if not requests:
            return []
        first, *others = requests
        before = {*self.without}
        while True:
            try:
                answers = self.client.ask([self._adapted(first)])
                return answers + self.client.ask([self._adapted(one) for one in others])
            except RefusedError as error:
                field = self._disliked(first, error)
                if field is None:
                    self.without = before  # it was something else
                    raise
                self.without.add(field)

    def _disliked(self, request: Request, error: RefusedError) -> str | None:
        """Return the field to leave out next: the one that is named, else one that is no loss."""
        left = [f for f in request.optional if f in request.body and f not in self.without]
        named = [f for f in left if re.search(rf"\b{f}\b", error.told)]
        spare = [f for f in left if f in _SPARE and error.status in {400, 422}]
        return next(iter(named + spare), None)

    def _adapted(self, request: Request) -> Request:
        body = dict(self._extra)
        for field, value in request.body.items():
            if field not in self.without or field not in request.optional:
                body[field] = value
            elif field in _RENAMED:
                body[_RENAMED[field]] = value
        return dataclasses.replace(request, body=body)

    def _remembered(self, what: list[Any], find: Any) -> Any:
        """Return what was found out before, in the cache too, or find it out."""
        rules, cache = self.client.rules, self.client.cache
        key = note_key(rules.url, rules.model, what)
        if key not in self._settled:
            known = cache.get(key) if cache is not None else None
            if isinstance(known, list) and len(known) == 2:
                self._settled[key] = known[0]
                self.without.update(known[1])
            else:
                self._settled[key] = find()
                if cache is not None:
                    cache.put(key, [self._settled[key], sorted(self.without)])
        return self._settled[key]

    # ------------------------------------------------------------ what it is not

    def features(self, inputs: Any) -> NoReturn:
        self._refuse("makes no features")

    def set_head(self, weight: Array, bias: Array) -> NoReturn:
        self._refuse("takes no head")

    def scores(self, inputs: Any) -> NoReturn:
        self._refuse("scores no rows")

    def _refuse(self, what: str) -> NoReturn:
        raise ModelError(
            f'model "endpoint" {what}: it is asked in words alone; use method "few-shot", or a'
            " model of your own"
        )

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        """Write nothing: the recipe names the model, and result.json tells how it was asked."""

    @property
    def outputs(self) -> int:
        return 0

    @property
    def parameters_total(self) -> int:
        return 0

"""What is asked of a server and what is read of its answers, in one form for both of its doors.

Chosen: of each answer only what is used is kept: text, and the likelihoods of the tokens that
matter, so that a cache of 100,000 answers to long prompts stays small. A door is "completions"
(goes on with a text) or "chat" (answers a message).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import Any, Literal

Door = Literal["completions", "chat"]

NOTHING = -9999.0
"""ln p of what a server calls impossible."""

_TOPS = 4
"""Tokens at the beginning of an answer whose rivals are kept."""


class BrokenAnswerError(ValueError):
    """It came with status 200, and is none the less no answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        path: the door.
        body: its fields, all but the model's name.
        tail: with `echo`: so many tokens at the end matter; None keeps none of the prompt's.
        optional: fields that may be left out where the server does not know them.
    """

    path: Door
    body: dict[str, Any]
    tail: int | None = None
    optional: tuple[str, ...] = ()

    def identity(self) -> Any:
        """Return what makes two requests the same."""
        return [self.path, self.body, self.tail]


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What is kept of an answer.

    Attributes:
        text: what is new; "" with `echo`.
        tokens: as the server writes them.
        chances: ln p of each, None where it tells none.
        offsets: where each begins in the text, in characters; [] where it is not told.
        tops: for the first tokens, (bytes as hex, ln p) of the likeliest ones at their places.
        dropped: tokens of the prompt that were left out before these.
        echoed: whether the prompt was repeated.
        aligned: whether the tokens, put together, are the text that was sent.
        paid: tokens that were read and written, as the server counts them.
    """

    text: str
    tokens: list[str] = dataclasses.field(default_factory=list)
    chances: list[float | None] = dataclasses.field(default_factory=list)
    offsets: list[int] = dataclasses.field(default_factory=list)
    tops: list[list[tuple[str, float]]] = dataclasses.field(default_factory=list)
    dropped: int = 0
    echoed: bool = False
    aligned: bool = False
    paid: tuple[int, int] = (0, 0)

    def plain(self) -> list[Any]:
        """Return the values for JSON, in the order of the fields."""
        return list(dataclasses.astuple(self))

    @classmethod
    def of(cls, values: Any) -> Answer | None:
        """Return the answer of `plain`, None where these are not the values of one."""
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(values, list) or len(values) != len(names):
            return None
        found = dict(zip(names, values, strict=True))
        return cls(**found | {"paid": tuple(found["paid"])})


def read_answer(raw: bytes, request: Request) -> Answer:
    """Read the body of an answer.

    Raises:
        BrokenAnswerError: it is no JSON, or holds no answer.
    """
    try:
        found = json.loads(raw, parse_constant=_constant)
        choice = found["choices"][0]
        read = _chat if request.path == "chat" else _completion
        answer = read(choice, request)
        usage = found.get("usage") or {}
        paid = (int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        shown = raw[:80].decode("utf-8", "replace")
        raise BrokenAnswerError(f"{type(error).__name__} in {shown!r}") from error
    return _shortened(dataclasses.replace(answer, paid=paid), request.tail)


def _constant(name: str) -> float:
    if name == "-Infinity":
        return NOTHING
    raise ValueError(f"{name} is no likelihood")


def _chance(value: Any) -> float | None:
    """Return ln p as it may stand in an answer; rounding may lift it a little above 0."""
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number) or number > 1e-3:
        raise ValueError(f"{number} is no ln p")
    return max(min(number, 0.0), NOTHING)


def _known(value: Any) -> float:
    """Return ln p of what stands among the likeliest."""
    found = _chance(value)
    return NOTHING if found is None else found


def _completion(choice: Any, request: Request) -> Answer:
    text = choice["text"]
    if not isinstance(text, str):
        raise TypeError("text")
    told = choice.get("logprobs") or {}
    tokens = [str(token) for token in told.get("tokens") or []]
    chances = [_chance(value) for value in told.get("token_logprobs") or []]
    offsets = [int(value) for value in told.get("text_offset") or []]
    if len(chances) != len(tokens):
        tokens, chances, offsets = [], [], []
    if request.body.get("echo"):
        whole = str(request.body["prompt"])
        starts = list(itertools.accumulate(map(len, tokens), initial=0))[:-1]
        aligned = offsets == starts and "".join(tokens).startswith(whole) and bool(tokens)
        more = bool(request.body.get("max_tokens"))  # else a server that writes did not obey
        echoed = text.startswith(whole) if more else text == whole
        return Answer("", tokens, chances, offsets, echoed=echoed, aligned=aligned)
    tops = [
        [(token.encode("utf-8", "replace").hex(), _known(p)) for token, p in (top or {}).items()]
        for top in (told.get("top_logprobs") or [])[:_TOPS]
    ]
    return Answer(text, tokens, chances, [], tops)


def _chat(choice: Any, request: Request) -> Answer:
    text = choice["message"].get("content") or ""  # None where it only thought, or was refused
    if not isinstance(text, str):
        raise TypeError("content")
    told = (choice.get("logprobs") or {}).get("content") or []
    tokens = [str(token["token"]) for token in told]
    chances = [_chance(token["logprob"]) for token in told]
    tops = [
        [(_hex(rival), _known(rival["logprob"])) for rival in token.get("top_logprobs") or []]
        for token in told[:_TOPS]
    ]
    return Answer(text, tokens, chances, [], tops)


def _hex(token: Any) -> str:
    """Return the token's bytes: a part of a Hangul syllable is no character."""
    values = token.get("bytes")
    return (bytes(values) if values else str(token["token"]).encode("utf-8", "replace")).hex()


def _shortened(answer: Answer, tail: int | None) -> Answer:
    """Leave out the tokens of the prompt that nobody will look at."""
    if not answer.echoed and tail is None:
        return answer
    cut = max(0, len(answer.tokens) - (tail or 0))
    return dataclasses.replace(
        answer,
        tokens=answer.tokens[cut:],
        chances=answer.chances[cut:],
        offsets=answer.offsets[cut:],
        dropped=cut,
    )

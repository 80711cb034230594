"""From a server's answers to ln p of each choice: arithmetic alone, no requests.

Chosen: tokens are compared as bytes, since a token of a byte vocabulary may be a third of a Hangul
syllable. What is left of the mass is shared evenly, so that no choice is ever impossible.
"""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np

from mulgil import hangul
from mulgil.errors import ModelError
from mulgil.flow import Array
from mulgil.models._endpoint_answers import Answer

_LEAST = 1e-6
"""Mass that is always shared: a choice among 20 tokens shown may be the 21st."""

_SURE = 0.9
"""Probability of a choice that was named, when a server tells no likelihoods."""

_AROUND = " \t\r\n\"'`“”‘’*「」『』[]()<>.,:;!"
"""What may stand around a named choice."""


def likelihood(answer: Answer, prompt: str, choice: str, bare: Answer | None, more: bool) -> float:
    """Return ln p of a choice that was read behind a prompt.

    A token that straddles the border is the choice's. A first token without a likelihood (nothing
    stands before it) counts nothing.

    Args:
        answer: to prompt and choice.
        prompt: what stands before the choice.
        choice: the choice.
        bare: to the prompt alone; needed where tokens do not make up the text.
        more: whether a token was written behind the choice.

    Raises:
        ModelError: the server tells no likelihoods of this choice.
    """
    if answer.aligned:
        start, end = len(prompt), len(prompt) + len(choice)
        places = zip(answer.offsets, answer.tokens, answer.chances, strict=True)
        own = [
            chance
            for offset, token, chance in places
            if offset < end and (offset >= start or offset + len(token) > start)
        ]
    else:
        own = answer.chances[_border(answer, bare, more) : _read(answer, more) - answer.dropped]
    if not own or not answer.echoed:
        raise ModelError(
            f'model.mode: the server tells no likelihoods of "{choice.strip()}"; set'
            " model.mode=chat"
        )
    return math.fsum(chance for chance in own if chance is not None)


def _read(answer: Answer, more: bool) -> int:
    """Return how many tokens the server has read: all, but for one that it may have written."""
    count = answer.dropped + len(answer.tokens)
    return count - (more and answer.paid[0] != count)


def _border(answer: Answer, bare: Answer | None, more: bool) -> int:
    """Return the place, among the tokens kept, of the first one that the prompt has not."""
    if bare is None:
        return 0
    place = max(answer.dropped, bare.dropped)
    end = min(_read(answer, more), _read(bare, more))
    while (
        place < end and answer.tokens[place - answer.dropped] == bare.tokens[place - bare.dropped]
    ):
        place += 1
    return place - answer.dropped


@dataclasses.dataclass(frozen=True, slots=True)
class Shares:
    """How the likeliest first tokens of an answer fall to the choices.

    Attributes:
        own: for each choice the mass of tokens that begin it and no other.
        shared: mass of tokens that begin several.
    """

    own: list[float]
    shared: float


def shares(answer: Answer, names: list[str]) -> Shares | None:
    """Return the shares of the first token that shows; None where no likelihoods came."""
    tops = next(
        (tops for tops, token in zip(answer.tops, answer.tokens, strict=False) if token.strip()),
        None,
    )
    if not tops:
        return None
    wanted = [hangul.normalise(name).strip().encode("utf-8") for name in names]
    own, shared = [0.0] * len(names), 0.0
    for token, chance in tops:
        raw = bytes.fromhex(token).lstrip(b" \t\r\n\"'")
        raw = raw.removeprefix("▁".encode())  # the space of some vocabularies
        mass = math.exp(chance)
        # "긍정." names 긍정, and so does "긍", where no other choice begins so.
        hits = [i for i, name in enumerate(wanted) if raw and name.startswith(raw)]
        hits = hits or [i for i, name in enumerate(wanted) if name and raw.startswith(name)]
        exact = [i for i in hits if wanted[i] == raw]
        if len(hits) == 1:
            own[hits[0]] += mass
        elif exact:
            own[exact[0]] += mass
        elif hits:
            shared += mass
    return Shares(own, shared)


def spread(found: Shares | None, count: int) -> Array:
    """Return float64 [count], ln p: each choice's own mass, and its part of the rest."""
    if found is None:
        return np.full(count, -math.log(count))
    own = np.array(found.own, np.float64)
    rest = max(1.0 - own.sum(), _LEAST)
    mass = own + rest / count
    normed: Array = np.log(mass / mass.sum())
    return normed


def named(text: str, names: list[str]) -> int | None:
    """Return the one choice that a text names; None where it names none, or several."""
    read, wanted = _folded(text), [_folded(name) for name in names]
    if read in wanted:
        return wanted.index(read)
    found = set()
    for number in sorted(range(len(wanted)), key=lambda i: -len(wanted[i])):
        name = wanted[number]
        # A word of the Latin script must stand alone: "no" is not in "not".
        edges = ("\\b", "\\b") if name.isascii() and name.isalnum() else ("", "")
        read, count = re.subn(f"{edges[0]}{re.escape(name)}{edges[1]}", "\0", read)
        found |= {number} if name and count else set()
    return found.pop() if len(found) == 1 else None


def _folded(text: str) -> str:
    return " ".join(hangul.normalise(text).casefold().strip(_AROUND).split())


def told(number: int | None, count: int) -> Array:
    """Return float64 [count], ln p when one choice was named; all alike where none was."""
    if number is None or count == 1:
        return np.full(count, -math.log(count))
    found = np.full(count, math.log((1 - _SURE) / (count - 1)))
    found[number] = math.log(_SURE)
    return found


def sentence(names: list[str], *, strict: bool = False) -> str:
    """Return what tells a model how to answer, in Korean where a choice is."""
    listed = " / ".join(name.strip() for name in names)
    if re.search("[가-힣ㄱ-ㆎ]", listed):
        more = " 설명도 인사도 문장 부호도 덧붙이지 말고, 아래 말 가운데 하나만 그대로 쓰세요."
        return f"다음 중 하나로만 답하세요: {listed}" + (more if strict else "")
    more = " Write no explanation, no greeting and no punctuation: one of these words alone."
    return f"Answer with exactly one of these: {listed}" + (more if strict else "")

"""Words that stand near each other: word vectors, learnt upstream from texts alone (word2vec).

A pair is a token and another one at most `window` places from it in the same window of a text.
What is measured on held-out texts is word2vec's own objective with ten drawn tokens a pair (loss,
nats a pair; 11 ln 2 = 7.62 where nothing is known), and how often the true one outranks all ten
(pair-accuracy; 1/11 by chance). Chosen: all pairs of a held-out text are asked, near and far alike,
where training takes near ones more often and frequent tokens less. It costs that the figure is no
copy of the training loss; it compares runs with the same tokenizer and window.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pydantic

from mulgil import hangul, settings
from mulgil.flow import UNASKED, Array, Asker, Blanks, Frame, Schema, Skill
from mulgil.tasks._language import _LanguageTask, special_ids

BROKEN = "\ufffd"
"""What a byte of a character reads like without its others."""

_SIGN = re.compile(r"(?:^|\s)([+-])\s")
"""What parts an analogy: a sign with white space around it."""


class SkipGramSettings(settings.Settings):
    """Settings of learning word vectors."""

    window: int = pydantic.Field(5, ge=1, le=100)
    """Farthest distance in tokens of two words of a pair."""
    top: int = pydantic.Field(10, ge=1, le=1000)
    """How many neighbours `mulgil predict` gives for each word."""

    @property
    def packages(self) -> tuple[str, ...]:
        return ("gensim",)


class SkipGram(_LanguageTask):
    """Word vectors from pairs of words."""

    Settings: ClassVar[type[settings.Settings]] = SkipGramSettings
    needs: ClassVar[frozenset[Skill]] = frozenset({"relate"})
    frame: ClassVar[Frame] = "sentence"
    answering: ClassVar[frozenset[str]] = frozenset({"top"})
    metrics: ClassVar[tuple[str, ...]] = ("loss", "pair-accuracy")

    settings: SkipGramSettings

    def fields(self, schema: Schema) -> tuple[str, ...]:
        return ("nearest", "cosine", "neighbours")

    def asker(self, tokenizer: Any) -> Asker:
        return _Asker(self.settings.window, special_ids(tokenizer))

    def respond(self, texts: Sequence[str], network: Any, tokenizer: Any) -> list[dict[str, Any]]:
        space = _Space(network, tokenizer)
        return [space.answer(text, self.settings.top) for text in texts]


class _Asker:
    """Asks at each token for those near it.

    Args:
        window: farthest distance.
        special: ids that are no one's neighbours.
    """

    def __init__(self, window: int, special: Array) -> None:
        self.distances = [d for d in range(-window, window + 1) if d]
        self.special = special

    def __call__(self, inputs: Any, rows: Array, draw: Sequence[int] | None) -> Blanks:
        """Return targets [B, L * 2 window]: for each token as many places as it may have pairs."""
        ids, width = inputs.ids, inputs.ids.shape[1]
        inside = np.arange(width) < inputs.lengths[:, None]  # [B, L]
        inside &= ~np.isin(ids, self.special)
        words = np.where(inside, ids, UNASKED)
        targets = np.full((*ids.shape, len(self.distances)), UNASKED, np.int64)
        for place, distance in enumerate(self.distances):
            near, here = _shifted(width, distance), _shifted(width, -distance)
            targets[:, here, place] = words[:, near]
        targets[~inside] = UNASKED
        return Blanks(ids, inputs.lengths, targets.reshape(len(ids), -1), inputs.bytes)


def _shifted(width: int, distance: int) -> slice:
    """Return the places that have one at `-distance` from them."""
    return slice(max(distance, 0), max(width + min(distance, 0), 0))


class _Space:
    """Vectors of length one, and what their tokens read like.

    Args:
        network: has `vectors` float32 [V, D], zeros where a token has none.
        tokenizer: of the network.
    """

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        lengths = np.linalg.norm(network.vectors, axis=1, keepdims=True)  # [V, 1]
        self.known = lengths[:, 0] > 0
        self.known[special_ids(tokenizer)] = False
        self.units = network.vectors / np.where(lengths > 0, lengths, 1)
        self._said: dict[int, str] = {}

    def answer(self, text: str, top: int) -> dict[str, Any]:
        """Return the neighbours of a word, or of "a - b + c".

        A word of several tokens is the mean of their vectors, those without a vector left out.
        What is asked for is never its own neighbour, and of tokens that read alike the nearest is
        shown.
        """
        total, own = np.zeros(self.units.shape[1]), set[str]()
        for sign, word in terms(text):
            ids = [number for number in self.tokenizer.ids(word) if self._reading(number)]
            if not ids:
                return {"error": self._unknown(word)}
            own |= {word, *map(self._reading, ids)}
            mean = self.units[ids].mean(0, dtype=np.float64)
            total += sign * mean / max(float(np.linalg.norm(mean)), 1e-12)
        length = float(np.linalg.norm(total))
        if length < 1e-6:
            return {"error": "its words cancel each other out; nothing is left to be near to"}
        found: dict[str, float] = {}
        near = self.units @ (total / length).astype(np.float32)  # [V]
        for number in np.argsort(-near, kind="stable").tolist():
            word = self._reading(number)
            if word and word not in own and word not in found:
                found[word] = round(float(near[number]), 4)
                if len(found) == top:
                    break
        if not found:
            return {"error": "no other word has a vector"}
        nearest, cosine = next(iter(found.items()))
        return {"nearest": nearest, "cosine": cosine, "neighbours": found}

    def _reading(self, number: int) -> str:
        """Return what a token reads like, without white space around it.

        One that has no vector, or is no whole character but a byte of one, reads like nothing.
        """
        if number not in self._said:
            text = str(self.tokenizer.decode([number])).strip() if self.known[number] else ""
            self._said[number] = "" if BROKEN in text else text
        return self._said[number]

    def _unknown(self, word: str) -> str:
        words = {self._reading(number) for number in np.flatnonzero(self.known).tolist()}
        close = difflib.get_close_matches(word, sorted(words - {""}), n=1, cutoff=0.3)
        remedy = f'the nearest known in spelling is "{close[0]}"' if close else "try another word"
        return f'no vector for "{word}", it was too rare in the training texts; {remedy}'


def terms(text: str) -> list[tuple[int, str]]:
    """Return the words of "a - b + c" with their signs, in NFC; a word alone is +.

    A sign counts where white space stands around it, so that "e-mail" and "C++" stay words.
    """
    signs = {"+": 1, "-": -1}
    first, *others = _SIGN.split(hangul.normalise(text).strip())
    pairs = [(1, first)] if first.strip() else []
    pairs += [(signs[s], word) for s, word in zip(others[::2], others[1::2], strict=True)]
    return [(sign, word.strip()) for sign, word in pairs]

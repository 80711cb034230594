"""What tasks share that find spans: gold spans in NFC, and the windows of a text put together.

Chosen: a character that two windows hold is judged by the one in which it stands farther from the
edges (as in BERT's scripts for SQuAD, Devlin et al. 2019); edges that are the text's own count for
nothing. It costs that two characters of one span may have been seen in different windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mulgil import hangul
from mulgil.examples import Span
from mulgil.flow import Array, Marked
from mulgil.objectives import Window

PLACES = 6
"""Characters of a token that have scores of their own."""

STRIDE = 64
"""Tokens that two windows share, unless the recipe says otherwise."""


def marked(text: str, spans: Sequence[Span]) -> Marked:
    """Return a text in NFC with its spans, white space at their edges left out.

    Args:
        text: the user's own.
        spans: in characters of it.
    """
    map_, clean = hangul.offsets(text), hangul.normalise(text)
    found = []
    for span in spans:
        start, end = hangul.from_user((span.start, span.end), map_)
        piece = clean[start:end]
        start, end = end - len(piece.lstrip()), start + len(piece.rstrip())
        found.append(Span(start, end, span.label))
    return Marked(clean, tuple(found))


def fault(text: str, spans: Sequence[Span]) -> str | None:
    """Return why spans cannot be those of a text, or None."""
    map_ = hangul.offsets(text)
    for span in spans:
        shown = f"its span {span.start} to {span.end}"
        if not 0 <= span.start < span.end <= len(text):
            return f"{shown} is not within its {len(text)} characters"
        if not text[span.start : span.end].strip():
            return f"{shown} is white space"
        if hangul.to_user(hangul.from_user((span.start, span.end), map_), map_) != (
            span.start,
            span.end,
        ):
            return f"{shown} begins or ends in the midst of a character"
    return None


def owned(windows: Sequence[Window]) -> list[Array]:
    """Return for each window which of its units it judges, bool [U]; never the first unit."""
    best: dict[int, tuple[float, int]] = {}
    last = len(windows) - 1
    for number, (characters, _) in enumerate(windows):
        count = len(characters)
        left = np.arange(count) if number else np.full(count, np.inf)
        right = np.arange(count)[::-1] if number < last else np.full(count, np.inf)
        context = np.minimum(left, right)
        for character, room in zip(characters[1:].tolist(), context[1:].tolist(), strict=True):
            if character not in best or room > best[character][0]:
                best[character] = (room, number)
    return [
        np.array([c >= 0 and best[c][1] == number for c in characters.tolist()], np.bool_)
        for number, (characters, _) in enumerate(windows)
    ]


def merged(windows: Sequence[Window]) -> Window:
    """Return characters int64 [U] in order, and their scores [U, outputs]."""
    kept = owned(windows)
    characters = np.concatenate([c[own] for (c, _), own in zip(windows, kept, strict=True)])
    scores = np.concatenate([s[own] for (_, s), own in zip(windows, kept, strict=True)])
    order = np.argsort(characters, kind="stable")
    return characters[order], scores[order]


def log_softmax(scores: Array) -> Array:
    """Return ln p, float64, of scores [..., K]."""
    scores = scores.astype(np.float64)
    shifted = scores - scores.max(-1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found


def spelt(
    text: str, characters: Array, shares: Array, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return for each character where it stands in the user's text, and its probabilities.

    Args:
        text: the user's own.
        characters: numbers of characters of the text in NFC.
        shares: float64 [U, names].
        names: what each share is of.
    """
    map_ = hangul.offsets(text)
    found = []
    for character, row in zip(characters.astype(int).tolist(), shares.tolist(), strict=True):
        start, end = hangul.to_user((character, character + 1), map_)
        chances = {name: round(share, 6) for name, share in zip(names, row, strict=True)}
        found.append({"text": text[start:end], "start": start, "end": end, **chances})
    return found

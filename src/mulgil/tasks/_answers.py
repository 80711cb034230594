"""Spans of a text as answers: their probabilities, from the scores of starts and ends.

A span that starts at unit i and ends at unit j of a window has the score start_i + end_j less that
of the window's first unit, "not here": the log-odds against that window. Over all windows the odds
are made shares of one. A span that two windows hold is judged by the one in which it stands farther
from the edges, so that an answer is never lost because one window owns its start, another its end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mulgil.flow import Array, Marked
from mulgil.objectives import Window


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A span in characters of the text in NFC, (0, 0) for "no answer", and its probability."""

    start: int
    end: int
    probability: float


def places(characters: Array, marked: Marked) -> tuple[int, int]:
    """Return the units at which the first answer starts and ends; (0, 0) where it is not whole.

    Args:
        characters: int64 [U], those of a window's units.
        marked: the text and its answers.
    """
    if not marked.spans:
        return 0, 0
    first, last = marked.spans[0].start, marked.spans[0].end - 1
    start, end = np.searchsorted(characters, [first, last])
    inside = end < len(characters) and characters[start] == first and characters[end] == last
    return (int(start), int(end)) if inside else (0, 0)


def odds(windows: Sequence[Window], longest: int) -> list[tuple[Array, Array]]:
    """Return for each window its units' characters [N] and log-odds of its spans.

    Args:
        windows: of one text, in their order.
        longest: units of an answer at most.

    Returns:
        (characters, score [N, D] of the span from unit i to unit i + d, -inf where another window
        judges it or it would pass the window's end).
    """
    width = max(1, min(longest, max(len(characters) for characters, _ in windows) - 1))
    last = len(windows) - 1
    found: list[tuple[Array, Array]] = []
    rooms: list[Array] = []
    for number, (characters, scores) in enumerate(windows):
        chances = scores[1:].astype(np.float64) - scores[:1]  # [N, 2]
        places = np.arange(float(len(chances)))
        left = places if number else np.full(len(places), np.inf)
        right = places[::-1] if number < last else np.full(len(places), np.inf)
        found.append((characters[1:], chances[:, :1] + _ahead(chances[:, 1], width)))
        rooms.append(np.minimum(left[:, None], _ahead(right, width)))
    for number in range(last):  # no span is in more than two windows
        (own, here), (others, there) = found[number : number + 2]
        if len(others):
            first = int(np.searchsorted(own, others[0]))
            shared = len(own) - first
            better = rooms[number][first:] < rooms[number + 1][:shared]
            here[first:][better] = -np.inf
            there[:shared][~better] = -np.inf
    return found


def _ahead(values: Array, width: int) -> Array:
    """Return [N, width] the values [N] from each place on, -inf past their end."""
    padded = np.full(len(values) + width, -np.inf)
    padded[: len(values)] = values
    found: Array = np.lib.stride_tricks.sliding_window_view(padded, width)[: len(values)]
    return found


def ranked(windows: Sequence[Window], longest: int, no_answer: bool, best: int) -> list[Candidate]:
    """Return the likeliest answers, the best first; never none.

    Args:
        windows: of one text.
        longest: characters of an answer at most.
        no_answer: whether "no answer" is one.
        best: how many.
    """
    tables = odds(windows, longest)
    flat = np.concatenate([table.reshape(-1) for _, table in tables])
    whole = np.logaddexp.reduce(np.concatenate([flat, [0.0 if no_answer else -np.inf]]))
    if not np.isfinite(whole):  # a text of white space
        return [Candidate(0, 0, 1.0)]
    found = [Candidate(0, 0, float(np.exp(-whole)))] if no_answer else []
    for characters, table in tables:
        scores = table.reshape(-1)
        for place in np.argsort(-scores, kind="stable")[:best].tolist():
            if np.isfinite(scores[place]):
                start, more = divmod(place, table.shape[1])
                span = int(characters[start]), int(characters[start + more]) + 1
                found.append(Candidate(*span, float(np.exp(scores[place] - whole))))
    return sorted(found, key=lambda each: -each.probability)[:best]


def shares(windows: Sequence[Window], longest: int, no_answer: bool) -> Array:
    """Return the probability of each unit to be the start, inside and the end of the answer.

    Returns:
        float64 [U, 4]: the character, and the three probabilities; "inside" counts both ends.
    """
    tables = odds(windows, longest)
    flat = np.concatenate([table.reshape(-1) for _, table in tables])
    whole = np.logaddexp.reduce(np.concatenate([flat, [0.0 if no_answer else -np.inf]]))
    size = 1 + max((int(c[-1]) for c, _ in tables if len(c)), default=-1)
    found = np.zeros((size + 1, 3))
    seen = np.zeros(size, np.bool_)
    for characters, table in tables:
        count, width = table.shape
        seen[characters] = True
        share = np.exp(table - whole)
        ends = np.minimum(np.arange(count)[:, None] + np.arange(width), count - 1)
        np.add.at(found[:, 0], characters, share.sum(1))
        np.add.at(found[:, 2], characters[ends], share)
        np.add.at(found[:, 1], characters, share.sum(1))
        np.add.at(found[:, 1], characters[ends] + 1, -share)
    found[:, 1] = np.cumsum(found[:, 1]).clip(0)  # what is left of a sum may be below 0
    units = np.flatnonzero(seen)
    return np.column_stack([units, found[units]])

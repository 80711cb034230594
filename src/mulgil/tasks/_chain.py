"""Tags of a text as a chain: the likeliest entities, and how likely each of them is.

Chosen: each character has its own distribution over tags, and of all tag sequences only those count
in which every I-X follows B-X or I-X; within them the best is found (Viterbi 1967) and the share of
an entity is that of all sequences that hold exactly it (forward and backward sums). It costs a step
of Python a character, and that nothing is learnt about which tag follows which.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mulgil.flow import Array


def allowed(tags: Sequence[str]) -> Array:
    """Return float64 [before, after], 0 where a tag may follow another, else -inf."""
    table = np.zeros((len(tags), len(tags)))
    for after, tag in enumerate(tags):
        if tag.startswith("I-"):
            table[:, after] = [0.0 if b != "O" and b[2:] == tag[2:] else -np.inf for b in tags]
    return table


def entities(chances: Array, tags: Sequence[str]) -> list[tuple[int, int, str, float]]:
    """Return (first unit, unit after the last, kind, probability) of each entity, in order.

    Args:
        chances: ln p, float64 [U, tags].
        tags: "O", "B-X" and "I-X" by number.
    """
    if not len(chances):
        return []
    table = allowed(tags)
    path = _best(chances, table, tags)
    before, after, whole = _sums(chances, table, tags)
    found = []
    for start, number in enumerate(path):
        if not tags[number].startswith("B-"):
            continue
        kind = tags[number][2:]
        inside = tags.index(f"I-{kind}")
        end = start + 1
        while end < len(path) and path[end] == inside:
            end += 1
        share = chances[start, number] + chances[start + 1 : end, inside].sum()
        share += np.logaddexp.reduce(before[start - 1]) if start else 0.0
        if end < len(path):
            next_ = chances[end] + after[end]
            next_[inside] = -np.inf
            closed = np.array([name.startswith("I-") for name in tags])
            share += np.logaddexp.reduce(np.where(closed, -np.inf, next_))
        found.append((start, end, kind, float(np.exp(min(share - whole, 0.0)))))
    return found


def _first(tags: Sequence[str]) -> Array:
    """Return which tags may begin a text, 0 or -inf."""
    return np.array([-np.inf if tag.startswith("I-") else 0.0 for tag in tags])


def _best(chances: Array, table: Array, tags: Sequence[str]) -> list[int]:
    score = chances[0] + _first(tags)
    back = []
    for step in chances[1:]:
        ways = score[:, None] + table  # [before, after]
        back.append(ways.argmax(0))
        score = ways.max(0) + step
    path = [int(score.argmax())]
    for choice in reversed(back):
        path.append(int(choice[path[-1]]))
    return path[::-1]


def _sums(chances: Array, table: Array, tags: Sequence[str]) -> tuple[Array, Array, float]:
    """Return ln sums over all sequences up to a unit [U, tags], after it, and of all."""
    before, after = np.empty_like(chances), np.zeros_like(chances)
    before[0] = chances[0] + _first(tags)
    for i in range(1, len(chances)):
        before[i] = np.logaddexp.reduce(before[i - 1][:, None] + table, axis=0) + chances[i]
    for i in range(len(chances) - 2, -1, -1):
        after[i] = np.logaddexp.reduce(table + (chances[i + 1] + after[i + 1])[None], axis=1)
    return before, after, float(np.logaddexp.reduce(before[-1]))

"""Which rows of training a prompt shows, and what is fitted on those that it only asks.

Chosen: as many of each label as can be, in an order that is drawn; or those nearest to a row by the
words that they share (TF-IDF of character n-grams), which needs no model. A row whose texts also
stand in another part is never shown. It costs a pass over the other parts' texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mulgil.contracts import Lesson
from mulgil.errors import DataError
from mulgil.examples import Example
from mulgil.flow import Array


@dataclasses.dataclass(frozen=True, slots=True)
class Shot:
    """An example as a prompt shows it.

    Attributes:
        question: the row's question, whole.
        answer: the word of its label, as it goes on.
    """

    question: str
    answer: str


def shots(lesson: Lesson, count: int, balanced: bool, seed: int, number: int) -> list[Shot]:
    """Return examples that are drawn.

    Args:
        lesson: has the rows.
        count: how many.
        balanced: as many of each label as can be, else as they come.
        seed: of the draw.
        number: which draw of this seed.

    Raises:
        DataError: there are fewer rows that may be shown.
    """
    task: Any = lesson.task
    words = task.replies(lesson.schema)
    rows, gold = _allowed(lesson)
    if len(rows) < count:
        raise DataError(
            f"method.shots is {count}, but only {len(rows)} training rows may be shown (rows whose"
            " texts also stand in another part may not); lower it"
        )
    draw = np.random.default_rng((seed, number))
    places = _balanced(gold, count, draw) if balanced else draw.permutation(len(rows))[:count]
    return [Shot("".join(task.question(rows[i])), words[gold[i]]) for i in places.tolist()]


def drawn(lesson: Lesson, count: int, seed: int, number: int, draw: Any) -> list[Example]:
    """Return rows that are asked to calibrate, as many of each label as can be, none shown."""
    task: Any = lesson.task
    shown = {shot.question for shot in draw.shots}
    rows, _ = _allowed(lesson)
    left = [row for row in rows if "".join(task.question(row)) not in shown]
    gold = task.targets(left, lesson.schema)
    places = _balanced(gold, min(count, len(left)), np.random.default_rng((seed, number, 1)))
    return [left[i] for i in places.tolist()]


def fitted(scores: Array, gold: Array) -> tuple[float, list[float]]:
    """Return the slope and offsets that make the rows' log loss least, held to small ones.

    Args:
        scores: float64 [N, C], ln p of the words.
        gold: int64 [N].
    """
    from scipy.optimize import minimize

    count = scores.shape[1]

    def loss(values: Array) -> float:
        held = scores * np.exp(values[0]) + values[1:]
        held = held - held.max(1, keepdims=True)
        nats = np.log(np.exp(held).sum(1)) - held[np.arange(len(gold)), gold]
        return float(nats.mean() + 1e-3 * (values**2).sum())

    found = minimize(loss, np.zeros(count + 1), method="L-BFGS-B").x
    return float(np.exp(found[0])), [float(offset) for offset in found[1:]]


def _allowed(lesson: Lesson) -> tuple[list[Example], Array]:
    """Return the rows of training that may be shown, and their labels' numbers."""
    task: Any = lesson.task
    held = {task.text(row) for row in lesson.held}
    rows = [row for row in lesson.rows if task.text(row) not in held]
    gold: Array = task.targets(rows, lesson.schema)
    return rows, gold


def _balanced(gold: Array, count: int, draw: np.random.Generator) -> Array:
    """Return numbers of rows, as many of each label as can be, in an order that is drawn."""
    queues = [draw.permutation(np.flatnonzero(gold == label)).tolist() for label in np.unique(gold)]
    taken: list[int] = []
    while len(taken) < count and any(queues):
        order: Sequence[int] = draw.permutation(len(queues)).tolist()
        for number in order:
            if queues[number] and len(taken) < count:
                taken.append(queues[number].pop())
    return draw.permutation(np.array(taken, np.int64))

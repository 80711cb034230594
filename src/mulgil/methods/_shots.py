"""Which rows of training a prompt shows, and what is fitted on those that it only asks.

Chosen: as many of each label as can be, in an order that is drawn; or those nearest to a question
by the characters that they share (TF-IDF of character n-grams), which needs no model. A row whose
texts also stand in another part is never shown, and a text that comes twice is shown once. It costs
a pass over the texts of all parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from mulgil import hangul
from mulgil.errors import DataError
from mulgil.examples import Example
from mulgil.flow import Array, Schema
from mulgil.objectives import Lesson, WritingTask

_TOGETHER = 256
"""Questions that are compared with a pool at once."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shot:
    """An example as a prompt shows it.

    Attributes:
        text: the row's question up to the end of its text, whole.
        behind: what stands behind the text.
        answer: the word of its label, as it goes on, or the text that is written from it.
        label: the label's number; 0 where a text is written.
    """

    text: str
    behind: str
    answer: str
    label: int


class Showable:
    """The rows of training that a prompt may show.

    Args:
        lesson: has the rows, and those of other parts.
    """

    def __init__(self, lesson: Lesson) -> None:
        task: Any = lesson.task
        self._task = task
        seen = {hangul.key(task.text(row)) for row in lesson.held}
        self._rows: list[Example] = []
        for row in lesson.rows:
            key = hangul.key(task.text(row))
            if key not in seen:
                seen.add(key)
                self._rows.append(row)
        self._gold: Array
        if isinstance(task, WritingTask):  # rows of one sort, each with an answer of its own
            self._gold = np.zeros(len(self._rows), np.int64)
            self._answers: Sequence[str] = task.gold(self._rows, lesson.schema or Schema("", ()))
        else:
            self._gold = task.targets(self._rows, lesson.schema)
            words = task.replies(lesson.schema)
            self._answers = [words[label] for label in self._gold.tolist()]

    def __len__(self) -> int:
        return len(self._rows)

    def shots(self, count: int, balanced: bool, seed: int, number: int) -> list[Shot]:
        """Return examples that are drawn, in an order that is drawn.

        Args:
            count: how many.
            balanced: as many of each label as can be, else as they come.
            seed: of the draw.
            number: which draw of this seed.

        Raises:
            DataError: there are fewer rows that may be shown.
        """
        if len(self) < count:
            raise DataError(
                f"method.shots is {count}, but only {len(self)} training rows may be shown (a text"
                " that also stands in another part may not, and one that comes twice counts once);"
                " lower it"
            )
        draw = np.random.default_rng((seed, number))
        places = _balanced(self._gold, count, draw) if balanced else draw.permutation(len(self))
        return [self._shot(i) for i in places[:count].tolist()]

    def asked(
        self, count: int, seed: int, number: int, shown: Collection[Shot]
    ) -> tuple[list[Example], Array]:
        """Return rows to calibrate on and their labels, as many of each as can be, none shown.

        Raises:
            DataError: no row is left.
        """
        known = {(shot.text, shot.behind) for shot in shown}
        left = [i for i, row in enumerate(self._rows) if self._task.question(row) not in known]
        if not left:
            raise DataError(
                'method.calibration "labelled" needs training rows that no prompt shows, and none'
                ' is left; lower method.shots, or take "content-free"'
            )
        draw = np.random.default_rng((seed, number, 1))
        places = [left[i] for i in _balanced(self._gold[left], min(count, len(left)), draw)]
        return [self._rows[i] for i in places], self._gold[places]

    def _shot(self, place: int) -> Shot:
        text, behind = self._task.question(self._rows[place])
        return Shot(text, behind, self._answers[place], int(self._gold[place]))


class Nearest:
    """Finds the examples of a pool that are most like a question.

    Args:
        pool: questions.
        labels: their labels' numbers.
    """

    def __init__(self, pool: Sequence[str], labels: Sequence[int]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._labels = labels
        self._counts = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
        self._pool = self._counts.fit_transform(pool)  # CSR [pool, n-grams], rows of length 1

    def places(
        self, questions: Sequence[str], barred: Sequence[Collection[int]], count: int, even: bool
    ) -> list[list[int]]:
        """Return for each question places in the pool, the most alike last.

        Args:
            questions: as those of the pool.
            barred: for each question places that must not be shown.
            count: of places.
            even: as many of each label as can be, the odd ones of the labels most alike.
        """
        found = []
        for start in range(0, len(questions), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            alike = (self._counts.transform(questions[part]) @ self._pool.T).toarray()
            orders = np.argsort(-alike, axis=1, kind="stable")
            for order, never in zip(orders, barred[part], strict=True):
                found.append(self._taken(order.tolist(), never, count, even))
        return found

    def _taken(
        self, order: Sequence[int], never: Collection[int], count: int, even: bool
    ) -> list[int]:
        """Return the first places of an order that may be shown, the best one last."""
        rounds: dict[int, int] = {}
        allowed = []
        for rank, place in enumerate(order):
            if place in never:
                continue
            label = self._labels[place] if even else rank
            rounds[label] = rounds.get(label, 0) + 1  # the how manyth of its label it is
            allowed.append((rounds[label], rank, place))
        taken = sorted(sorted(allowed)[:count], key=lambda each: -each[1])
        return [place for _, _, place in taken]


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

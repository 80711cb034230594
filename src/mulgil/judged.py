"""What metrics read: gold answers and a model's, side by side, a row each.

    Scored: labels   Rated: numbers   Tagged: entities   Written: texts
    Likelihood: how likely a text was   Composed: the last two together

Chosen: one frozen dataclass for each sort of answer, and `take` on all of them, so that a bootstrap
can draw rows without knowing what they hold. It costs a copy of the rows for each draw of a metric
that is no sum over rows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from mulgil.examples import Span
from mulgil.flow import Array


@dataclasses.dataclass(frozen=True, slots=True)
class Scored:
    """Gold and predicted answers of the same rows, as metrics read them.

    Attributes:
        gold: int64 [N], or bool [N, labels] when multi-label.
        predicted: the same shape as `gold`.
        probabilities: float64 [N, labels].
        labels: label names.
    """

    gold: Array
    predicted: Array
    probabilities: Array
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.gold)

    def take(self, rows: Array) -> Scored:
        """Return these rows only (with repeats, for a bootstrap)."""
        return Scored(self.gold[rows], self.predicted[rows], self.probabilities[rows], self.labels)


@dataclasses.dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a language model finds the tokens that it was asked for, a row a text's part.

    Attributes:
        nats: float64 [N], sum of -ln p over the row's tokens.
        tokens: float64 [N], how many were asked for.
        correct: float64 [N], how many of them were the likeliest.
        bytes: float64 [N], length of what they stand for, in UTF-8.
    """

    nats: Array
    tokens: Array
    correct: Array
    bytes: Array

    def __len__(self) -> int:
        return len(self.nats)

    def take(self, rows: Array) -> Likelihood:
        """Return these rows only (with repeats, for a bootstrap)."""
        return Likelihood(self.nats[rows], self.tokens[rows], self.correct[rows], self.bytes[rows])


@dataclasses.dataclass(frozen=True, slots=True)
class Rated:
    """Gold and predicted numbers of the same rows.

    Attributes:
        gold: float64 [N].
        predicted: float64 [N].
    """

    gold: Array
    predicted: Array

    def __len__(self) -> int:
        return len(self.gold)

    def take(self, rows: Array) -> Rated:
        """Return these rows only (with repeats, for a bootstrap)."""
        return Rated(self.gold[rows], self.predicted[rows])


@dataclasses.dataclass(frozen=True, slots=True)
class Tagged:
    """Gold and predicted entities of the same rows, spans of the text in NFC.

    Attributes:
        gold: a tuple of spans a row, in order, without overlap.
        predicted: the same.
        sizes: int64 [N], characters of each text.
        labels: names of the kinds of entities.
    """

    gold: tuple[tuple[Span, ...], ...]
    predicted: tuple[tuple[Span, ...], ...]
    sizes: Array
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.gold)

    def take(self, rows: Array) -> Tagged:
        """Return these rows only (with repeats, for a bootstrap)."""
        gold, predicted = _taken(self.gold, rows), _taken(self.predicted, rows)
        return Tagged(gold, predicted, self.sizes[rows], self.labels)


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """Texts that should have been written and texts that were: answers, summaries, translations.

    Attributes:
        gold: for each row the texts of equal right; () when "no answer" is right.
        predicted: for each row the text; "" is "no answer".
    """

    gold: tuple[tuple[str, ...], ...]
    predicted: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.gold)

    def take(self, rows: Array) -> Written:
        """Return these rows only (with repeats, for a bootstrap)."""
        return Written(_taken(self.gold, rows), _taken(self.predicted, rows))


@dataclasses.dataclass(frozen=True, slots=True)
class Attempts:
    """What a model made of rows from which it shall write a text.

    Attributes:
        figures: float64 [N, 4], of the gold target: nats, tokens, right ones, bytes.
        texts: what it wrote itself, None where it was not asked to.
        chances: ln p of each text that it wrote, under the model itself.
    """

    figures: Array
    texts: tuple[str, ...] | None = None
    chances: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.figures)


@dataclasses.dataclass(frozen=True, slots=True)
class Composed:
    """`Likelihood` of the gold targets and `Written` texts of the same rows, for metrics of both.

    Attributes:
        nats: float64 [N].
        tokens: float64 [N].
        correct: float64 [N].
        bytes: float64 [N].
        gold: for each row its target, in a tuple.
        predicted: for each row what was written; () where nothing was.
    """

    nats: Array
    tokens: Array
    correct: Array
    bytes: Array
    gold: tuple[tuple[str, ...], ...]
    predicted: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.nats)

    def take(self, rows: Array) -> Composed:
        """Return these rows only (with repeats, for a bootstrap)."""
        return Composed(
            self.nats[rows],
            self.tokens[rows],
            self.correct[rows],
            self.bytes[rows],
            _taken(self.gold, rows),
            _taken(self.predicted, rows) if self.predicted else (),
        )


def _taken(values: tuple[Any, ...], rows: Array) -> tuple[Any, ...]:
    return tuple(values[row] for row in rows.tolist())


Judged = Scored | Likelihood | Rated | Tagged | Written | Composed
"""What metrics read."""

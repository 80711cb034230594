"""What metrics read: gold answers and a model's, side by side, a row each.

    Scored: labels   Rated: numbers   Tagged: entities   Written: texts
    Likelihood: how likely a text was   Composed: the last two together

Chosen: one frozen dataclass for each sort of answer, and one `take` for all of them, so that a
bootstrap can draw rows without knowing what they hold. It costs a copy of the rows for each draw of
a metric that is no sum over rows.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Self

from mulgil.examples import Span
from mulgil.flow import Array


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Fields that hold a row each, but for `labels`; the first is never left out."""

    def __len__(self) -> int:
        return len(getattr(self, dataclasses.fields(self)[0].name))

    def take(self, rows: Array) -> Self:
        """Return these rows only (with repeats, for a bootstrap)."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "labels"]
        return dataclasses.replace(self, **{n: _taken(getattr(self, n), rows) for n in names})


def _taken(values: Any, rows: Array) -> Any:
    if not isinstance(values, tuple):
        return values[rows]
    return tuple(values[row] for row in rows.tolist()) if values else ()


@dataclasses.dataclass(frozen=True)
class Scored(_Rows):
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


@dataclasses.dataclass(frozen=True)
class Likelihood(_Rows):
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


@dataclasses.dataclass(frozen=True)
class Rated(_Rows):
    """Gold and predicted numbers of the same rows.

    Attributes:
        gold: float64 [N].
        predicted: float64 [N].
    """

    gold: Array
    predicted: Array


@dataclasses.dataclass(frozen=True)
class Tagged(_Rows):
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


@dataclasses.dataclass(frozen=True)
class Written(_Rows):
    """Texts that should have been written and texts that were: answers, summaries, translations.

    Attributes:
        gold: for each row the texts of equal right; () when "no answer" is right.
        predicted: for each row the text; "" is "no answer".
    """

    gold: tuple[tuple[str, ...], ...]
    predicted: tuple[str, ...]


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


@dataclasses.dataclass(frozen=True)
class Composed(Written, Likelihood):
    """Likelihoods of the gold targets and texts of the same rows, for metrics of both.

    In `gold` stands each row's target alone, `predicted` is () where nothing was written.
    """


Judged = Scored | Likelihood | Rated | Tagged | Written | Composed
"""What metrics read."""

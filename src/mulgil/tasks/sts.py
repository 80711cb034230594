"""How alike two texts are, as a number (semantic textual similarity).

Chosen: regression by the mean squared error (as BERT did on STS-B, Devlin et al. 2019), on ratings
scaled to 0 and 1 by `lowest` and `highest`; answers are held within the two. Pearson's r decides
which weights are kept. It costs that the loss is that of a normal error of one size, which ratings
at both ends do not have; there is no probability, the answer is the number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pydantic

from mulgil import settings
from mulgil.errors import DataError
from mulgil.examples import Example, RatedPairExample
from mulgil.flow import Array, Head, Schema, Skill, Text
from mulgil.judged import Judged, Rated
from mulgil.objectives import LabelTask


class StsSettings(settings.Settings):
    """Settings of semantic textual similarity."""

    lowest: float = pydantic.Field(0.0, ge=-1e6, le=1e6)
    """The rating of texts that have nothing in common."""
    highest: float = pydantic.Field(5.0, ge=-1e6, le=1e6)
    """The rating of texts that mean the same."""

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> StsSettings:
        if self.lowest >= self.highest:
            raise ValueError(f"highest {self.highest:g} must be above lowest {self.lowest:g}")
        return self


class Sts(LabelTask):
    """Semantic textual similarity."""

    Settings: ClassVar[type[settings.Settings]] = StsSettings
    shape: ClassVar[str] = "rated-pair"
    needs: ClassVar[frozenset[Skill]] = frozenset({"pool", "pair", "rate"})
    metrics: ClassVar[tuple[str, ...]] = ("pearson", "spearman", "rmse")
    apart: ClassVar[tuple[str, ...]] = RatedPairExample.inputs

    settings: StsSettings

    def schema(self, train: Sequence[Example]) -> Schema:
        return Schema(self.shape, ("rating",))

    def problem(self, row: Example, schema: Schema) -> str | None:
        rating = _pair(row).rating
        if rating is None:
            return "no rating"
        if not self.settings.lowest <= rating <= self.settings.highest:
            return (
                f"its rating {rating:g} is not between task.lowest {self.settings.lowest:g} and"
                f" task.highest {self.settings.highest:g}"
            )
        return None

    def tally(self, rows: Sequence[Example], schema: Schema | None) -> dict[str, int]:
        low, step = self.settings.lowest, self._width / 5
        known = [rating for row in rows if (rating := _pair(row).rating) is not None]
        counts = Counter(min(max(int((rating - low) / step), 0), 4) for rating in known)
        return {f"{low + i * step:g} to {low + (i + 1) * step:g}": counts[i] for i in range(5)}

    def text(self, row: Example) -> Text:
        return _pair(row).first, _pair(row).second

    def targets(self, rows: Sequence[Example], schema: Schema) -> Array:
        return np.array([[_pair(row).rating or 0.0] for row in rows], np.float32)

    def head(self, schema: Schema) -> Head:
        return Head("rate", 1, labels=schema.labels)

    def class_weights(self, targets: Array, schema: Schema) -> None:
        return None

    def loss(self, scores: Any, targets: Any, weights: Any) -> Any:
        scaled = (targets - self.settings.lowest) / self._width
        return ((scores - scaled) ** 2).sum()

    @property
    def _width(self) -> float:
        return self.settings.highest - self.settings.lowest

    def probabilities(self, scores: Array, schema: Schema) -> Array:
        ratings = self.settings.lowest + self._width * scores.astype(np.float64)
        return np.clip(ratings, self.settings.lowest, self.settings.highest)

    def judge(self, gold: Any, measured: Any, schema: Schema) -> Judged:
        """Put gold ratings and answers side by side.

        Raises:
            DataError: there are no gold ratings.
        """
        if gold is None:
            raise DataError("rows that are scored need ratings")
        return Rated(gold[:, 0].astype(np.float64), measured[:, 0])

    def loss_of(self, gold: Any, measured: Any, schema: Schema) -> float:
        """Return the mean squared error on the scale from 0 to 1."""
        if gold is None or not len(gold):
            return 0.0
        return float((((measured - gold) / self._width) ** 2).mean())

    def records(self, gold: Any, measured: Any, schema: Schema) -> Iterator[dict[str, Any]]:
        for rating, answer in zip(gold[:, 0], measured[:, 0], strict=True):
            yield {"gold": round(float(rating), 4), "predicted": round(float(answer), 4)}

    def fields(self, schema: Schema) -> tuple[str, ...]:
        return ("rating",)

    def answer(self, probabilities: Array, schema: Schema) -> dict[str, Any]:
        return {"rating": round(float(probabilities[0]), 4)}


def _pair(row: Example) -> RatedPairExample:
    if not isinstance(row, RatedPairExample):
        raise DataError(f"{row.id}: sts reads rows of shape rated-pair, not {row.shape}")
    return row

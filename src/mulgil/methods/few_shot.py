"""Few-shot: the model is shown a few rows with their answers, then asked about each row.

Chosen: as many examples of each label as can be, in an order that is drawn; which ones, and in
which order, changes the figures by points (Lu et al. 2022), so `draws` scores several choices and
tells their mean and deviation. `pick = "nearest"` shows each question its own examples, those
most like it (Liu et al. 2022), which helps where many topics are asked about. It costs a pass over
all test rows for each draw; with "nearest" no prompt shares its examples, so each is read whole.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic

from mulgil import settings
from mulgil.methods import _shots
from mulgil.methods._in_context import InContext, InContextSettings


class FewShotSettings(InContextSettings):
    """Settings of few-shot."""

    shots: int = pydantic.Field(8, ge=1, le=10_000)
    """Examples in a prompt, over all labels."""
    balanced: bool = True
    """As many of each label as can be; else as they are drawn."""
    draws: int = pydantic.Field(1, ge=1, le=1000)
    """Choices of examples that are scored; the first one answers."""
    pick: Literal["random", "nearest"] = "random"
    """The same examples for all, or for each question those of the pool that are most like it, by
    TF-IDF of character n-grams, the most alike last."""
    pool: int = pydantic.Field(2000, ge=1, le=100_000)
    """"nearest": training rows among which is looked; they are kept in the run. A draw draws these,
    so draws differ only where there are more rows than that."""

    @pydantic.model_validator(mode="after")
    def _has_enough(self) -> FewShotSettings:
        if self.pick == "nearest" and self.pool < self.shots:
            raise ValueError(f"pool must be {self.shots} (shots) or more, not {self.pool}")
        return self


class FewShot(InContext):
    """Asks behind a few examples."""

    Settings: ClassVar[type[settings.Settings]] = FewShotSettings

    @property
    def shots(self) -> int:
        return int(self.settings.shots)

    @property
    def draws(self) -> int:
        return int(self.settings.draws)

    @property
    def own(self) -> bool:
        return bool(self.settings.pick == "nearest")

    @property
    def balanced(self) -> bool:
        return bool(self.settings.balanced)

    def pick(self, rows: _shots.Showable, number: int) -> list[_shots.Shot]:
        chosen, count = self.settings, self.shots
        if self.own:
            labelled = chosen.calibration == "labelled"  # asks rows that are never shown
            kept = chosen.calibration_rows if labelled else 0
            count = max(min(chosen.pool, len(rows) - kept), count)
        return rows.shots(count, chosen.balanced, chosen.seed, number)

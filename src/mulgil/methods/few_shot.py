"""Few-shot: the model is shown a few rows with their answers, then asked about each row.

Chosen: as many examples of each label as can be, in an order that is drawn; which ones, and in
which order, changes the figures by points (Lu et al. 2022), so `draws` scores several choices and
tells their mean and deviation. It costs a pass over all test rows for each draw.
"""

from __future__ import annotations

from typing import ClassVar

import pydantic

from mulgil import settings
from mulgil.contracts import Lesson
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


class FewShot(InContext):
    """Asks behind a few examples."""

    Settings: ClassVar[type[settings.Settings]] = FewShotSettings

    @property
    def shots(self) -> int:
        return int(self.settings.shots)

    @property
    def draws(self) -> int:
        return int(self.settings.draws)

    def pick(self, lesson: Lesson, number: int) -> list[_shots.Shot]:
        chosen = self.settings
        return _shots.shots(lesson, chosen.shots, chosen.balanced, chosen.seed, number)

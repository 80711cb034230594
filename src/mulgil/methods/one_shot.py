"""One-shot: the model is shown a single row with its answer, then asked about each row.

Chosen: few-shot with one example, of whatever label is drawn. It costs that one label alone has
been seen, which `calibration` makes up for in part.
"""

from __future__ import annotations

from typing import ClassVar

import pydantic

from mulgil import settings
from mulgil.methods import _shots
from mulgil.methods._in_context import InContext, InContextSettings


class OneShotSettings(InContextSettings):
    """Settings of one-shot."""

    draws: int = pydantic.Field(1, ge=1, le=1000)
    """Choices of the example that are scored; the first one answers."""


class OneShot(InContext):
    """Asks behind one example."""

    Settings: ClassVar[type[settings.Settings]] = OneShotSettings

    @property
    def shots(self) -> int:
        return 1

    @property
    def draws(self) -> int:
        return int(self.settings.draws)

    def pick(self, rows: _shots.Showable, number: int) -> list[_shots.Shot]:
        return rows.shots(1, True, self.settings.seed, number)

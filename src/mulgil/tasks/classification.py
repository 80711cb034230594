"""One label for a text out of a fixed list; or, with `multi_label`, any number of them.

Labels, their probabilities and their loss are those of `_labelled`. Chosen: one task for both
sorts, because rows, heads and figures are alike; `threshold` alone decides from which probability
on one of several labels is given.
"""

from __future__ import annotations

from typing import ClassVar

import pydantic

from mulgil import settings
from mulgil.errors import DataError
from mulgil.examples import Example, TextExample
from mulgil.flow import Skill, Text
from mulgil.tasks._labelled import LabelSettings, _LabelledTask
from mulgil.tasks._prompts import held


class ClassificationSettings(LabelSettings):
    """Settings of document classification."""

    prompt: str = "{text}\n분류:"
    """In context: a row's question; {text} stands for its text."""

    multi_label: bool = False
    """A row may have any number of labels."""
    threshold: float = pydantic.Field(0.5, gt=0, lt=1)
    """Multi-label: probability from which a label is given."""

    @pydantic.field_validator("prompt")
    @classmethod
    def _holds_the_text(cls, prompt: str) -> str:
        return held(prompt, TextExample.inputs)


class Classification(_LabelledTask):
    """Document classification."""

    Settings: ClassVar[type[settings.Settings]] = ClassificationSettings
    shape: ClassVar[str] = "text"
    needs: ClassVar[frozenset[Skill]] = frozenset({"pool"})

    @property
    def several(self) -> bool:
        return bool(self.settings.multi_label)

    @property
    def threshold(self) -> float:
        return float(self.settings.threshold)

    def text(self, row: Example) -> Text:
        if not isinstance(row, TextExample):
            raise DataError(f"{row.id}: classification reads rows of shape text, not {row.shape}")
        return row.text

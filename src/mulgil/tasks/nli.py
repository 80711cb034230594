"""What holds between two texts: entailment, contradiction, neither; any label for a pair.

Natural-language inference (Bowman et al. 2015: premise, hypothesis, three labels), and every other
label out of a fixed list that two texts get: whether two questions mean the same, whether an answer
fits. Chosen: both texts are read together, the longer one is cut first where they do not fit. It
costs that the order matters: a relation that is the same both ways is learnt as if it were not.
"""

from __future__ import annotations

from typing import ClassVar

import pydantic

from mulgil import settings
from mulgil.errors import DataError
from mulgil.examples import Example, PairExample
from mulgil.flow import Skill, Text
from mulgil.tasks._labelled import LabelSettings, _LabelledTask
from mulgil.tasks._prompts import held


class NliSettings(LabelSettings):
    """Settings of natural-language inference."""

    prompt: str = "{first}\n{second}\n관계:"
    """In context: a row's question; {first} and {second} stand for its texts."""

    @pydantic.field_validator("prompt")
    @classmethod
    def _holds_both(cls, prompt: str) -> str:
        return held(prompt, PairExample.inputs)


class Nli(_LabelledTask):
    """Natural-language inference."""

    Settings: ClassVar[type[settings.Settings]] = NliSettings

    shape: ClassVar[str] = "pair"
    needs: ClassVar[frozenset[Skill]] = frozenset({"pool", "pair"})
    metrics: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "macro-f1",
        "auc",
        "matthews",
        "ece",
        "per-class",
        "confusion",
    )
    apart: ClassVar[tuple[str, ...]] = PairExample.inputs

    def text(self, row: Example) -> Text:
        if not isinstance(row, PairExample):
            raise DataError(f"{row.id}: nli reads rows of shape pair, not {row.shape}")
        return row.first, row.second

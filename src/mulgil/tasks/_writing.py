"""What every task shares that writes a text from another one.

Chosen: the target's likelihood is learnt and looked at during training, texts are written only once
at the end, and for users; what stands around the text in the prompt is a setting, learnt with the
rest. A model of one part learns the target alone, not the prompt. It costs that the weights are
picked by perplexity, not by the figure that people read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pydantic

from mulgil import hangul, settings
from mulgil.errors import DataError
from mulgil.examples import Example, WritingExample
from mulgil.flow import Head, Sampling, Schema, Skill
from mulgil.judged import Attempts, Composed, Judged
from mulgil.objectives import WritingTask
from mulgil.tasks._prompts import ShownSettings

PLACE = "{text}"
"""Where the text stands in a prompt."""


class WritingSettings(ShownSettings):
    """Settings of every task that writes; `mulgil predict` may change those of how to write."""

    separator: str = "\n\n"
    """In context: what stands behind the instruction and behind every example; a text that is
    written ends where it begins, or, if it begins with a line break, at the first one."""
    prompt: str = "{text}\n"
    """What the model reads; {text} stands for the row's text, and stands once."""
    max_new: int = pydantic.Field(64, ge=2, le=4096)
    """Tokens that are written at most, the end of the text included; longer targets are cut."""
    temperature: float = pydantic.Field(0.0, ge=0, le=10)
    """Of the distribution that is drawn from; 0 always takes the likeliest token."""
    beams: int = pydantic.Field(1, ge=1, le=64)
    """Keep so many of the likeliest beginnings, at temperature 0."""
    top_k: int = pydantic.Field(0, ge=0, lt=1 << 31)
    """Draw among so many of the likeliest tokens; 0 draws among all."""
    top_p: float = pydantic.Field(1.0, gt=0, le=1)
    """Draw among the likeliest tokens that together have this probability."""
    repetition_penalty: float = pydantic.Field(1.0, ge=1, le=10)
    """Divide the score of tokens that were there already; 1 leaves them alone."""
    seed: int = pydantic.Field(7, ge=0, lt=1 << 31)
    """Of the draws."""

    @pydantic.field_validator("prompt")
    @classmethod
    def _holds_the_text(cls, prompt: str) -> str:
        if prompt.count(PLACE) != 1:
            raise ValueError(f"must hold {PLACE} once, where the text shall stand")
        return prompt

    @pydantic.model_validator(mode="after")
    def _one_way_to_write(self) -> WritingSettings:
        if self.beams > 1 and self.temperature > 0:
            raise ValueError("beams need temperature 0; set one of the two")
        return self


READ = frozenset({*ShownSettings.model_fields, "prompt"})
"""Settings of what is read; the others say how texts are written."""


class _WritingTask(WritingTask):
    """Reads a source, writes a target."""

    Settings: ClassVar[type[settings.Settings]] = WritingSettings
    shape: ClassVar[str] = "writing"
    needs: ClassVar[frozenset[Skill]] = frozenset({"write"})
    answering: ClassVar[frozenset[str]] = frozenset(WritingSettings.model_fields) - READ

    @property
    def looked(self) -> tuple[str, ...]:
        return ("perplexity",)

    @property
    def prompt(self) -> tuple[str, str]:
        before, _, after = self.settings.prompt.partition(PLACE)
        return before, after

    @property
    def sampling(self) -> Sampling:
        return Sampling(**self.settings.model_dump(exclude=set(READ)))

    def schema(self, train: Sequence[Example]) -> Schema:
        return Schema(self.shape, ())

    def problem(self, row: Example, schema: Schema) -> str | None:
        target = _row(row).target
        if target is None:
            return "no target"
        return None if target.strip() else "empty target"

    def text(self, row: Example) -> str:
        return _row(row).source

    def question(self, row: Example) -> tuple[str, str]:
        """Return a row's question in a prompt: its text in its place, and what stands behind it."""
        before, after = self.prompt
        return before + self.text(row), after

    def head(self, schema: Schema) -> Head:
        return Head("write", 0)

    def gold(self, rows: Sequence[Example], schema: Schema) -> list[str]:
        return [hangul.normalise(_row(row).target or "") for row in rows]

    def judge(self, gold: Any, measured: Any, schema: Schema) -> Judged:
        """Put targets, their likelihoods and what was written side by side.

        Raises:
            DataError: there are no targets.
        """
        if gold is None:
            raise DataError("rows that are scored need targets")
        nats, tokens, right, sizes = measured.figures.T
        targets = tuple((text,) for text in gold)
        return Composed(nats, tokens, right, sizes, targets, measured.texts or ())

    def loss_of(self, gold: Any, measured: Any, schema: Schema) -> float:
        """Return the mean of -ln p over the tokens of the targets."""
        nats, tokens, *_ = measured.figures.sum(0)
        return float(nats / tokens) if tokens else 0.0

    def records(self, gold: Any, measured: Attempts, schema: Schema) -> Iterator[dict[str, Any]]:
        written = measured.texts or ("",) * len(gold)
        chances = measured.chances or (0.0,) * len(gold)
        nats = measured.figures[:, 0]
        for wanted, text, chance, gold_nats in zip(gold, written, chances, nats, strict=True):
            yield {
                "gold": wanted,
                "predicted": text,
                "log_probability": round(chance, 4),
                "gold_log_probability": round(-float(gold_nats), 4),
            }

    def fields(self, schema: Schema) -> tuple[str, ...]:
        return ("output", "tokens", "log_probability")

    def answer(self, text: str, chance: float, tokens: int) -> dict[str, Any]:
        return {"output": text, "tokens": tokens, "log_probability": round(chance, 4)}

    def tally(self, rows: Sequence[Example], schema: Schema | None) -> dict[str, int]:
        sizes = np.array([len(_row(row).target or "") for row in rows] or [0])
        bounds = (0, 20, 50, 100, 200, 1 << 62)
        names = ("under 20", "20 to 49", "50 to 99", "100 to 199", "200 and more")
        counts = np.histogram(sizes, bounds)[0] if len(rows) else [0] * len(names)
        return {
            f"target of {name} characters": int(count)
            for name, count in zip(names, counts, strict=True)
        }


def _row(row: Example) -> WritingExample:
    if not isinstance(row, WritingExample):
        raise DataError(f"{row.id}: writing reads rows of shape writing, not {row.shape}")
    return row

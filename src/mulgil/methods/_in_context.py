"""What the methods share that learn nothing: rows are asked as questions of a prompt.

A prompt is the instruction, examples with their answers, and a row's question; the label whose word
goes on likeliest is the answer, or what the model goes on with (Brown et al. 2020). Chosen: what
all prompts begin with is one segment, so that a network reads it once. Where a prompt is too long,
whole examples are left out from the front, never a part of one, and never the question. A word that
is likely whatever is asked misleads: `calibration` divides by how likely it is behind questions
without content (Zhao et al. 2021), or fits an offset for each label and one slope on labelled rows;
a text that is written is not calibrated, and only "labelled", which asks for it, is refused there.
It costs that the examples shown stand in the run's folder, readable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from mulgil import settings
from mulgil.contracts import Method, Model
from mulgil.errors import SettingError
from mulgil.examples import Example
from mulgil.flow import Batch, Head, Kind, Segment, Skill
from mulgil.methods import _base, _prompting, _shots
from mulgil.methods._asking import Asking
from mulgil.methods._composing import Composing
from mulgil.methods._prompting import Draw, Plan, Prompting
from mulgil.methods._shots import Shot, Showable
from mulgil.networks import Learner, Network, Solved
from mulgil.objectives import Lesson, WritingTask

EMPTY = ("", "N/A", "[MASK]")
"""Texts without content, as Zhao et al. take them."""

SAMPLED = 16
"""Where each question has its own examples: those of so many are what texts without content are
asked behind."""


class InContextSettings(settings.Settings):
    """Settings of every method that asks."""

    calibration: Literal["none", "content-free", "labelled"] = "content-free"
    """How a word's own likelihood is taken out: not at all, by texts without content, or by rows of
    training that are asked and not shown. Where a text is written, never."""
    calibration_rows: int = pydantic.Field(64, ge=2, le=100_000)
    """Rows of training that "labelled" asks; they count as labelled data that was used."""
    normalise: Literal["none", "tokens"] = "none"
    """"tokens" divides a word's ln p by its tokens, so that long words are not put at a loss."""
    seed: int = pydantic.Field(7, ge=0, lt=1 << 31)
    """Of the draws of examples and of rows for calibration."""


class InContext(Method):
    """Asks."""

    Settings: ClassVar[type[settings.Settings]] = InContextSettings
    works_on: ClassVar[frozenset[Kind]] = frozenset({"encoder", "decoder", "seq2seq", "endpoint"})
    serves: ClassVar[frozenset[Skill] | None] = frozenset({"pool", "pair", "write"})
    stands: ClassVar[bool] = True
    prompts: ClassVar[bool] = True

    @classmethod
    def asks(cls, needs: frozenset[Skill]) -> frozenset[Skill]:
        return frozenset({"choose"}) if needs <= {"pool", "pair"} else needs

    def head(self, head: Head) -> Head:
        return head if head.skill == "write" else Head("choose", head.outputs)

    @property
    def shots(self) -> int:
        """Return how many examples a prompt shows."""
        return 0

    @property
    def draws(self) -> int:
        """Return how many choices of examples are scored."""
        return 1

    @property
    def own(self) -> bool:
        """Return whether each question has its own examples, out of those of a draw."""
        return False

    @property
    def balanced(self) -> bool:
        """Return whether a prompt shows as many of each label as can be."""
        return True

    def learner(self, network: Network, lesson: Lesson) -> Learner:
        if isinstance(lesson.task, WritingTask):
            return WritingLearner(network, lesson, self)
        return InContextLearner(network, lesson, self)

    def keep(self, model: Model, network: Network, folder: Path, labels: Sequence[str]) -> None:
        network.save(folder, labels)
        _base.note(model, folder)

    def opened(
        self, model: Model, tokenizer: Any, head: Head, folder: Path, precision: str, device: str
    ) -> Network:
        """Open the model that the run asks, and what it asks.

        Raises:
            ModelError: the model is not the one that the run was made with, or the file is damaged.
        """
        base = _base.stood_on(model, folder)
        network = base.build(tokenizer, head, precision, device, 0)
        plan = _prompting.read(folder / _prompting.FILE)
        return (Composing if plan.most else Asking)(network, tokenizer, plan)

    def pick(self, rows: Showable, number: int) -> list[Shot]:
        """Return the examples of a draw, or the pool of one."""
        return []


class _PromptLearner(Solved):
    """Chooses examples.

    Args:
        lesson: has the rows, the schema and the tokenizer.
        method: says how.
    """

    network: Prompting

    def __init__(self, lesson: Lesson, method: InContext) -> None:
        self._rows = Showable(lesson)
        self._lesson = lesson
        self._chosen = method.settings
        self._method = method

    def _plan(self, words: list[str], before: str = "", most: int = 0) -> Plan:
        method: InContext = self._method
        task: Any = self._lesson.task
        return Plan(
            task.settings.instruction,
            task.settings.separator,
            words,
            self._chosen.normalise,
            self._lesson.limit,
            [Draw(method.pick(self._rows, number)) for number in range(method.draws)],
            method.shots,
            method.own,
            method.balanced,
            before,
            most,
        )

    @property
    def trainable(self) -> int:
        return 0

    def _told(self) -> dict[str, float]:
        """Return figures for the journal."""
        plan = self.network.plan
        return {
            "shots": float(plan.shots),
            "draws": float(len(plan.draws)),
            "prompt_tokens": self.network.size(plan.draws[0]),
        }


class WritingLearner(_PromptLearner):
    """Chooses examples of texts that are written.

    Args:
        network: writes.
        lesson: has the rows, the schema and the tokenizer.
        method: says how.

    Raises:
        SettingError: a setting asks for what only labels have.
    """

    def __init__(self, network: Network, lesson: Lesson, method: InContext) -> None:
        super().__init__(lesson, method)
        task: Any = lesson.task
        for name, value in (("calibration", "labelled"), ("normalise", "tokens")):
            if getattr(self._chosen, name) == value:
                raise SettingError(
                    f'method.{name} is "{value}", but a task that writes has no labels\' words; set'
                    ' it to "none"'
                )
        plan = self._plan([], task.prompt[0], task.sampling.max_new)
        self.network: Composing = Composing(network, lesson.tokenizer, plan)
        self.network.check_room()

    def solve(self, train: Iterable[Batch], valid: Iterable[Batch]) -> dict[str, float]:
        return self._told()

    def rehearse(self, inputs: Any) -> None:
        """Answer a batch of rows, for a look at the time it takes."""
        task: Any = self._lesson.task
        self.network.rehearse(inputs, task.sampling)


class InContextLearner(_PromptLearner):
    """Chooses examples and calibrates.

    Args:
        network: chooses among words.
        lesson: has the rows, the schema and the tokenizer.
        method: says how.
    """

    def __init__(self, network: Network, lesson: Lesson, method: InContext) -> None:
        if lesson.schema is None or lesson.schema.multi_label:
            raise SettingError(
                "task.multi_label: in context a row gets one label; take method full"
            )
        super().__init__(lesson, method)
        plan = self._plan(list(self._task.replies(lesson.schema)))
        self.network: Asking = Asking(network, lesson.tokenizer, plan)
        self.network.check_room()

    def rehearse(self, inputs: Any) -> None:
        """Answer a batch of rows, for a look at the time it takes."""
        self.network.scores(inputs)

    def solve(self, train: Iterable[Batch], valid: Iterable[Batch]) -> dict[str, float]:
        for number in range(self.network.draws):
            self.calibrate(number, self._chosen.calibration)
        self.network.draw = 0
        return self._told()

    def calibrate(self, number: int, way: str) -> None:
        """Answer with a draw from here on, calibrated in one of the ways of the settings."""
        draw = self.network.plan.draws[number]
        self.network.draw, draw.slope, draw.offsets = number, 1.0, []
        if way == "content-free":
            self._content_free()
        elif way == "labelled":
            self._labelled(number)

    def _content_free(self) -> None:
        """Take out what each word gets behind texts without content."""
        asking = self.network
        texts = [self._question(_blank(self._lesson.rows[0], text)) for text in EMPTY]
        like = [question for question in asking.sampled(SAMPLED) for _ in texts]
        scores = asking.scores(texts * max(len(like) // len(texts), 1), like)
        chances = np.exp(scores - scores.max(1, keepdims=True))
        mean = (chances / chances.sum(1, keepdims=True)).mean(0)
        asking.plan.draws[asking.draw].offsets = (-np.log(mean.clip(1e-12))).tolist()

    def _labelled(self, number: int) -> None:
        """Fit an offset for each label and one slope on rows that are asked and not shown."""
        asking, chosen = self.network, self._chosen
        draw = asking.plan.draws[number]
        rows, gold = self._rows.asked(chosen.calibration_rows, chosen.seed, number, draw.shots)
        scores = asking.scores([self._question(row) for row in rows])
        draw.slope, draw.offsets = _shots.fitted(scores.astype(np.float64), gold)

    @property
    def _task(self) -> Any:
        return self._lesson.task

    def _question(self, row: Example) -> Segment:
        encoded = self._lesson.tokenizer.asked([self._task.question(row)])
        segment: Segment = encoded.segments[0]
        return segment


def _blank(row: Example, text: str) -> Example:
    """Return a row whose texts are this one."""
    return dataclasses.replace(row, **dict.fromkeys(row.inputs, text))

"""What the methods share that learn nothing: rows are asked as questions of a prompt.

A prompt is the instruction, examples with their answers, and a row's question; the label whose word
goes on likeliest is the answer (Brown et al. 2020). Chosen: what all prompts begin with is one
segment, so that a network reads it once. Where a prompt is too long, whole examples are left out
from the front, never a part of one, and never the question. A word that is likely whatever is asked
misleads: `calibration` divides by how likely it is behind questions without content (Zhao et al.
2021), or fits an offset for each label and one slope on labelled rows. It costs that the examples
shown stand in the run's folder, readable.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic

from mulgil import settings
from mulgil.contracts import Lesson, Method, Model
from mulgil.errors import ModelError, SettingError
from mulgil.examples import Example
from mulgil.flow import Array, Batch, Head, Kind, Segment, Skill
from mulgil.methods import _base, _shots
from mulgil.methods._shots import Shot
from mulgil.networks import Learner, Network, PromptedNetwork, Solved

FILE = "prompts.json"
"""All that a run of these methods keeps."""

EMPTY = ("", "N/A", "[MASK]")
"""Texts without content, as Zhao et al. take them."""


class InContextSettings(settings.Settings):
    """Settings of every method that asks."""

    calibration: Literal["none", "content-free", "labelled"] = "content-free"
    """How a word's own likelihood is taken out: not at all, by texts without content, or by rows of
    training that are asked and not shown."""
    calibration_rows: int = pydantic.Field(64, ge=2, le=100_000)
    """Rows of training that "labelled" asks; they count as labelled data that was used."""
    normalise: Literal["none", "tokens"] = "none"
    """"tokens" divides a word's ln p by its tokens, so that long words are not put at a loss."""
    seed: int = pydantic.Field(7, ge=0, lt=1 << 31)
    """Of the draws of examples and of rows for calibration."""


@dataclasses.dataclass(slots=True)
class Draw:
    """One choice of examples, and what calibration made of it.

    Attributes:
        shots: examples in the order shown.
        slope: multiplies the words' ln p.
        offsets: float, added to each label's.
    """

    shots: list[Shot]
    slope: float = 1.0
    offsets: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Plan:
    """What a run asks: written to `prompts.json`.

    Attributes:
        instruction: what every prompt begins with.
        separator: what stands behind it and behind each example.
        words: what the labels are called, in their order.
        normalise: as in the settings.
        limit: tokens of a prompt at most; None knows no limit.
        draws: the first answers, all are scored.
    """

    instruction: str
    separator: str
    words: list[str]
    normalise: str
    limit: int | None
    draws: list[Draw]


class InContext(Method):
    """Asks."""

    Settings: ClassVar[type[settings.Settings]] = InContextSettings
    works_on: ClassVar[frozenset[Kind]] = frozenset({"decoder", "endpoint"})
    serves: ClassVar[frozenset[Skill] | None] = frozenset({"pool", "pair"})
    stands: ClassVar[bool] = True
    prompts: ClassVar[bool] = True

    @classmethod
    def asks(cls, needs: frozenset[Skill]) -> frozenset[Skill]:
        return frozenset({"choose"}) if needs <= {"pool", "pair"} else needs

    def head(self, head: Head) -> Head:
        return Head("choose", head.outputs)

    @property
    def shots(self) -> int:
        """Return how many examples a prompt shows."""
        return 0

    @property
    def draws(self) -> int:
        """Return how many choices of examples are scored."""
        return 1

    def learner(self, network: Network, lesson: Lesson) -> Learner:
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
        _base.same(model, folder)
        network = model.build(tokenizer, head, precision, device, 0)
        return Asking(network, tokenizer, _read(folder / FILE))

    def pick(self, lesson: Lesson, number: int) -> list[Shot]:
        """Return the examples of a draw."""
        return []


class InContextLearner(Solved):
    """Chooses examples and calibrates.

    Args:
        network: chooses among words.
        lesson: has the rows, the schema and the tokenizer.
        method: says how.
    """

    def __init__(self, network: Network, lesson: Lesson, method: InContext) -> None:
        task: Any = lesson.task
        if lesson.schema is None or lesson.schema.multi_label:
            raise SettingError(
                "task.multi_label: in context a row gets one label; take method full"
            )
        words = list(task.replies(lesson.schema))
        chosen = task.settings
        draws = [Draw(method.pick(lesson, number)) for number in range(method.draws)]
        plan = Plan(
            chosen.instruction,
            chosen.separator,
            words,
            method.settings.normalise,
            lesson.limit,
            draws,
        )
        self.network: Asking = Asking(network, lesson.tokenizer, plan)
        self.network.check_room()
        self._lesson = lesson
        self._chosen = method.settings

    @property
    def trainable(self) -> int:
        return 0

    def solve(self, train: Iterable[Batch], valid: Iterable[Batch]) -> dict[str, float]:
        asking, chosen = self.network, self._chosen
        for number in range(asking.draws):
            asking.draw = number
            if chosen.calibration == "content-free":
                self._content_free()
            elif chosen.calibration == "labelled":
                self._labelled(number)
        asking.draw = 0
        plan = asking.plan
        return {
            "shots": float(len(plan.draws[0].shots)),
            "draws": float(len(plan.draws)),
            "prompt_tokens": float(len(asking.prefix(plan.draws[0].shots))),
        }

    def _content_free(self) -> None:
        """Take out what each word gets behind texts without content."""
        asking = self.network
        texts = [self._question(_blank(self._lesson.rows[0], text)) for text in EMPTY]
        scores = asking.scores(texts)
        chances = np.exp(scores - scores.max(1, keepdims=True))
        mean = (chances / chances.sum(1, keepdims=True)).mean(0)
        asking.plan.draws[asking.draw].offsets = (-np.log(mean.clip(1e-12))).tolist()

    def _labelled(self, number: int) -> None:
        """Fit an offset for each label and one slope on rows that are asked and not shown."""
        lesson, asking, task = self._lesson, self.network, self._task
        draw = asking.plan.draws[number]
        rows = _shots.drawn(lesson, self._chosen.calibration_rows, self._chosen.seed, number, draw)
        gold = task.targets(rows, lesson.schema)
        scores = asking.scores([self._question(row) for row in rows])
        draw.slope, draw.offsets = _shots.fitted(scores.astype(np.float64), gold)

    @property
    def _task(self) -> Any:
        return self._lesson.task

    def _question(self, row: Example) -> Segment:
        encoded = self._lesson.tokenizer.asked([self._task.question(row)])
        segment: Segment = encoded.segments[0]
        return segment


class Asking(Network):
    """A network that is asked in prompts: its scores are the words' ln p, calibrated.

    Args:
        network: chooses among words.
        tokenizer: of the network.
        plan: what is asked.

    Raises:
        SettingError: two labels are called the same, or one like nothing.
    """

    def __init__(self, network: Any, tokenizer: Any, plan: Plan) -> None:
        self.network: PromptedNetwork = network
        self.plan = plan
        self.draw = 0
        self.shortened = 0
        self._tokenizer = tokenizer
        self._choices: list[Segment] = [tokenizer.segment(word) for word in plan.words]
        _distinct(plan.words, self._choices)

    @property
    def draws(self) -> int:
        """Return how many choices of examples there are."""
        return len(self.plan.draws)

    def check_room(self) -> None:
        """Refuse questions so long that the model could not read one even by itself.

        Raises:
            SettingError: they may be.
        """
        limit, longest = self.plan.limit, self._tokenizer.max_length
        taken = len(self.prefix([])) + max(map(len, self._choices))
        if limit is not None and longest + taken > limit:
            raise SettingError(
                f"tokenizer.max_length is {longest}, but of the {limit} tokens that the model reads"
                f" the instruction and a label's word take {taken}; set it to"
                f" {max(limit - taken, 0)} or less"
            )

    def prefix(self, shots: Sequence[Shot]) -> Segment:
        """Return what every prompt with these examples begins with."""
        plan, make = self.plan, self._tokenizer.segment
        parts: list[Any] = [self._tokenizer.opening()]
        if plan.instruction:
            parts.append(make(plan.instruction + plan.separator))
        parts += [make(shot.question + shot.answer + plan.separator) for shot in shots]
        whole: Segment = functools.reduce(operator.add, parts)
        return whole

    def scores(self, inputs: Any) -> Array:
        """Return float32 [B, labels] of questions."""
        draw = self.plan.draws[self.draw]
        found = np.empty((len(inputs), len(self._choices)))
        for shots, rows in self._together(inputs, draw.shots).items():
            shown = [draw.shots[i] for i in shots]
            asked = [inputs[row] for row in rows]
            found[rows] = self.network.choose(self.prefix(shown), asked, self._choices)
        if self.plan.normalise == "tokens":
            found = found / [len(choice) for choice in self._choices]
        offsets = draw.offsets or [0.0] * len(self._choices)
        return (found * draw.slope + offsets).astype(np.float32)

    def _together(
        self, inputs: Sequence[Segment], shots: Sequence[Shot]
    ) -> dict[tuple[int, ...], list[int]]:
        """Return which questions are asked behind which examples."""
        sizes = [len(self._tokenizer.segment(s.question + s.answer)) + 4 for s in shots]
        known = [self._tokenizer.segment(shot.question) for shot in shots]
        base = len(self.prefix([])) + max(map(len, self._choices))
        groups: dict[tuple[int, ...], list[int]] = {}
        for row, asked in enumerate(inputs):
            kept = [i for i in range(len(shots)) if known[i] != asked]  # never its own answer
            room = None if self.plan.limit is None else self.plan.limit - base - len(asked)
            while kept and room is not None and sum(sizes[i] for i in kept) > room:
                kept = kept[1:]
            self.shortened += len(kept) < len(shots)
            groups.setdefault(tuple(kept), []).append(row)
        return groups

    @property
    def outputs(self) -> int:
        return len(self._choices)

    @property
    def parameters_total(self) -> int:
        return self.network.parameters_total

    def features(self, inputs: Any) -> Any:
        raise ModelError("a network that is asked in prompts has no features; take linear-probe")

    def set_head(self, weight: Array, bias: Array) -> None:
        raise ModelError("a network that is asked in prompts has no head")

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        text = json.dumps(dataclasses.asdict(self.plan), ensure_ascii=False, indent=1)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")


def _read(path: Path) -> Plan:
    """Return what `Asking.save` wrote."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        draws = [
            Draw(**{**draw, "shots": [Shot(**shot) for shot in draw["shots"]]})
            for draw in values.pop("draws")
        ]
        return Plan(**values, draws=draws)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: cannot be read: {error}; train the run again") from error


def _distinct(words: Sequence[str], choices: Sequence[Segment]) -> None:
    """Refuse words that the tokenizer cannot tell from one another, or makes nothing of."""
    seen: dict[Any, str] = {}
    for word, choice in zip(words, choices, strict=True):
        key = choice if isinstance(choice, str) else tuple(choice)
        if not key:
            raise SettingError(
                f'task.words: the tokenizer makes nothing of "{word.strip()}"; give another word'
            )
        if key in seen:
            raise SettingError(
                f'task.words: "{seen[key].strip()}" and "{word.strip()}" are the same to the'
                " tokenizer; give one of the labels another word"
            )
        seen[key] = word


def _blank(row: Example, text: str) -> Example:
    """Return a row whose texts are this one."""
    return dataclasses.replace(row, **dict.fromkeys(row.inputs, text))

"""Prompts: what all of them begin with, which examples each shows, and which of those have room.

Chosen: all that is asked is plain data, one JSON file in a run's folder, examples included, so that
whoever reads it sees the prompts. What two questions have in common is compared as the model reads
them, so that a row is never shown its own answer, cut or not. It costs that examples stand there
readable, and a pool of them is encoded anew whenever a run is opened.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mulgil.errors import ModelError
from mulgil.flow import Array, Segment
from mulgil.methods._shots import Nearest, Shot
from mulgil.networks import Network, PromptedNetwork

FILE = "prompts.json"
"""All that a run of these methods keeps."""


@dataclasses.dataclass(slots=True)
class Draw:
    """One choice of examples, and what calibration made of it.

    Attributes:
        shots: examples in the order shown; a pool where each question has its own.
        slope: multiplies the words' ln p.
        offsets: float, added to each label's.
    """

    shots: list[Shot]
    slope: float = 1.0
    offsets: list[float] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class _Pool:
    """The examples of a draw, encoded.

    Attributes:
        asked: their questions, as rows are asked.
        segments: as they are shown.
        places: of each question's text the examples that are it.
        nearest: finds those like a question; None where all questions have the same.
    """

    asked: list[Segment]
    segments: list[Any]
    places: dict[str, set[int]]
    nearest: Nearest | None


@dataclasses.dataclass(slots=True)
class Plan:
    """What a run asks: written to `prompts.json`.

    Attributes:
        instruction: what every prompt begins with.
        separator: what stands behind it and behind each example.
        words: what the labels are called, in their order; none where a text is written.
        normalise: as in the settings.
        limit: tokens of a prompt at most; None knows no limit.
        draws: the first answers, all are scored.
        shots: examples in a prompt.
        own: whether each question has its own examples out of a pool.
        balanced: whether those are as many of each label as can be.
        before: what stands before a row's text, where a text is written.
        most: tokens of a text that is written, its end included; 0 chooses among words.
    """

    instruction: str
    separator: str
    words: list[str]
    normalise: str
    limit: int | None
    draws: list[Draw]
    shots: int = 0
    own: bool = False
    balanced: bool = True
    before: str = ""
    most: int = 0


class Prompting(Network):
    """A network that is asked in prompts.

    Args:
        network: what is asked.
        tokenizer: of the network.
        plan: what is asked.

    Attributes:
        draw: which choice of examples is shown.
        shortened: questions for which examples were left out, since the prompt was too long.
    """

    def __init__(self, network: Any, tokenizer: Any, plan: Plan) -> None:
        self.network: PromptedNetwork = network
        self.plan = plan
        self.draw = 0
        self.shortened = 0
        self._tokenizer = tokenizer
        opening = tokenizer.opening()
        said = tokenizer.segment(plan.instruction + plan.separator) if plan.instruction else None
        self._base: Any = opening if said is None else opening + said
        self._pools: dict[int, _Pool] = {}

    @abstractmethod
    def check_room(self) -> None:
        """Refuse questions so long that the model could not read one even by itself.

        Raises:
            SettingError: they may be.
        """

    @abstractmethod
    def _encoded(self, shots: Sequence[Shot]) -> tuple[list[Any], list[Any]]:
        """Return examples' questions as rows are asked, and the whole examples as shown."""

    @property
    def draws(self) -> int:
        """Return how many choices of examples there are."""
        return len(self.plan.draws)

    @property
    def told(self) -> dict[str, Any]:
        """Return what a person should know of the asking; of a served model what it cost too."""
        more = {name: getattr(self.network, name, None) for name in ("way", "usage")}
        return {"shortened": self.shortened} | {name: of for name, of in more.items() if of}

    def prefix(self, shots: Sequence[Shot]) -> Segment:
        """Return what every prompt with these examples begins with."""
        whole: Segment = functools.reduce(operator.add, self._encoded(shots)[1], self._base)
        return whole

    def size(self, draw: Draw) -> float:
        """Return the length of what stands before a question, the mean where each has its own."""
        more = [len(shown) for shown in self._encoded(draw.shots)[1]]
        return len(self._base) + self.plan.shots * (float(np.mean(more)) if more else 0.0)

    def sampled(self, count: int) -> list[Segment]:
        """Return some questions of the pool; none where all questions have the same examples."""
        return self._pool().asked[:count] if self.plan.own else []

    def _grouped(
        self, questions: Sequence[Any], taken: int, like: Sequence[Segment] = ()
    ) -> Iterator[tuple[Any, list[int], list[Any]]]:
        """Yield what prompts share, the numbers of their questions, and what stands behind it.

        Args:
            questions: of all prompts.
            taken: tokens that an answer needs, and what else stands in no example.
            like: questions whose own examples are shown instead; empty shows each its own.
        """
        pool = self._pool()
        groups: dict[tuple[int, ...], list[int]] = {}
        behind = list(questions)
        for row, places in enumerate(self._places(like or questions)):
            kept = self._fitting(places, len(behind[row]) + taken)
            shared = kept
            if self.plan.own:  # nothing is shared but what stands before all examples
                shared = ()
                made = (pool.segments[i] for i in kept)
                behind[row] = functools.reduce(operator.add, [*made, behind[row]])
            groups.setdefault(shared, []).append(row)
        for shown, rows in groups.items():
            made = (pool.segments[i] for i in shown)
            prefix = functools.reduce(operator.add, made, self._base)
            yield prefix, rows, [behind[i] for i in rows]

    def _places(self, questions: Sequence[Segment]) -> list[list[int]]:
        """Return which examples each question is shown, room or not, and never its own answer."""
        pool = self._pool()
        keys = [self._key(question) for question in questions]
        barred: list[Any] = [pool.places.get(key, frozenset()) for key in keys]
        if pool.nearest is None:
            shown = range(len(pool.segments))
            return [[i for i in shown if i not in never] for never in barred]
        return pool.nearest.places(keys, barred, self.plan.shots, self.plan.balanced)

    def _fitting(self, places: list[int], length: int) -> tuple[int, ...]:
        """Return which examples are shown before a question: the last ones, whole."""
        if self.plan.limit is None:
            return tuple(places)
        room, kept = self.plan.limit - len(self._base) - length, places
        sizes = [len(self._pool().segments[i]) for i in places]
        while kept and sum(sizes[-len(kept) :]) > room:
            kept = kept[1:]
        self.shortened += len(kept) < len(places)
        return tuple(kept)

    def _pool(self) -> _Pool:
        """Return the examples of the draw, encoded."""
        if self.draw not in self._pools:
            shots = self.plan.draws[self.draw].shots
            asked, made = self._encoded(shots)
            keys = [self._key(segment) for segment in asked]
            places: dict[str, set[int]] = {}
            for i, key in enumerate(keys):
                places.setdefault(key, set()).add(i)
            nearest = Nearest(keys, [shot.label for shot in shots]) if self.plan.own else None
            self._pools[self.draw] = _Pool(asked, made, places, nearest)
        return self._pools[self.draw]

    def _key(self, question: Segment) -> str:
        """Return what makes two questions the same, as the model sees them, cut or not."""
        return " ".join(self._tokenizer.decode(question).split())

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


def read(path: Path) -> Plan:
    """Return what `Prompting.save` wrote.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        draws = [
            Draw(**{**draw, "shots": [Shot(**shot) for shot in draw["shots"]]})
            for draw in values.pop("draws")
        ]
        return Plan(**values, draws=draws)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: cannot be read: {error}; train the run again") from error

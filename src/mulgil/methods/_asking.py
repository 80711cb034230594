"""What a run asks, and the network that asks it: prompts put together, words scored.

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mulgil.errors import ModelError, SettingError
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
        words: what the labels are called, in their order.
        normalise: as in the settings.
        limit: tokens of a prompt at most; None knows no limit.
        draws: the first answers, all are scored.
        shots: examples in a prompt.
        own: whether each question has its own examples out of a pool.
        balanced: whether those are as many of each label as can be.
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


class Asking(Network):
    """A network that is asked in prompts: its scores are the words' ln p, calibrated.

    Args:
        network: chooses among words.
        tokenizer: of the network.
        plan: what is asked.

    Attributes:
        draw: which choice of examples is shown.
        shortened: questions for which examples were left out, since the prompt was too long.

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
        _distinct(plan.words, self._choices, getattr(tokenizer, "unknown", None))
        opening = tokenizer.opening()
        said = tokenizer.segment(plan.instruction + plan.separator) if plan.instruction else None
        self._base: Any = opening if said is None else opening + said
        self._pools: dict[int, _Pool] = {}

    @property
    def draws(self) -> int:
        """Return how many choices of examples there are."""
        return len(self.plan.draws)

    @property
    def told(self) -> dict[str, Any]:
        """Return what a person should know of the asking; of a served model what it cost too."""
        more = {name: getattr(self.network, name, None) for name in ("way", "usage")}
        return {"shortened": self.shortened} | {name: of for name, of in more.items() if of}

    def check_room(self) -> None:
        """Refuse questions so long that the model could not read one even by itself.

        Raises:
            SettingError: they may be.
        """
        limit, taken = self.plan.limit, self._taken()
        if limit is None:
            return
        if limit - taken < 4:
            raise SettingError(
                f"task.instruction: of the {limit} tokens that the model reads the instruction and"
                f" a label's word take {taken}; make it shorter"
            )
        longest = self._tokenizer.max_length
        if longest + taken > limit:
            raise SettingError(
                f"tokenizer.max_length is {longest}, but of the {limit} tokens that the model reads"
                f" the instruction and a label's word take {taken}; set it to {limit - taken} or"
                " less"
            )

    def prefix(self, shots: Sequence[Shot]) -> Segment:
        """Return what every prompt with these examples begins with."""
        made = (self._shown(shot) for shot in shots)
        whole: Segment = functools.reduce(operator.add, made, self._base)
        return whole

    def size(self, draw: Draw) -> float:
        """Return the length of what stands before a question, the mean where each has its own."""
        more = [len(self._shown(shot)) for shot in draw.shots]
        return len(self._base) + self.plan.shots * (float(np.mean(more)) if more else 0.0)

    def sampled(self, count: int) -> list[Segment]:
        """Return some questions of the pool; none where all questions have the same examples."""
        return self._pool().asked[:count] if self.plan.own else []

    def scores(self, inputs: Any, like: Sequence[Segment] = ()) -> Array:
        """Return float32 [B, labels] of questions.

        Args:
            inputs: questions.
            like: questions whose own examples are shown instead; empty shows each its own.
        """
        draw, pool = self.plan.draws[self.draw], self._pool()
        groups: dict[tuple[int, ...], list[int]] = {}
        queries = list(inputs)
        for row, places in enumerate(self._places(like or inputs)):
            kept = self._fitting(places, len(queries[row]))
            shared = kept
            if self.plan.own:  # nothing is shared but what stands before all examples
                shared = ()
                made = (pool.segments[i] for i in kept)
                queries[row] = functools.reduce(operator.add, [*made, queries[row]])
            groups.setdefault(shared, []).append(row)
        found = np.empty((len(queries), len(self._choices)))
        for shown, rows in groups.items():
            prefix = self.prefix([draw.shots[i] for i in shown])
            asked = [queries[row] or self._begun(prefix) for row in rows]
            found[rows] = self.network.choose(prefix, asked, self._choices)
        if self.plan.normalise == "tokens":
            found = found / [len(choice) for choice in self._choices]
        offsets = draw.offsets or [0.0] * len(self._choices)
        return (found * draw.slope + offsets).astype(np.float32)

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
        room, kept = self.plan.limit - self._taken() - length, places
        sizes = [len(self._pool().segments[i]) for i in places]
        while kept and sum(sizes[-len(kept) :]) > room:
            kept = kept[1:]
        self.shortened += len(kept) < len(places)
        return tuple(kept)

    def _pool(self) -> _Pool:
        """Return the examples of the draw, encoded."""
        if self.draw not in self._pools:
            shots = self.plan.draws[self.draw].shots
            asked = self._tokenizer.asked([(shot.text, shot.behind) for shot in shots]).segments
            keys = [self._key(segment) for segment in asked]
            places: dict[str, set[int]] = {}
            for i, key in enumerate(keys):
                places.setdefault(key, set()).add(i)
            nearest = Nearest(keys, [shot.label for shot in shots]) if self.plan.own else None
            made = [self._shown(shot) for shot in shots]
            self._pools[self.draw] = _Pool(list(asked), made, places, nearest)
        return self._pools[self.draw]

    def _shown(self, shot: Shot) -> Any:
        return self._tokenizer.segment(shot.text + shot.behind + shot.answer + self.plan.separator)

    def _key(self, question: Segment) -> str:
        """Return what makes two questions the same, as the model sees them, cut or not."""
        return " ".join(self._tokenizer.decode(question).split())

    def _taken(self) -> int:
        return len(self._base) + max(map(len, self._choices))

    def _begun(self, prefix: Segment) -> Segment:
        """Return what an empty question is asked with: where nothing stands before it, a start."""
        empty: Segment = prefix[:0]
        return empty if prefix or isinstance(prefix, str) else [self._tokenizer.ends()[0]]

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


def read(path: Path) -> Plan:
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


def _distinct(words: Sequence[str], choices: Sequence[Segment], unknown: int | None) -> None:
    """Refuse words that the tokenizer cannot tell from one another, or makes nothing of."""
    seen: dict[Any, str] = {}
    for word, choice in zip(words, choices, strict=True):
        key, called = choice if isinstance(choice, str) else tuple(choice), word.strip()
        if not key:
            raise SettingError(
                f'task.words: the tokenizer makes nothing of "{called}"; give another word'
            )
        if key in seen:
            raise SettingError(
                f'task.words: "{seen[key]}" and "{called}" are the same to the tokenizer; give one'
                " of the labels another word"
            )
        if unknown is not None and unknown in key:
            raise SettingError(
                f'task.words: the tokenizer does not know all of "{called}"; give another word'
            )
        seen[key] = called

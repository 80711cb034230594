"""What tests of asking in context share: rows, a network of arithmetic, and what it was shown.

The network stands for the model and writes down every prompt; a letter is a token.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mulgil.examples import TextExample
from mulgil.flow import Array, Schema
from mulgil.methods._in_context import InContextLearner
from mulgil.methods.few_shot import FewShot, FewShotSettings
from mulgil.networks import PromptedNetwork
from mulgil.objectives import Lesson
from mulgil.tasks.classification import Classification, ClassificationSettings
from mulgil.tokenizers._asked import AskedRows

LABELS = ("긍정", "부정")
TEXTS = [f"{place}에서 {n}번째로 본 것" for n in range(10) for place in ("강", "산", "섬")]
ROWS = [TextExample(f"train:{i}", text, LABELS[i % 2]) for i, text in enumerate(TEXTS)]
TEST = [TextExample(f"test:{i}", f"처음 듣는 말 {i}", LABELS[i % 2]) for i in range(6)]


class Letters:
    """A tokenizer to which each letter is a token."""

    unknown = None

    def __init__(self, max_length: int = 60) -> None:
        self.max_length = max_length

    def segment(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def opening(self) -> list[int]:
        return []

    def ends(self) -> tuple[int, int]:
        return 1, 2

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))

    def asked(self, texts: Any) -> AskedRows:
        rows = [self.segment(a[: self.max_length - len(b)] + b) for a, b in texts]
        return AskedRows(rows, 0, 0.0)


class Arithmetic(PromptedNetwork):
    """ln p of a word follows from the prompt's letters; every prompt is written down."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def choose(self, prefix: Any, queries: Any, choices: Any) -> Array:
        found = []
        for query in queries:
            ids = [*prefix, *query]
            assert ids
            self.prompts.append("".join(map(chr, ids)))
            sums = [sum(ids) * (sum(c) % 13 + 1) % 101 / 30 + len(c) / 3 for c in choices]
            found.append([-one for one in sums])
        return np.array(found)

    def features(self, inputs: Any) -> Any: ...
    def set_head(self, weight: Array, bias: Array) -> None: ...
    def scores(self, inputs: Any) -> Array: ...  # type: ignore[empty-body]
    def save(self, folder: Path, labels: Any) -> None: ...

    outputs = 2
    parameters_total = 10


def lesson(rows: Any = ROWS, held: Any = TEST, limit: int | None = None, **task: Any) -> Lesson:
    asked = Classification(ClassificationSettings(**{"prompt": "글: {text}\n느낌:"} | task))
    several = asked.several
    return Lesson(
        asked,
        None,
        schema=Schema("text", LABELS, several),
        tokenizer=Letters(),
        rows=rows,
        held=held,
        limit=limit,
    )


def taught(method: Any, given: Lesson | None = None, solve: bool = True) -> InContextLearner:
    learner = method.learner(Arithmetic(), given or lesson())
    if solve:
        learner.solve((), ())
        learner.network.network.prompts.clear()
    return learner  # type: ignore[no-any-return]


def few(**more: Any) -> FewShot:
    return FewShot(FewShotSettings(**{"shots": 4, "calibration": "none"} | more))


def questions(rows: Any) -> list[list[int]]:
    return [Letters().segment(f"글: {row.text}\n느낌:") for row in rows]


def shown(prompt: str) -> list[tuple[str, str]]:
    """Return text and word of each example of a prompt."""
    found = []
    for block in prompt.split("\n\n")[:-1]:
        text, _, word = block.removeprefix("글: ").partition("\n느낌: ")
        found.append((text, word))
    return found


def prompts(learner: InContextLearner, rows: Any) -> list[str]:
    network: Any = learner.network.network
    network.prompts.clear()
    asked = questions(rows)
    learner.network.scores(asked)
    endings = ["".join(map(chr, one)) for one in asked]
    return [next(p for p in network.prompts if p.endswith(end)) for end in endings]

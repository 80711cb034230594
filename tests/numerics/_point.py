"""A learner without a network, and the loop around it: what the loop asks for can be counted."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mulgil.checkpoint import Checkpoints
from mulgil.flow import Batch, Outcome
from mulgil.networks import Stepped
from mulgil.recipe import TrainerSettings
from mulgil.rundir import Journal
from mulgil.training import Trainer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flow"))
from _tiny import lines


class Point(Stepped):
    """Learns one number, the mean of its targets; remembers what the loop asked of it."""

    def __init__(self) -> None:
        self.value = np.zeros(1)
        self.gradient = 0.0
        self.updates: list[tuple[float, float, float]] = []  # rate, weight, gradient
        self.broken: dict[int, float] = {}  # loss of the batch that holds this row
        self.in_look: Callable[[], None] = lambda: None

    @property
    def trainable(self) -> int:
        return 1

    def backward(self, batch: Batch) -> tuple[float, float]:
        assert batch.targets is not None
        errors = self.value[0] - batch.targets
        self.gradient += float(errors.sum())
        loss = next((x for row, x in self.broken.items() if row in batch.rows), (errors**2).sum())
        return float(loss), float(len(batch.rows))

    def update(self, rate: float, clip: float, weight: float) -> float:
        gradient, self.gradient = self.gradient / weight, 0.0
        if math.isfinite(gradient):
            self.updates.append((rate, weight, gradient))
            self.value = self.value - rate * gradient
        return abs(gradient)

    def state(self) -> dict[str, Any]:
        return {"value": self.value}

    def restore(self, state: dict[str, Any]) -> None:
        self.value = state["value"]

    def seed(self, seed: int) -> None:
        pass


class Rows:
    """Batches of these sizes, in the same order each epoch; row i has the target i."""

    def __init__(self, *sizes: int) -> None:
        ends = np.cumsum(sizes)
        self.plan = [np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        yield from (Batch(rows, None, rows.astype(float)) for rows in self.plan[start:])

    def batches(self, epoch: int) -> int:
        return len(self.plan)

    def in_order(self) -> Iterator[Batch]:
        return self.epoch(0)

    def __len__(self) -> int:
        return sum(map(len, self.plan))


class Folder:
    """What the loop needs of a run folder."""

    def __init__(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints")
        self.journal = Journal(path / "journal.jsonl")
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def row_id(self, row: int) -> str:
        return f"row:{row}"

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    @contextlib.contextmanager
    def progress(self, epochs: float, start: float = 0.0) -> Iterator[Any]:
        class Bar:
            def step(self, *seen: Any) -> None:
                pass

        yield Bar()


def fit(
    path: Path, sizes: list[int], figures: list[float] | None = None, **settings: Any
) -> tuple[Outcome, Point, Folder]:
    """Train a point; the i-th look at step > 0 gives the i-th figure (the last one for good)."""
    return teach(path, Point(), sizes, figures, **settings)


def teach(
    path: Path, point: Point, sizes: list[int], figures: list[float] | None, **settings: Any
) -> tuple[Outcome, Point, Folder]:
    chosen = TrainerSettings(**{"learning_rate": 0.1, "log_every": 1, **settings})
    folder = Folder(path)
    trainer: Trainer

    def look(between: Any) -> dict[str, float]:
        assert figures is not None
        between()
        point.in_look()
        done = [line for line in lines(path) if line["kind"] == "valid"]
        return {"figure": figures[min(len(done), len(figures) - 1)]}

    trainer = Trainer(
        point, Rows(*sizes), look if figures else None, chosen, folder, "figure", True
    )
    outcome = trainer.fit()
    return outcome, point, folder

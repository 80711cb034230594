"""The learner for networks that learn by themselves, at once, from the sequences of all windows.

Chosen: such a network is known by its method `learn`, so that no wing has to name another's class;
rows are put back in their own order, for a loader gives the longest first, and what is learnt first
is learnt at the highest rate. Of the trainer's settings epochs, learning rate and seed count. A run
that is stopped before its end keeps nothing and begins anew. It costs all tokens in memory, four
bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mulgil.errors import SettingError
from mulgil.flow import Array, Batch
from mulgil.networks import Solved
from mulgil.objectives import Lesson


@runtime_checkable
class LearnsItself(Protocol):
    """A network that learns from sequences of tokens, with no gradient of ours.

    Attributes:
        course: window and epochs that it will be taught with, for a rehearsal.
    """

    course: tuple[int, int]

    @property
    def parameters_total(self) -> int:
        """Number of weights."""

    def learn(
        self,
        tokens: Array,
        starts: Array,
        window: int,
        epochs: int,
        rate: float | None,
        seed: int,
        say: Callable[[str], None] | None = None,
    ) -> dict[str, float]:
        """Learn, and return figures for the journal.

        Args:
            tokens: int32 [T], one sequence after the other.
            starts: int64 [rows + 1], where each begins.
            window: how far a token reaches.
            epochs: passes over the sequences.
            rate: first learning rate; None takes the network's own.
            seed: of all draws.
            say: where a line goes after each pass; None says nothing.
        """


class ItselfLearner(Solved):
    """Hands all sequences to a network.

    Args:
        network: learns by itself.
        lesson: its task has a `window`; epochs, learning rate and seed are its trainer's.

    Raises:
        SettingError: `trainer.epochs` is no whole number.
    """

    def __init__(self, network: Any, lesson: Lesson) -> None:
        self.network = network
        self._learn = network.learn
        self._window = int(lesson.task.settings.window)
        self._trainer = lesson.trainer
        if self._trainer.epochs % 1:
            raise SettingError(
                f"trainer.epochs is {self._trainer.epochs:g}, but word vectors are learnt in whole"
                f" passes; set it to {max(round(self._trainer.epochs), 1)}"
            )

        network.course = (self._window, int(self._trainer.epochs))

    @property
    def trainable(self) -> int:
        return self.network.parameters_total

    def solve(self, train: Iterable[Batch], valid: Iterable[Batch]) -> dict[str, float]:
        tokens, starts = _in_rows(train)
        chosen = self._trainer
        found: dict[str, float] = self._learn(
            tokens,
            starts,
            self._window,
            int(chosen.epochs),
            chosen.learning_rate,
            chosen.seed,
            self.say,
        )
        return found


def _in_rows(batches: Iterable[Batch]) -> tuple[Array, Array]:
    """Return the tokens of all windows int32 [T], in the order of their numbers, and the starts."""
    parts, sizes, numbers = [np.zeros(0, np.int32)], [], []
    for batch in batches:
        ids, lengths = batch.inputs.ids, batch.inputs.lengths
        parts.append(ids[np.arange(ids.shape[1]) < lengths[:, None]].astype(np.int32))
        sizes.append(lengths)
        numbers.append(batch.rows)
    if not sizes:
        return parts[0], np.zeros(1, np.int64)
    order, lengths = np.argsort(np.concatenate(numbers)), np.concatenate(sizes)
    begins = np.cumsum(lengths) - lengths
    sorted_lengths = lengths[order]
    starts = np.concatenate([[0], np.cumsum(sorted_lengths)])
    shift = np.repeat(begins[order] - starts[:-1], sorted_lengths)
    return np.concatenate(parts)[np.arange(starts[-1]) + shift], starts

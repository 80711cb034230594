"""This machine, one process: the CPU's cores or one GPU."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any

from mulgil.contracts import Engine
from mulgil.errors import ModelError, StoppedError
from mulgil.flow import Outcome
from mulgil.networks import Learner, Solved, Stepped
from mulgil.training import Trainer, signals


class Local(Engine):
    """Runs the loop, or solves, right here."""

    def fit(
        self, learner: Learner, loaders: Any, trainer: Any, run: Any, metric: tuple[str, bool]
    ) -> Outcome:
        if isinstance(learner, Solved):
            started = time.monotonic()
            learner.say = run.say
            with _stopped():
                figures = learner.solve(loaders.train.in_order(), loaders.valid.in_order())
                look = loaders.look(lambda: None) if loaders.look else {}
            run.journal.cut(0)
            run.journal.write("solve", **figures)
            if look:
                run.journal.write("valid", step=0, epoch=1.0, best=True, **look)
            return Outcome(0, 1.0, time.monotonic() - started, look.get(metric[0]), "finished")
        if isinstance(learner, Stepped):
            return Trainer(
                learner, loaders.train, loaders.look, trainer, run, metric[0], metric[1]
            ).fit()
        raise ModelError(f"engine local: {type(learner).__name__} neither solves nor steps")


@contextlib.contextmanager
def _stopped() -> Iterator[None]:
    """Leave at once when a signal comes: what is solved has nothing to save before its end.

    Raises:
        StoppedError: one came.
    """
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt  # which no library takes for an error of its own

    try:
        with signals(note):
            yield
    except KeyboardInterrupt as error:
        number = came[0] if came else signal.SIGINT
        raise StoppedError(
            f"stopped by {signal.Signals(number).name}; what is learnt at once keeps nothing before"
            " its end, so --resume begins anew",
            number,
        ) from error

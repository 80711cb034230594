"""This machine, one process: the CPU's cores or one GPU."""

from __future__ import annotations

import time
from typing import Any

from mulgil.contracts import Engine
from mulgil.errors import ModelError
from mulgil.flow import Outcome
from mulgil.networks import Learner, Solved, Stepped
from mulgil.training import Trainer


class Local(Engine):
    """Runs the loop, or solves, right here."""

    def fit(
        self, learner: Learner, loaders: Any, trainer: Any, run: Any, metric: tuple[str, bool]
    ) -> Outcome:
        if isinstance(learner, Solved):
            started = time.monotonic()
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

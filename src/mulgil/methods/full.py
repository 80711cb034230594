"""Full fine-tuning: every weight of the network moves."""

from __future__ import annotations

from typing import Any, ClassVar

from mulgil.contracts import Method
from mulgil.flow import Array, Kind
from mulgil.networks import Learner, Network
from mulgil.objectives import Task


class Full(Method):
    """Gradient steps on all weights, with AdamW."""

    works_on: ClassVar[frozenset[Kind]] = frozenset({"encoder", "decoder", "seq2seq"})

    def learner(self, task: Task, network: Network, weights: Array | None, trainer: Any) -> Learner:
        from mulgil.methods._gradient import GradientLearner

        return GradientLearner(task, network, weights, trainer)

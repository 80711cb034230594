"""Full fine-tuning: every weight of the network moves."""

from __future__ import annotations

from typing import ClassVar

from mulgil.contracts import Method
from mulgil.flow import Kind
from mulgil.networks import Learner, Network
from mulgil.objectives import Lesson


class Full(Method):
    """Gradient steps on all weights, with AdamW; a network that learns by itself is let do so."""

    works_on: ClassVar[frozenset[Kind]] = frozenset({"encoder", "decoder", "seq2seq", "classic"})

    def learner(self, network: Network, lesson: Lesson) -> Learner:
        from mulgil.methods._itself import ItselfLearner, LearnsItself

        if isinstance(network, LearnsItself):
            return ItselfLearner(network, lesson)
        from mulgil.methods._gradient import GradientLearner

        return GradientLearner(lesson.task, network, lesson.weights, lesson.trainer)

"""Linear probe: the model stays as it is, a linear head is solved on its features.

Chosen: one convex problem, solved to the end, so no learning rate and no epochs: logistic
regression for labels, ridge regression for ratings (`_solving`). Dense features get mean 0 and
deviation 1 first. The validation rows pick the strength of the penalty out of `strengths`, and for
labels a temperature, so that probabilities are honest. Class weights multiply a row's loss.
Multi-label solves a yes-or-no problem for each label. Where characters are scored, each place in a
token is a problem of its own, over the characters that stand there; of an answer in a text the two
edges are yes-or-no problems. It costs all features in memory: 150,000 rows of 384 numbers are 230
MB; of characters at most `units` are learnt (`_drawing`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pydantic

from mulgil import settings
from mulgil.contracts import Method
from mulgil.flow import Array, Batch, Kind, Skill
from mulgil.methods import _solving
from mulgil.methods._drawing import Drawn, drawn
from mulgil.networks import Learner, Network, Solved
from mulgil.objectives import LabelTask, Lesson

COUNTS = [10.0, 3.0, 1.0]
"""Strengths for labels on sparse counts; the last one is taken without validation rows."""

DENSE = [1.0, 0.001, 0.01, 0.1]
"""Strengths for labels on dense features of deviation 1; the last one without validation rows."""

RATED_COUNTS = [1.0, 0.03, 0.1, 0.3]
"""Strengths for ratings on sparse counts; the last one without validation rows."""

RATED_DENSE = [10.0, 1.0, 0.1, 0.0001, 0.001, 0.01]
"""Strengths for ratings on dense features of deviation 1; the last one without validation rows."""


class LinearProbeSettings(settings.Settings):
    """Settings of the linear probe."""

    strengths: list[Annotated[float, pydantic.Field(gt=0, le=1e9)]] = pydantic.Field([])
    """Inverse penalties to choose from on the validation rows (scikit-learn's C, for ratings 1 /
    alpha); by default for labels 1, 3, 10 on counts and 0.001, 0.01, 0.1, 1 on dense features, for
    ratings 0.03, 0.1, 0.3, 1 on counts and 0.0001 to 10 on dense features."""
    max_iterations: int = pydantic.Field(200, ge=1, le=1_000_000)
    """Most iterations of the solver for each strength."""
    units: int = pydantic.Field(100_000, ge=100, le=1 << 31)
    """Most characters that are learnt, and validated, where characters are scored."""


class LinearProbe(Method):
    """Solved logistic or ridge regression on frozen features."""

    Settings: ClassVar[type[settings.Settings]] = LinearProbeSettings
    works_on: ClassVar[frozenset[Kind]] = frozenset({"encoder", "classic", "features"})
    serves: ClassVar[frozenset[Skill] | None] = frozenset({"pool", "pair", "rate", "tokens"})
    pooling: ClassVar[Literal["own", "mean"]] = "mean"

    def learner(self, network: Network, lesson: Lesson) -> Learner:
        task, schema, scale = lesson.task, lesson.schema, None
        if schema is None:
            return ProbeLearner(network, self.settings, Problem(network.outputs, lesson.weights))
        if isinstance(task, LabelTask) and "rate" in task.needs:
            # The ratings that the task reads in the scores 0 and 1; between them it is a line.
            ends = task.probabilities(np.array([[0.0], [1.0]]), schema)
            scale = float(ends[0, 0]), float(ends[1, 0])
        head, seed = task.head(schema), int(lesson.trainer.seed)
        problem = Problem(head.outputs, lesson.weights, scale, head.places, seed)
        return ProbeLearner(network, self.settings, problem)


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """What is solved.

    Attributes:
        outputs: scores of a row, or of a character.
        weights: float32 [outputs] of the labels, or None.
        scale: of ratings, those that the scores 0 and 1 stand for; None solves labels.
        places: characters of a token that have heads of their own.
        seed: of the draw of characters.
    """

    outputs: int
    weights: Array | None = None
    scale: tuple[float, float] | None = None
    places: int = 1
    seed: int = 0


class ProbeLearner(Solved):
    """Solves the head of a network.

    Args:
        network: gives the features and takes the head.
        chosen: the method's settings.
        problem: says what is solved.
    """

    def __init__(self, network: Network, chosen: LinearProbeSettings, problem: Problem) -> None:
        self.network = network
        self.chosen = chosen
        self.problem = problem
        self._trainable = 0

    @property
    def trainable(self) -> int:
        return self._trainable

    def solve(self, train: Iterable[Batch], valid: Iterable[Batch]) -> dict[str, float]:
        started = time.monotonic()
        rows, checks = self._drawn(train, learnt=True), self._drawn(valid, learnt=False)
        seconds = time.monotonic() - started
        features, other, undo = _solving.standardise(rows.features, checks.features)
        rows = dataclasses.replace(rows, features=features)
        checks = dataclasses.replace(checks, features=other)
        rated, checked = self.problem.scale is not None, bool(len(checks.targets))
        loss_of = _solving.squared_loss if rated else _solving.log_loss
        tried = []
        for strength in self._strengths(features)[0 if checked else -1 :]:
            head = self._solved(rows, strength)
            loss = loss_of(_scores(checks, head), checks.targets) if checked else 0.0
            tried.append((loss, strength, head))
        loss, strength, (weight, bias) = min(tried, key=lambda one: one[0])
        heat = 1.0
        if checked and not rated:
            heat = _solving.temperature(_scores(checks, (weight, bias)), checks.targets)
        weight, bias = weight.reshape(-1, weight.shape[-1]), bias.reshape(-1)
        self.network.set_head(*undo(weight / heat, bias / heat))
        self._trainable = int(weight.size + bias.size)
        return {
            "rows": float(len(rows.targets)),
            "features": float(features.shape[1]),
            "strength": strength,
            "temperature": heat,
            "valid_loss": loss,
            "feature_seconds": round(seconds, 3),
            "seconds": round(time.monotonic() - started, 3),
        }

    def _strengths(self, features: Any) -> list[float]:
        dense, rated = isinstance(features, np.ndarray), self.problem.scale is not None
        default = (RATED_DENSE if dense else RATED_COUNTS) if rated else DENSE if dense else COUNTS
        return self.chosen.strengths or default

    def _drawn(self, batches: Iterable[Batch], learnt: bool) -> Drawn:
        """Return features and gold answers; ratings as the scores that they are read from."""
        network, problem = self.network, self.problem
        found = drawn(
            batches,
            # What the features of a row depend on is learnt of whole training rows, at once.
            network.first_features if learnt else lambda inputs: map(network.features, inputs),
            problem.outputs,
            problem.places,
            self.chosen.units,
            [problem.seed, int(learnt)],
            fair=not learnt,
        )
        if problem.scale is None:
            return found
        low, high = problem.scale
        return dataclasses.replace(found, targets=(found.targets - low) / (high - low))

    def _solved(self, rows: Drawn, strength: float) -> _solving.Solution:
        """Return weight [places, outputs, width] and bias [places, outputs]."""
        weights, biases = [], []
        width, outputs = rows.features.shape[1], self.problem.outputs
        weight, bias = np.zeros((outputs, width)), np.zeros(outputs)
        for place in range(self.problem.places):
            mine = slice(None) if rows.places is None else rows.places == place
            targets = rows.targets[mine]
            if len(targets):
                weight, bias = self._regress(rows.features[mine], targets, strength)
                bias = bias + rows.correction
            # Else no training row has so long a token: its end is read as what stands before it.
            weights.append(weight)
            biases.append(bias)
        return np.stack(weights), np.stack(biases)

    def _regress(self, features: Any, targets: Array, strength: float) -> _solving.Solution:
        problem, most = self.problem, self.chosen.max_iterations
        if problem.scale is not None:
            return _solving.ridge(features, targets, strength, most)
        return _solving.logistic(
            features, targets, strength, problem.outputs, problem.weights, most
        )


def _scores(rows: Drawn, head: _solving.Solution) -> Array:
    """Return float64 [N, outputs] of rows, each by the head of its place."""
    weight, bias = head
    if rows.places is None:
        return np.asarray(rows.features @ weight[0].T + bias[0])
    found = np.zeros((len(rows.targets), bias.shape[1]))
    for place in range(len(bias)):
        mine = rows.places == place
        found[mine] = rows.features[mine] @ weight[place].T + bias[place]
    return found

"""Linear probe: the model stays as it is, a logistic regression is solved on its features.

Chosen: scikit-learn's solvers, one convex problem solved to the end, so no learning rate and no
epochs: L-BFGS on dense features, which get mean 0 and deviation 1 first; on counts liblinear's dual
coordinate descent, each class against the others when there are more than two (on 135,000 reviews
5 s where L-BFGS takes 21 s, accuracy the same to 0.0002). The validation rows pick the strength of
the penalty out of `strengths`, and then a temperature, so that probabilities are honest. Class
weights multiply a row's loss. Multi-label solves a yes-or-no problem for each label. It costs all
features in memory: 150,000 rows of 384 numbers are 230 MB.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pydantic

from mulgil import settings
from mulgil.contracts import Method
from mulgil.errors import DataError
from mulgil.flow import Array, Batch, Kind, Skill
from mulgil.networks import Learner, Network, Solved
from mulgil.objectives import Lesson

COUNTS = [10.0, 3.0, 1.0]
"""Strengths for sparse counts; the last one is taken when there are no validation rows."""

DENSE = [1.0, 0.001, 0.01, 0.1]
"""Strengths for dense features of deviation 1; the last one without validation rows."""


class LinearProbeSettings(settings.Settings):
    """Settings of the linear probe."""

    strengths: list[Annotated[float, pydantic.Field(gt=0, le=1e9)]] = pydantic.Field([])
    """Inverse penalties (scikit-learn's C) to choose from on the validation rows; by default
    1, 3, 10 for counts and 0.001, 0.01, 0.1, 1 for dense features."""
    max_iterations: int = pydantic.Field(200, ge=1, le=1_000_000)
    """Most iterations of the solver for each strength."""


class LinearProbe(Method):
    """Solved logistic regression on frozen features."""

    Settings: ClassVar[type[settings.Settings]] = LinearProbeSettings
    works_on: ClassVar[frozenset[Kind]] = frozenset({"encoder", "features"})
    serves: ClassVar[frozenset[Skill] | None] = frozenset({"pool", "pair"})
    pooling: ClassVar[Literal["own", "mean"]] = "mean"

    def learner(self, network: Network, lesson: Lesson) -> Learner:
        return ProbeLearner(network, self.settings, lesson.weights)


class ProbeLearner(Solved):
    """Solves the head of a network.

    Args:
        network: gives the features and takes the head.
        chosen: the method's settings.
        weights: float32 [labels], or None.
    """

    def __init__(
        self, network: Network, chosen: LinearProbeSettings, weights: Array | None
    ) -> None:
        self.network = network
        self.chosen = chosen
        self.weights = weights
        self._trainable = 0

    @property
    def trainable(self) -> int:
        return self._trainable

    def solve(self, train: Iterable[Batch], valid: Iterable[Batch]) -> dict[str, float]:
        started = time.monotonic()
        features, targets = self._features(train, self.network.first_features)
        checks, golds = self._features(valid, lambda inputs: map(self.network.features, inputs))
        seconds = time.monotonic() - started
        features, checks, undo = _standardise(features, checks)
        default = DENSE if isinstance(features, np.ndarray) else COUNTS
        strengths = self.chosen.strengths or default
        if not len(golds):
            strengths = strengths[-1:]
        tried = []
        for strength in strengths:
            weight, bias = self._regress(features, targets, strength)
            loss = _loss(checks @ weight.T + bias, golds) if len(golds) else 0.0
            tried.append((loss, strength, weight, bias))
        loss, strength, weight, bias = min(tried, key=lambda one: one[0])
        heat = _temperature(checks @ weight.T + bias, golds) if len(golds) else 1.0
        self.network.set_head(*undo(weight / heat, bias / heat))
        self._trainable = int(weight.size + bias.size)
        return {
            "features": float(features.shape[1]),
            "strength": strength,
            "temperature": heat,
            "valid_loss": loss,
            "feature_seconds": round(seconds, 3),
            "seconds": round(time.monotonic() - started, 3),
        }

    def _regress(self, features: Any, targets: Array, strength: float) -> tuple[Array, Array]:
        """Return weight [outputs, width] and bias [outputs] of the regression."""
        outputs, weights = self.network.outputs, self.weights
        if targets.ndim == 2:
            solved = []
            for i in range(outputs):
                if 0 < targets[:, i].sum() < len(targets):
                    both = None if weights is None else {1: float(weights[i]), 0: 1.0}
                    gold = (targets[:, i] > 0.5).astype(np.int64)
                    solved.append(self._fit(features, gold, strength, both))
                else:
                    solved.append(_constant(features.shape[1], bool(targets[:, i].any())))
            return np.concatenate([w for w, _ in solved]), np.concatenate([b for _, b in solved])
        present = np.unique(targets)
        if len(present) > 2 and not isinstance(features, np.ndarray):
            return self._one_by_one(features, targets, strength)
        whole = np.zeros((outputs, features.shape[1])), np.full(outputs, -20.0)
        if len(present) == 1:  # nothing to solve: the one label that all rows have
            whole[1][present] = 0.0
            return whole
        balance = None if weights is None else {int(i): float(weights[i]) for i in present}
        weight, bias = self._fit(features, targets, strength, balance)
        if len(present) == 2:  # one score for two labels: half of it for, half of it against
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        whole[0][present], whole[1][present] = weight, bias
        return whole

    def _one_by_one(self, features: Any, targets: Array, strength: float) -> tuple[Array, Array]:
        """Solve each class against the others: counts are wide, and the softmax solver slow."""
        whole = (
            np.zeros((self.network.outputs, features.shape[1])),
            np.full(self.network.outputs, -20.0),
        )
        for i in np.unique(targets):
            balance = None if self.weights is None else {1: float(self.weights[i]), 0: 1.0}
            weight, bias = self._fit(features, (targets == i).astype(np.int64), strength, balance)
            whole[0][i], whole[1][i] = weight[0], bias[0]
        return whole

    def _fit(
        self, features: Any, gold: Array, strength: float, balance: Any
    ) -> tuple[Array, Array]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        counts = not isinstance(features, np.ndarray) and len(np.unique(gold)) == 2
        model = LogisticRegression(
            C=strength,
            max_iter=self.chosen.max_iterations,
            class_weight=balance,
            solver="liblinear" if counts else "lbfgs",
            dual=counts,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, gold)
        return model.coef_, model.intercept_

    def _features(
        self, batches: Iterable[Batch], make: Callable[[list[Any]], Iterable[Any]]
    ) -> tuple[Any, Array]:
        """Return features [N, width] and targets of all batches."""
        from scipy import sparse

        rows = list(batches)
        targets = [batch.targets for batch in rows if batch.targets is not None]
        if len(targets) < len(rows):
            raise DataError("method: a linear probe needs rows with labels")
        found = list(make([batch.inputs for batch in rows]))
        if not found:
            return np.zeros((0, 0), np.float32), np.zeros(0, np.int64)
        if sparse.issparse(found[0]):
            return sparse.vstack(found, format="csr"), np.concatenate(targets)
        return np.concatenate(found), np.concatenate(targets)


def _standardise(features: Any, checks: Any) -> tuple[Any, Any, Callable[..., Any]]:
    """Give dense features mean 0 and deviation 1, and a way to turn a head back.

    Counts (sparse) stay as they are: their zeros must stay zeros.
    """
    if not isinstance(features, np.ndarray):
        return features, checks, lambda weight, bias: (weight, bias)
    mean, deviation = features.mean(0), features.std(0) + 1e-6

    def undo(weight: Array, bias: Array) -> tuple[Array, Array]:
        weight = weight / deviation
        return weight, bias - weight @ mean

    checks = (checks - mean) / deviation if len(checks) else checks
    return (features - mean) / deviation, checks, undo


def _temperature(scores: Array, gold: Array) -> float:
    """Return the number that divides scores so that the validation rows' log loss is least.

    Temperature scaling (Guo et al. 2017): no answer changes, probabilities become honest.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log: _loss(scores / np.exp(log), gold), bounds=(-4, 4), method="bounded"
    )
    return float(np.exp(found.x))


def _constant(width: int, yes: bool) -> tuple[Array, Array]:
    """Answer a label that all rows have, or none: there is nothing to solve."""
    return np.zeros((1, width)), np.array([10.0 if yes else -10.0])


def _loss(scores: Array, gold: Array) -> float:
    """Return the mean log loss of scores [N, labels]."""
    if gold.ndim == 2:
        return float(np.mean(np.logaddexp(0, scores) - gold * scores))
    top = scores.max(axis=1, keepdims=True)
    total = np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0]
    return float(np.mean(total - scores[np.arange(len(gold)), gold]))

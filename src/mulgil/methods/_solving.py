"""What a linear probe solves: logistic regression for labels, ridge regression for numbers.

Chosen: scikit-learn's solvers. Labels on dense features by L-BFGS; labels on counts by liblinear's
dual coordinate descent, each class against the others when there are more than two. Numbers on
dense features by Cholesky's decomposition of the normal equations, on counts by conjugate
gradients, which never make a matrix of width by width. It costs that one against the others is no
softmax: only a temperature makes its probabilities fit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from mulgil.flow import Array

Solution = tuple[Array, Array]
"""Weight [outputs, width] and bias [outputs]."""

NEVER = -20.0
"""The score of a label that no training row has."""


def logistic(
    features: Any,
    targets: Array,
    strength: float,
    outputs: int,
    weights: Array | None,
    iterations: int,
) -> Solution:
    """Return the regression of labels on features.

    Args:
        features: float32 [N, width], N at least 1; dense, or a CSR matrix of counts.
        targets: int64 [N], or float32 [N, outputs] of yes and no.
        strength: inverse penalty, scikit-learn's C.
        outputs: number of labels.
        weights: float32 [outputs], of the rows' losses by their label, of the yeses of each label
            where there may be several; None counts all alike.
        iterations: most of the solver.
    """

    def fit(gold: Array, each: Array | None) -> Solution:
        return _fitted(features, gold, strength, each, iterations)

    if targets.ndim == 2:
        solved = []
        for i, yes in enumerate(targets.T > 0.5):
            both = 0 < yes.sum() < len(yes)
            same = np.zeros((1, features.shape[1])), np.array([10.0 if yes.any() else -10.0])
            each = None if weights is None else np.where(yes, weights[i], 1.0)
            solved.append(fit(yes.astype(np.int64), each) if both else same)
        return np.concatenate([w for w, _ in solved]), np.concatenate([b for _, b in solved])
    present = np.unique(targets)
    whole = np.zeros((outputs, features.shape[1])), np.full(outputs, NEVER)
    if len(present) == 1:  # nothing to solve: the one label that all rows have
        whole[1][present] = 0.0
        return whole
    each = None if weights is None else weights[targets]
    if len(present) > 2 and not isinstance(features, np.ndarray):
        for i in present:  # counts are wide, and the softmax solver slow
            weight, bias = fit((targets == i).astype(np.int64), each)
            whole[0][i], whole[1][i] = weight[0], bias[0]
        return whole
    weight, bias = fit(targets, each)
    if len(present) == 2:  # one score for two labels: half of it for, half of it against
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    whole[0][present], whole[1][present] = weight, bias
    return whole


def _fitted(
    features: Any, gold: Array, strength: float, each: Array | None, iterations: int
) -> Solution:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    counts = not isinstance(features, np.ndarray) and len(np.unique(gold)) == 2
    model = LogisticRegression(
        C=strength,
        max_iter=iterations,
        solver="liblinear" if counts else "lbfgs",
        dual=counts,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, gold, sample_weight=each)
    return model.coef_, model.intercept_


def ridge(features: Any, targets: Array, strength: float, iterations: int) -> Solution:
    """Return the regression of numbers on features; ratings that are all the same are answered.

    Args:
        features: float32 [N, width], N at least 1; dense, or a CSR matrix of counts.
        targets: float [N, outputs].
        strength: inverse penalty, 1 / alpha of scikit-learn.
        iterations: most of the solver, on counts.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import Ridge

    dense = isinstance(features, np.ndarray)
    model = Ridge(
        alpha=1 / strength,
        solver="cholesky" if dense else "sparse_cg",
        max_iter=None if dense else iterations,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # In double precision: the product of 10,000 features by themselves is nearly singular.
        model.fit(features.astype(np.float64), targets.astype(np.float64))
    return model.coef_.reshape(targets.shape[1], -1), model.intercept_.reshape(-1)


def standardise(features: Any, checks: Any) -> tuple[Any, Any, Callable[[Array, Array], Solution]]:
    """Give dense features mean 0 and deviation 1 in place, and a way to turn a head back.

    Counts (sparse) stay as they are: their zeros must stay zeros.

    Args:
        features: of the rows that are learnt.
        checks: of other rows, treated alike; may be empty.
    """
    if not isinstance(features, np.ndarray):
        return features, checks, lambda weight, bias: (weight, bias)
    mean, deviation = features.mean(0), features.std(0) + 1e-6

    def undo(weight: Array, bias: Array) -> Solution:
        weight = weight / deviation
        return weight, bias - weight @ mean

    for rows in (features, checks):
        if len(rows):
            rows -= mean
            rows /= deviation
    return features, checks, undo


def temperature(scores: Array, gold: Array) -> float:
    """Return the number that divides scores so that the log loss of these rows is least.

    Temperature scaling (Guo et al. 2017): no answer changes, probabilities become honest.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log: log_loss(scores / np.exp(log), gold), bounds=(-4, 4), method="bounded"
    )
    return float(np.exp(found.x))


def log_loss(scores: Array, gold: Array) -> float:
    """Return the mean log loss of scores [N, labels]; gold is int64 [N], or 0 and 1 [N, labels]."""
    if gold.ndim == 2:
        return float(np.mean(np.logaddexp(0, scores) - gold * scores))
    top = scores.max(axis=1, keepdims=True)
    total = np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0]
    return float(np.mean(total - scores[np.arange(len(gold)), gold]))


def squared_loss(scores: Array, gold: Array) -> float:
    """Return the mean squared error of numbers [N, outputs]."""
    return float(np.mean((scores - gold) ** 2))

"""From a network and rows to figures: probabilities in row order, metrics, intervals.

Chosen: every row is scored exactly once and put back in its own place, so that batches and
their order cannot change a figure; metrics read gold, answers and probabilities only, whatever
made them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from mulgil import registry, statistics
from mulgil.contracts import Network, Task
from mulgil.errors import DivergedError
from mulgil.flow import Array, Batch, Schema, Scored


def probabilities(
    network: Network,
    batches: Iterable[Batch],
    rows: int,
    task: Task,
    schema: Schema,
    between: Callable[[], None] = lambda: None,
) -> Array:
    """Return float64 [rows, labels], each row in its place; NaN for a row that was not scored.

    Args:
        network: answers.
        batches: every row once, in any order.
        rows: how many there are.
        task: turns scores into probabilities.
        schema: label names.
        between: called between batches; may raise to stop.
    """
    found = np.full((rows, len(schema.labels)), np.nan)
    for batch in batches:
        between()
        found[batch.rows] = task.probabilities(network.scores(batch.inputs), schema)
    return found


def judge(task: Task, schema: Schema, gold: Array, shares: Array) -> Scored:
    """Put gold answers and probabilities side by side.

    Raises:
        DivergedError: a row has no probabilities: left out, it would make the figures too good.
    """
    failed = ~np.isfinite(shares).all(axis=1)
    if failed.any():
        raise DivergedError(
            f"{failed.sum():,} of {len(shares):,} rows got no number as an answer, the first is row"
            f" {int(failed.argmax()) + 1}; lower trainer.learning_rate, or use precision fp32"
        )
    gold = gold > 0.5 if schema.multi_label else gold
    return Scored(gold, task.decide(shares, schema), shares, schema.labels)


def loss(gold: Array, shares: Array) -> float:
    """Return the mean log loss: a row's -ln p, or its sum over labels when multi-label."""
    if not len(gold):
        return 0.0
    if gold.ndim == 2:
        right = np.where(gold > 0.5, shares, 1 - shares)
        return float(-np.log(right.clip(1e-12)).sum(axis=1).mean())
    return float(-np.log(shares[np.arange(len(gold)), gold].clip(1e-12)).mean())


def headlines(task: Task, scored: Scored) -> dict[str, float]:
    """Return the figure of each metric that is a single one."""
    found = {}
    for name in task.metrics:
        metric = registry.load("metrics", name)
        if metric.single:
            found.update(metric().compute(scored))
    return found


def intervals(task: Task, scored: Scored, seed: int) -> dict[str, Any]:
    """Return `{metric: {figure: {"value", "low", "high"}}}` with bootstrap intervals."""
    found = {}
    for name in task.metrics:
        metric = registry.load("metrics", name)()
        drawn = statistics.bootstrap(
            lambda rows, metric=metric: metric.compute(scored.take(rows)),  # type: ignore[misc]
            len(scored.gold),
            seed=seed,
        )
        found[name] = {figure: interval.as_dict() for figure, interval in drawn.items()}
    return found


def names(scored_row: Array, schema: Schema) -> Any:
    """Return a gold or predicted answer as the user names it: a label, or a list of labels."""
    if schema.multi_label:
        return [label for label, yes in zip(schema.labels, scored_row, strict=True) if yes]
    return schema.labels[int(scored_row)]

"""From a network and rows to figures: probabilities in row order, metrics, intervals.

Chosen: every row is scored exactly once and put back in its own place, so that batches and
their order cannot change a figure; metrics read gold, answers and probabilities only, whatever
made them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mulgil import registry, statistics
from mulgil.contracts import Encoded, LabelTask, Task
from mulgil.errors import DivergedError
from mulgil.flow import UNASKED, Array, Blanks, Judged, Schema
from mulgil.loader import BatchLoader
from mulgil.networks import Network


def measure(
    network: Network,
    loader: BatchLoader,
    task: Task,
    schema: Schema,
    between: Callable[[], None] = lambda: None,
) -> Array:
    """Return float64 [texts, figures], each text in its place; NaN for one that was not scored.

    The figures are the labels' probabilities, or a language task's nats, tokens, right ones and
    bytes, summed over the windows of a text.

    Args:
        network: answers.
        loader: the rows.
        task: says what is measured.
        schema: label names.
        between: called between batches; may raise to stop.
    """
    if isinstance(task, LabelTask):
        found = np.full((len(loader), len(schema.labels)), np.nan)
        for batch in loader.in_order():
            between()
            found[batch.rows] = task.probabilities(network.scores(batch.inputs), schema)
        return found
    found = np.full((len(loader), 4), np.nan)
    for batch in loader.in_order():
        between()
        found[batch.rows] = _likelihood(network, batch.inputs)
    return gather(found, loader.encoded)


def _likelihood(network: Any, blanks: Blanks) -> Array:
    """Return float64 [B, 4]: nats, tokens, right ones, bytes."""
    nats, right = network.nats(blanks)
    asked = blanks.targets != UNASKED  # [B, L]
    rows = np.repeat(np.arange(len(asked)), asked.sum(1))
    columns = (nats, np.ones(len(rows)), right.astype(float))
    sums = [np.bincount(rows, weights=column, minlength=len(asked)) for column in columns]
    return np.stack([*sums, blanks.bytes], 1)


def gather(windows: Array, encoded: Encoded) -> Array:
    """Sum the figures of windows [W, K] into those of their texts, zeros for texts without any."""
    if encoded.owners is None:
        return windows
    found = np.zeros((encoded.texts, windows.shape[1]))
    np.add.at(found, encoded.owners, windows)
    return found


def check_numbers(measured: Array) -> None:
    """Refuse rows without an answer: left out, they would make the figures too good.

    Raises:
        DivergedError: a row has no finite figures.
    """
    failed = ~np.isfinite(measured).all(axis=1)
    if failed.any():
        raise DivergedError(
            f"{failed.sum():,} of {len(measured):,} rows got no number as an answer, the first is"
            f" row {int(failed.argmax()) + 1}; lower trainer.learning_rate, or use precision fp32"
        )


def headlines(task: Task, scored: Judged) -> dict[str, float]:
    """Return the figure of each metric that is a single one."""
    found = {}
    for name in task.metrics:
        metric = registry.load("metrics", name)
        if metric.single:
            found.update(metric().compute(scored))
    return found


def intervals(task: Task, scored: Judged, seed: int) -> dict[str, Any]:
    """Return `{metric: {figure: {"value", "low", "high"}}}` with bootstrap intervals."""
    found = {}
    for name in task.metrics:
        metric = registry.load("metrics", name)()
        drawn = statistics.bootstrap(
            lambda rows, metric=metric: metric.compute(scored.take(rows)),  # type: ignore[misc]
            len(scored),
            seed=seed,
        )
        found[name] = {figure: interval.as_dict() for figure, interval in drawn.items()}
    return found


def names(scored_row: Array, schema: Schema) -> Any:
    """Return a gold or predicted answer as the user names it: a label, or a list of labels."""
    if schema.multi_label:
        return [label for label, yes in zip(schema.labels, scored_row, strict=True) if yes]
    return schema.labels[int(scored_row)]

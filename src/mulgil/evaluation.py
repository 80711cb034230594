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
from mulgil.contracts import Encoded
from mulgil.errors import DivergedError
from mulgil.flow import UNASKED, Array, Blanks, Schema
from mulgil.judged import Attempts, Judged
from mulgil.loader import BatchLoader
from mulgil.networks import Network
from mulgil.objectives import LabelTask, RowMetric, SpanTask, Task, Window, WritingTask

TOGETHER = 256
"""Texts that are written between two chances to stop."""


def measure(
    network: Network,
    loader: BatchLoader,
    task: Task,
    schema: Schema,
    between: Callable[[], None] = lambda: None,
    tokenizer: Any = None,
) -> Any:
    """Return what is measured of each text, in its place.

    Of a label task the labels' probabilities, of a language task nats, tokens, right ones and
    bytes, summed over the windows of a text: float64 [texts, figures], NaN where nothing was
    scored. Of a span task a list of windows a text.

    Args:
        network: answers.
        loader: the rows.
        task: says what is measured.
        schema: label names.
        between: called between batches; may raise to stop.
        tokenizer: with it a writing task's texts are written too, which takes far longer than to
            score the targets.
    """
    if isinstance(task, LabelTask):
        found = np.full((len(loader), len(schema.labels)), np.nan)
        for batch in loader.in_order():
            between()
            found[batch.rows] = task.probabilities(network.scores(batch.inputs), schema)
        return found
    if isinstance(task, SpanTask):
        return _windows(network, loader, between)
    found = np.full((len(loader), 4), np.nan)
    for batch in loader.in_order():
        between()
        found[batch.rows] = _likelihood(network, batch.inputs)
    if not isinstance(task, WritingTask):
        return gather(found, loader.encoded)
    if tokenizer is None:
        return Attempts(found)
    written = write(network, loader, task, tokenizer, between)
    return Attempts(found, tuple(t for t, _, _ in written), tuple(c for _, c, _ in written))


def write(
    network: Any,
    loader: BatchLoader,
    task: WritingTask,
    tokenizer: Any,
    between: Callable[[], None] = lambda: None,
) -> list[tuple[str, float, int]]:
    """Write a text from each row: (text, its ln p, how many tokens), each in its place."""
    encoded: Any = loader.encoded
    prompts, stop = encoded.prompts, tokenizer.ends()[1]
    reader, found = reading(network, tokenizer), []
    for start in range(0, len(prompts), TOGETHER):
        between()
        part = prompts[start : start + TOGETHER]
        for ids, chances in network.generate(part, task.sampling, [stop]):
            found.append((reader.decode(ids).strip(), float(sum(chances)), len(ids)))
    return found


def reading(network: Any, tokenizer: Any) -> Any:
    """Return what decodes the tokens that a network wrote: itself, where it cuts texts off."""
    return network if hasattr(network, "decode") else tokenizer


def _windows(
    network: Network, loader: BatchLoader, between: Callable[[], None]
) -> list[list[Window]]:
    """Return the scored windows of each text, in their order."""
    encoded: Any = loader.encoded
    scored: dict[int, Array] = {}
    for batch in loader.in_order():
        between()
        scores = network.scores(batch.inputs)  # [U, outputs]
        parts = np.split(scores, np.cumsum(batch.inputs.counts)[:-1])
        scored |= zip(batch.rows.tolist(), parts, strict=True)
    found: list[list[Window]] = [[] for _ in range(encoded.texts)]
    for window, owner in enumerate(encoded.owners.tolist()):
        found[owner].append((encoded.units(window), scored[window]))
    return found


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


def check_numbers(measured: Any) -> None:
    """Refuse rows without an answer: left out, they would make the figures too good.

    Raises:
        DivergedError: a row has no finite figures.
    """
    if isinstance(measured, Attempts):
        measured = measured.figures
    if isinstance(measured, list):
        failed = np.array([not _finite(windows) for windows in measured], np.bool_)
    else:
        failed = ~np.isfinite(measured).all(axis=1)
    if failed.any():
        raise DivergedError(
            f"{failed.sum():,} of {len(measured):,} rows got no number as an answer, the first is"
            f" row {int(failed.argmax()) + 1}; lower trainer.learning_rate, or use precision fp32"
        )


def _finite(windows: list[Window]) -> bool:
    return all(bool(np.isfinite(scores).all()) for _, scores in windows)


def headlines(task: Task, scored: Judged) -> dict[str, float]:
    """Return the figure of each metric that is a single one."""
    found = {}
    for name in task.looked:
        metric = registry.load("metrics", name)
        if metric.single:
            found.update(metric().compute(scored))
    return found


def intervals(task: Task, scored: Judged, seed: int) -> dict[str, Any]:
    """Return `{metric: {figure: {"value", "low", "high"}}}` with bootstrap intervals.

    Of a metric that has no intervals a figure is `{"value"}` alone.
    """
    metrics = {name: registry.load("metrics", name)() for name in task.metrics}
    sums = {
        name: (metric.rows(scored), metric.figures)
        for name, metric in metrics.items()
        if isinstance(metric, RowMetric) and metric.intervals
    }
    drawn = statistics.bootstrap_sums(sums, len(scored), seed=seed)
    found: dict[str, Any] = {}
    for name, metric in metrics.items():
        if not metric.intervals:
            figures = metric.compute(scored)
            found[name] = {figure: {"value": value} for figure, value in figures.items()}
            continue
        if name in sums:
            trials = metric.trials(sums[name][0].sum(0), len(scored))
            each = {
                figure: statistics.at_edge(interval, trials.get(figure, 0.0))
                for figure, interval in drawn[name].items()
            }
        else:
            each = statistics.bootstrap(metric.drawn(scored), len(scored), seed=seed)
        found[name] = {figure: interval.as_dict() for figure, interval in each.items()}
    return found

"""How sure a number is: percentile bootstrap intervals over rows, shifted by their bias.

Chosen: the percentile bootstrap (Efron 1979), 1,000 resamples of the test rows, seeded, because it
serves every metric alike without a formula for each. The interval is shifted by the bootstrap's
own estimate of bias (mean of the resamples minus the figure): calibration error of few rows is too
high in every resample, and a plain percentile interval would not even hold the figure. That is no
"bias-corrected" bootstrap (BC, BCa), which moves the percentiles instead. Shares stay within 0 and
1. Where all of some yes or no are yes, or none, every resample says so too, though 20 of 20 do not
prove 100%: such a share has Wilson's interval. It costs 1,000 evaluations of a metric, but where
figures follow from a sum over rows only 1,000 sums, as one product of matrices: how often a
resample has a row, times what the row adds. It measures the chance of drawing these test rows, not
that of the training (for that, run several seeds).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from statistics import NormalDist

import numpy as np

RESAMPLES = 1_000
LEVEL = 0.95
CHUNK = 40_000_000
"""Bytes of how often each of some resamples has each row."""

Figures = dict[str, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its interval.

    Attributes:
        value: computed on all rows.
        low: lower bound.
        high: upper bound.
    """

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return `{"value": ..., "low": ..., "high": ...}`, for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def bootstrap(
    compute: Callable[[np.ndarray], Figures],
    rows: int,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Return every figure of `compute` with its interval.

    Args:
        compute: takes row numbers (int64 [rows], with repeats) and returns figures by name; a name
            that is missing in a resample is left out of that resample.
        rows: number of rows, at least 1.
        seed: of the resampling; the same seed gives the same interval.
        resamples: how many times the rows are drawn anew.
        level: coverage, between 0 and 1.
    """
    draw = np.random.default_rng(seed)
    drawn = (compute(draw.integers(0, rows, rows)) for _ in range(resamples))
    return _intervals(compute(np.arange(rows)), drawn, level)


def bootstrap_sums(
    parts: Mapping[str, tuple[np.ndarray, Callable[[np.ndarray, int], Figures]]],
    rows: int,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[str, dict[str, Interval]]:
    """Return `{name: figures with their intervals}` where figures follow from a sum over rows.

    The same seed draws the same rows as in `bootstrap`; they are drawn once for all parts.

    Args:
        parts: by name what each row adds, float64 [rows, K], and what makes figures by name of a
            sum over rows, float64 [K], and their number.
        rows: number of rows, at least 1.
        seed: of the resampling.
        resamples: how many times the rows are drawn anew.
        level: coverage, between 0 and 1.
    """
    draw = np.random.default_rng(seed)
    sums: dict[str, list[np.ndarray]] = {name: [] for name in parts}
    step = min(resamples, max(1, CHUNK // (8 * max(rows, 1))))
    room = np.empty((step, rows))  # one for all chunks
    for start in range(0, resamples if parts else 0, step):
        times = room[: resamples - start]
        for one in times:
            one[:] = np.bincount(draw.integers(0, rows, rows), minlength=rows)
        for name, (added, _) in parts.items():
            sums[name].extend(times @ added)
    return {
        name: _intervals(
            figures(added.sum(0), rows), (figures(total, rows) for total in sums[name]), level
        )
        for name, (added, figures) in parts.items()
    }


def at_edge(found: Interval, trials: float, level: float = LEVEL) -> Interval:
    """Return Wilson's interval of a share that is 0 or 1; any other figure as it is.

    Args:
        found: the figure.
        trials: of how many yes or no it is the share; 0 where it is no such share, or of none.
        level: coverage, between 0 and 1.
    """
    if not trials or found.value not in {0.0, 1.0}:
        return found
    square = NormalDist().inv_cdf((1 + level) / 2) ** 2
    doubt = square / (trials + square)
    return Interval(0.0, 0.0, doubt) if found.value == 0.0 else Interval(1.0, 1.0 - doubt, 1.0)


def _intervals(whole: Figures, resampled: Iterable[Figures], level: float) -> dict[str, Interval]:
    drawn: dict[str, list[float]] = {name: [] for name in whole}
    for figures in resampled:
        for name, value in figures.items():
            if name in drawn:
                drawn[name].append(value)
    tail = (1 - level) / 2
    return {
        name: Interval(value, *_bounds(drawn[name], tail, value)) for name, value in whole.items()
    }


def _bounds(values: list[float], tail: float, whole: float) -> tuple[float, float]:
    if not values:
        return whole, whole
    found = np.asarray(values)
    low, high = np.quantile(found, [tail, 1 - tail]) - (found.mean() - whole)
    least = 0.0 if found.min() >= 0 else -np.inf
    most = 1.0 if found.min() >= 0 and found.max() <= 1 else np.inf
    return float(np.clip(low, least, whole)), float(np.clip(high, whole, most))


def describe(rows: int, seed: int) -> str:
    """Return the sentence that stands beside every interval of this project."""
    return (
        f"{LEVEL:.0%} bootstrap over {rows:,} test rows, {RESAMPLES:,} resamples, seed {seed},"
        " shifted by its bias; Wilson's where all or none are right"
    )

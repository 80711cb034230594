"""What pages gather from predictions.jsonl in one pass: the rows to show, and how sure is right.

Chosen: a heap of the foremost rows and twenty-odd counters, so that 50,000 rows take no memory
worth naming. It costs that what was not kept cannot be asked for afterwards.
"""

from __future__ import annotations

import heapq
from typing import Any, Generic, TypeVar

from mulgil.metrics.ece import BINS
from mulgil.report.charts import Bin
from mulgil.report.figures import ANSWERS, RESULT, SLACK, Figures, Row

WORST = 20
"""Mistakes that a page shows."""

Kept = TypeVar("Kept")


class Foremost(Generic[Kept]):
    """The rows of the highest rank; of equal ones the first in the file."""

    def __init__(self, most: int = WORST) -> None:
        """Keep so many rows at most."""
        self.most = most
        self._held: list[tuple[Any, int, Kept]] = []

    def takes(self, rank: Any, line: int) -> bool:
        """Return whether a row of that rank would be kept."""
        return len(self._held) < self.most or (rank, -line) > self._held[0][:2]

    def add(self, rank: Any, line: int, kept: Kept) -> None:
        """Take a row when it is among the foremost.

        Args:
            rank: anything that can be ordered.
            line: its number, which no other row has, so that rows are never compared.
            kept: what is kept of it.
        """
        if len(self._held) < self.most:
            heapq.heappush(self._held, (rank, -line, kept))
        elif self.takes(rank, line):
            heapq.heapreplace(self._held, (rank, -line, kept))

    def sorted(self) -> list[tuple[Any, int, Kept]]:
        """Return (rank, line, what was kept), the foremost first."""
        order = sorted(self._held, key=lambda held: held[:2], reverse=True)
        return [(rank, -line, kept) for rank, line, kept in order]


class Confidence:
    """Answers by how sure they were.

    Attributes:
        bins: as the metric `ece` bins them.
    """

    def __init__(self) -> None:
        self.bins = [Bin() for _ in range(BINS)]

    def add(self, sure: float, right: bool) -> None:
        """Take an answer with its probability, 0 to 1."""
        held = self.bins[min(max(int(sure * BINS), 0), BINS - 1)]
        held.rows += 1
        held.right += right
        held.confidence += sure

    @property
    def ece(self) -> float:
        """Expected calibration error of these answers."""
        whole = sum(b.rows for b in self.bins)
        return sum(abs(b.right - b.confidence) for b in self.bins) / whole if whole else 0.0


def disagreements(
    fig: Figures, rows: int, found: dict[str, tuple[str, float]], rows_are: str = "rows"
) -> list[str]:
    """Say where predictions.jsonl and result.json cannot be of the same run.

    Args:
        fig: looks figures up.
        rows: read from predictions.jsonl.
        found: `{figure: (what it is, its value by predictions.jsonl)}`; where result.json has a
            figure of that name, the two must agree.
        rows_are: what a row is called.
    """
    whole = fig.number(RESULT, "n")
    if not rows or whole is None:
        return []
    if rows != whole:
        return [f"{ANSWERS} has {rows:,} {rows_are}, but {RESULT} speaks of {whole:,}."]
    for metric in fig.keys(RESULT, "metrics"):
        for name in fig.keys(RESULT, "metrics", metric):
            stored = fig.number(RESULT, "metrics", metric, name, "value")
            if name in found and stored is not None and abs(found[name][1] - stored) > SLACK:
                title, value = found[name]
                return [f"{ANSWERS} gives {title} of {value:.3f}, {RESULT} {stored:.3f}."]
    return []


def texts(row: Row) -> list[tuple[str, str]]:
    """Return (field, text) of what the model read of a row, whatever its fields are called."""
    said = ("id", "gold", "predicted")
    return [
        (key, value) for key, value in row.items() if isinstance(value, str) and key not in said
    ]


def chance(value: object) -> float:
    """Return a probability.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("no probability")
    return float(value)

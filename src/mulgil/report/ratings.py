"""What the page of rated pairs draws: predicted over gold, errors, what weighs most, the worst.

Chosen: a dot a row, because a correlation alone hides ratings that were squeezed together, and one
bad group of rows; beyond `DOTS` rows every n-th is drawn, and the page says so. Two numbers a row
are kept, 16 bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np

from mulgil.report import charts, gather, telling
from mulgil.report.figures import ANSWERS, Figures, Row, worked_out
from mulgil.report.gather import Foremost

DOTS = 1500
"""Rows that are drawn as dots at most."""
BARS = 31
"""Stretches of the histogram of errors; an odd number, so that one holds the right answers."""
_LARGEST = 1e12
"""Ratings beyond it are taken for damage: nothing could be drawn beside them."""


class Ratings:
    """Gold and predicted ratings of the test rows, gathered in one pass.

    Attributes:
        gold: a number a row.
        predicted: a number a row.
        worst: (distance, line, row) of the rows whose ratings are farthest apart.
    """

    def __init__(self, lines: Iterable[tuple[int, Row]], faults: list[str]) -> None:
        self.gold, self.predicted = array("d"), array("d")
        worst: Foremost[Row] = Foremost()
        odd = 0
        for line, row in lines:
            gold, predicted = _rating(row.get("gold")), _rating(row.get("predicted"))
            if gold is None or predicted is None:
                odd += 1
                continue
            self.gold.append(gold)
            self.predicted.append(predicted)
            if gold != predicted:
                worst.add(abs(predicted - gold), line, row)
        self.worst = worst.sorted()
        if odd:
            faults.append(f"{ANSWERS}: {odd:,} rows lack a rating and were left out.")

    @property
    def quoted(self) -> dict[int, Row]:
        """`{line: row}` of the rows that are shown."""
        return {line: row for _, line, row in self.worst}

    @property
    def errors(self) -> Any:
        """Predicted less gold, float64 [rows]."""
        return np.array(self.predicted) - np.array(self.gold)


def _rating(value: object) -> float | None:
    """Return a number that can be drawn, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _LARGEST else None  # NaN is not below either


def view(fig: Figures, ratings: Ratings) -> Row:
    """Return what the template draws of the ratings."""
    rows = len(ratings.gold)
    return {
        "scatter": _scatter(ratings) if rows else None,
        "errors": _errors(ratings.errors) if rows else None,
        "rows": worked_out(rows, "count", "rows with ratings"),
        "telling": telling.table(fig, ("raises", "lowers")),
        "worst": [_pair(fig, *item) for item in ratings.worst],
    }


def disagreements(fig: Figures, ratings: Ratings) -> list[str]:
    """Say where predictions.jsonl and result.json cannot be of the same run."""
    rows = len(ratings.gold)
    error = float(np.sqrt(np.square(ratings.errors).mean())) if rows else 0.0
    found = {"rmse": ("a root mean squared error", error)}
    return gather.disagreements(fig, rows, found)


def _scatter(ratings: Ratings) -> Row:
    """Return the dots, and how many of the rows they are."""
    step = -(-len(ratings.gold) // DOTS)
    points = list(zip(ratings.gold[::step], ratings.predicted[::step], strict=True))
    return {
        "drawn": charts.scatter(points, "gold", "predicted"),
        "dots": worked_out(len(points), "count", "rows drawn") if step > 1 else None,
    }


def _errors(errors: Any) -> Row:
    """Return the histogram of errors, and what is within half and nine tenths of them."""
    most = float(np.abs(errors).max()) or 1.0
    counts, _ = np.histogram(errors, BARS, (-most, most))
    median = float(np.median(errors))
    within = [
        worked_out(float(np.quantile(np.abs(errors), share)), "score", f"error of {share} of rows")
        for share in (0.5, 0.9)
    ]
    return {
        "drawn": charts.histogram(counts.tolist(), (-most, most), median, "predicted less gold"),
        "within": within,
        "mean": worked_out(float(errors.mean()), "signed", "mean error"),
    }


def _pair(fig: Figures, distance: float, line: int, row: Row) -> Row:
    """Return what is shown of two texts whose ratings are far apart."""
    error = distance if row["predicted"] > row["gold"] else -distance
    return {
        "id": str(row.get("id", line)),
        "texts": gather.texts(row),
        "error": worked_out(error, "signed", f"predicted less gold of line {line}"),
        "gold": fig("short", ANSWERS, line, "gold"),
        "said": fig("short", ANSWERS, line, "predicted"),
    }

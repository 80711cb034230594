"""Tables by label or kind, and what was taken for what: for labels and for entities alike.

Chosen: up to `WIDEST` columns the whole matrix is drawn, with more the commonest confusions only,
because nobody reads a matrix of 400 cells and more.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from mulgil.report import charts
from mulgil.report.figures import RESULT, Figures, Row

WIDEST = 20
"""Columns up to which a confusion matrix is drawn whole."""


def by_kind(fig: Figures, metric: str, names: Sequence[str]) -> Row | None:
    """Return the table of precision, recall, F1 and support, None without that metric.

    Args:
        fig: looks figures up.
        metric: "per-class" or "per-entity".
        names: labels or kinds, a row each.
    """
    if not fig.get(RESULT, "metrics", metric):
        return None
    rows = [{"name": name, "interval": _interval(fig, metric, f"f1:{name}")} for name in names]
    return {"metric": metric, "rows": rows}


def _interval(fig: Figures, metric: str, name: str) -> Markup:
    """Return the drawn interval of a figure, or nothing when it has none."""
    ends = [fig.number(RESULT, "metrics", metric, name, end) for end in ("value", "low", "high")]
    known = [end for end in ends if end is not None and math.isfinite(end)]
    return charts.interval(*known) if len(known) == 3 else Markup("")


def matrix(
    golds: Sequence[str],
    saids: Sequence[str],
    counts: Sequence[Sequence[float | None]],
    figure: Callable[[int, int], Any],
    roomy: int = 6,
) -> Row:
    """Return the matrix (rows are gold), or the commonest confusions when it would be too wide.

    Args:
        golds: what the rows are called.
        saids: what the columns are called.
        counts: [golds, saids]; None where nothing can be. The diagonal is right.
        figure: draws the count of a row and a column.
        roomy: columns up to which a cell also has room for its share of the row.
    """
    cells = []
    for i, (gold, row) in enumerate(zip(golds, counts, strict=True)):
        whole = sum(count or 0 for count in row) or 1
        cells.append(
            [
                {
                    "gold": gold,
                    "said": said,
                    "count": count or 0,
                    "share": (count or 0) / whole,
                    "hit": i == j,
                    "place": (i, j),
                    "figure": "" if count is None else None,
                }
                for j, (said, count) in enumerate(zip(saids, row, strict=True))
            ]
        )
    pairs: list[Row] = []
    if len(saids) > WIDEST:
        wrong = (cell for row in cells for cell in row if not cell["hit"] and cell["count"])
        pairs, cells = heapq.nlargest(WIDEST, wrong, key=lambda cell: cell["count"]), []
    for cell in [*pairs, *(cell for row in cells for cell in row)]:
        if cell["figure"] is None:
            cell["figure"] = figure(*cell["place"])
    rows = [{"name": row[0]["gold"], "cells": row} for row in cells]
    return {"saids": saids, "rows": rows, "pairs": pairs, "roomy": len(saids) <= roomy}

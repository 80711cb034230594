"""What the page of a classification draws: labels, confusions, confidence and the surest mistakes.

Chosen: predictions are read in one pass that keeps counts and the surest mistakes only: 50,000
rows take 0.4 s and no memory worth naming.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from mulgil.metrics.ece import BINS
from mulgil.report import charts
from mulgil.report.charts import Bin
from mulgil.report.figures import ANSWERS, RESULT, SLACK, Figures, Row, worked_out

WIDEST = 20
"""Labels up to which the confusion matrix is drawn whole; with more, the commonest confusions."""
WORST = 20
"""Mistakes that are kept."""


class Answers:
    """What the test rows were answered, gathered in one pass.

    Attributes:
        rows: rows read.
        bins: answers by confidence, as the metric `ece` bins them.
        worst: (confidence, -line, row, label) of the surest mistakes, the surest first.
    """

    def __init__(self, rows: Iterator[tuple[int, Row]], faults: list[str]) -> None:
        self.rows = odd = 0
        self.bins = [Bin() for _ in range(BINS)]
        self.worst: list[tuple[float, int, Row, str]] = []
        for number, row in rows:
            try:
                judged = _judged(row)
            except (AttributeError, KeyError, TypeError, ValueError):
                odd += 1
                continue
            self.rows += 1
            self._count(number, row, judged)
        self.worst.sort(key=lambda item: item[:2], reverse=True)
        if odd:
            faults.append(f"predictions.jsonl: {odd:,} rows lack an answer and were left out.")

    def _count(self, number: int, row: Row, judged: list[tuple[str, float, bool]]) -> None:
        for _, sure, right in judged:
            held = self.bins[min(max(int(sure * BINS), 0), BINS - 1)]
            held.rows += 1
            held.right += right
            held.confidence += sure
        wrong = [(sure, label) for label, sure, right in judged if not right]
        if wrong:
            sure, label = max(wrong)
            # The line number is unique, so rows are never compared.
            keep = heapq.heappush if len(self.worst) < WORST else heapq.heappushpop
            keep(self.worst, (sure, -number, row, label))

    @property
    def quoted(self) -> dict[int, Row]:
        """`{line: row}` of the mistakes that are shown."""
        return {-line: row for _, line, row, _ in self.worst}

    @property
    def ece(self) -> float:
        """Expected calibration error of these answers."""
        whole = sum(b.rows for b in self.bins)
        return sum(abs(b.right - b.confidence) for b in self.bins) / whole if whole else 0.0


def _judged(row: Row) -> list[tuple[str, float, bool]]:
    """Return (label, confidence, right) of each answer of a row: one, or one a label."""
    gold, said, chances = row["gold"], row["predicted"], row["probabilities"]
    if gold is None or not all(math.isfinite(chance) for chance in chances.values()):
        raise ValueError("nothing to judge")
    if isinstance(said, str):
        return [(said, float(chances[said]), said == gold)]
    judged = []
    for label, chance in chances.items():
        yes = label in said
        judged.append((label, float(chance if yes else 1 - chance), yes == (label in gold)))
    return judged


NONE: dict[str, Any] = {
    "labels": [],
    "commonest": None,
    "by_label": False,
    "answers": None,
    "mistakes": [],
}
"""What the template draws of labels where there are none."""


def view(fig: Figures, answers: Answers, labels: list[str]) -> dict[str, Any]:
    """Return what the template draws of labels and answers."""
    return {
        "labels": labels,
        "commonest": _commonest(fig, labels),
        "by_label": bool(fig.get(RESULT, "metrics", "per-class")),
        "interval": _interval,
        "confusion": _confusion(fig, labels),
        "answers": answers,
        "mistakes": [_mistake(fig, *item) for item in answers.worst],
    }


def disagreements(fig: Figures, answers: Answers) -> list[str]:
    """Say where predictions.jsonl and result.json cannot be of the same run."""
    rows, ece = fig.number(RESULT, "n"), fig.number(RESULT, "metrics", "ece", "ece", "value")
    if not answers.rows or rows is None:
        return []
    if answers.rows != rows:
        return [f"{ANSWERS} has {answers.rows:,} rows, but {RESULT} speaks of {rows:,}."]
    if ece is not None and abs(ece - answers.ece) > SLACK:
        return [f"{ANSWERS} gives a calibration error of {answers.ece:.3f}, {RESULT} {ece:.3f}."]
    return []


def _commonest(fig: Figures, labels: list[str]) -> tuple[str, Markup] | None:
    """Return the label with most test rows, and the accuracy of always answering it."""
    table = (RESULT, "metrics", "per-class")
    rows = {label: fig.number(*table, f"support:{label}", "value") or 0 for label in labels}
    if fig.get(RESULT, "multi_label") or not sum(rows.values()):
        return None
    label = max(rows, key=lambda key: rows[key])
    return label, worked_out(rows[label] / sum(rows.values()), "percent", "commonest")


def _interval(fig: Figures, name: str) -> Markup:
    """Return the drawn interval of a label's figure, or nothing when it has none."""
    ends = [
        fig.number(RESULT, "metrics", "per-class", name, end) for end in ("value", "low", "high")
    ]
    known = [end for end in ends if end is not None and math.isfinite(end)]
    return charts.interval(*known) if len(known) == 3 else Markup("")


def _confusion(fig: Figures, labels: list[str]) -> Row | None:
    """Return the matrix (rows are gold), or the commonest confusions when it would be too wide."""
    table = (RESULT, "metrics", "confusion")
    if not fig.keys(*table) or fig.get(RESULT, "multi_label") or len(labels) < 2:
        return None
    rows = []
    for gold in labels:
        counts = [fig.number(*table, f"{gold}→{said}", "value") or 0 for said in labels]
        whole = sum(counts) or 1
        rows.append(
            [
                {"gold": gold, "said": said, "count": count, "share": count / whole}
                for said, count in zip(labels, counts, strict=True)
            ]
        )
    pairs: list[Row] = []
    if len(labels) > WIDEST:
        wrong = (c for row in rows for c in row if c["gold"] != c["said"] and c["count"])
        pairs, rows = heapq.nlargest(WIDEST, wrong, key=lambda cell: cell["count"]), []
    for cell in [*pairs, *(cell for row in rows for cell in row)]:
        cell["figure"] = fig("count", *table, f"{cell['gold']}→{cell['said']}", "value")
    return {"rows": rows, "pairs": pairs}


def _mistake(fig: Figures, sure: float, line: int, row: Row, label: str) -> Row:
    """Return what is shown of a mistake; `line` is negative, as `Answers.worst` sorts by it."""
    kept = ("id", "gold", "predicted", "probabilities")
    gold, said = (
        [str(v) for v in value] if isinstance(value, list) else [str(value)]
        for value in (row["gold"], row["predicted"])
    )
    return {
        "id": str(row.get("id", -line)),
        "texts": [(k, v) for k, v in row.items() if isinstance(v, str) and k not in kept],
        "sure": worked_out(sure, "percent", f"confidence of line {-line}"),
        "label": label,
        "many": not isinstance(row["predicted"], str),
        "gold": gold,
        "said": said,
        "chance": lambda name: fig("percent", ANSWERS, -line, "probabilities", name),
    }

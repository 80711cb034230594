"""What the page of a classification draws: labels, confusions, confidence and the surest mistakes.

Chosen: predictions are read in one pass that keeps counts and the surest mistakes only: 50,000
rows take 0.4 s and no memory worth naming.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from mulgil.report import gather, tables, telling
from mulgil.report.figures import ANSWERS, RESULT, Figures, Row, worked_out
from mulgil.report.gather import Confidence, Foremost


class Answers:
    """What the test rows were answered, gathered in one pass.

    Attributes:
        rows: rows read.
        confidence: answers by how sure they were.
        worst: (confidence, line, (row, label)) of the surest mistakes, the surest first.
    """

    def __init__(self, rows: Iterator[tuple[int, Row]], faults: list[str]) -> None:
        self.rows = odd = 0
        self.confidence = Confidence()
        worst: Foremost[tuple[Row, str]] = Foremost()
        for number, row in rows:
            try:
                judged = _judged(row)
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
                odd += 1
                continue
            self.rows += 1
            for _, sure, right in judged:
                self.confidence.add(sure, right)
            wrong = [(sure, label) for label, sure, right in judged if not right]
            if wrong:
                sure, label = max(wrong)
                worst.add(sure, number, (row, label))
        self.worst = worst.sorted()
        if odd:
            faults.append(f"{ANSWERS}: {odd:,} rows lack an answer and were left out.")

    @property
    def quoted(self) -> dict[int, Row]:
        """`{line: row}` of the mistakes that are shown."""
        return {line: row for _, line, (row, _) in self.worst}


def _judged(row: Row) -> list[tuple[str, float, bool]]:
    """Return (label, confidence, right) of each answer of a row: one, or one a label.

    Raises:
        AttributeError, KeyError, OverflowError, TypeError, ValueError: it has none.
    """
    gold, said = row["gold"], row["predicted"]
    chances = {label: gather.chance(chance) for label, chance in row["probabilities"].items()}
    if isinstance(said, str) and isinstance(gold, str):
        return [(said, chances[said], said == gold)]
    if not isinstance(said, list) or not isinstance(gold, list):
        raise TypeError("no answer")
    judged = []
    for label, chance in chances.items():
        yes = label in said
        judged.append((label, chance if yes else 1 - chance, yes == (label in gold)))
    return judged


def view(fig: Figures, answers: Answers, labels: list[str]) -> dict[str, Any]:
    """Return what the template draws of labels and answers."""
    return {
        "labels": labels,
        "commonest": _commonest(fig, labels),
        "by_kind": tables.by_kind(fig, "per-class", labels),
        "confusion": _confusion(fig, labels),
        "telling": telling.table(fig, labels),
        "confidence": answers.confidence if answers.rows else None,
        "mistakes": [_mistake(fig, *item) for item in answers.worst],
    }


def disagreements(fig: Figures, answers: Answers) -> list[str]:
    """Say where predictions.jsonl and result.json cannot be of the same run."""
    found = {"ece": ("a calibration error", answers.confidence.ece)}
    return gather.disagreements(fig, answers.rows, found)


def _commonest(fig: Figures, labels: list[str]) -> tuple[str, Markup] | None:
    """Return the label with most test rows, and the accuracy of always answering it."""
    table = (RESULT, "metrics", "per-class")
    rows = {label: fig.number(*table, f"support:{label}", "value") or 0 for label in labels}
    if fig.get(RESULT, "multi_label") or not sum(rows.values()):
        return None
    label = max(rows, key=lambda key: rows[key])
    return label, worked_out(rows[label] / sum(rows.values()), "percent", "commonest")


def _confusion(fig: Figures, labels: list[str]) -> Row | None:
    """Return the confusion matrix of a run whose rows have one label each."""
    table = (RESULT, "metrics", "confusion")
    if not fig.keys(*table) or fig.get(RESULT, "multi_label") or len(labels) < 2:
        return None

    def place(i: int, j: int) -> tuple[str, ...]:
        return (*table, f"{labels[i]}→{labels[j]}", "value")

    places = range(len(labels))
    counts = [[fig.number(*place(i, j)) or 0 for j in places] for i in places]
    return tables.matrix(labels, labels, counts, lambda i, j: fig("count", *place(i, j)))


def _mistake(fig: Figures, sure: float, line: int, held: tuple[Row, str]) -> Row:
    """Return what is shown of a mistake: the row, and which label was wrong."""
    row, label = held
    gold, said = (
        [str(v) for v in value] if isinstance(value, list) else [str(value)]
        for value in (row["gold"], row["predicted"])
    )
    return {
        "id": str(row.get("id", line)),
        "texts": gather.texts(row),
        "sure": worked_out(sure, "percent", f"confidence of line {line}"),
        "label": label,
        "many": not isinstance(row["predicted"], str),
        "gold": gold,
        "said": said,
        "chance": lambda name: fig("percent", ANSWERS, line, "probabilities", name),
    }

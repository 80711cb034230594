"""What the page of answers to questions draws: confidence, and the surest wrong answers.

Chosen: whether an answer is exact is asked of the metric that comes first in result.json, row by
row, so that its rules about punctuation and case are those of the figure at the top. The files do
not say where in the passage the right words stood, so they are marked where they first stand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from mulgil import registry
from mulgil.judged import Written
from mulgil.objectives import Metric
from mulgil.report import gather, marks
from mulgil.report.cards import TITLES
from mulgil.report.figures import ANSWERS, RESULT, Figures, Row, worked_out
from mulgil.report.gather import Confidence, Foremost
from mulgil.report.marks import Stretch

JUDGES = ("korquad-f1", "squad-f1", "exact-match")
"""Metrics that say whether an answer is exact."""


class Questions:
    """What questions were answered, gathered in one pass.

    Attributes:
        rows: rows read.
        silent: rows that were answered by "no answer".
        sums: of each figure of the metric, over the rows.
        confidence: answers by their probability; right are the exact ones.
        worst: (probability, line, (row, figures)) of the surest answers that are not exact.
    """

    def __init__(self, lines: Iterable[tuple[int, Row]], metric: Metric, faults: list[str]) -> None:
        self.rows = self.silent = odd = 0
        self.sums: dict[str, float] = {}
        self.confidence = Confidence()
        worst: Foremost[tuple[Row, dict[str, float]]] = Foremost()
        for line, row in lines:
            try:
                gold, said, sure = _answered(row)
            except (KeyError, OverflowError, TypeError, ValueError):
                odd += 1
                continue
            figures = metric.compute(Written((gold,), (said,)))
            exact = min(figures.values()) == 1  # an exact answer has every figure
            self.rows += 1
            self.silent += not said
            for name, value in figures.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
            self.confidence.add(sure, exact)
            if not exact:
                worst.add(sure, line, (row, figures))
        self.worst = worst.sorted()
        if odd:
            faults.append(f"{ANSWERS}: {odd:,} rows lack an answer and were left out.")

    @property
    def quoted(self) -> dict[int, Row]:
        """`{line: row}` of the answers that are shown."""
        return {line: row for _, line, (row, _) in self.worst}


def judge(fig: Figures) -> Metric:
    """Return the metric that says what is exact: the first of result.json that can, or KorQuAD."""
    known = [name for name in fig.keys(RESULT, "metrics") if name in JUDGES]
    made: Metric = registry.load("metrics", known[0] if known else JUDGES[0])()
    return made


def _answered(row: Row) -> tuple[tuple[str, ...], str, float]:
    """Return the right answers, the given one and its probability.

    Raises:
        KeyError, OverflowError, TypeError, ValueError: one is missing.
    """
    gold, said = row["gold"], row["predicted"]
    if not isinstance(gold, list) or not all(isinstance(text, str) for text in [*gold, said]):
        raise TypeError("no answer")
    return tuple(gold), said, gather.chance(row["probability"])


def view(fig: Figures, questions: Questions) -> dict[str, Any]:
    """Return what the template draws of the answers."""
    return {
        "confidence": questions.confidence if questions.rows else None,
        "silent": worked_out(questions.silent, "count", "rows answered by nothing"),
        "mistakes": [_mistake(fig, *item) for item in questions.worst],
    }


def disagreements(fig: Figures, questions: Questions) -> list[str]:
    """Say where predictions.jsonl and result.json cannot be of the same run."""
    rows = questions.rows or 1
    found = {name: (f"a {name}", value / rows) for name, value in questions.sums.items()}
    return gather.disagreements(fig, questions.rows, found)


def _mistake(
    fig: Figures, sure: float, line: int, held: tuple[Row, dict[str, float]]
) -> dict[str, Any]:
    """Return what is shown of a wrong answer, with the passage around it."""
    row, figures = held
    passage = row.get("context")
    first = next(iter(figures))
    title, _ = TITLES.get(first, (first, ""))
    return {
        "id": str(row.get("id", line)),
        "sure": fig("percent", ANSWERS, line, "probability"),
        "question": str(row.get("question", "")),
        "gold": list(dict.fromkeys(row["gold"])),
        "said": row["predicted"],
        "passage": _around(passage, row) if isinstance(passage, str) and passage else None,
        "figure": (title, worked_out(figures[first], "score", f"{first} of line {line}")),
    }


def _around(passage: str, row: Row) -> Markup:
    """Return the passage around the given answer and the first right one that stands there."""
    golds = [place for text in row["gold"] for place in _place(passage, text)][:1]
    start, end = row.get("start"), row.get("end")
    if isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(passage):
        return marks.marked(passage, marks.groups(golds, [Stretch(start, end)]))
    return marks.marked(passage, marks.groups(golds, _place(passage, row["predicted"])))


def _place(passage: str, words: str) -> list[Stretch]:
    """Return where the words first stand in the passage; nothing when they do not."""
    at = passage.find(words) if words else -1
    return [Stretch(at, at + len(words))] if at >= 0 else []

"""What a journal tells of the training: curves, the best look at the validation rows, notes.

Chosen: a journal is read in one pass that keeps numbers in arrays and only those lines that the
page quotes, because a pretraining run has tens of thousands of them: 20,000 lines take 0.1 s and
1.4 MB, where all of them as objects took 20 MB.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

from markupsafe import Markup

from mulgil.report import charts
from mulgil.report.cards import TITLES
from mulgil.report.figures import JOURNAL, RESULT, Figures, Row

_NOT_METRICS = frozenset({"kind", "step", "epoch", "loss", "best", "seconds"})
_SPARKS = (
    ("learning_rate", "Learning rate", "학습률"),
    ("norm", "Gradient norm", "기울기 크기"),
    ("rows_per_second", "Rows a second", "초당 행"),
)

Line = tuple[int, Row]
"""A line's number and what it says."""


class Trace:
    """One figure over the steps.

    Attributes:
        steps: where it was noted.
        values: what it was.
        last: the last line that has it, or None.
        best: the last line that has it and calls itself the best, or None.
        broken: the first line on which it is no finite number, or None.
    """

    def __init__(self) -> None:
        self.steps, self.values = array("d"), array("d")
        self.last: Line | None = None
        self.best: Line | None = None
        self.broken: Line | None = None

    def add(self, line: int, entry: Row, name: str) -> None:
        """Take a line's figure when it has one."""
        step, value = entry.get("step"), entry.get(name)
        if not isinstance(step, int | float) or not isinstance(value, int | float):
            return
        try:
            at, figure = float(step), float(value)
        except OverflowError:  # an integer of more than 308 digits
            return
        self.steps.append(at)
        self.values.append(figure)
        self.last = line, entry
        if entry.get("best") is True:
            self.best = self.last
        if not math.isfinite(figure):
            self.broken = self.broken or self.last

    @property
    def points(self) -> list[charts.Point]:
        """The trace for a chart."""
        return list(zip(self.steps, self.values, strict=True))

    @property
    def quoted(self) -> dict[int, Row]:
        """The lines that the page may quote."""
        return dict(line for line in (self.broken, self.best, self.last) if line)


class Journal:
    """A journal, gathered in one pass.

    Attributes:
        steps: `{figure: its trace}` of the logged steps.
        valid: `{figure: its trace}` of the looks at the validation rows.
        solved: the lines of a training that was solved at once.
        notes: what was noted, in order.
        metric: the first metric that a look names, "" without any.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self.steps = {name: Trace() for name in ("loss", *(name for name, _, _ in _SPARKS))}
        self.valid = {"loss": Trace()}
        self.solved: dict[int, Row] = {}
        self.notes: list[str] = []
        self.metric = ""
        for line, entry in lines:
            kind = entry.get("kind")
            if kind == "step":
                for name, trace in self.steps.items():
                    trace.add(line, entry, name)
            elif kind == "valid":
                self._look(line, entry)
            elif kind == "solve":
                self.solved[line] = entry
            elif kind == "note":
                self.notes.append(str(entry.get("text", "")))

    def _look(self, line: int, entry: Row) -> None:
        metrics = [name for name in entry if name not in _NOT_METRICS]
        self.metric = self.metric or next(iter(metrics), "")
        for name in ("loss", *metrics):
            self.valid.setdefault(name, Trace()).add(line, entry, name)

    @property
    def quoted(self) -> dict[int, Row]:
        """`{line: entry}` of the lines that the page may quote."""
        kept = dict(self.solved)
        for trace in (*self.steps.values(), *self.valid.values()):
            kept |= trace.quoted
        return kept


def learning(fig: Figures, journal: Journal, metric: str = "") -> Row:
    """Return charts and figures of the training, as far as the journal has them.

    Args:
        fig: looks figures up.
        journal: of the run.
        metric: validation metric that gets a chart of its own; without it, the one that decides
            which weights are kept.
    """
    metric = metric if metric in journal.valid else _deciding(fig, journal)
    loss, unseen = journal.steps["loss"], journal.valid["loss"].points
    valid = journal.valid.get(metric) or Trace()
    best, mark = _best(valid, metric)
    raw = loss.points
    stepped = bool(raw) or not journal.solved  # what is solved at once has one look and no course
    return {
        "loss": stepped
        and charts.lines(
            [
                charts.Series("raw", raw),
                charts.Series("smooth", charts.smooth(raw)),
                charts.Series("valid", unseen, dots=True),
            ],
            "Loss over steps",
        ),
        "unseen": bool(unseen),
        "metric": TITLES.get(metric, (metric, "")),
        "valid": stepped
        and charts.lines(
            [charts.Series("valid", valid.points, dots=len(valid.steps) <= 60)],
            f"{metric} on the validation rows over steps",
            mark,
        ),
        "best": best,
        "best_name": metric,
        "last": loss.last[0] if loss.last else None,
        "broken": loss.broken[0] if loss.broken else None,
        "solved": [
            (line, name)
            for line in journal.solved
            for name in fig.keys(JOURNAL, line)
            if fig.number(JOURNAL, line, name) is not None
        ],
        "sparks": [
            (title, korean, drawn, fig("short", JOURNAL, last, name))
            for name, title, korean in _SPARKS
            for drawn, last in _spark(journal.steps[name])
        ],
    }


def _deciding(fig: Figures, journal: Journal) -> str:
    """Return the metric that decides which weights are kept: the first that validation names."""
    kept = fig.keys(RESULT, "valid")
    return kept[0] if kept else journal.metric


def _best(trace: Trace, metric: str) -> tuple[int | None, charts.Point | None]:
    """Return the line of the best look, and the point to mark when it can be drawn."""
    if trace.best is None:
        return None, None
    line, entry = trace.best
    point = float(entry["step"]), float(entry[metric])
    return line, point if charts.finite([point]) else None


def _spark(trace: Trace) -> list[tuple[Markup, int]]:
    """Return the drawn trace and its last line, or nothing when it is too short."""
    drawn = charts.spark(trace.points)
    return [(drawn, trace.last[0])] if drawn and trace.last else []

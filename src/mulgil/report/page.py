"""`report.html`, what a person looks at first: one file, no script, nothing fetched.

Chosen: a Jinja2 template that escapes everything by itself, charts as inline SVG, the style
sheet and a Korean font inside the page, and a content policy that forbids the browser to load
anything else. A report therefore opens the same on a plane, in a mail and in ten years. It
costs 0.4 MB a report, nearly all of it the font, and gives no zooming.

Every figure is looked up in the run's files while the page is drawn, and stands there as
`<data value="exact" data-at="file#/place">rounded</data>`; the few that are worked out here (shares
of rows, bins of confidence) say so with `data-of`. Characters that cannot be seen are spelt out;
home folders, host and user names stay out.
"""

from __future__ import annotations

import base64
import functools
import heapq
import importlib.resources
import math
import shlex
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mulgil.errors import RunError
from mulgil.report import charts
from mulgil.report.figures import (
    Answers,
    Figures,
    Row,
    read_lines,
    read_object,
    read_text,
    worked_out,
)
from mulgil.report.visible import attribute, clip, homeless, public, visible
from mulgil.storage import write_atomic

WIDEST = 20
"""Labels up to which the confusion matrix is drawn whole; with more, the commonest confusions."""
SLACK = 1e-3
"""How far the calibration error may be from the one in `result.json`: probabilities are rounded."""

RESULT, JOURNAL, ANSWERS = "result.json", "journal.jsonl", "predictions.jsonl"
_TITLES = {
    "accuracy": ("Accuracy", "정확도"),
    "macro-f1": ("Macro-F1", "라벨 평균"),
    "ece": ("ECE", "확신 오차"),
    "loss": ("Loss", "손실"),
}
_SHARES = frozenset({"accuracy"})
"""Metrics that people read as a percentage."""
_NOT_METRICS = frozenset({"kind", "step", "epoch", "loss", "best", "seconds"})
_SPARKS = (
    ("learning_rate", "Learning rate", "학습률"),
    ("norm", "Gradient norm", "기울기 크기"),
    ("rows_per_second", "Rows a second", "초당 행"),
)


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder, from the other files there; return its path.

    A run without `result.json` gets a report too, whose first line says that it is not finished.

    Raises:
        RunError: there is no such folder.
        StorageError: the disk refused the page; an older report is whole.
    """
    if not run.is_dir():
        raise RunError(f"{run}: no such run folder; `mulgil runs` lists those there are")
    page = _environment().get_template("report.html.jinja").render(_view(run))
    path = run / "report.html"
    write_atomic(path, page)
    return path


@functools.cache
def _environment() -> jinja2.Environment:
    folder = importlib.resources.files("mulgil") / "assets"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # Whatever the template prints goes through here, so no string can be forgotten.
        finalize=lambda v: visible(v) if isinstance(v, str) and not isinstance(v, Markup) else v,
    )
    environment.filters |= {"attribute": attribute, "clip": clip, "visible": visible}
    environment.globals |= {"charts": charts, "worked_out": worked_out}
    font = base64.b64encode((folder / "mulgil-sans-kr.woff2").read_bytes()).decode("ascii")
    style = (folder / "report.css").read_text(encoding="utf-8")
    environment.globals["style"] = Markup(style.replace("FONT", font))
    return environment


def _view(run: Path) -> dict[str, Any]:
    """Return what the template draws."""
    faults: list[str] = []
    result = read_object(run / RESULT, faults)
    journal = dict(read_lines(run / JOURNAL, faults))
    answers = Answers(read_lines(run / ANSWERS, faults), faults)
    schema = read_object(run / "schema.json", faults)
    labels = [str(label) for label in result.get("labels") or schema.get("labels") or []]
    worst = {-line: row for _, line, row, _ in answers.worst}
    fig = Figures({RESULT: result, JOURNAL: journal, ANSWERS: worst})
    folder = run.resolve()
    return {
        "fig": fig,
        "has": fig.number,
        "finished": bool(result),
        "name": str(result.get("name") or folder.name),
        "place": shlex.quote(f"{folder.parent.name}/{folder.name}"),
        "facts": public({k: v for k, v in result.items() if isinstance(v, str)}),
        "stopped": str(fig.get(RESULT, "training", "stopped") or ""),
        "labels": labels,
        "level": _level(result),
        "overlap": [k for k in fig.keys(RESULT, "overlap") if fig.number(RESULT, "overlap", k)],
        "cards": _cards(fig),
        "commonest": _commonest(fig, labels),
        "learning": _learning(fig, journal, result),
        "by_label": bool(fig.get(RESULT, "metrics", "per-class")),
        "interval": _interval,
        "confusion": _confusion(fig, labels),
        "answers": answers,
        "mistakes": [_mistake(fig, *item) for item in answers.worst],
        "notes": [homeless(note) for note in _notes(result, journal)],
        "recipe": homeless(read_text(run / "recipe.toml", faults)),
        "record": _flat(public(read_object(run / "provenance.json", faults))),
        "faults": faults + _disagreements(fig, answers),
    }


def _level(result: Row) -> str:
    """Return "95%" when that is how the sentence on the intervals begins."""
    first = str(result.get("interval") or "").partition(" ")[0]
    return first if first.endswith("%") else ""


def _notes(result: Row, journal: dict[int, Row]) -> list[str]:
    said = result.get("notes")
    written = [entry.get("text", "") for entry in journal.values() if entry.get("kind") == "note"]
    both = [*(said if isinstance(said, list) else []), *written]
    return list(dict.fromkeys(str(note) for note in both))


def _disagreements(fig: Figures, answers: Answers) -> list[str]:
    """Say where predictions.jsonl and result.json cannot be of the same run."""
    rows, ece = fig.number(RESULT, "n"), fig.number(RESULT, "metrics", "ece", "ece", "value")
    if not answers.rows or rows is None:
        return []
    if answers.rows != rows:
        return [f"{ANSWERS} has {answers.rows:,} rows, but {RESULT} speaks of {rows:,}."]
    if ece is not None and abs(ece - answers.ece) > SLACK:
        return [f"{ANSWERS} gives a calibration error of {answers.ece:.3f}, {RESULT} {ece:.3f}."]
    return []


def _cards(fig: Figures) -> list[Row]:
    """Return the key figures: every metric but those that have a section of their own."""
    cards = []
    for metric in fig.keys(RESULT, "metrics"):
        if metric in ("per-class", "confusion"):
            continue
        for name in fig.keys(RESULT, "metrics", metric):
            title, korean = _TITLES.get(name, (name, ""))
            place = (RESULT, "metrics", metric, name)
            reach = "bare" if name in _SHARES else "score"
            cards.append(
                {
                    "name": name,
                    "title": title,
                    "korean": korean,
                    "value": fig("percent" if name in _SHARES else "score", *place, "value"),
                    "low": fig(reach, *place, "low"),
                    "high": fig(reach, *place, "high"),
                    "reaches": fig.number(*place, "low") is not None,
                }
            )
    return cards


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


def _learning(fig: Figures, journal: dict[int, Row], result: Row) -> Row:
    """Return charts and figures of the training, as far as the journal has them."""
    loss = _trace(journal, "step", "loss")
    unseen = _trace(journal, "valid", "loss")
    metric = _valid_metric(journal, result)
    valid = _trace(journal, "valid", metric)
    best = next((line for line in reversed(valid) if journal[line].get("best") is True), None)
    mark = valid[best] if best is not None and charts.finite([valid[best]]) else None
    raw = list(loss.values())
    solved = [line for line, entry in journal.items() if entry.get("kind") == "solve"]
    return {
        "loss": charts.lines(
            [
                charts.Series("raw", raw),
                charts.Series("smooth", charts.smooth(raw)),
                charts.Series("valid", list(unseen.values()), dots=True),
            ],
            "Loss over steps",
        ),
        "unseen": bool(unseen),
        "metric": _TITLES.get(metric, (metric, "")),
        "valid": charts.lines(
            [charts.Series("valid", list(valid.values()), dots=len(valid) <= 60)],
            f"{metric} on the validation rows over steps",
            mark,
        ),
        "best": best,
        "best_name": metric,
        "last": next(reversed(loss), None),
        "broken": next((n for n, (_, value) in loss.items() if not math.isfinite(value)), None),
        "solved": [
            (line, name)
            for line in solved
            for name in fig.keys(JOURNAL, line)
            if fig.number(JOURNAL, line, name) is not None
        ],
        "sparks": [
            (title, korean, drawn, fig("short", JOURNAL, next(reversed(trace)), name))
            for name, title, korean in _SPARKS
            if (trace := _trace(journal, "step", name))
            and (drawn := charts.spark(list(trace.values())))
        ],
    }


def _trace(journal: dict[int, Row], kind: str, name: str) -> dict[int, charts.Point]:
    """Return `{line: (step, value)}` of the journal's lines of a kind that have the figure."""
    return {
        line: (entry["step"], entry[name])
        for line, entry in journal.items()
        if entry.get("kind") == kind
        and all(isinstance(entry.get(key), int | float) for key in ("step", name))
    }


def _valid_metric(journal: dict[int, Row], result: Row) -> str:
    """Return the metric that decides which weights are kept: the first that validation names."""
    kept = result.get("valid")
    if isinstance(kept, dict) and kept:
        return str(next(iter(kept)))
    named = (key for e in journal.values() if e.get("kind") == "valid" for key in e)
    return next((key for key in named if key not in _NOT_METRICS), "")


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


def _flat(record: Row, prefix: str = "") -> list[tuple[str, str]]:
    """Return (dotted name, value) of everything in a record, in its own order."""
    rows: list[tuple[str, str]] = []
    for key, value in record.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            rows.append((prefix + str(key), ", ".join(str(v) for v in value)))
        elif value is not None:
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            rows.append((prefix + str(key), shown))
    return rows

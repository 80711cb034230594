"""`report.html`, what a person looks at first: one file, no script, nothing fetched.

Chosen: a Jinja2 template that escapes everything by itself, charts as inline SVG, the style
sheet and a Korean font inside the page, and a content policy that forbids the browser to load
anything else. A report therefore opens the same on a plane, in a mail and in ten years. It
costs 0.4 MB a report, nearly all of it the font, and gives no zooming.

Every figure is looked up in the run's files while the page is drawn, and stands there as
`<data value="exact" data-at="file#/place">rounded</data>`; the few that are worked out here (shares
of rows, bins of confidence, quantiles of texts) say so with `data-of`. Characters that cannot be
seen are spelt out; home folders, host and user names stay out.
"""

from __future__ import annotations

import base64
import functools
import importlib.resources
import shlex
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mulgil.errors import RunError
from mulgil.report import charts, labels, language
from mulgil.report.cards import cards
from mulgil.report.figures import (
    ANSWERS,
    JOURNAL,
    RESULT,
    Figures,
    Row,
    read_lines,
    read_object,
    read_text,
    worked_out,
)
from mulgil.report.learning import Journal, learning
from mulgil.report.visible import attribute, clip, homeless, public, visible
from mulgil.storage import write_atomic

DIVERGED = "diverged.json"
"""What a training leaves whose loss stopped being a number."""


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
    journal = Journal(read_lines(run / JOURNAL, faults))
    schema = read_object(run / "schema.json", faults)
    recipe = read_text(run / "recipe.toml", faults)
    record = read_object(run / "provenance.json", faults)
    files = {RESULT: result, JOURNAL: journal.quoted}
    if not result:
        files[DIVERGED] = read_object(run / DIVERGED, faults)
    fig = Figures(files)
    if language.is_language(result, schema):
        own = _language(run, fig, journal, language.task_name(result, recipe), faults)
    else:
        own = _labelled(run, fig, journal, schema, faults)
    folder = run.resolve()
    return {
        "fig": fig,
        "has": fig.number,
        "finished": bool(result),
        "name": str(result.get("name") or folder.name),
        "place": shlex.quote(f"{folder.parent.name}/{folder.name}"),
        "facts": public({k: v for k, v in result.items() if isinstance(v, str)}),
        "stopped": str(fig.get(RESULT, "training", "stopped") or ""),
        "level": _level(result),
        "overlap": [k for k in fig.keys(RESULT, "overlap") if fig.number(RESULT, "overlap", k)],
        "cards": cards(fig),
        "notes": [homeless(note) for note in _notes(result, journal)],
        "recipe": homeless(recipe),
        "record": _flat(public(record)),
        "faults": faults,
        **own,
    }


def _labelled(
    run: Path, fig: Figures, journal: Journal, schema: Row, faults: list[str]
) -> dict[str, Any]:
    """Return what the page of a run with labels has of its own; faults go to `faults`."""
    answers = labels.Answers(read_lines(run / ANSWERS, faults), faults)
    fig.files[ANSWERS] = answers.quoted
    faults += labels.disagreements(fig, answers)
    named = fig.get(RESULT, "labels") or schema.get("labels") or []
    return {
        "language": None,
        "learning": learning(fig, journal),
        **labels.view(fig, answers, [str(label) for label in named]),
    }


def _language(
    run: Path, fig: Figures, journal: Journal, task: str, faults: list[str]
) -> dict[str, Any]:
    """Return what the page of a language run has of its own; faults go to `faults`."""
    texts = language.Texts(read_lines(run / ANSWERS, faults), task == "causal-lm", faults)
    fig.files[ANSWERS] = texts.quoted
    faults += language.disagreements(fig, texts)
    return {
        "language": language.view(fig, texts, task),
        "learning": learning(fig, journal, "bits-per-byte"),
        **labels.NONE,
    }


def _level(result: Row) -> str:
    """Return "95%" when that is how the sentence on the intervals begins."""
    first = str(result.get("interval") or "").partition(" ")[0]
    return first if first.endswith("%") else ""


def _notes(result: Row, journal: Journal) -> list[str]:
    said = result.get("notes")
    both = [*(said if isinstance(said, list) else []), *journal.notes]
    return list(dict.fromkeys(str(note) for note in both))


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

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
import dataclasses
import functools
import importlib.resources
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mulgil.errors import RunError
from mulgil.report import charts, entities, labels, language, questions, ratings, writing
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
    shape = _shape(result, schema)
    gathered = _Gathered(run, fig, journal, result, schema, recipe, faults)
    own = _KINDS[shape](gathered) if shape in _KINDS else {}
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
        "shape": shape,
        **_NOTHING,
        "learning": learning(fig, journal),
        **own,
    }


_NOTHING: dict[str, Any] = {
    "part": "",
    "language": None,
    "labels": [],
    "commonest": None,
}
"""What the frame of the page asks of every kind of run."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Gathered:
    """What the pages of all kinds start from; their faults go to `faults`."""

    run: Path
    fig: Figures
    journal: Journal
    result: Row
    schema: Row
    recipe: str
    faults: list[str]

    def answers(self) -> Iterator[tuple[int, Row]]:
        """Yield the lines of predictions.jsonl."""
        return read_lines(self.run / ANSWERS, self.faults)


def _labelled(of: _Gathered) -> dict[str, Any]:
    answers = labels.Answers(of.answers(), of.faults)
    of.fig.files[ANSWERS] = answers.quoted
    of.faults.extend(labels.disagreements(of.fig, answers))
    named = of.fig.get(RESULT, "labels") or of.schema.get("labels") or []
    names = [str(label) for label in named] if isinstance(named, list) else []
    return {"part": "report-labels.html.jinja", **labels.view(of.fig, answers, names)}


def _rated(of: _Gathered) -> dict[str, Any]:
    rated = ratings.Ratings(of.answers(), of.faults)
    of.fig.files[ANSWERS] = rated.quoted
    of.faults.extend(ratings.disagreements(of.fig, rated))
    return {"part": "report-ratings.html.jinja", "ratings": ratings.view(of.fig, rated)}


def _marked(of: _Gathered) -> dict[str, Any]:
    found = entities.Entities(of.answers(), of.faults)
    of.fig.files[ANSWERS] = found.quoted
    of.faults.extend(entities.disagreements(of.fig, found))
    named = entities.kinds(of.fig, of.schema, found)
    return {"part": "report-entities.html.jinja", **entities.view(of.fig, found, named)}


def _asked(of: _Gathered) -> dict[str, Any]:
    asked = questions.Questions(of.answers(), questions.judge(of.fig), of.faults)
    of.fig.files[ANSWERS] = asked.quoted
    of.faults.extend(questions.disagreements(of.fig, asked))
    return {"part": "report-questions.html.jinja", **questions.view(of.fig, asked)}


def _language(of: _Gathered) -> dict[str, Any]:
    task = language.task_name(of.result, of.recipe)
    texts = language.Texts(of.answers(), task in {"causal-lm", "bidirectional-lm"}, of.faults)
    of.fig.files[ANSWERS] = texts.quoted
    of.faults.extend(language.disagreements(of.fig, texts))
    return {
        "part": "report-language.html.jinja",
        "language": language.view(of.fig, texts, task),
        "learning": learning(of.fig, of.journal, "bits-per-byte"),
    }


def _written(of: _Gathered) -> dict[str, Any]:
    texts = writing.Texts(of.answers(), writing.whole(of.fig), of.faults)
    of.fig.files[ANSWERS] = texts.quoted
    of.faults.extend(writing.disagreements(of.fig, texts))
    return {"part": "report-writing.html.jinja", **writing.view(of.fig, texts)}


_KINDS: dict[str, Callable[[_Gathered], dict[str, Any]]] = {
    "text": _labelled,
    "pair": _labelled,
    "rated-pair": _rated,
    "entities": _marked,
    "question": _asked,
    "passage": _language,
    "writing": _written,
}
"""What draws the rows of a run, by the shape of its rows; other shapes have the frame alone."""

_SIGNS = {
    "rouge-l": "writing",
    "chrf": "writing",
    "bits-per-byte": "passage",
    "pearson": "rated-pair",
    "rmse": "rated-pair",
    "entity-f1": "entities",
    "per-entity": "entities",
    "korquad-f1": "question",
    "squad-f1": "question",
}
"""The shape that a metric speaks of, for a run whose schema.json is missing or broken."""


def _shape(result: Row, schema: Row) -> str:
    """Return the shape of a run's rows: as the schema has it, or as its metrics tell."""
    shape = schema.get("shape")
    if isinstance(shape, str) and shape:
        return shape
    metrics = result.get("metrics")
    told = [_SIGNS[name] for name in metrics if name in _SIGNS] if isinstance(metrics, dict) else []
    return told[0] if told else "text"


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

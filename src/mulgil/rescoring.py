"""A labelled file that a finished run is scored on: how it is read, and what training saw of it.

Chosen: the file is read as the run's own was (`mulgil.habits`), and its texts are compared with the
training rows where those can be read again as they were, without a download. It costs reading them
a second time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mulgil import habits, hangul, pipeline, recipe, rundir, splits
from mulgil.contracts import DataSettings
from mulgil.errors import UserError
from mulgil.examples import SHAPES, Example
from mulgil.objectives import LanguageTask
from mulgil.predictor import Predictor
from mulgil.settings import parse_override, toml
from mulgil.tables.rows import fold, read_records


def section(
    path: Path, overrides: tuple[str, ...], predictor: Predictor
) -> tuple[recipe.Part, DataSettings]:
    """Return the data section for a file that is only scored, read as the run's own data was.

    Args:
        path: the file.
        overrides: `data.key=value`; they go before what the run says.
        predictor: the run.
    """
    known = habits.of(predictor.path, predictor.recipe)
    shape = predictor.task.shape
    if shape == "passage":
        whole = ["data.valid_share=0", "data.test_share=0", "data.duplicates=keep"]
        given = ["data.name=corpus", f"data.paths={json.dumps([str(path)])}", *whole]
    else:
        given = ["data.name=files", f"data.test={path}", *overrides]
        overrides = tuple(_as_before(path, overrides, known, shape))
    part = recipe.section("data", [*given, *overrides])
    settings: DataSettings = part.settings
    return part, settings


def _as_before(
    path: Path, overrides: tuple[str, ...], known: habits.Habits, shape: str
) -> list[str]:
    """Return the settings by which a table is read as the run's own was.

    Columns count where the table has them, and where no override names them.
    """
    given = dict(map(parse_override, overrides))
    how: dict[str, Any] = {"header": known.header, "delimiter": known.parted(path), **known.more}
    records = read_records(
        path,
        encoding=str(given.get("data.encoding", "auto")),
        delimiter=str(given.get("data.delimiter", how["delimiter"])),
        header=given.get("data.header", how["header"]) is not False,
        shape=SHAPES[shape],
        tagged=shape == "entities",
    )
    there = set(map(fold, records.columns))
    named = given.get("data.columns", {})
    taken = {key.removeprefix("data.") for key in given} | {*(named if _is_table(named) else ())}
    columns = {
        field: column
        for field, column in known.columns.items()
        if field not in taken and fold(column) in there
    }
    if _is_table(named) and (columns or named):
        how["columns"] = columns | named
        given.pop("data.columns", None)
    return [
        f"data.{name}={toml(value)}" for name, value in how.items() if f"data.{name}" not in given
    ]


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def seen(predictor: Predictor, rows: Sequence[Example], notes: list[str]) -> dict[str, Any]:
    """Return how many rows have a text that training has seen; a note where that is not known.

    Nothing is downloaded for it, and rows that are not those of the training are not compared.

    Args:
        predictor: the run.
        rows: that are scored.
        notes: is added to.
    """
    task, chosen = predictor.task, predictor.recipe
    if isinstance(task, LanguageTask):
        return {}
    dataset = chosen.data.make()
    dataset.asked = task.shape
    try:
        train = pipeline.load_splits(chosen, dataset, task, download=False)[0].train
        before = rundir.read_json(predictor.path / "provenance.json").get("data")
        same = isinstance(before, dict) and before.get("train") == splits.fingerprint(train)
    except UserError:
        same = False
    if not same:
        notes.append(
            "the run's training data is not here, or has changed: whether training has seen these"
            " texts is not known"
        )
        return {}
    known = {hangul.key(task.text(row)) for row in train}
    count = sum(hangul.key(task.text(row)) in known for row in rows)
    return {"overlap": {"test in train": count}}

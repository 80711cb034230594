"""Which labels are classes: those of all training rows, and of what is scored by them.

Chosen: the classes are read before rows are drawn, so that a learning curve stands on the same
test rows all along; and a scored row whose label nothing was learnt of is a wrong answer, not a row
less. It costs a class that is never given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mulgil.errors import DataError
from mulgil.examples import Example
from mulgil.flow import Schema
from mulgil.objectives import LabelTask, LanguageTask, Task
from mulgil.splits import Splits

MANY = 20
"""Labels that are named one by one; of more it is odd that most rows have one of their own."""


def schema_of(parts: Splits, task: Task, limit: float) -> Schema:
    """Return the schema of all training rows, drawn or not, and of what is scored.

    A label that only rows of other parts have becomes a class that nothing is learnt of, so that
    its rows count as wrong answers; both are noted. Where such rows are more than `limit` of
    their part, its labels are others altogether: `task.problem` then refuses those rows.

    Args:
        parts: the rows; is given notes, and let go of those that were not drawn.
        task: names the labels.
        limit: the largest share of such rows, `data.max_rejected`.

    Raises:
        DataError: the training rows make no schema.
    """
    train = [*parts.train, *parts.undrawn] if parts.undrawn else parts.train
    schema = task.schema(train)
    if isinstance(task, LanguageTask):
        return schema
    count = len(schema.labels)
    if isinstance(task, LabelTask) and count > MANY and count * 2 > len(train):
        column = f'"{parts.columns["label"]}"' if "label" in parts.columns else "this"
        parts.notes.append(
            f"{count:,} labels for {len(train):,} rows: is {column} a class column?"
            " data.label names another"
        )
    if parts.undrawn:
        lost = [name for name, count in task.tally(parts.train, schema).items() if not count]
        parts.undrawn = ()
        if lost:
            parts.notes.append(f"train: none of the rows drawn has {_few(lost)}; still a class")
    strange: list[Example] = []
    for part in (parts.valid, parts.test):
        found = [row for row in part if task.problem(row, schema)]
        strange += found if len(found) <= limit * len(part) else []
    try:
        wider = task.schema([*train, *strange]) if strange else schema
    except DataError:  # the user named the labels, or a row has several where one is asked for
        return schema
    new = [row for row in strange if not task.problem(row, wider)]
    if new:
        names = task.tally(new, wider).keys() - task.tally(train, schema).keys()
        parts.notes.append(_unknown(sorted(names), new))
    return wider


def wider(
    rows: Sequence[Example], task: Task, schema: Schema, limit: float, notes: list[str]
) -> Schema:
    """Return the schema by which rows are judged that a finished run is to answer.

    Labels that the run does not know stand behind its own, where few rows have them: nobody
    answers with those, so the rows count as wrong; that is noted. The labels of other tasks than
    those that give a row labels stay as they are.

    Args:
        rows: to be scored.
        task: of the run.
        schema: of the run.
        limit: the largest share of rows with such labels, `data.max_rejected`.
        notes: is added to.
    """
    strange = [row for row in rows if task.problem(row, schema)]
    if not isinstance(task, LabelTask) or not 0 < len(strange) <= limit * len(rows):
        return schema
    names = [name for name in task.tally(strange, None) if name not in schema.labels]
    found = dataclasses.replace(schema, labels=(*schema.labels, *names))
    new = [row for row in strange if not task.problem(row, found)]
    if not new:
        return schema
    notes.append(_unknown(names, new))
    return found


def _unknown(names: Sequence[str], rows: Sequence[Example]) -> str:
    """Return what to say of rows with labels that no training row has."""
    return (
        f"no training row has {_few(names)}; scored rows that do count as wrong answers:"
        f" {len(rows):,} ({places(rows)})"
    )


def places(rows: Sequence[Example], most: int = 3) -> str:
    """Return where the first of some rows are, for people."""
    return ", ".join(row.id for row in rows[:most]) + (", ..." if len(rows) > most else "")


def _few(names: Sequence[str], most: int = 3) -> str:
    """Return names of labels for a note."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    shown = ", ".join(f'"{name}"' for name in names[:most])
    return f"the label{'s' if len(names) > 1 else ''} {shown}{more}"

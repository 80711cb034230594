"""`mulgil predict`: rows of a file or a pipe in, the same rows with answers out, in flat memory.

A file is written whole or not at all; standard output is a stream. The progress bar is on standard
error and silent when that is no terminal. A person who types gets each line's answer at once, and
sees a text grow while it is written.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from mulgil.errors import DataError
from mulgil.examples import SHAPES
from mulgil.habits import Habits
from mulgil.predictor import CHUNK, Predictor
from mulgil.storage import atomic_file, sweep
from mulgil.tables.encodings import Wish
from mulgil.tables.rows import Row, Rows, file_format, iter_rows, output_format, read_records
from mulgil.tables.writer import RowWriter

_NONE = Habits()  # of a run whose rows came from no table


def write(
    predictor: Predictor,
    source: Path | BinaryIO,
    out: Path | None,
    *,
    text: str = "",
    columns: Mapping[str, str] = {},
    encoding: str = "auto",
    habits: Habits = _NONE,
    screen: Any = None,
) -> dict[str, Any]:
    """Answer every row and return how many there were, how many errors, and notes of the reading.

    Args:
        predictor: a loaded run.
        source: a file or a binary stream.
        out: csv, tsv or jsonl file; JSON lines on `screen` when None. A CSV of rows that came in
            another encoding than plain UTF-8 begins with a byte order mark, for spreadsheets.
        text: column of the text, for tasks that read one; guessed when empty.
        columns: field of the row -> its column, for tasks that read two; guessed when left out.
        encoding: of the source.
        habits: how the run's own rows were read; what is named here goes before it.
        screen: has `write` and `flush`; standard output when None.

    Raises:
        DataError: the source cannot be read at all.
        SettingError: the task's rows have no such field, or `out` no known ending.
        StorageError: the file cannot be written; nothing is left of it.
    """
    form = output_format(out)
    shape = SHAPES[predictor.task.shape]
    likely = "" if habits.encoding == "auto" else habits.encoding
    how: dict[str, Any] = {"shape": shape, "encoding": Wish(encoding, likely, option=True)}
    if isinstance(source, Path):  # what comes through a pipe is looked at: see `read_pipe`
        how |= {"header": habits.header, "delimiter": habits.parted(source)}
    rows = iter_rows(source, columns=columns, text=text, known=_known(habits, source), **how)
    added = [*predictor.task.fields(predictor.schema), "error"]
    counts = {"rows": 0, "errors": 0}
    with _open(out, screen or sys.stdout) as stream, _bar() as bar:
        chunk = list(itertools.islice(rows, CHUNK))
        names = rows.columns if form == "jsonl" else _every(source, rows, chunk, how)
        if form == "csv" and (rows.records.marked or rows.records.encoding not in ("", "utf-8")):
            stream.write("\ufeff")
        writer = RowWriter(stream, form, names, added)
        while chunk:
            for row, answer in zip(chunk, predictor.predict(map(_asked, chunk)), strict=True):
                counts["rows"] += 1
                counts["errors"] += "error" in answer
                writer.write(row, _flat(answer))
            bar.update(len(chunk))
            chunk = list(itertools.islice(rows, CHUNK))
    return {**counts, "notes": _notes(rows, writer, habits, source)}


def _known(habits: Habits, source: Path | BinaryIO) -> Mapping[str, str]:
    """Return the run's own names of columns; without a header they are numbers, not names."""
    return habits.columns if habits.header or isinstance(source, Path) else {}


def _every(
    source: Path | BinaryIO, rows: Rows, chunk: Iterable[Row], how: dict[str, Any]
) -> list[str]:
    """Return the columns of all rows: a JSON file is read twice, a pipe's first chunk is looked at.

    A table's header names them all.
    """
    seen: Iterable[Any] = chunk
    if isinstance(source, Path) and file_format(source) in ("json", "jsonl"):
        seen = read_records(source, **how)
    names = dict.fromkeys(rows.columns)
    for row in seen:
        names.update(dict.fromkeys(row.fields))
    return list(names)


def _notes(rows: Rows, writer: RowWriter, habits: Habits, source: Path | BinaryIO) -> list[str]:
    """Return what a person should know of how the rows were read and written."""
    notes = []
    if rows.guessed:
        shown = f'read column "{rows.guessed}", whose texts are the longest; --text names another'
        table = isinstance(source, Path) and file_format(source) in ("csv", "tsv")
        bare = "; a table without a header wants a run trained with data.header = false"
        notes.append(shown + bare * (table and habits.header))
    if writer.left_out:
        most = writer.left_out.most_common(5)
        named = ", ".join(f'"{name}" in {count:,} rows' for name, count in most)
        more = f" and {len(writer.left_out) - 5:,} more" if len(writer.left_out) > 5 else ""
        notes.append(
            f"fields without a column, because they came too late: {named}{more};"
            " write .jsonl, or give a file, to keep them"
        )
    return notes


def talk(predictor: Predictor, lines: Iterable[str], screen: Any, invite: Any) -> None:
    """Answer each line as it is typed; texts appear while they are written.

    Args:
        predictor: a loaded run.
        lines: what is typed, TAB between the texts of a task that reads two.
        screen: has `write` and `flush`; gets the answers, as texts or as JSON.
        invite: has `write` and `flush`; is told that the next line may come.
    """
    for line in _invited(lines, invite):
        row = tuple(line.split("\t")) if len(predictor.shape.inputs) > 1 else line
        for piece in itertools.chain(_told(predictor, row), "\n"):
            screen.write(piece)
            screen.flush()


def _told(predictor: Predictor, row: Any) -> Iterator[str]:
    """Yield a row's answer in pieces."""
    if not predictor.writes:
        yield json.dumps(next(predictor.predict([row])), ensure_ascii=False)
        return
    try:
        yield from predictor.stream(row)
    except DataError as error:
        yield json.dumps({"error": str(error)}, ensure_ascii=False)


def _invited(lines: Iterable[str], invite: Any) -> Iterator[str]:
    stream = iter(lines)
    while True:
        invite.write("> ")
        invite.flush()
        line = next(stream, None)
        if line is None:
            return
        yield line.rstrip("\r\n")


def _asked(row: Row) -> Any:
    """Return what the predictor takes: a text, a tuple of texts, or what is wrong."""
    if row.error:
        return DataError(row.error)
    return row.reads if len(row.reads) > 1 else row.reads[0]


def _flat(answer: dict[str, Any]) -> dict[str, Any]:
    """Spread the probabilities over columns of their own."""
    flat = {key: value for key, value in answer.items() if key != "probabilities"}
    flat |= {f"p_{label}": p for label, p in answer.get("probabilities", {}).items()}
    return flat


@contextlib.contextmanager
def _open(out: Path | None, screen: Any) -> Iterator[Any]:
    if out is None:
        yield screen
        screen.flush()
        return
    sweep(out.parent)  # what a killed process left half-written there
    with atomic_file(out, "w") as file:
        yield file


@contextlib.contextmanager
def _bar() -> Iterator[Any]:
    from tqdm import tqdm

    with tqdm(unit=" rows", disable=not sys.stderr.isatty(), leave=False) as bar:
        yield bar

"""The user's own tables: a path or a pipe in, rows of any shape out.

Chosen: the format is what the file's name says; only a pipe is looked at, and there a table needs a
header with the known columns, else every line is a text (or two, parted by a tab). A row that
cannot be read keeps its place and carries a reason; memory stays flat whatever comes. It costs the
convenience of files without an ending, which are refused rather than guessed.
"""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from mulgil.errors import DataError, SettingError, nearest
from mulgil.examples import Example, QuestionExample, TextExample
from mulgil.examples import columns as usual_columns
from mulgil.tables.delimited import DELIMITERS, Delimited
from mulgil.tables.encodings import Wish
from mulgil.tables.formats import (
    Records,
    delimited_records,
    json_records,
    parquet_records,
    plain_records,
)
from mulgil.tables.layouts import pair_records, question_records, tagged_records
from mulgil.tables.lines import FileLines, Lines, open_file

FORMATS = ("csv", "tsv", "txt", "jsonl", "json", "parquet")
"""The endings that are read, each also with `.gz` behind it."""

OUTPUTS = ("csv", "tsv", "jsonl")
"""The endings that answers are written to."""

TEXT_COLUMNS = usual_columns(TextExample)["text"]
"""Names by which people call the column of the text, the usual ones first."""

EMPTY = "empty text"
"""What is wrong with a text of nothing but white space."""

_KINDS = {int: "number", float: "number", bool: "truth value", dict: "table"}


# ---------------------------------------------------------------- reading


def file_format(path: Path) -> str:
    """Return which of `FORMATS` a file's name stands for.

    Raises:
        DataError: none of them.
    """
    ending = Path(path.name.lower().removesuffix(".gz")).suffix.removeprefix(".")
    if ending in FORMATS:
        return ending
    hint = "save the sheet as CSV" if ending.startswith("xls") else "rename or convert it"
    raise DataError(f"{path}: the name must end in .{', .'.join(FORMATS)} (or .gz behind); {hint}")


def read_records(
    path: Path,
    *,
    encoding: str | Wish = "auto",
    delimiter: str = "auto",
    header: bool = True,
    shape: type[Example] = TextExample,
    tagged: bool = False,
) -> Records:
    """Open a file of records.

    Args:
        path: its ending gives the format; a `.txt` has one text a line, in the column "text",
            unless a delimiter is named (two, parted by a tab, for shapes that read two).
        encoding: "auto", or the name of one of Python's text encodings.
        delimiter: "auto", one character, or "comma", "tab", "semicolon", "pipe".
        header: whether the first record of a delimited file names the columns; without it they are
            called "1", "2" and so on.
        shape: of the rows that come; for questions a `.json` may be SQuAD's own.
        tagged: whether a `.txt` and a `.tsv` have a token and its tag a line.

    Raises:
        DataError: here or while reading: the file as a whole cannot be read.
        SettingError: encoding or delimiter make no sense.
    """
    form, symbol = file_format(path), _symbol(delimiter)
    stream = open_file(path)
    try:
        if form == "parquet":
            records = parquet_records(stream, path)
        else:
            lines = FileLines(stream, path.name, encoding)
            if form == "json" and shape is QuestionExample:
                records = question_records(lines)
            elif form in ("jsonl", "json"):
                records = json_records(lines, maybe_array=form == "json")
            elif tagged and form in ("txt", "tsv"):
                records = tagged_records(lines, symbol or "\t")
            elif form == "txt" and not symbol:
                records = _plain(lines, shape)
            else:
                records = delimited_records(lines, symbol, header, "," if form == "csv" else "\t")
    except BaseException:
        stream.close()
        raise
    records.close_behind(stream)
    return records


def read_pipe(
    stream: BinaryIO,
    *,
    encoding: str | Wish = "auto",
    delimiter: str = "auto",
    header: bool = True,
    shape: type[Example] = TextExample,
    columns: Mapping[str, str] = {},
    known: Mapping[str, str] = {},
) -> Records:
    """Open what comes through a pipe, as it comes: JSON lines, a table, or a row a line.

    Args:
        stream: binary, for example `sys.stdin.buffer`; it is not closed.
        encoding: as in `read_records`.
        delimiter: as in `read_records`; naming it says that a table comes.
        header: as in `read_records`.
        shape: of the rows that come.
        columns: field -> column; any of the usual names for fields that are not in it.
        known: field -> column, one more name that a header may have.

    Raises:
        DataError: as `read_records`.
        SettingError: as `read_records`.
    """
    symbol = _symbol(delimiter)
    lines = FileLines(stream, "stdin", encoding, live=True)
    first = lines.peek(1)
    if first and re.match(r'\s*\{\s*["}]', first[0][1]):
        return json_records(lines, maybe_array=False, head=1)
    usual = _names(shape, known)
    named = [[columns[field]] if columns.get(field) else usual[field] for field in shape.inputs]
    symbol = symbol or _table_delimiter(lines, named)
    if not symbol:
        return _plain(lines, shape)
    return delimited_records(lines, symbol, header, usual=symbol, head=1)


def _plain(lines: FileLines, shape: type[Example]) -> Records:
    return plain_records(lines) if len(shape.inputs) == 1 else pair_records(lines, shape.inputs)


def _table_delimiter(lines: FileLines, known: Sequence[Sequence[str]]) -> str:
    """Return the delimiter of a header that names a known column of each field, or "".

    The next line must fit the header.
    """
    best, width = "", 1
    for symbol in DELIMITERS.values():
        found = next(Delimited(Lines(lines.peek(1)), symbol), (1, [], ""))[1]
        names = {*map(fold, found)}
        if len(found) <= width or any(names.isdisjoint(map(fold, each)) for each in known):
            continue
        following = lines.peek(2)[1:]
        # A line with a quote may be the first of a longer field, and says nothing.
        if all(line.count(symbol) == len(found) - 1 or '"' in line for _, line, _ in following):
            best, width = symbol, len(found)
    return best


def _symbol(delimiter: str) -> str:
    """Return the delimiter as a character, "" for "auto"."""
    if delimiter == "auto":
        return ""
    symbol = DELIMITERS.get(delimiter, delimiter)
    if len(symbol) != 1 or symbol in '"\n\r\0':
        raise SettingError(
            f'data.delimiter must be one character, not "{delimiter}";'
            f" {nearest(delimiter, ['auto', *DELIMITERS])}"
        )
    return symbol


# ---------------------------------------------------------------- columns


def fold(column: str) -> str:
    """Return a column's name as it is compared: NFC, without outer spaces, case ignored."""
    return unicodedata.normalize("NFC", column).strip().casefold()


def find_column(records: Records, wanted: str, known: Sequence[str], setting: str) -> str:
    """Return a column's own name, "" when none is wanted and none of the usual ones is there.

    Args:
        records: where it is looked for.
        wanted: the name that the user gave, "" when none.
        known: usual names for it, the best first.
        setting: what the user gave it in, for messages.

    Raises:
        DataError: there is no column of the wanted name; with the nearest.
    """
    folded = {fold(name): name for name in reversed(records.columns)}
    if not wanted:
        return next((folded[fold(name)] for name in known if fold(name) in folded), "")
    if wanted in records.columns or fold(wanted) in folded:
        return wanted if wanted in records.columns else folded[fold(wanted)]
    remedy = nearest(wanted, records.columns)
    raise DataError(f'{records.name}: no column is called "{wanted}" ({setting}); {remedy}')


def longest_column(records: Records, but: str = "") -> str:
    """Return the column, `but` one, with the longest texts in the first records; "" if none."""
    sizes: Counter[str] = Counter()
    for record in records.head():
        for column, value in record.fields.items():
            if isinstance(value, str) and column != but and not record.reason:
                sizes[column] += len(value)
    return max(sizes, key=lambda column: sizes[column], default="")


def text_of(fields: Mapping[str, Any], column: str) -> tuple[str, str]:
    """Return a record's text as the user wrote it, and why it cannot be used ("" when it can)."""
    value = fields.get(column)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "", f'no "{column}"'
    if not isinstance(value, str):
        kind = _KINDS.get(type(value), type(value).__name__)
        return "", f'"{column}" is a {kind}, not a text'
    return value, "" if value.strip() else EMPTY


def refuse_unknown(
    named: Iterable[str], shape: type[Example], setting: str, also: Iterable[str] = ()
) -> None:
    """Refuse names that are neither fields of a shape nor in `also`.

    Raises:
        SettingError: with the nearest field.
    """
    known = [*usual_columns(shape), *also]
    for field in named:
        if field not in known:
            raise SettingError(
                f'{setting}: rows of shape "{shape.shape}" have no field "{field}";'
                f" {nearest(field, known)}"
            )


# ---------------------------------------------------------------- rows to answer


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A row to answer.

    Attributes:
        id: file name and line, such as `reviews.csv:17`.
        fields: the original columns; empty where nothing could be read.
        reads: the texts to answer, one for each input of the shape; "" where there is an error.
        error: why the row cannot be answered, "" when it can.
    """

    id: str
    fields: dict[str, Any]
    reads: tuple[str, ...]
    error: str = ""

    @property
    def text(self) -> str:
        """The text of a row that has one."""
        return self.reads[0]


class Rows(Iterator[Row]):
    """The rows of a file or a pipe, once through, bad ones in their place (PR-01).

    Attributes:
        columns: the original columns, in order; in JSON those of the first records.
        reads: the columns that are answered, one for each input of the shape.
        guessed: the column whose texts are merely the longest, "" where a name said which it is.
        records: what they are made of; `records.notes()` tells encoding and delimiter.
    """

    def __init__(self, records: Records, reads: tuple[str, ...], guessed: str = "") -> None:
        self.records = records
        self.columns = records.columns
        self.reads = reads
        self.guessed = guessed

    def __next__(self) -> Row:
        record = next(self.records)
        found = [text_of(record.fields, column) for column in self.reads]
        faults = (
            f'"{column}" is empty' if fault == EMPTY and len(self.reads) > 1 else fault
            for column, (_, fault) in zip(self.reads, found, strict=True)
        )
        error = record.reason or next(filter(None, faults), "")
        texts = tuple("" if error else text for text, _ in found)
        return Row(f"{self.records.name}:{record.number}", record.fields, texts, error)


def iter_rows(
    source: Path | BinaryIO,
    *,
    shape: type[Example] = TextExample,
    columns: Mapping[str, str] = {},
    text: str = "",
    known: Mapping[str, str] = {},
    encoding: str | Wish = "auto",
    delimiter: str = "auto",
    header: bool = True,
) -> Rows:
    """Open the rows to answer; no labels are needed, and memory stays flat.

    Args:
        source: a file, or a binary stream such as `sys.stdin.buffer`.
        shape: of the rows; its inputs are read. Plain lines are one text, or two parted by a tab.
        columns: field -> column; the usual names are looked for where a field is not in it, and
            then, for a shape with one input, the longest texts.
        text: the column of the only input, short for `columns`.
        known: field -> column, a name that goes before the usual ones where there is such a column.
        encoding: as in `read_records`.
        delimiter: as in `read_records`.
        header: as in `read_records`.

    Raises:
        DataError: as `read_records`, and when there is no such column.
        SettingError: as `read_records`, and when the shape has no such field.
    """
    refuse_unknown(columns, shape, "columns")
    if text:
        if len(shape.inputs) > 1:
            raise SettingError(
                f'rows of shape "{shape.shape}" have no single text; name the columns of'
                f" {' and '.join(shape.inputs)}"
            )
        columns = {**columns, shape.inputs[0]: text}
    how: dict[str, Any] = {"encoding": encoding, "delimiter": delimiter, "header": header}
    if isinstance(source, Path):
        records = read_records(source, shape=shape, **how)
    else:
        records = read_pipe(source, shape=shape, columns=columns, known=known, **how)
    found, guessed = _inputs(records, shape, columns, _names(shape, known))
    return Rows(records, found, guessed)


def _names(shape: type[Example], known: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names that a field's column may have, the best first."""
    usual = usual_columns(shape)
    return {field: [*filter(None, [known.get(field)]), *usual[field]] for field in shape.inputs}


def _inputs(
    records: Records,
    shape: type[Example],
    named: Mapping[str, str],
    usual: Mapping[str, Sequence[str]],
) -> tuple[tuple[str, ...], str]:
    """Return the column of each input of the shape, and the one that was merely guessed."""
    one, guessed = len(shape.inputs) == 1, ""
    found: dict[str, str] = {}
    for field in sorted(shape.inputs, key=lambda field: not named.get(field)):
        known = [name for name in usual[field] if fold(name) not in map(fold, found.values())]
        setting = "the text column" if one else f"--text {field}"
        found[field] = find_column(records, named.get(field, ""), known, setting)
        if not found[field] and one:
            guessed = longest_column(records)
            found[field] = guessed or "text"
        if not found[field]:
            shown = ", ".join(f'"{name}"' for name in records.columns)
            raise DataError(
                f"{records.name}: none of the columns {shown} is known as the {field} of a"
                f" {shape.shape}; name it with --text {field}=COLUMN"
            )
    return tuple(found[field] for field in shape.inputs), guessed


# ---------------------------------------------------------------- answers


def output_format(path: Path | None) -> str:
    """Return which of `OUTPUTS` a file's name stands for; "jsonl" for standard output (None).

    Raises:
        SettingError: none of them.
    """
    ending = path.suffix.lower().removeprefix(".") if path else "jsonl"
    if ending not in OUTPUTS:
        raise SettingError(f"{path}: answers are written to .{', .'.join(OUTPUTS)}; rename it")
    return ending

"""The user's own tables: a path or a pipe in, rows out; and rows with answers back into a table.

Chosen: the format is what the file's name says; only a pipe is looked at, and there a table needs a
header with a known column, else every line is a text. A row that cannot be read keeps its place and
carries a reason; memory stays flat whatever comes. It costs the convenience of files without an
ending, which are refused rather than guessed.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from mulgil.errors import DataError, SettingError, nearest
from mulgil.examples import TextExample, columns
from mulgil.tables.delimited import DELIMITERS, Delimited
from mulgil.tables.formats import (
    Records,
    delimited_records,
    json_records,
    parquet_records,
    plain_records,
)
from mulgil.tables.lines import FileLines, Lines, forbidden, open_file

FORMATS = ("csv", "tsv", "txt", "jsonl", "json", "parquet")
"""The endings that are read, each also with `.gz` behind it."""

OUTPUTS = ("csv", "tsv", "jsonl")
"""The endings that answers are written to."""

TEXT_COLUMNS = columns(TextExample)["text"]
"""Names by which people call the column of the text, the usual ones first."""

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what makes a spreadsheet compute a cell (OWASP)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


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
    path: Path, *, encoding: str = "auto", delimiter: str = "auto", header: bool = True
) -> Records:
    """Open a file of records.

    Args:
        path: its ending gives the format; a `.txt` has one text a line, in the column "text",
            unless a delimiter is named.
        encoding: "auto", or the name of one of Python's text encodings.
        delimiter: "auto", one character, or "comma", "tab", "semicolon", "pipe".
        header: whether the first record of a delimited file names the columns; without it they are
            called "1", "2" and so on.

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
            if form in ("jsonl", "json"):
                records = json_records(lines, maybe_array=form == "json")
            elif form == "txt" and not symbol:
                records = plain_records(lines)
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
    text: str = "",
    encoding: str = "auto",
    delimiter: str = "auto",
    header: bool = True,
) -> Records:
    """Open what comes through a pipe, as it comes: JSON lines, a table, or one text a line.

    Args:
        stream: binary, for example `sys.stdin.buffer`; it is not closed.
        text: name of the text column, "" for any of the usual names.
        encoding: as in `read_records`.
        delimiter: as in `read_records`; naming it says that a table comes.
        header: as in `read_records`.

    Raises:
        DataError: as `read_records`.
        SettingError: as `read_records`.
    """
    symbol = _symbol(delimiter)
    lines = FileLines(stream, "stdin", encoding, live=True)
    first = lines.peek(1)
    if first and re.match(r'\s*\{\s*["}]', first[0][1]):
        return json_records(lines, maybe_array=False, head=1)
    symbol = symbol or _table_delimiter(lines, [text] if text else TEXT_COLUMNS)
    if not symbol:
        return plain_records(lines)
    return delimited_records(lines, symbol, header, usual=symbol, head=1)


def _table_delimiter(lines: FileLines, known: Sequence[str]) -> str:
    """Return the delimiter of a header that names a known column and fits the next line, or ""."""
    best, width = "", 1
    for symbol in DELIMITERS.values():
        found = next(Delimited(Lines(lines.peek(1)), symbol), (1, [], ""))[1]
        if len(found) <= width or {*map(fold, found)}.isdisjoint(map(fold, known)):
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
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = None if math.isnan(value) else str(value)
    if value is None:
        return "", f'no "{column}"'
    if not isinstance(value, str):
        return "", f'"{column}" is a {type(value).__name__}, not a text'
    return value, "" if value.strip() else "empty text"


# ---------------------------------------------------------------- rows to answer


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A row to answer.

    Attributes:
        id: file name and line, such as `reviews.csv:17`.
        fields: the original columns; empty where nothing could be read.
        text: what to answer, "" when there is an error.
        error: why the row cannot be answered, "" when it can.
    """

    id: str
    fields: dict[str, Any]
    text: str
    error: str = ""


class Rows(Iterator[Row]):
    """The rows of a file or a pipe, once through, bad ones in their place (PR-01).

    Attributes:
        columns: the original columns, in order; in JSON those of the first records.
        text: the column that is answered.
        records: what they are made of; `records.notes()` tells encoding and delimiter.
    """

    def __init__(self, records: Records, text: str) -> None:
        self.records = records
        self.columns = records.columns
        self.text = text

    def __next__(self) -> Row:
        record = next(self.records)
        text, fault = text_of(record.fields, self.text)
        error = record.reason or fault
        return Row(
            f"{self.records.name}:{record.number}", record.fields, "" if error else text, error
        )


def iter_rows(
    source: Path | BinaryIO,
    *,
    text: str = "",
    encoding: str = "auto",
    delimiter: str = "auto",
    header: bool = True,
) -> Rows:
    """Open the rows to answer; no labels are needed, and memory stays flat.

    Args:
        source: a file, or a binary stream such as `sys.stdin.buffer`.
        text: the text's column; "" looks for the usual names, then for the longest texts.
        encoding: as in `read_records`.
        delimiter: as in `read_records`.
        header: as in `read_records`.

    Raises:
        DataError: as `read_records`, and when there is no such column.
        SettingError: as `read_records`.
    """
    if isinstance(source, Path):
        records = read_records(source, encoding=encoding, delimiter=delimiter, header=header)
    else:
        records = read_pipe(
            source, text=text, encoding=encoding, delimiter=delimiter, header=header
        )
    column = find_column(records, text, TEXT_COLUMNS, "the text column")
    return Rows(records, column or longest_column(records) or "text")


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


class RowWriter:
    """Writes rows with their answers: the original columns, then the added ones.

    In CSV and TSV a text that a spreadsheet would take for a formula gets an apostrophe in front
    (RP-02); plain numbers stay as they are. JSON lines are lossless.

    Args:
        stream: open for text; a file with `newline=""` and UTF-8 (`utf-8-sig` for Excel).
        form: one of `OUTPUTS`.
        columns: original columns; in JSON lines each row has its own.
        added: names of the answer's fields; where a column has such a name already, the added one
            gets "predicted_" in front.

    Attributes:
        left_out: columns of later JSON rows that a CSV or TSV header no longer could take.
    """

    def __init__(
        self, stream: TextIO, form: str, columns: Sequence[str], added: Sequence[str]
    ) -> None:
        self.left_out: set[str] = set()
        self._stream = stream
        self._columns = tuple(columns)
        self._names = {name: _free(name, columns) for name in added}
        self._table = None
        if form != "jsonl":
            self._table = csv.writer(stream, "excel-tab" if form == "tsv" else "excel")
            self._table.writerow([_cell(name) for name in (*columns, *self._names.values())])

    def write(self, row: Row, answer: Mapping[str, Any]) -> None:
        """Write one row.

        Args:
            row: as `iter_rows` gave it.
            answer: value of each added field; what is missing stays empty, or is left out of JSON.
        """
        if self._table:
            cells = [row.fields.get(name) for name in self._columns]
            cells += [answer.get(name) for name in self._names]
            self.left_out.update(row.fields.keys() - set(self._columns))
            self._table.writerow([_cell(value) for value in cells])
            return
        added = {self._names.get(name, name): value for name, value in answer.items()}
        late = {_free(name, row.fields): value for name, value in added.items()}
        self._stream.write(_json(row.fields | late) + "\n")


def _free(name: str, taken: Sequence[str] | Mapping[str, Any]) -> str:
    while name in taken:
        name = f"predicted_{name}"
    return name


def _cell(value: Any) -> Any:
    """Return what a spreadsheet shows for a value, and never computes."""
    if value is None or isinstance(value, int | float):
        return {True: "true", False: "false"}[value] if isinstance(value, bool) else value
    text = value if isinstance(value, str) else _json(value)
    if forbidden(text):
        text = text.encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def _json(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:  # NaN, which JSON has no word for
        text = json.dumps(_finite(value), ensure_ascii=False, default=str)
    # Half a surrogate pair has no UTF-8; its escape keeps it.
    return json.dumps(json.loads(text)) if forbidden(text) else text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""The formats of the user's own files: from lines to records, none lost in silence.

Chosen: everything streams, with the line that each record starts in, and a record that cannot be
used stays in its place with a reason; so rows in = rows used + rows rejected. It costs two things
that cannot stream: a `.json` array and a gzipped Parquet file are held in memory.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import unicodedata
import weakref
import zlib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from mulgil.errors import DataError
from mulgil.tables.delimited import DELIMITERS, Delimited, guess, look
from mulgil.tables.jsonrows import check, read_array, read_line
from mulgil.tables.lines import FileLines

MAX_IN_MEMORY = 1 << 30
"""Characters of a `.json` array, or bytes of a gzipped Parquet file, that are read at most."""

HEAD = 1000
"""Lines or records that a guess is made from."""

HEAD_CHARACTERS = 4_000_000
"""Characters after which a guess looks at no more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One record of a file.

    Attributes:
        number: the line that it starts in, from 1; in Parquet the row.
        fields: column -> value, strings in text formats; empty where nothing could be read.
        reason: why it is rejected, "" when it is fine.
    """

    number: int
    fields: dict[str, Any]
    reason: str = ""


class Records(Iterator[Record]):
    """The records of one file, once through.

    Attributes:
        name: the file's name, for messages and row ids.
        columns: names in order; in JSON those of the first records.
    """

    def __init__(
        self,
        name: str,
        source: Iterator[Record],
        columns: Sequence[str] = (),
        lines: FileLines | None = None,
        cells: Delimited | None = None,
    ) -> None:
        self.name = name
        self.columns = tuple(columns)
        self._source = source
        self._lines = lines
        self._cells = cells
        self._ahead: deque[Record] = deque()

    def __next__(self) -> Record:
        return self._ahead.popleft() if self._ahead else next(self._source)

    def head(self, count: int = HEAD) -> list[Record]:
        """Return the first records that are still to come, fewer when long, without taking them."""
        size = sum(map(_size, self._ahead))
        while len(self._ahead) < count and size < HEAD_CHARACTERS:
            record = next(self._source, None)
            if record is None:
                break
            self._ahead.append(record)
            size += _size(record)
        return list(itertools.islice(self._ahead, count))

    def close_behind(self, stream: BinaryIO) -> None:
        """Close the stream as soon as nobody holds the records any more."""
        weakref.finalize(self, stream.close)

    @property
    def encoding(self) -> str:
        """What the text was read as, "" of a format without; final as that of `FileLines`."""
        return self._lines.encoding if self._lines else ""

    @property
    def marked(self) -> bool:
        """Whether a byte order mark stood in front."""
        return bool(self._lines and self._lines.marked)

    def notes(self) -> list[str]:
        """Return what was recognised, a sentence each; complete when all records are read."""
        if not self._lines:
            return []
        note = f"{self.name}: read as {self._lines.encoding}"
        if not self._cells:
            return [note]
        words = {symbol: word for word, symbol in DELIMITERS.items()}
        symbol = self._cells.delimiter
        notes = [f"{note}, columns parted by {words.get(symbol, repr(symbol))}"]
        if self._cells.stray:
            first = ", ".join(f"{self.name}:{number}" for number in self._cells.strays)
            more = ", ..." if self._cells.stray > len(self._cells.strays) else ""
            notes.append(
                f"{self.name}: lines with stray quotes, read as they stand: {self._cells.stray}"
                f" ({first}{more})"
            )
        return notes


def _size(record: Record) -> int:
    return sum(len(value) for value in record.fields.values() if isinstance(value, str))


def plain_records(lines: FileLines) -> Records:
    """Return one text a line, blank lines included, in the column "text"."""
    source = (
        Record(number, {} if reason else {"text": text.removesuffix("\r")}, reason)
        for number, text, reason in lines
    )
    return Records(lines.name, source, ["text"], lines)


def delimited_records(
    lines: FileLines, symbol: str, header: bool, usual: str, head: int = HEAD
) -> Records:
    """Return the records of CSV or TSV.

    Args:
        lines: the file's lines.
        symbol: what parts the columns, "" to guess it.
        header: whether the first record names the columns.
        usual: the delimiter that the file's ending stands for.
        head: how many lines to look at first.

    Raises:
        DataError: it is empty, or its header cannot be used.
    """
    first = lines.peek(head)
    seen = look(first, symbol, header) if symbol else guess(first, header, usual)
    cells = Delimited(lines, seen.delimiter, seen.loose)
    names = [str(number) for number in range(1, seen.width + 1)]
    if header:
        number, found, reason = next(cells, (1, [], ""))
        if reason:
            raise DataError(f"{lines.name}:{number}: the header {reason}; mend this line")
        names = [
            unicodedata.normalize("NFC", name).strip() or f"column {at}"
            for at, name in enumerate(found, start=1)
        ]
    if not names:
        raise DataError(f"{lines.name}: is empty; it needs {'a header and ' * header}rows")
    _refuse_twins(names, f"{lines.name}:1" if header else lines.name)
    cells.width = len(names)
    source = (
        Record(number, {} if reason else dict(zip(names, row, strict=True)), reason)
        for number, row, reason in cells
    )
    return Records(lines.name, source, names, lines, cells)


def _refuse_twins(names: list[str], place: str) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(f'{place}: {count} columns are called "{name}"; rename all but one')


def json_records(lines: FileLines, maybe_array: bool, head: int = HEAD) -> Records:
    """Return the records of JSON lines, or of one array of objects.

    Args:
        lines: the file's lines; blank ones are no records.
        maybe_array: whether the file may also be one array, as `.json` files are.
        head: how many lines and records to look at first.

    Raises:
        DataError: here or while reading: it is neither.
    """
    start = next((text for _, text, _ in lines.peek(head) if text.strip()), "").lstrip()
    source: Iterator[Record]
    if maybe_array and start.startswith("["):
        source = itertools.starmap(Record, read_array(joined(lines), lines.name))
    elif maybe_array and start and read_line(start)[1].startswith("is not JSON"):
        raise DataError(
            f"{lines.name}: is neither one array of objects nor one object a line; write it as"
            " .jsonl"
        )
    else:
        source = (
            Record(number, {}, reason) if reason else Record(number, *read_line(text))
            for number, text, reason in lines
            if reason or text.strip()
        )
    records = Records(lines.name, source, lines=lines)
    records.columns = _names(records.head(head)) or _names(records.head())
    return records


def _names(records: list[Record]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for record in records for name in record.fields))


def joined(lines: FileLines) -> str:
    """Return a whole file's text, for what cannot be read by lines."""
    texts, size = [], 0
    for number, text, reason in lines:
        if reason:
            raise DataError(f"{lines.name}:{number}: {reason}; mend it, or write .jsonl")
        size += len(text)
        if size > MAX_IN_MEMORY:
            raise DataError(f"{lines.name}: too large for one JSON array; write it as .jsonl")
        texts.append(text)
    return "\n".join(texts)


def parquet_records(stream: BinaryIO, path: Path) -> Records:
    """Return the rows of a Parquet file.

    Args:
        stream: the file, unzipped when its name ends in `.gz`.
        path: its name.

    Raises:
        DataError: here or while reading: pyarrow is missing, or the file is damaged.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(
            f'{path}: Parquet needs pyarrow; pip install "mulgil[parquet]", or convert it to CSV'
        ) from None
    try:
        if path.suffix.lower() == ".gz":
            content = stream.read(MAX_IN_MEMORY + 1)
            if len(content) > MAX_IN_MEMORY:
                raise DataError(f"{path}: too large to unzip in memory; unzip it first")
            stream = io.BytesIO(content)
        file = parquet.ParquetFile(stream)
        names = [str(name) for name in file.schema_arrow.names]
    except (arrow.ArrowException, OSError, EOFError, zlib.error) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as Parquet: {reason}") from error
    if names:
        _refuse_twins(names, path.name)

    def rows() -> Iterator[Record]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=4096):
                for fields in batch.to_pylist():
                    number += 1
                    yield Record(number, *check(fields))
        except (arrow.ArrowException, OSError) as error:
            raise DataError(f"{path}: cannot be read after row {number}: {error}") from error

    return Records(path.name, rows(), names)

"""From a file to passages: lines, paragraphs or whole files of plain text, documents of records.

Chosen: the readers of `mulgil.tables` cut and decode, so that bad bytes cost their line and no
more; what is too long for one passage is cut at line ends as it streams by, so that memory stays
flat whatever comes. A line that is too long by itself is passed over and counted (DA-06). It costs
what a document loses at such a cut: the connection of its pieces.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

from mulgil.datasets._corpus_files import Found
from mulgil.errors import DataError
from mulgil.flow import Rejected
from mulgil.tables.encodings import agree, codec_name, linewise
from mulgil.tables.formats import Records
from mulgil.tables.lines import FileLines, open_file
from mulgil.tables.rows import TEXT_COLUMNS, find_column, longest_column, read_records, text_of

Unit = Literal["line", "paragraph", "file"]

Piece = tuple[int, str]
"""Line that a passage begins in, from 1, and its text."""

LISTED = 10_000
"""Rejected rows that are listed; the others are counted only."""

_HEAD = 1 << 16


@dataclasses.dataclass(slots=True)
class Account:
    """What was passed over: in = passages + `rejected` + `binary` + what is skipped on purpose.

    Attributes:
        rejected: how many lines or documents could not be used.
        listed: the first of them, with their reasons.
        skipped: how many were left out for another reason, by that reason.
        binary: names of files that hold no text.
        told: what was recognised, and in which files.
    """

    rejected: int = 0
    listed: list[Rejected] = dataclasses.field(default_factory=list)
    skipped: Counter[str] = dataclasses.field(default_factory=Counter)
    binary: list[str] = dataclasses.field(default_factory=list)
    told: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def tell(self, name: str, what: str) -> None:
        """Remember what was recognised in a file."""
        self.told.setdefault(what, []).append(name)

    def reject(self, name: str, number: int, reason: str) -> None:
        """Count a line or document that cannot be used."""
        self.rejected += 1
        if len(self.listed) < LISTED:
            self.listed.append(Rejected(f"{name}:{number}", reason))


@dataclasses.dataclass(frozen=True, slots=True)
class Reader:
    """How files become passages.

    Attributes:
        unit: what one passage of a plain text is.
        longest: characters of the longest passage.
        encoding: "auto", or the name of one of Python's text encodings.
        column: column of the text in records, "" to guess it.
        strict: whether a column that is named must be there.
    """

    unit: Unit
    longest: int
    encoding: str
    column: str = ""
    strict: bool = True

    def read(self, found: Found, name: str, account: Account) -> Iterator[Piece]:
        """Yield the passages of a file, blank ones left out.

        Args:
            found: the file.
            name: what it is called in ids.
            account: what is passed over is counted here.

        Raises:
            DataError: it is binary although it was named, damaged, or in an unknown encoding.
        """
        if found.form != "parquet" and _is_binary(found, self.encoding):
            if found.chosen:
                raise DataError(
                    f"{found.path}: is a binary file (NUL bytes), not text; leave it out, or set"
                    " data.encoding if it is text"
                )
            account.binary.append(name)
            return
        if found.form == "txt":
            yield from self._plain(found, name, account)
        else:
            yield from self._records(found, name, account)

    def _plain(self, found: Found, name: str, account: Account) -> Iterator[Piece]:
        with open_file(found.path) as stream:
            lines = FileLines(stream, name, self.encoding)
            if self.unit == "line":
                for number, text, reason in lines:
                    if reason:
                        account.reject(name, number, reason)
                    elif len(text) > self.longest:
                        account.reject(name, number, self._too_long(text))
                    elif not text or text.isspace():
                        account.skipped["blank lines"] += 1
                    else:
                        yield number, text.removesuffix("\r")
            else:
                yield from self._joined(self._good(lines, name, account), name, account)
            if lines.encoding != "utf-8":
                account.tell(name, f"read as {lines.encoding}")

    def _good(
        self, lines: Iterable[tuple[int, str, str]], name: str, account: Account
    ) -> Iterator[Piece]:
        for number, text, reason in lines:
            if reason:
                account.reject(name, number, reason)
            else:
                yield number, text.removesuffix("\r")

    def _records(self, found: Found, name: str, account: Account) -> Iterator[Piece]:
        records = read_records(found.path, encoding=self.encoding)
        column = self._text_column(records, name, account)
        for record in records:
            text, fault = text_of(record.fields, column)
            if record.reason or fault not in ("", "empty text"):
                account.reject(name, record.number, record.reason or fault)
            elif fault:
                account.skipped["empty texts"] += 1
            elif len(text) > self.longest:
                lines = ((record.number, line.removesuffix("\r")) for line in text.split("\n"))
                yield from self._joined(lines, name, account, whole=True)
            else:
                yield record.number, text
        for note in records.notes():
            what = note.removeprefix(f"{records.name}: ")
            if what != "read as utf-8":
                account.tell(name, what)

    def _text_column(self, records: Records, name: str, account: Account) -> str:
        wanted = self.column
        if not self.strict and wanted not in records.columns:
            wanted = ""
        column = find_column(records, wanted, TEXT_COLUMNS, "data.text") or longest_column(records)
        if not column:
            raise DataError(f"{records.name}: has no column of text; name it with data.text")
        if not wanted:
            account.tell(name, f'text = column "{column}" (guessed)')
        return column

    def _joined(
        self, lines: Iterable[Piece], name: str, account: Account, whole: bool = False
    ) -> Iterator[Piece]:
        """Yield paragraphs or the whole, cut at line ends where they grow too long."""
        parted = self.unit == "paragraph" and not whole
        start, texts, size = 0, list[str](), 0
        for number, text in lines:
            blank = not text or text.isspace()
            if len(text) > self.longest:
                account.reject(name, number, self._too_long(text))
                continue
            if texts and ((parted and blank) or size + len(text) > self.longest):
                yield start, _together(texts)
                texts, size = [], 0
            if blank and (parted or not texts):
                if not whole:
                    account.skipped["blank lines"] += 1
                continue
            if not texts:
                start = number
            texts.append(text)
            size += len(text) + 1
        if texts:
            yield start, _together(texts)

    def _too_long(self, text: str) -> str:
        return f"is a line of {len(text):,} characters (data.max_characters is {self.longest:,})"


def _together(texts: list[str]) -> str:
    while not texts[-1].strip():  # the first is never blank
        texts.pop()
    return "\n".join(texts)


def _is_binary(found: Found, encoding: str) -> bool:
    """Return whether a file holds no text: NUL bytes in a quarter of its first lines, or more.

    A single NUL in a text costs its line only. UTF-16 and UTF-32 are full of NULs, and are text.
    """
    with open_file(found.path) as stream:
        try:
            head = stream.read(_HEAD)
        except (OSError, EOFError, zlib.error):
            return False  # damaged: the reader will say how
    if b"\0" not in head:
        return False
    codec = agree("auto", head, "")[1] if encoding == "auto" else codec_name(encoding)
    lines = head.split(b"\n")
    return linewise(codec or "utf-8") and sum(b"\0" in line for line in lines) * 4 >= len(lines)

"""From lines to cells: CSV and TSV in which a stray quote never merges rows.

Chosen: quoting as in RFC 4180, fields over several lines included, wherever it is consistent; a
line whose quotes do not work out (a field opened and never closed, a closing quote with something
behind it) is read as it stands, its quotes being text. Two readings can both work out: a stray
quote in one row and another some rows later look like one quoted field. So a file that has misused
a quote once, and every tab-separated file (most of their writers quote nothing), is *loose*: there,
lines that read well one by one are never joined. In a file that is not loose a joined field stands,
unless it would swallow five or more lines of which four fifths are rows by themselves. It costs
looking ahead at most 1,000,000 characters for a closing quote, and one wrong reading: in a
tab-separated file a quoted field with tabs in its lines can fall apart, into rows that are mostly
rejected.

Every line belongs to exactly one record; an empty line is no record.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator

from mulgil.tables.lines import Line, Lines

MAX_FIELD = 1_000_000
"""Characters of the longest field; a row with a longer one is rejected."""

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
"""What may part columns, by name."""

PLACES = 3
"""Lines that are named of a fault."""

_INSIDE = re.compile(r'([^"]*(?:""[^"]*)*)("?)')
_CLOSED, _OPEN, _STRAY = range(3)

Cells = tuple[int, list[str], str]
"""Number of the record's first line, its cells, and why it is rejected ("" when it is fine)."""


class Delimited(Iterator[Cells]):
    """The records of delimited lines.

    Args:
        lines: where they come from.
        delimiter: one character.
        loose: whether quotes are known to be misused in these lines.

    Attributes:
        delimiter: as above.
        width: number of columns that a record must have; 0 while it does not matter.
        loose: as above; becomes true at the first misused quote.
        stray: how many lines with stray quotes were read as they stand.
        strays: numbers of the first of them.
    """

    def __init__(self, lines: Lines, delimiter: str, loose: bool = False) -> None:
        self.width = 0
        self.loose = loose or delimiter == "\t"
        self.stray = 0
        self.strays: list[int] = []
        self._lines = lines
        self.delimiter = delimiter

    def __next__(self) -> Cells:
        for number, text, reason in self._lines:
            if reason:
                return number, [], reason
            body = text.removesuffix("\r")
            if not body:
                continue
            if '"' in body:
                before = self.stray
                cells, reason = self._quoted(text)
                if self.stray > before and len(self.strays) < PLACES:
                    self.strays.append(number)
            else:
                cells = body.split(self.delimiter)
            if reason or len(cells) != self.width or len(body) > MAX_FIELD:
                reason = reason or self._problem(cells)
            return number, cells, reason
        raise StopIteration

    def _problem(self, cells: list[str]) -> str:
        if any(len(cell) > MAX_FIELD for cell in cells):
            return f"has a field of more than {MAX_FIELD:,} characters"
        if self.width and len(cells) != self.width:
            return f"has {_columns(len(cells))} where the file has {self.width}"
        return ""

    def _quoted(self, text: str) -> tuple[list[str], str]:
        """Return the cells of the record that starts with this line of quotes, and its fault."""
        cells: list[str] = []
        inside: list[str] = []
        apart = text.removesuffix("\r").split(self.delimiter)
        status = self._feed(text, cells, inside)
        # Text has no tabs: when quotes take one in, and the row is complete without, they are text.
        tabs = self.delimiter == "\t" and len(apart) == self.width
        if status == _CLOSED and not (tabs and len(cells) != self.width):
            return cells, ""
        if status == _OPEN:
            reason = self._join(text, cells, inside)
            if reason is not None:
                return cells, reason
        self.stray += 1
        problem = self._problem(apart)
        return apart, f"has a stray quote, and as it stands {problem}" if problem else ""

    def _join(self, text: str, cells: list[str], inside: list[str]) -> str | None:
        """Go on to the closing quote.

        Return what is wrong with the lines on the way ("" when nothing is), or None when the record
        ends with its first line after all; the other lines are then put back.
        """
        taken: list[Line] = []
        column = len(cells)
        size, status, fault = len(text), _OPEN, ""
        while status == _OPEN and size <= MAX_FIELD and (line := next(self._lines, None)):
            taken.append(line)
            size += len(line[1]) + 1
            fault = fault or (line[2] and f"goes on in line {line[0]}, where {line[2]}")
            status = self._feed(line[1], cells, inside)
        texts = [text, *(line[1] for line in taken)]
        if status == _CLOSED and not self._apart(cells, column, texts):
            return fault
        self.loose |= size > MAX_FIELD
        self._lines.push(taken)
        return None

    def _apart(self, cells: list[str], column: int, texts: list[str]) -> bool:
        """Return whether lines that quotes join to one record are rather a record each.

        Args:
            cells: what they are when joined.
            column: the cell in which the first line left a quote open, from 0.
            texts: the lines.
        """
        widths = [len(text.removesuffix("\r").split(self.delimiter)) for text in texts]
        width = self.width or widths[0]  # none is known yet while the header is read
        fits = [each == width for each in widths]
        between = fits[1:-1]
        if self.loose:
            # Without tabs in the text, a line that ends inside a field lacks the columns behind.
            full = self.delimiter == "\t" and column < width - 1
            most = len(between) >= 2 and sum(between) * 2 > len(between)
            return len(cells) != width or most or (fits[0] and (full or any(fits[1:])))
        if self.width <= 1:  # then every line fits, or nobody knows
            return False
        most = len(between) >= 5 and sum(between) * 5 >= len(between) * 4
        return most or (len(cells) != width and all(fits))

    def _feed(self, text: str, cells: list[str], inside: list[str]) -> int:
        """Read one line on, adding to `cells`; `inside` holds the beginning of an open field."""
        body = text.removesuffix("\r")
        opened, at = bool(inside), 0
        while True:
            if not opened and body.startswith('"', at):
                opened, at = True, at + 1
            if not opened:
                end = body.find(self.delimiter, at)
                cell = body[at:] if end < 0 else body[at:end]
                self.loose |= '"' in cell
                cells.append(cell)
                if end < 0:
                    return _CLOSED
                at = end + 1
                continue
            match = _INSIDE.match(body, at)
            inside.append(match[1] if match else "")
            if not match or not match[2]:
                inside.append(text[len(body) :] + self._lines.newline)
                return _OPEN
            cells.append("".join(inside).replace('""', '"'))
            inside.clear()
            opened, at = False, match.end() + 1
            if at > len(body):
                return _CLOSED
            if body[at - 1] != self.delimiter:
                self.loose = True
                return _STRAY


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What a delimiter makes of the first lines.

    Attributes:
        delimiter: the character.
        width: number of columns, that of the header or, without one, the most frequent.
        share: share of the rows that have this width, 0 to 1.
        loose: whether quotes are misused.
    """

    delimiter: str
    width: int
    share: float
    loose: bool


def look(lines: list[Line], delimiter: str, header: bool) -> Look:
    """Read the first lines with a delimiter.

    Args:
        lines: the first lines of a file.
        delimiter: one character.
        header: whether the first record is a header.
    """
    # Twice: a quote misused in the last line says how to read the first.
    for loose in (False, True):
        records = Delimited(Lines(lines), delimiter, loose)
        widths = []
        for _, cells, _ in records:
            widths += [len(cells)] if cells else []
            records.width = widths[0] if header and widths else 0
        if not records.loose:
            break
    if not widths:
        return Look(delimiter, 0, 0.0, records.loose)
    width = widths[0] if header else Counter(widths).most_common(1)[0][0]
    rows = widths[1:] if header and len(widths) > 1 else widths
    return Look(delimiter, width, rows.count(width) / len(rows), records.loose)


def guess(lines: list[Line], header: bool, usual: str) -> Look:
    """Return the delimiter whose columns agree best with the header's.

    Args:
        lines: the first lines of a file.
        header: whether the first record is a header.
        usual: the delimiter by the file's ending; it wins ties, and names a single column.
    """
    looks = [look(lines, delimiter, header) for delimiter in DELIMITERS.values()]
    several = [each for each in looks if each.width > 1]
    if not several:
        return next(each for each in looks if each.delimiter == usual)
    return max(several, key=lambda each: (each.share, each.delimiter == usual, each.width))


def _columns(count: int) -> str:
    return f"{count} column" if count == 1 else f"{count} columns"

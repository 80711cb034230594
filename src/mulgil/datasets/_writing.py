"""What the data sets of something to write share: lines of a file, and which pairs are usable.

Chosen: a pair is rejected when a side is empty, or when both sides are the same text, because a
model would only learn to copy. Texts stay as they are in the file, but for white space at their
ends. It costs a line a rejected row in the data check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from mulgil import hangul
from mulgil.examples import Example, WritingExample
from mulgil.flow import Rejected


def numbered(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a UTF-8 file; a BOM is left out."""
    # newline="\n": a text may hold any other line separator that Unicode knows.
    with path.open(encoding="utf-8-sig", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            yield number, line.removesuffix("\n").removesuffix("\r")


def pair(row_id: str, source: str, target: str) -> WritingExample | Rejected:
    """Return the row, or why it cannot be used."""
    source, target = source.strip(), target.strip()
    if not source:
        return Rejected(row_id, "empty source")
    if not target:
        return Rejected(row_id, "empty target")
    if hangul.key(source) == hangul.key(target):
        return Rejected(row_id, "source and target are the same text")
    return WritingExample(row_id, source, target)


def sifted(found: Iterable[WritingExample | Rejected], rejected: list[Rejected]) -> list[Example]:
    """Return the usable rows; the others go to `rejected`."""
    rows: list[Example] = []
    for row in found:
        if isinstance(row, Rejected):
            rejected.append(row)
        else:
            rows.append(row)
    return rows

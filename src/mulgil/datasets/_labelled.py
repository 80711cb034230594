"""Shared by the labelled data sets: their files, and what makes a pair of texts usable.

Chosen: a line is a row and a tab parts its fields, whatever quotes they hold, because none of
these files is quoted and a stray `"` would otherwise swallow the lines after it. It costs nothing
here: no published field has a tab or a line feed in it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mulgil.errors import DataError
from mulgil.examples import Example, PairExample, RatedPairExample
from mulgil.flow import Parts, Rejected
from mulgil.tables.formats import MAX_IN_MEMORY
from mulgil.tables.lines import open_file

Made = Example | Rejected
"""What came of a row: an example, or why there is none."""

_HIGHEST = 5.0
"""The rating of two texts that mean the same; 0 is the lowest."""


def add(parts: Parts, name: str, made: Iterable[Made]) -> None:
    """Put the examples under the part's name; what was rejected goes beside them."""
    rows: list[Example] = []
    for row in made:
        if isinstance(row, Rejected):
            parts.rejected.append(row)
        else:
            rows.append(row)
    parts.rows[name] = rows


def table(path: Path, header: str, make: Callable[..., Made]) -> Iterator[Made]:
    """Yield what `make(place, *fields)` makes of each line after the header.

    Args:
        path: a tab-separated file in UTF-8; `place` is its name and the line, counted from 1.
        header: the column names, parted by spaces.
        make: called with as many fields as there are columns, all as they stand in the file.

    Raises:
        DataError: the columns are others.
    """
    columns = header.split()
    # newline="\n": a field may hold any other line separator that Unicode knows.
    with path.open(encoding="utf-8-sig", newline="\n") as lines:
        found = next(lines, "").removesuffix("\n").split("\t")
        if found != columns:
            raise DataError(
                f'{path}:1: the columns are "{" ".join(found)[:80]}", not "{header}";'
                " get the published file"
            )
        for number, line in enumerate(lines, start=2):
            place = f"{path.name}:{number}"
            fields = line.removesuffix("\n").split("\t")
            if len(fields) == len(columns):
                yield make(place, *fields)
            else:
                yield Rejected(place, f"{len(fields)} fields instead of {len(columns)}")


def loaded(path: Path) -> Any:
    """Return what a JSON file holds, gzipped when its name ends in `.gz`.

    Raises:
        DataError: it cannot be read to its end, or is not JSON.
    """
    try:
        with open_file(path) as file:
            content = file.read(MAX_IN_MEMORY)
            if file.read(1):
                raise DataError(f"{path}: is far larger than published; get the published file")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read to its end ({error}); get it again") from error
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "invalid, or nested too deeply")
        raise DataError(f"{path}: is not JSON ({reason}); get the published file") from error


def pair(
    name: str, first: object, second: object, label: object, labels: Mapping[str, str]
) -> Made:
    """Return a row of two texts and a label.

    Args:
        name: the row's id.
        first: the first text.
        second: the second text.
        label: the label as the file has it.
        labels: `{label in the file: label of the row}`.
    """
    if not (isinstance(first, str) and isinstance(second, str)):
        return Rejected(name, "one of the two texts is missing")
    if not (first.strip() and second.strip()):
        return Rejected(name, "empty text")
    if not isinstance(label, str) or label not in labels:
        return Rejected(name, f'label "{str(label)[:40]}" is none of {", ".join(labels)}')
    return PairExample(name, first, second, labels[label])


def rated(name: str, first: object, second: object, rating: object) -> Made:
    """Return a row of two texts and a rating from 0 to 5, given as a number or a text."""
    if not (isinstance(first, str) and isinstance(second, str)):
        return Rejected(name, "one of the two texts is missing")
    if not (first.strip() and second.strip()):
        return Rejected(name, "empty text")
    value = _number(rating)
    if value is None or not 0 <= value <= _HIGHEST:
        return Rejected(name, f'rating "{str(rating)[:40]}" is no number from 0 to {_HIGHEST:g}')
    return RatedPairExample(name, first, second, value)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None

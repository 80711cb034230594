"""From a record to a row: each field read as its shape wants it, or the reason why not.

Chosen: a row is used as the user wrote it or rejected with a reason; labels are stripped and NFC,
texts stay. It costs one object a file that remembers the names, to tell of those that look alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from mulgil.datasets import _spans, _tags
from mulgil.datasets._columns import UNLABELLED, Chosen, asked_field, missing, plain
from mulgil.datasets._spans import UnusableError, shown
from mulgil.examples import EntitiesExample, Example, Span, TextExample
from mulgil.tables.formats import Records
from mulgil.tables.lines import forbidden
from mulgil.tables.rows import EMPTY, text_of

Label = str | tuple[str, ...] | None

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Reader:
    """Makes rows of one shape, and remembers what to tell about them.

    Args:
        shape: of the rows.
        separator: what parts several labels in one cell, "" for one label a cell.
        joint: what tagged tokens are.

    Attributes:
        labels: the names that were read.
    """

    def __init__(self, shape: type[Example], separator: str, joint: _tags.Joint) -> None:
        self.labels = Labels(separator)
        self._shape = shape
        self._gold = asked_field(shape)
        self._joint: _tags.Joint = joint
        self._scheme: _tags.Scheme = "IOB2"

    def look(self, records: Records, chosen: Chosen) -> list[str]:
        """Learn how a file writes its tags, and return what to tell of it."""
        if self._shape is not EntitiesExample:
            return []
        cells = (record.fields.get(chosen["entities"]) for record in records.head())
        seen = [value for value in cells if _is_tags(value)]
        if not seen:
            return []
        self._scheme = _tags.scheme(seen)
        return [f"{records.name}: tags read as {self._scheme}, tokens as {self._joint}"]

    def row(self, place: str, fields: Mapping[str, Any], chosen: Chosen) -> Example:
        """Return a record's row.

        Raises:
            UnusableError: it makes none.
        """
        if self._shape is EntitiesExample:
            return EntitiesExample(place, *self._sentence(fields, chosen))
        values: dict[str, Any] = {
            field: self._text(fields, chosen[field]) for field in self._shape.inputs
        }
        if self._gold and chosen[self._gold] != UNLABELLED:
            values[self._gold] = self._asked(fields, chosen, values)
        return self._shape(place, **values)

    def _text(self, fields: Mapping[str, Any], column: str) -> str:
        text, fault = text_of(fields, column)
        if fault == EMPTY and len(self._shape.inputs) > 1:
            fault = f'"{column}" is empty'
        if fault:
            raise UnusableError(fault)
        return text

    def _asked(self, fields: Mapping[str, Any], chosen: Chosen, values: dict[str, Any]) -> Any:
        cell = fields.get(chosen[self._gold])
        if self._gold == "rating":
            return _rating(cell)
        if self._gold == "answers":
            start = fields.get(chosen["answer_start"]) if chosen["answer_start"] else None
            return _spans.answers(values["context"], cell, start)
        if self._gold == "target":
            return self._text(fields, chosen["target"])
        if isinstance(cell, list) and self._shape is not TextExample:
            raise UnusableError("its label is a list, not a name")
        return self.labels.read(cell)

    def _sentence(
        self, fields: Mapping[str, Any], chosen: Chosen
    ) -> tuple[str, tuple[Span, ...] | None]:
        tokens = fields.get(chosen["text"])
        places: list[tuple[int, int]] | None = None
        if isinstance(tokens, list):
            text, places = _tags.joined(tokens, self._joint)
            if fault := forbidden(text) or ("" if text.strip() else EMPTY):
                raise UnusableError(fault)
        else:
            text = self._text(fields, chosen["text"])
        if chosen["entities"] == UNLABELLED:
            return text, None
        cell = fields.get(chosen["entities"])
        if missing(cell):
            raise UnusableError("no entities")
        if not isinstance(cell, list):
            kind = type(cell).__name__
            raise UnusableError(f"its entities are a {kind}, not a list; write such rows as .jsonl")
        if cell and all(type(each) is int for each in cell):
            raise UnusableError(
                'its tags are numbers, which say no names; write them as texts such as "B-PER"'
            )
        if _is_tags(cell) or (places and not cell):
            if places is None:
                raise UnusableError("its tags have no list of tokens beside them")
            found = _tags.spans(cell, places, self._scheme)
            named = [Span(span.start, span.end, self._name(span.label)) for span in found]
            return text, _spans.apart(text, named)
        return text, _spans.entities(text, cell, self._name)

    def _name(self, label: str) -> str:
        if fault := forbidden(label):
            raise UnusableError(f"a label {fault}")
        return self.labels.name(label)


def _is_tags(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _rating(cell: Any) -> float:
    if missing(cell):
        raise UnusableError("no rating")
    number = math.nan
    if (isinstance(cell, str) and _NUMBER.fullmatch(cell.strip())) or (
        isinstance(cell, int | float) and not isinstance(cell, bool)
    ):
        number = float(cell)
    if not math.isfinite(number):
        raise UnusableError(f"its rating {shown(cell)} is not a finite number such as 3.5")
    return number


class Labels:
    """Reads label cells, and remembers what to tell about them."""

    def __init__(self, separator: str) -> None:
        self.several = bool(separator)
        self._separator = separator
        self._names: dict[str, str] = {}  # one object a name, however many rows have it
        self._composed = 0

    def read(self, value: Any) -> Label:
        """Return the label.

        Raises:
            UnusableError: there is none.
        """
        if isinstance(value, list):
            self.several = True
            cells, needed = value, False  # [] says: none of the labels
        elif self._separator and isinstance(value, str):
            # An empty cell says the same.
            cells, needed = value.split(self._separator), not missing(value)
        else:
            cells, needed = [value], True
        names = []
        for cell in cells:
            if not isinstance(cell, str | int | float | None):
                raise UnusableError(f"its label is a {type(cell).__name__}, not a name")
            name = self.name(cell)
            if fault := forbidden(name):
                raise UnusableError(f"its label {fault}")
            names += [name] if name else []
        if needed and not names:
            raise UnusableError("no label")
        unique = tuple(dict.fromkeys(names))
        return unique if self.several else unique[0]

    def name(self, cell: str | int | float | None) -> str:
        """Return a label's name as it is kept."""
        name = plain(cell)
        self._composed += isinstance(cell, str) and name != cell.strip()
        return self._names.setdefault(name, name)

    def notes(self) -> list[str]:
        """Return what was noticed about the names, one sentence each (DA-03, DA-12)."""
        alike: dict[Any, list[str]] = {}
        for name in self._names:
            alike.setdefault(_meaning(name), []).append(name)
        notes = [
            "labels that look like one are kept apart: " + ", ".join(f'"{name}"' for name in names)
            for names in alike.values()
            if len(names) > 1
        ]
        if self._composed:
            notes.append(f"labels in decomposed Hangul, composed (NFC): {self._composed}")
        return notes


def _meaning(name: str) -> float | str:
    """Return what "0" and "0.0", or "Good" and "good", have in common."""
    try:
        return float(name)
    except ValueError:
        return name.casefold()

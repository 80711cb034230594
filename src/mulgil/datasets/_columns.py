"""Which column of the user's file holds which field: named, known by its usual names, or guessed.

Chosen: the column that is named, then one with a usual name, then, where a single text or a label
is looked for, what the content says; a column serves one field only. Everything that was not named
is a note. It costs one look at the first thousand records.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from mulgil.errors import DataError
from mulgil.examples import EntitiesExample, Example, QuestionExample, TextExample, columns
from mulgil.tables.formats import Records
from mulgil.tables.layouts import LaidOut
from mulgil.tables.rows import find_column, fold, longest_column

UNLABELLED = "-"
"""What a field that is asked for is set to when the rows have none."""

ALSO: dict[type[Example], dict[str, tuple[str, ...]]] = {
    QuestionExample: {"answer_start": ("answer_start", "답 위치")}
}
"""Columns beside a shape's fields that may be there, with their usual names."""

_MANY = 100  # different labels from which a column is no longer guessed to be the label
_SAID = 3  # other columns that a note of a guess names
_RATINGS = ("rating", "score", "평점", "별점", "점수")
_CLASSES = (
    *("label", "class", "categor", "sentiment", "polarity", "emotion"),
    *("라벨", "레이블", "분류", "감정", "감성", "카테고리", "평가", "극성", "정답"),
)
_TOKENS = ("tokens", "words", "토큰", "어절")
_WORDS = {"first": "the first text", "second": "the second text"}

Chosen = dict[str, str]


def asked_field(shape: type[Example]) -> str:
    """Return the field that a model is asked for, "" when there is none."""
    return next((field for field in columns(shape) if field not in shape.inputs), "")


def setting(field: str) -> str:
    """Return the setting that names a field's column."""
    return f"data.{field}" if field in ("text", "label") else f"data.columns.{field}"


def plain(value: Any) -> str:
    """Return a cell's value as a label's name: stripped and NFC, numbers as they are written."""
    if missing(value):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return unicodedata.normalize("NFC", text.strip())


def missing(value: Any) -> bool:
    """Return whether a cell holds nothing: null, NaN, or an empty text."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def settled(records: Records, shape: type[Example], wanted: Chosen) -> Chosen:
    """Return the columns of another file for the fields that a first file settled.

    What may be there or not is looked for in each file.

    Raises:
        DataError: one is not there.
    """
    also = ALSO.get(shape, {})
    return {
        field: _find(records, field, column, also.get(field, ()))
        for field, column in wanted.items()
    }


def choose(
    records: Records, shape: type[Example], named: Mapping[str, str], header: bool, notes: list[str]
) -> Chosen:
    """Return `{field: column}`, and add what was guessed to the notes.

    Args:
        records: the first file.
        shape: of the rows.
        named: field -> column, as the user wants it.
        header: whether the file's first row names its columns.
        notes: is added to.

    Raises:
        DataError: a column is missing, or cannot be told.
    """
    gold = asked_field(shape)
    found = _by_name(records, shape, named)
    if not any(found.values()):
        _refuse_headless(records, header, shape)
    if "text" in found and not found["text"]:
        found["text"] = longest_column(records, but=found.get(gold, ""))
    lacking = [field for field in shape.inputs if not found[field]]
    if lacking and "text" not in found:
        raise DataError(f"{records.name}: {_which(records, lacking[0])}{_hint(records)}")
    maybe: list[str] = []
    if gold == "label" and not named.get(gold):
        usual, others = columns(shape)[gold], [found[field] for field in found if field != gold]
        first, *maybe = _label_columns(records, usual, others) or [""]
        found[gold] = first
    if gold and not found[gold]:
        found[gold] = _no_gold(records, shape, gold, notes)
    if lacking and not found[lacking[0]]:
        raise DataError(f"{records.name}: has no column of text; name it with data.text")
    for field, column in found.items():
        known = named.get(field) or column in ("", UNLABELLED) or isinstance(records, LaidOut)
        if not known:
            also = ", ".join(f'"{name}"' for name in maybe[:_SAID]) if field == gold else ""
            also = f"; also possible: {also}" if also else ""
            notes.append(f'{field} = column "{column}" (guessed{also})')
    return found


def _by_name(records: Records, shape: type[Example], named: Mapping[str, str]) -> Chosen:
    usual = columns(shape) | ALSO.get(shape, {})
    found = dict.fromkeys(usual, "")
    if shape is EntitiesExample:
        usual["text"] = (*usual["text"], *_TOKENS)
    # The named ones first, then tags, which say whether tokens or a text stand beside them.
    order = sorted(usual, key=lambda field: (not named.get(field), field != "entities"))
    for field in order:
        taken = {*map(fold, found.values())}
        known = [name for name in usual[field] if fold(name) not in taken]
        if field == "text" and shape is EntitiesExample and _tagged(records, found["entities"]):
            known = [*_TOKENS, *known]
        found[field] = _find(records, field, named.get(field, ""), known)
    return found


def _find(records: Records, field: str, wanted: str, known: Iterable[str]) -> str:
    if wanted == UNLABELLED:
        return UNLABELLED
    return find_column(records, wanted, [*known], setting(field))


def _tagged(records: Records, column: str) -> bool:
    """Return whether a column holds lists of tags."""
    values = (record.fields.get(column) for record in records.head())
    return any(isinstance(value, list) and value and _all_text(value) for value in values)


def _all_text(value: list[Any]) -> bool:
    return all(isinstance(each, str) for each in value)


def _refuse_headless(records: Records, header: bool, shape: type[Example]) -> None:
    """Refuse a first row that looks like data: one of its cells recurs in its own column."""
    for column in records.columns if header else ():
        values = [record.fields.get(column) for record in records.head()]
        if column in values:
            shown = ", ".join(f'"{name[:20]}"' for name in records.columns)
            remedy = "data.text and data.label" if shape is TextExample else "data.columns"
            raise DataError(
                f"{records.name}:1: the first row looks like data, not like column names ({shown});"
                f" set data.header = false, or name the columns with {remedy}"
            )


def _label_columns(records: Records, usual: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Return the columns that may be the label, the best one first.

    A usual name comes first, then a name that holds a word for a class, then a name for a rating,
    then what the content says: fewest different values, at least two that recur. Words come before
    numbers, which may be ids or ratings.
    """
    left = [column for column in records.columns if column not in taken]
    order = [fold(name) for name in usual]
    ranked = []
    for column in left:
        name = fold(column)
        fits, digits, different = _classes(records, column)
        if name in order and name not in _RATINGS:
            rank: tuple[int, ...] = (0, order.index(name))
        elif fits and any(word in name for word in _CLASSES):
            rank = (1, digits, different)
        elif name in order:
            rank = (2, order.index(name))
        elif fits:
            rank = (3, digits, different)
        else:
            continue
        ranked.append((rank, column))
    return [column for _, column in sorted(ranked, key=lambda each: each[0])]


def _classes(records: Records, column: str) -> tuple[bool, bool, int]:
    """Return whether values recur as those of classes do, are numbers, and how many there are."""
    values = [plain(record.fields.get(column)) for record in records.head()]
    known = [value for value in values if value]
    names = set(known)
    fits = 2 <= len(names) <= _MANY and len(names) * 2 <= len(known) + 1
    return fits, not any(map(str.isalpha, "".join(names))), len(names)


def _no_gold(records: Records, shape: type[Example], gold: str, notes: list[str]) -> str:
    """Say that the rows have no labels, where no column is left that could hold them."""
    if len(records.columns) > len(shape.inputs):
        raise DataError(
            f'{records.name}: {_which(records, gold)}, or "{UNLABELLED}" when there is none'
        )
    if shape is TextExample:
        notes.append(f"{records.name}: one column only, so no labels{_hint(records)}")
    else:
        notes.append(f"{records.name}: no column is left for the {gold}{_hint(records)}")
    return UNLABELLED


def _which(records: Records, field: str) -> str:
    shown = ", ".join(f'"{name}"' for name in records.columns)
    verb = "are" if field in ("entities", "answers") else "is"
    what = _WORDS.get(field, f"the {field}")
    return f"which of the columns {shown} {verb} {what}? set {setting(field)}"


def _hint(records: Records) -> str:
    table = ".txt" in records.name and not isinstance(records, LaidOut)
    return "; for a table in a .txt set data.delimiter" if table else ""

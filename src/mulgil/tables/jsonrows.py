"""From JSON text to rows: strict, bounded, and a bad row costs itself only.

Chosen: the standard library's scanner, with hooks for what it lets through although nobody can use
it afterwards: a key that occurs twice, NaN and Infinity, numbers too long to be numbers. Nesting is
bounded by the scanner itself. It costs about a fifth of its speed.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn

from mulgil.errors import DataError
from mulgil.tables.lines import forbidden

MAX_DIGITS = 100
"""Digits of the longest number; longer ones take quadratic time to read and are no data."""

Fields = dict[str, Any]


class _RefusedError(ValueError):
    """JSON that is well-formed and yet no row."""


def _object(pairs: list[tuple[str, Any]]) -> Fields:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise _RefusedError(f'has the key "{twice[:40]}" twice')
    return fields


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _RefusedError(f"has a number of {len(digits):,} digits")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _RefusedError("has a number too large for a computer")
    return value


def _constant(name: str) -> NoReturn:
    raise _RefusedError(f"has {name}, which is not JSON")


_STRICT = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_number,
    parse_constant=_constant,
)
_LAX = json.JSONDecoder(parse_int=str, parse_float=str)  # finds where a refused row ends
_SPACE = re.compile(r"[ \t\r\n]*")


def read_line(text: str) -> tuple[Fields, str]:
    """Return the fields of one line of JSON, and why it is rejected ("" when it is fine)."""
    try:
        value = _STRICT.decode(text)
    except _RefusedError as error:
        return {}, str(error)
    except RecursionError:
        return {}, "is nested too deeply"
    except ValueError as error:
        reason = getattr(error, "msg", "invalid")
        return {}, f"is not JSON ({reason}, column {getattr(error, 'pos', 0) + 1})"
    return check(value)


def check(value: Any) -> tuple[Fields, str]:
    """Return a row's fields, and why they are rejected ("" when they are fine)."""
    if not isinstance(value, dict):
        return {}, "is not an object with named fields"
    for name, cell in value.items():
        fault = forbidden(name) or (forbidden(cell) if isinstance(cell, str) else "")
        if fault:
            return value, f'"{name[:40]}" {fault}'
    return value, ""


def read_array(text: str, name: str) -> Iterator[tuple[int, Fields, str]]:
    """Yield line number, fields and fault of each object in one JSON array.

    Args:
        text: the whole file.
        name: its name, for messages.

    Raises:
        DataError: it is not a JSON array, so that what follows cannot be told from the row.
    """
    at, number, counted = _skip(text, _skip(text, 0) + 1), 1, 0
    while text[at : at + 1] != "]":
        number, counted = number + text.count("\n", counted, at), at
        try:
            _, end = _LAX.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "nested too deeply")
            raise DataError(f"{name}:{number}: is not JSON ({reason}); mend it here") from None
        yield number, *read_line(text[at:end])
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            raise DataError(f'{name}:{number}: after this row "," or "]" is missing')
    if _skip(text, at + 1) != len(text):
        raise DataError(f"{name}: goes on after the closing ]; put everything into one array")


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at

"""Spans as people write them down, checked against the text that they point into.

Chosen: a span that does not fit is refused with its reason, never moved: an offset that is wrong
by one is wrong everywhere, and a guess would hide it. It costs the rows of files whose offsets
count something else than characters (bytes, UTF-16 units, another Unicode form).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from mulgil import hangul
from mulgil.datasets._columns import missing
from mulgil.examples import Span
from mulgil.settings import one_line
from mulgil.tables.lines import forbidden

_WHOLE = re.compile(r"[0-9]{1,18}")


class UnusableError(ValueError):
    """A row that cannot be used; the message is the reason, without the place."""


def shown(value: Any) -> str:
    """Return a value for a message: quoted, on one line, cut when long."""
    text = one_line(str(value))
    return f'"{text if len(text) <= 40 else text[:37] + "..."}"'


def entities(text: str, value: list[Any], name: Callable[[str], str]) -> tuple[Span, ...]:
    """Return the spans of a list of `{"start", "end", "label"}` or `[start, end, label]`.

    Args:
        text: what they point into.
        value: the list; a "text" or "surface" beside is checked against what stands there.
        name: gives a label's name as it is kept.

    Raises:
        UnusableError: one does not fit the text, or two overlap.
    """
    found = sorted(
        (_entity(text, each, number, name) for number, each in enumerate(value, start=1)),
        key=lambda span: (span.start, span.end),
    )
    return apart(text, found)


def apart(text: str, found: list[Span]) -> tuple[Span, ...]:
    """Return spans in order, none of which overlaps another or parts a letter.

    Raises:
        UnusableError: one does.
    """
    end = 0
    for span in found:
        where = f"{shown(span.label)} at {span.start} to {span.end}"
        if span.start < end:
            raise UnusableError(f"entity {where} overlaps the one before it")
        end = span.end
        _refuse_parted(text, span, f"entity {where}")
    return tuple(found)


def _entity(text: str, each: Any, number: int, name: Callable[[str], str]) -> Span:
    said = None
    if isinstance(each, dict):
        start, end, label = (each.get(key) for key in ("start", "end", "label"))
        said = each.get("text", each.get("surface"))
    elif isinstance(each, list) and len(each) == 3:
        start, end, label = each
    else:
        raise UnusableError(f"entity {number} is neither an object nor [start, end, label]")
    # A bool is an int to Python, and nobody's offset.
    if type(start) is not int or type(end) is not int:
        raise UnusableError(f"entity {number} has no whole numbers as start and end")
    if not isinstance(label, str) or not label.strip():
        raise UnusableError(f"entity {number} has no label")
    if fault := forbidden(label):
        raise UnusableError(f"the label of entity {number} {fault}")
    if not 0 <= start < end <= len(text):
        what = "is empty or backwards" if start >= end else f"leaves the text of {len(text)}"
        raise UnusableError(f"entity {number} ({start} to {end}) {what}")
    if said is not None and said != text[start:end]:
        raise UnusableError(
            f"entity {number} is {shown(said)}, but at {start} to {end} stands"
            f" {shown(text[start:end])}"
        )
    return Span(start, end, name(label))


def answers(context: str, value: Any, start: Any = None) -> tuple[Span, ...] | None:
    """Return where the answers stand, () when there is none, None when nobody says.

    Args:
        context: the text that they are in.
        value: a list of `{"text", "answer_start"}`, `{"text": [...], "answer_start": [...]}`, or
            one text; without a start, the answer must stand there exactly once.
        start: of the one text; a list beside a list of texts.

    Raises:
        UnusableError: an answer does not stand where it should.
    """
    if missing(value):
        return None
    if isinstance(value, list) and isinstance(start, list):
        value, start = {"text": value, "answer_start": start}, None
    if isinstance(value, str):
        found = [(value, start)]
    elif not missing(start):
        raise UnusableError("has an answer_start of its own beside a list of answers")
    else:
        found = _listed(value)
    placed = (_answer(context, *each, at) for at, each in enumerate(found, start=1))
    return tuple(dict.fromkeys(placed))  # several people often give one answer


def _listed(value: Any) -> list[tuple[Any, Any]]:
    """Return (text, start) of each answer."""
    if isinstance(value, list):
        fields = ("text", "answer_start")
        return [
            (each.get(fields[0]), each.get(fields[1])) if isinstance(each, dict) else (each, None)
            for each in value
        ]
    if not isinstance(value, dict):
        raise UnusableError(f"its answers are a {type(value).__name__}, not a list")
    texts, starts = value.get("text"), value.get("answer_start")
    if isinstance(texts, str):
        return [(texts, starts)]
    if not isinstance(texts, list):
        raise UnusableError('its answers have no list "text"')
    if starts is None:
        starts = [None] * len(texts)
    if not isinstance(starts, list) or len(starts) != len(texts):
        raise UnusableError("its answers have not as many starts as texts")
    return list(zip(texts, starts, strict=True))


def _answer(context: str, text: Any, start: Any, number: int) -> Span:
    if not isinstance(text, str) or not text.strip():
        raise UnusableError(f"answer {number} has no text")
    at = _start(start, number)
    at = _only_place(context, text) if at is None else at
    if context[at : at + len(text)] != text:
        there = context[at : at + len(text)]
        raise UnusableError(f"answer {shown(text)} is not at {at}; there stands {shown(there)}")
    span = Span(at, at + len(text))
    _refuse_parted(context, span, f"answer {shown(text)}")
    return span


def _start(value: Any, number: int) -> int | None:
    """Return the number that a start is, None without one; 0 is a number (M22)."""
    if missing(value):
        return None
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    if type(value) is not int or value < 0:
        raise UnusableError(f"answer_start {shown(value)} of answer {number} is no whole number")
    return value


def _only_place(context: str, text: str) -> int:
    places, at = [], context.find(text)
    while at >= 0:
        places.append(at)
        at = context.find(text, at + 1)
    if not places:
        alike = hangul.normalise(text) in hangul.normalise(context)
        form = " in this Unicode form (one is NFC, one is not)" if alike else ""
        raise UnusableError(f"answer {shown(text)} does not occur in the context{form}")
    if len(places) > 1:
        raise UnusableError(f"answer {shown(text)} occurs {len(places)} times; give answer_start")
    return places[0]


def _refuse_parted(text: str, span: Span, what: str) -> None:
    """Refuse a span that begins or ends inside a letter: its part has no place in NFC (DA-03)."""
    for at in (span.start, span.end):
        if 0 < at < len(text) and _inside(text, at):
            raise UnusableError(f"{what} parts a letter from its marks at {at}")


def _inside(text: str, at: int) -> bool:
    if unicodedata.combining(text[at]):
        return True
    if unicodedata.is_normalized("NFC", text):
        return False
    before, after = hangul.normalise(text[:at]), hangul.normalise(text[at:])
    return before + after != hangul.normalise(text)

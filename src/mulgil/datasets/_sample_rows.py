"""How the bundled samples lie in their files: a row a line, tabs between fields, a header first.

Chosen: marked-up text for entities, `[서하람:PS]이 왔다`, because a person can read and mend it,
and offsets cannot go stale; answers are looked up in their text for the same reason. It costs a
parser that refuses what it does not understand, with file and line, and square brackets in texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mulgil.errors import DataError
from mulgil.examples import Span

KINDS = ("PS", "LC", "OG", "DT")
"""Entities: persons, places, organisations, dates and times."""

Record = tuple[str, list[str]]
"""Where it stands, as `file:line`, and its fields."""

_MARK = re.compile(r"\[([^\[\]:]+):([^\[\]:]*)\]")
_EITHER = " | "


def records(path: Path, header: str) -> Iterator[Record]:
    """Yield the rows of a file.

    Raises:
        DataError: the header is another one, or a row has more or fewer fields.
    """
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    names = header.split()
    if lines[0].split("\t") != names:
        raise DataError(f'{path.name}:1: the header must be "{" ".join(names)}"; mend the line')
    for number, line in enumerate(lines[1:], start=2):
        place, fields = f"{path.name}:{number}", line.split("\t")
        if len(fields) != len(names):
            raise DataError(
                f"{place}: has {len(fields)} fields instead of {len(names)}; mend the line"
            )
        yield place, fields


def marked(text: str, place: str) -> tuple[str, tuple[Span, ...]]:
    """Return the plain text and its entities.

    Args:
        text: with `[name:KIND]` around each entity.
        place: `file:line`, for messages.

    Raises:
        DataError: a bracket has no match, a kind is unknown, or a name is blank at an end.
    """
    plain, spans, at = "", list[Span](), 0
    for mark in _MARK.finditer(text):
        name, kind = mark.groups()
        if kind not in KINDS:
            raise DataError(
                f'{place}: "{mark[0]}" has the kind "{kind}"; use one of {", ".join(KINDS)}'
            )
        if name != name.strip():
            raise DataError(f'{place}: "{mark[0]}" has a space at an end; put it outside')
        plain += text[at : mark.start()]
        spans.append(Span(len(plain), len(plain) + len(name), kind))
        plain += name
        at = mark.end()
    plain += text[at:]
    if "[" in plain or "]" in plain:
        raise DataError(f'{place}: "{text}" has a bracket too many; write [name:KIND]')
    return plain, tuple(spans)


def answered(context: str, answers: str, place: str) -> tuple[Span, ...]:
    """Return where the answers first stand in the text, () when there is none.

    Args:
        context: the text.
        answers: of equal right, with " | " between them; "" for no answer.
        place: `file:line`, for messages.

    Raises:
        DataError: an answer is not in the text.
    """
    spans = []
    for answer in answers.split(_EITHER) if answers else ():
        start = context.find(answer)
        if not answer or start < 0:
            raise DataError(f'{place}: answer "{answer}" is not in the text above; mend the line')
        spans.append(Span(start, start + len(answer)))
    return tuple(spans)

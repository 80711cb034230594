"""Sentences of tagged tokens, as a text and its entities.

Chosen: how a file writes its tags (IOB2, IOB1, BIOES) is read from its first sentences and told,
and a sentence that breaks the rules of its file is rejected, not repaired: which entity was meant
decides scores. It costs the sentences that other readers would mend in silence.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from mulgil import tagging
from mulgil.datasets._spans import UnusableError, shown
from mulgil.examples import Span

Scheme = Literal["IOB2", "IOB1", "BIOES"]
Joint = Literal["words", "characters"]

_MARKS = {"IOB2": "BI", "IOB1": "BI", "BIOES": "BIES"}
_PLAIN = {"S": "B", "E": "I"}


def scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """Return how tags are written, from some sentences.

    S and E are BIOES. B is IOB1's only between two entities of one kind that touch: a file in
    which it never stands elsewhere, although entities begin, is IOB1.
    """
    needless = begins = 0
    for tags in sentences:
        for before, tag in zip(["O", *tags], tags, strict=False):
            mark, _, kind = tag.partition("-")
            touches = before[1:2] == "-" and before[2:] == kind
            if mark in ("S", "E"):
                return "BIOES"
            needless += mark == "B" and not touches
            begins += mark == "I" and not touches
    return "IOB1" if begins and not needless else "IOB2"


def joined(tokens: Sequence[Any], joint: Joint) -> tuple[str, list[tuple[int, int]]]:
    """Return a sentence's text, and where each of its tokens stands.

    Args:
        tokens: words, which a space parts, or characters, which stand as they are.
        joint: which of the two.

    Raises:
        UnusableError: one is no text, or blank.
    """
    places, at = [], 0
    for number, token in enumerate(tokens, start=1):
        if not isinstance(token, str):
            raise UnusableError(f"token {number} is a {type(token).__name__}, not a text")
        if not token or (joint == "words" and not token.strip()):
            raise UnusableError(f"token {number} is empty")
        places.append((at, at + len(token)))
        at += len(token) + (joint == "words")
    return (" " if joint == "words" else "").join(tokens), places


def spans(tags: Sequence[str], places: Sequence[tuple[int, int]], written: Scheme) -> list[Span]:
    """Return the entities of a tagged sentence, in characters of its text.

    Args:
        tags: one a token.
        places: where each token stands in the text.
        written: how the file writes its tags.

    Raises:
        UnusableError: tags and tokens do not go together, or the tags break the rules.
    """
    if len(tags) != len(places):
        raise UnusableError(f"has {len(tags)} tags for {len(places)} tokens")
    kept, open_kind = [], ""
    for number, tag in enumerate(tags, start=1):
        mark, _, kind = tag.partition("-")
        kind = unicodedata.normalize("NFC", kind.strip())
        if tag != tagging.OUTSIDE and (mark not in (*_MARKS[written],) or not kind):
            marks = " or ".join(f"{each}-KIND" for each in _MARKS[written])
            raise UnusableError(f'tag {number} is {shown(tag)}; a tag is "O" or {marks}')
        _check(tag, mark, kind, open_kind, number, written)
        closes = written == "BIOES" and mark in ("E", "S")
        open_kind = "" if closes or tag == tagging.OUTSIDE else kind
        kept.append(tag if tag == tagging.OUTSIDE else f"{_PLAIN.get(mark, mark)}-{kind}")
    if written == "BIOES" and open_kind:
        raise UnusableError(f'the last tag is {shown(tags[-1])}, and no "E-{open_kind}" follows')
    return [
        Span(places[span.start][0], places[span.end - 1][1], span.label)
        for span in tagging.spans(kept, strict=False)
    ]


def _check(tag: str, mark: str, kind: str, open_kind: str, number: int, written: Scheme) -> None:
    """Refuse a tag that may not follow the one before it (EV-03)."""
    goes_on = mark in ("I", "E") and tag != tagging.OUTSIDE
    if written != "IOB1" and goes_on and kind != open_kind:
        raise UnusableError(
            f'tag {number} is {shown(tag)}, but no "B-{kind}" begins it ({written})'
        )
    if written == "BIOES" and not goes_on and open_kind:
        raise UnusableError(f'tag {number} is {shown(tag)}, but "E-{open_kind}" is missing before')

"""Hangul-safe text: NFC for the machine, and a map back to the user's own characters.

Chosen: texts are normalised to NFC here, before any tokenizer sees them, because the tokenizers
library loses the way back from NFC to a decomposed string (its offsets are wrong for every NFD
syllable). NFC composes conjoining jamo to syllables and never splits one. Nothing else is
changed: no case folding, no width folding, no removal of zero-width characters. Lone
surrogates, which no UTF-8 file can hold but a JSON escape can bring, become U+FFFD. It costs
one pass of C code a text; the map is built only for texts that were not NFC. More than 1,000
combining marks on one letter, which no language has, are put in order by the thousand.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from collections.abc import Iterator, Sequence

_SURROGATE = re.compile("[\ud800-\udfff]")
_RUN = 1_000
_JAMO = re.compile("[\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff]")


def normalise(text: str) -> str:
    """Return the text in NFC, lone surrogates replaced by U+FFFD."""
    clean = _SURROGATE.sub("\ufffd", text)
    if unicodedata.is_normalized("NFC", clean):
        return clean
    return "".join(unicodedata.normalize("NFC", piece) for piece in _bounded(clean))


def has_jamo(text: str) -> bool:
    """Say whether the text holds conjoining jamo (the parts that NFD makes of a syllable)."""
    return _JAMO.search(text) is not None


def key(text: str | tuple[str, ...]) -> str:
    """Return what makes two texts the same to the data check: NFC, runs of white space as one.

    Several texts that belong together stand a line each.
    """
    if not isinstance(text, str):
        return "\n".join(map(key, text))
    return " ".join(normalise(text).split())


def offsets(text: str) -> Sequence[tuple[int, int]] | None:
    """Map each character of `normalise(text)` to the span of `text` that it came from.

    Returns:
        One (start, end) a normalised character, or None when the text was NFC already and every
        character stands for itself.
    """
    if unicodedata.is_normalized("NFC", text):
        return None
    spans: list[tuple[int, int]] = []
    start = 0
    for end in _boundaries(text):
        spans += [(start, end)] * len(normalise(text[start:end]))
        start = end
    return spans


def to_user(span: tuple[int, int], spans: Sequence[tuple[int, int]] | None) -> tuple[int, int]:
    """Turn a span of the normalised text into one of the user's own text.

    Args:
        span: (start, end) in `normalise(text)`.
        spans: what `offsets(text)` returned.
    """
    if spans is None:
        return span
    start, end = span
    if start >= end:
        place = spans[start][0] if start < len(spans) else (spans[-1][1] if spans else 0)
        return place, place
    return spans[start][0], spans[end - 1][1]


def from_user(span: tuple[int, int], spans: Sequence[tuple[int, int]] | None) -> tuple[int, int]:
    """Turn a span of the user's own text into one of the normalised text.

    An edge in the midst of a character that is composed moves outward.

    Args:
        span: (start, end) in the user's text, not empty.
        spans: what `offsets(text)` returned.
    """
    if spans is None:
        return span
    start, end = span
    first = bisect.bisect_right(spans, start, key=lambda own: own[1])
    last = bisect.bisect_left(spans, end, key=lambda own: own[0])
    return first, last


def _bounded(text: str) -> Iterator[str]:
    """Cut endless runs of combining marks: to put n of them in order, Python takes n * n steps."""
    start = run = 0
    if len(text) > _RUN:
        for i, character in enumerate(text):
            run = run + 1 if unicodedata.combining(character) else 0
            if run > _RUN:
                yield text[start:i]
                start, run = i, 1
    yield text[start:]


def _boundaries(text: str) -> list[int]:
    """Return the ends of pieces that normalise by themselves: NFC(a + b) = NFC(a) + NFC(b)."""
    ends = []
    start = 0
    for i in range(1, len(text)):
        if unicodedata.combining(text[i]):
            continue
        if _apart(text[start:i], text[i]):
            ends.append(i)
            start = i
    return [*ends, len(text)] if text else []


def _apart(piece: str, after: str) -> bool:
    return normalise(piece + after) == normalise(piece) + normalise(after)

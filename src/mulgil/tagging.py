"""Tags of a sequence (O, B-KIND, I-KIND) read into spans, and written from them.

Chosen: two named readings of tags that break the rules, because a published score hangs on the one
that its authors used, often unsaid. `strict` is IOB2 as seqeval reads it with `mode="strict"`:
what does not begin with B is no entity. The other is that of CoNLL's `conlleval`: an I-KIND after
O or after another kind begins an entity. On tags that keep the rules both are the same. It costs
the reader a choice; there is no default.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mulgil.examples import Span

OUTSIDE = "O"


def spans(tags: Sequence[str], strict: bool) -> tuple[Span, ...]:
    """Return the entities of a tagged sequence, in order.

    Args:
        tags: "O", "B-KIND" or "I-KIND" for each place; a kind may hold hyphens.
        strict: leave out runs of I that no B of their kind begins, instead of taking their first
            tag for a B.

    Raises:
        ValueError: a tag is none of these; the message names its place, from 1.
    """
    found: list[Span] = []
    before = ""  # kind of the place before, whether it is in an entity or not
    for place, tag in enumerate(tags):
        mark, kind = _parts(tag, place)
        begins = mark == "B" or (kind != before and not strict)
        if kind and begins:
            found.append(Span(place, place + 1, kind))
        elif kind == before and found and found[-1].end == place:
            found[-1] = Span(found[-1].start, place + 1, kind)
        before = kind
    return tuple(found)


def tags(spans: Iterable[Span], size: int) -> list[str]:
    """Return the tag of each place: B-LABEL where a span begins, I-LABEL inside it, O elsewhere.

    Args:
        spans: without overlap, in any order.
        size: length of the sequence.

    Raises:
        ValueError: a span is empty, stands outside the sequence, or overlaps another one.
    """
    written = [OUTSIDE] * size
    for span in spans:
        stretch = slice(span.start, span.end)
        if not 0 <= span.start < span.end <= size:
            raise ValueError(f"{span} is no stretch of a sequence of {size}")
        if any(tag != OUTSIDE for tag in written[stretch]):
            raise ValueError(f"{span} overlaps another span")
        written[stretch] = [f"I-{span.label}"] * (span.end - span.start)
        written[span.start] = f"B-{span.label}"
    return written


def _parts(tag: str, place: int) -> tuple[str, str]:
    """Return (mark, kind) of a tag; the kind of O is ""."""
    mark, _, kind = tag.partition("-")
    if tag != OUTSIDE and (mark not in {"B", "I"} or not kind):
        raise ValueError(f'tag {place + 1} is "{tag}"; a tag is "O", "B-KIND" or "I-KIND"')
    return mark, kind

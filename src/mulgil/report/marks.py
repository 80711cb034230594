"""Gold and found stretches of a text, marked in the text itself.

Chosen: stretches that touch the same characters form a group, and each group gets one sign and one
kind of line, so that a reader who sees no colours reads the same: right, missed (–), invented (+),
of another kind (A→B), and with other borders, where [ ] holds the gold stretch and ( ) the one that
was found. It costs a legend.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from mulgil import hangul
from mulgil.report.visible import visible

REACH = 160
"""Characters that are shown on either side of a mark; the rest of a long text is left out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a text.

    Attributes:
        start: number of its first character.
        end: number of the character after its last.
        label: its kind; "" where there are no kinds.
    """

    start: int
    end: int
    label: str = ""

    def touches(self, other: Stretch) -> bool:
        """Return whether the two share a character."""
        return self.start < other.end and other.start < self.end


@dataclasses.dataclass(slots=True)
class Group:
    """Stretches that touch the same characters, or one that stands alone."""

    start: int
    end: int
    gold: list[Stretch]
    said: list[Stretch]

    @property
    def state(self) -> str:
        """What became of it: "right", "missed", "invented", "kind" or "borders"."""
        if not self.said:
            return "missed"
        if not self.gold:
            return "invented"
        if len(self.gold) > 1 or len(self.said) > 1:
            return "borders"
        gold, said = self.gold[0], self.said[0]
        if (gold.start, gold.end) != (said.start, said.end):
            return "borders"
        return "right" if gold.label == said.label else "kind"


def stretches(text: str, spans: Any) -> list[Stretch]:
    """Return the stretches that a row of predictions.jsonl lists.

    Args:
        text: the row's.
        spans: a list of objects with `start`, `end`, `label` and the `text` between.

    Raises:
        KeyError, TypeError, ValueError: they are not of that text.
    """
    found = []
    for span in spans:
        start, end, label = span["start"], span["end"], span["label"]
        if not (type(start) is int and type(end) is int and isinstance(label, str)):
            raise TypeError("no stretch")
        if not 0 <= start < end <= len(text):
            raise ValueError("not within this text")
        if hangul.normalise(span["text"]) != hangul.normalise(text[start:end]):
            raise ValueError("not of this text")
        found.append(Stretch(start, end, label))
    return found


def groups(gold: Sequence[Stretch], said: Sequence[Stretch]) -> list[Group]:
    """Return the stretches in groups, in the order of the text."""
    found: list[Group] = []
    both = [(s.start, s.end, 0, s) for s in gold] + [(s.start, s.end, 1, s) for s in said]
    for start, end, side, stretch in sorted(both, key=lambda item: item[:3]):
        if not found or start >= found[-1].end:
            found.append(Group(start, end, [], []))
        group = found[-1]
        group.end = max(group.end, end)
        (group.said if side else group.gold).append(stretch)
    return found


def marked(text: str, marks: Sequence[Group]) -> Markup:
    """Return the text with its groups marked; far from any of them it is left out."""
    shown, at, last = [], 0, len(marks) - 1
    for i, group in enumerate(marks):
        shown += [_between(text, at, group.start, bool(i), True), _mark(text, group)]
        at = group.end
        if i == last:
            shown.append(_between(text, at, len(text), True, False))
    return Markup("").join(shown or [_between(text, 0, len(text), True, False)])


def _between(text: str, start: int, end: int, after: bool, before: bool) -> Markup:
    """Return text between marks, its middle left out where it is long.

    Args:
        text: the whole.
        start: where the stretch begins.
        end: where it ends.
        after: whether a mark stands before it.
        before: whether a mark follows it.
    """
    left, right = (REACH if side else 0 for side in (after, before))
    if end - start <= left + right + 8:
        return visible(text[start:end])
    gap = Markup('<span class="soft"> … </span>')
    return visible(text[start : start + left]) + gap + visible(text[end - right : end])


def _mark(text: str, group: Group) -> Markup:
    state = group.state
    inside = _borders(text, group) if state == "borders" else visible(text[group.start : group.end])
    sign = _sign(group)
    tag = Markup('<span class="tag">{}</span>').format(visible(sign)) if sign else Markup("")
    return Markup('<span class="mark {}">{}{}</span>').format(state, inside, tag)


def _sign(group: Group) -> str:
    """Return what stands behind a mark: a sign and the kinds."""
    gold, said = (
        "·".join(dict.fromkeys(s.label for s in side)) for side in (group.gold, group.said)
    )
    if group.state == "missed":
        return f"– {gold}".strip()
    if group.state == "invented":
        return f"+ {said}".strip()
    return gold if gold == said else f"{gold}→{said}"


def _borders(text: str, group: Group) -> Markup:
    """Return a group's text, [ ] around what is gold and ( ) around what was found."""
    signs: dict[int, list[str]] = {}
    for side, opening, closing in ((group.gold, "[", "]"), (group.said, "(", ")")):
        for stretch in side:
            signs.setdefault(stretch.start, []).append(opening)
            signs.setdefault(stretch.end, []).insert(0, closing)
    places = sorted(signs)
    shown = []
    for place, after in zip(places, [*places[1:], group.end], strict=True):
        # What closes here closes before anything opens.
        order = sorted(signs[place], key="])[(".index)
        shown += [Markup('<span class="edge">{}</span>').format("".join(order))]
        shown += [visible(text[place:after])]
    return Markup("").join(shown)

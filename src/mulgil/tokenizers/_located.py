"""Windows of texts whose characters are scored: which token and which place in it stands for each.

Chosen: every character that is no white space has a unit, whatever the vocabulary makes of it: one
that a normaliser drops goes with the token before it (the first ones with the special token there),
one that is spelt in several tokens with the first of them. So a span of characters always comes
back exactly, although Korean pieces run over the end of a word's stem. A long text is cut into
windows that share `stride` tokens; a question before it is whole in each of them, but for one that
would take more than half of the room. It costs 12 bytes a character.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np

from mulgil.errors import ModelError
from mulgil.flow import Array, Located, Template
from mulgil.tokenizers._ragged import Ragged

Pieces = list[tuple[int, tuple[int, int]]]
"""(id, (start, end) in the text) of each token."""


class LocatedRows(Ragged):
    """Windows with their units.

    Args:
        rows: ids, kinds and units of each window; a unit is (token, place, character).
        owners: the text that each window is of.
        texts: how many texts there were.
        pad: id that fills a batch up.
        truncated: questions that were cut.
        unknown: share of unknown tokens.
        split: whether the model tells two texts apart by their kind.
        most: as in `Ragged`.
    """

    def __init__(
        self,
        rows: Sequence[tuple[list[int], list[int], list[tuple[int, int, int]]]],
        owners: Sequence[int],
        texts: int,
        pad: int,
        truncated: int,
        unknown: float,
        split: bool,
        most: int,
    ) -> None:
        flat = np.array([number for ids, _, _ in rows for number in ids], np.int32)
        starts = np.cumsum([0, *(len(ids) for ids, _, _ in rows)])
        kinds = np.array([kind for _, of, _ in rows for kind in of], np.int8) if split else None
        super().__init__(flat, starts, pad, truncated, unknown, kinds, most)
        self.owners = np.array(owners, np.int64)
        self.texts = texts
        units = [unit for _, _, found in rows for unit in found]
        self._units: Array = np.array(units, np.int32).reshape(-1, 3)
        self._begins = np.cumsum([0, *(len(found) for _, _, found in rows)])

    def units(self, window: int) -> Array:
        """Return int64 [U], the character in the text of each unit of a window; -1 for the first.

        The first unit stands for the token that begins the window.
        """
        found: Array = self._units[self._begins[window] : self._begins[window + 1], 2]
        return found.astype(np.int64)

    def take(self, rows: Array, multiple: int) -> Located:  # type: ignore[override]
        ids, lengths, kinds = self._padded(rows, multiple)
        found = [self._units[self._begins[row] : self._begins[row + 1]] for row in rows]
        counts = np.array([len(part) for part in found], np.int64)
        units = np.concatenate(found).astype(np.int64)
        tokens = units[:, 0] + np.repeat(np.arange(len(rows)) * ids.shape[1], counts)
        return Located(ids, lengths, kinds, tokens, units[:, 1], counts)

    def arrays(self) -> None:
        return None


def located(
    questions: Sequence[Pieces] | None,
    texts: Sequence[str],
    pieces: Sequence[Pieces],
    made: Template,
    max_length: int,
    stride: int,
    pad: int,
    unknown: int | None,
) -> LocatedRows:
    """Cut texts into windows and find the units of each.

    Args:
        questions: what stands before each text, or None.
        texts: in NFC.
        pieces: the texts' tokens, whole and without special tokens.
        made: the template, for two texts where there are questions.
        max_length: longest window.
        stride: tokens that two windows share; half of the room at most.
        pad: id that fills a batch up.
        unknown: id of what the vocabulary lacks.

    Raises:
        ModelError: a window has no room for a text.
    """
    free = max_length - made.size
    if free < 2:
        raise ModelError(
            f"tokenizer.max_length is {max_length}, but a window needs {made.size + 2} or more"
        )
    rows, owners, cut, lost, own = [], [], 0, 0, 0
    for owner, (text, found) in enumerate(zip(texts, pieces, strict=True)):
        asked = [number for number, _ in questions[owner]] if questions is not None else None
        if asked is not None and len(asked) > free // 2:
            asked, cut = asked[: free // 2], cut + 1
        room = free - len(asked or ())
        before = len(made.slots[0]) + (0 if asked is None else len(asked) + len(made.slots[1]))
        units = _units(text, found)
        for start in _starts(len(found), room, min(stride, room // 2)):
            numbers = [number for number, _ in found[start : start + room]]
            ids, kinds = made.row(numbers) if asked is None else made.row(asked, numbers)
            rows.append((ids, kinds, [(0, 0, -1), *_within(units, start, room, before)]))
            owners.append(owner)
        own += len(found)
        lost += sum(number == unknown for number, _ in found)
    share = lost / own if own and unknown is not None else 0.0
    return LocatedRows(rows, owners, len(texts), pad, cut, share, made.split, max_length)


def _starts(tokens: int, room: int, stride: int) -> range | list[int]:
    """Return where windows begin, so that the last one ends with the text."""
    if tokens <= room:
        return [0]
    return range(0, tokens - stride, room - stride)


def _units(text: str, pieces: Pieces) -> list[tuple[int, int, int]]:
    """Return (token, place in it, character) for each character of a text; token -1 before all."""
    spans = [(token, span) for token, (_, span) in enumerate(pieces) if span[0] < span[1]]
    spans.insert(0, (-1, (0, 0)))
    units: list[tuple[int, int, int]] = []
    reached = 0
    for number, (token, (start, end)) in enumerate(spans):
        while start < end and text[start].isspace():
            start += 1
        after = spans[number + 1][1][0] if number + 1 < len(spans) else len(text)
        for character in range(max(start, reached), max(end, after)):
            if not text[character].isspace():
                units.append((token, character - start, character))
        reached = max(reached, end, after)
    return units


def _within(
    units: Sequence[tuple[int, int, int]], start: int, room: int, before: int
) -> list[tuple[int, int, int]]:
    """Return the units of a window from token `start` on; `before` of it stand in front."""
    first = bisect.bisect_left(units, start if start else -1, key=lambda unit: unit[0])
    last = bisect.bisect_left(units, start + room, key=lambda unit: unit[0])
    return [
        (max(before + token - start, 0), place, character)
        for token, place, character in units[first:last]
    ]

"""Two texts in one row: where a model's special tokens stand around them, and what is cut.

Chosen: the places of the special tokens are read off the tokenizer's own template once, and rows
are put together here, so that each of the two texts has been made safe by itself and a window of
the second one is a matter of slicing. Where both do not fit, the longer one is cut first, to the
same tokens as with transformers' "longest_first". It costs one trial encoding, and a template that
depends on the text would not be noticed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tokenizers

from mulgil.errors import ModelError
from mulgil.flow import Array, Template
from mulgil.tokenizers._ragged import Ragged

_PROBE = "가 a 1"  # a vocabulary may lack one of them


def template(backend: tokenizers.Tokenizer, texts: int) -> Template:
    """Read the template for one text or two off a tokenizer.

    Raises:
        ModelError: it puts no token between two texts.
    """
    found = backend.encode(_PROBE, _PROBE) if texts == 2 else backend.encode(_PROBE)
    slots: list[list[int]] = [[] for _ in range(texts + 1)]
    slot_kinds: list[list[int]] = [[] for _ in range(texts + 1)]
    kinds, before = [0] * texts, 0
    for place, own in enumerate(found.sequence_ids):
        if own is None:
            slots[before].append(found.ids[place])
            slot_kinds[before].append(found.type_ids[place])
        else:
            before = own + 1
            kinds[own] = found.type_ids[place]
    if texts == 2 and not slots[1]:  # types alone do not count: without a template they are there
        raise ModelError(
            "tokenizer: has no template for two texts (no token parts them); take a model that was"
            " made for pairs, such as an encoder"
        )
    return Template(tuple(map(tuple, slots)), tuple(map(tuple, slot_kinds)), tuple(kinds))


def paired(
    first: Sequence[list[int]],
    second: Sequence[list[int]],
    made: Template,
    max_length: int,
    pad: int,
    unknown: int | None,
) -> Ragged:
    """Return rows of two texts each.

    Args:
        first: ids of the first texts, whole and without special tokens.
        second: ids of the second texts.
        made: the template for two texts.
        max_length: longest row; the longer text is cut first.
        pad: id that fills a batch up.
        unknown: id of what the vocabulary lacks.
    """
    room = max_length - made.size
    if room < 2:
        raise ModelError(
            f"tokenizer.max_length is {max_length}, but two texts need {made.size + 2} or more"
        )
    flat: list[int] = []
    kinds: list[int] = []
    starts, cut, lost, own = [0], 0, 0, 0
    for a, b in zip(first, second, strict=True):
        left, right = _fitted(len(a), len(b), room)
        cut += left < len(a) or right < len(b)
        lost += a[:left].count(unknown) + b[:right].count(unknown) if unknown is not None else 0
        own += left + right
        ids, of = made.row(a[:left], b[:right])
        flat += ids
        kinds += of
        starts.append(len(flat))
    told: Array | None = np.array(kinds, np.int8) if made.split else None
    share = lost / own if own else 0.0
    starts_at = np.array(starts)
    return Ragged(np.array(flat, np.int32), starts_at, pad, cut, share, told, max_length)


def _fitted(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how much of two texts is kept; the longer one gets what the shorter one leaves."""
    short = min(first, second, room // 2)
    long = min(max(first, second), room - short)
    return (short, long) if first <= second else (long, short)

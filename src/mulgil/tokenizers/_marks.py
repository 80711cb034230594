"""What the marks of a vocabulary's pieces say: bytes that a piece stands for, words that it begins.

Chosen: the marks of the usual vocabularies are known by name (`##`, `▁`, `Ġ`, `<0xE2>`), because
none of their files says what they mean. It costs that a mark of another kind counts as text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mulgil.flow import Array

_BYTE = re.compile("<0x[0-9A-F]{2}>")


def byte_lengths(pieces: Sequence[str], letters: bool) -> Array:
    """Return float64 [V], the bytes in UTF-8 that each piece stands for.

    A mark for the space before a word counts as that space, marks for "goes on" as nothing.

    Args:
        pieces: of the vocabulary, by id.
        letters: each letter of a piece stands for one byte (byte-level vocabularies).
    """
    return np.array([len(piece) if letters else _bytes(piece) for piece in pieces], np.float64)


def begins(pieces: Sequence[str]) -> Array:
    """Return bool [V], whether a piece begins a word: all do that do not go on with one."""
    if any(piece.startswith("##") for piece in pieces):
        marks = [not piece.startswith("##") for piece in pieces]
    else:
        marks = [piece[:1] in {"▁", "Ġ"} or not piece[:1].isalnum() for piece in pieces]
    return np.array(marks, np.bool_)


def _bytes(piece: str) -> int:
    """Return the bytes that a piece of any of the usual vocabularies stands for."""
    if _BYTE.fullmatch(piece):
        return 1
    plain = piece.removeprefix("##").replace("▁", " ").replace("Ġ", " ")
    return len(plain.encode("utf-8", "surrogatepass"))

"""Text files of a test, read as a corpus."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mulgil.datasets.corpus import Corpus
from mulgil.examples import PassageExample
from mulgil.flow import Parts

Read = Callable[..., Parts]


def reader(folder: Path) -> Read:
    """Return what writes files into the folder and reads it: `read({"a.txt": "..."}, unit=...)`."""

    def read(files: dict[str, str | bytes] | None = None, **options: Any) -> Parts:
        for name, content in (files or {}).items():
            raw = content.encode() if isinstance(content, str) else content
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        shares = {"valid_share": 0.0, "test_share": 0.0, "max_rejected": 1.0}
        options = {"paths": [str(folder)]} | shares | options
        return Corpus(Corpus.Settings(**options)).read({})

    return read


def texts(parts: Parts, part: str = "train") -> list[str]:
    return [row.text for row in parts.rows[part] if isinstance(row, PassageExample)]


def ids(parts: Parts, part: str = "train") -> list[str]:
    return [row.id for row in parts.rows[part]]


def note(parts: Parts, start: str) -> str:
    return next(note for note in parts.notes if note.startswith(start))


def sentences(count: int, seed: int = 1) -> list[str]:
    """Return different sentences of ten words of five random syllables."""
    draw = np.random.default_rng(seed)
    codes = draw.integers(0xAC00, 0xD7A4, (count, 59))
    codes[:, 5::6] = ord(" ")
    return ["".join(map(chr, row)) for row in codes.tolist()]

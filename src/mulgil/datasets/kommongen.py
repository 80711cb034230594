"""KommonGen: a set of Korean words in, a sensible sentence that has them all out.

Chosen: the 1,000 published development rows are the training part, from which the validation is
cut, and the 1,432 rows of test 1.1 are the test; a note says so. No set of words and no sentence
of the test is among the development rows.

What costs: with so few rows to learn from, a figure is not to be put beside published ones, whose
systems learnt from other rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.datasets._writing import numbered, pair, sifted
from mulgil.examples import WritingExample
from mulgil.flow import Parts, Rejected, Source

_ADDRESS = (
    "https://raw.githubusercontent.com/nlpai-lab/KommonGen/"
    "1481e307c1af22130af73b38e2f9c46b2d9d08c8/dataset/"
)


class Kommongen(Dataset):
    """Korean commonsense generation: set of words to sentence."""

    title = "KommonGen, development rows and test 1.1"
    shape = "writing"
    licence = "MIT"
    citation = (
        "Seo et al.: KommonGen, Korean generative commonsense reasoning,"
        " https://github.com/nlpai-lab/KommonGen"
    )
    sources = (
        Source(
            path="kommongen/kommongen_dev.json",
            url=_ADDRESS + "kommongen_dev.json",
            sha256="9320c5da382b2aef9971a477967be1be69e1ccf3e3e9f97346b087a00f18d901",
            size=118_102,
        ),
        Source(
            path="kommongen/kommongen_test_1.1.json",
            url=_ADDRESS + "kommongen_test_1.1.json",
            sha256="aa98a33ae4e8f2532c8dd3d7e2357bb360331361d750f0a824da7af68394d72f",
            size=180_851,
        ),
    )

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = Parts(rows={})
        for source, name in zip(self.sources, ("train", "test"), strict=True):
            found = (
                _row(line, f"{name}:line {number}") for number, line in numbered(files[source.path])
            )
            parts.rows[name] = sifted(found, parts.rejected)
        parts.notes.append(
            f"train: the {len(parts.rows['train']):,} rows that are published for development"
        )
        return parts


def _row(line: str, place: str) -> WritingExample | Rejected:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return Rejected(place, "not JSON")
    words = row.get("concept-set") if isinstance(row, dict) else None
    sentence = row.get("scene") if isinstance(row, dict) else None
    if not isinstance(words, str) or not isinstance(sentence, str):
        return Rejected(place, "concept-set or scene is missing or not a text")
    return pair(place, source=words, target=sentence)

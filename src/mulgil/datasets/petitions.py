"""Petitions to the Blue House: 3,691 long Korean texts in 17 unequal categories.

Chosen: six months of the archive (August 2017, April to August 2019), every row kept. The text is
the title, a newline and the content (23 have a title only); the label is the category that the
petitioner chose. There is no official split, so all rows are one part, "all". Petitions that were
posted more than once stay: the data check reports them, and whoever cuts the parts decides.

What costs: the labels are what people ticked, not what somebody checked, and 419 ticked "기타"
(other); the biggest category is 12 times the smallest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.datasets._petitions import CITATION, LICENCE, SOURCES, Petition, petitions
from mulgil.examples import Example, TextExample
from mulgil.flow import Parts, Rejected


class Petitions(Dataset):
    """Petitions to the Blue House, six months, with the category as label."""

    title = "Blue House petitions, six months, 17 categories"
    licence = LICENCE
    citation = CITATION
    sources = SOURCES

    def read(self, files: Mapping[str, Path]) -> Parts:
        rows: list[Example] = []
        parts = Parts(rows={"all": rows})
        for found in petitions(files[self.sources[0].path]):
            row = _row(found)
            if isinstance(row, Rejected):
                parts.rejected.append(row)
            else:
                rows.append(row)
        return parts


def _row(found: Petition | Rejected) -> TextExample | Rejected:
    if isinstance(found, Rejected):
        return found
    if not found.category.strip():
        return Rejected(found.name, "empty category")
    text = "\n".join(piece for piece in (found.title, found.content) if piece.strip())
    if not text:
        return Rejected(found.name, "empty text")
    return TextExample(found.name, text, found.category)

"""Titles of petitions: 3,691 long Korean texts, each with the headline that its writer chose.

Chosen: the content is read and the title is to be written; 23 petitions have a title only and 9
repeat it as their content, those are rejected. There is no official split, so all rows are one
part, "all"; petitions that were posted more than once stay, and equal contents stay on one side
of a cut.

What costs: the titles are what people typed into a form, often a cry rather than a summary, and
many contents are longer than a model reads. A headline measure says less here than on news.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.datasets._petitions import CITATION, LICENCE, SOURCES, Petition, petitions
from mulgil.datasets._writing import pair, sifted
from mulgil.examples import WritingExample
from mulgil.flow import Parts, Rejected


class PetitionTitles(Dataset):
    """Petitions to the Blue House, six months: content to title."""

    title = "Blue House petitions, six months, content to title"
    shape = "writing"
    licence = LICENCE
    citation = CITATION
    sources = SOURCES

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = Parts(rows={})
        found = map(_row, petitions(files[self.sources[0].path]))
        parts.rows["all"] = sifted(found, parts.rejected)
        return parts


def _row(found: Petition | Rejected) -> WritingExample | Rejected:
    if isinstance(found, Rejected):
        return found
    return pair(found.name, source=found.content, target=found.title)

"""Petitions to the Blue House: 3,691 long Korean texts in 17 unequal categories.

Chosen: six months of the archive (August 2017, April to August 2019), every row kept. The text is
the title, a newline and the content (23 have a title only); the label is the category that the
petitioner chose. There is no official split, so all rows are one part, "all". Petitions that were
posted more than once stay: the data check reports them, and whoever cuts the parts decides.

What costs: the labels are what people ticked, not what somebody checked, and 419 ticked "기타"
(other); the biggest category is 12 times the smallest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.examples import Example, TextExample
from mulgil.fetch import Joined
from mulgil.flow import Parts, Rejected, Source

_ADDRESS = (
    "https://raw.githubusercontent.com/lovit/petitions_archive/"
    "03dc3f3d69e03a0a4885350c6991e328fc0a6b81/"
)
_FIELDS = ("petition_idx", "category", "title", "content")
_MONTHS = {
    "2017-08": (
        1_838_533,
        "13f09d466b6a8f5732bf5609f0799701dc397c5740d75275b5977bd9930c4729",
    ),
    "2019-04": (
        2_036_030,
        "6db47ca63b0f46731ec22a2043aa55bd2928efd620bf9cc8c52726f7962b2fc0",
    ),
    "2019-05": (
        2_581_665,
        "624dadd3d1f8b5ed9065e7b539095990dcb1babe40fb6b9d45f3feb025f8b5a6",
    ),
    "2019-06": (
        2_139_900,
        "28886a963d2fabdad0e90ec2d64adf42dc0668389250fb6a4969fad968240282",
    ),
    "2019-07": (
        2_356_267,
        "bc15c72d2e0e15ff0b05488127841a110784168149ef17f578622c9103771e12",
    ),
    "2019-08": (
        2_471_734,
        "6364e84171bb4ddbc03cf1445d91e19d05bfe568baeceb0a573079092e8a5500",
    ),
}


class Petitions(Dataset):
    """Petitions to the Blue House, six months, with the category as label."""

    title = "Blue House petitions, six months, 17 categories"
    licence = "KOGL type 1 (attribution)"
    citation = (
        "Cheong Wa Dae national petitions (청와대 국민청원), collected by Hyunjoong Kim,"
        " https://github.com/lovit/petitions_archive"
    )
    sources = (
        Joined(
            path="petitions/petitions_6months.jsonl",
            url="https://github.com/lovit/petitions_archive",
            sha256="2d26dece5902669da50dbc9ef30a725e325a5de6aa8112ce6bd05048a5d0187f",
            size=13_424_129,
            pieces=tuple(
                Source(
                    path=f"petitions/petitions_{month}",
                    url=f"{_ADDRESS}petitions_{month}",
                    sha256=sha256,
                    size=size,
                )
                for month, (size, sha256) in _MONTHS.items()
            ),
        ),
    )

    def read(self, files: Mapping[str, Path]) -> Parts:
        rows: list[Example] = []
        parts = Parts(rows={"all": rows})
        with files[self.sources[0].path].open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                row = _row(line, number)
                if isinstance(row, Rejected):
                    parts.rejected.append(row)
                else:
                    rows.append(row)
        return parts


def _row(line: str, number: int) -> TextExample | Rejected:
    place = f"line {number}"
    try:
        petition = json.loads(line)
    except (ValueError, RecursionError):
        return Rejected(place, "not JSON")
    if not isinstance(petition, dict):
        return Rejected(place, "not a JSON object")
    fields = [petition.get(key) for key in _FIELDS]
    if not all(isinstance(field, str) for field in fields):
        return Rejected(place, f"one of {', '.join(_FIELDS)} is missing or not a text")
    name, category, title, content = map(str, fields)
    if not category.strip():
        return Rejected(name, "empty category")
    text = "\n".join(piece for piece in (title, content) if piece.strip())
    return TextExample(name, text, category) if text else Rejected(name, "empty text")

"""What the two data sets of petitions share: the file, and how its lines become petitions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mulgil.fetch import Joined
from mulgil.flow import Rejected, Source

CITATION = (
    "Cheong Wa Dae national petitions (청와대 국민청원), collected by Hyunjoong Kim,"
    " https://github.com/lovit/petitions_archive"
)
LICENCE = "KOGL type 1 (attribution)"

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

SOURCES = (
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


class Petition(NamedTuple):
    """One petition, every field as published."""

    name: str
    category: str
    title: str
    content: str


def petitions(path: Path) -> Iterator[Petition | Rejected]:
    """Yield the petition of each line, or why it cannot be read."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            yield _petition(line, f"line {number}")


def _petition(line: str, place: str) -> Petition | Rejected:
    try:
        petition = json.loads(line)
    except (ValueError, RecursionError):
        return Rejected(place, "not JSON")
    if not isinstance(petition, dict):
        return Rejected(place, "not a JSON object")
    fields = [petition.get(key) for key in _FIELDS]
    if not all(isinstance(field, str) for field in fields):
        return Rejected(place, f"one of {', '.join(_FIELDS)} is missing or not a text")
    return Petition(*map(str, fields))

"""Shared by the data sets of KLUE v1.1: where its files are, and its lists of JSON objects.

Only the published development files are used: KLUE's test answers were never published, and the
training files are left to whoever has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mulgil.datasets._labelled import Made, loaded
from mulgil.errors import DataError
from mulgil.flow import Rejected

ADDRESS = (
    "https://raw.githubusercontent.com/KLUE-benchmark/KLUE/"
    "3efd98708a40ff49251fddde35453f8fbb11f536/klue_benchmark/"
)
CITATION = (
    "Park et al. 2021: KLUE: Korean Language Understanding Evaluation, arXiv:2105.09680,"
    " https://github.com/KLUE-benchmark/KLUE"
)
LICENCE = "CC BY-SA 4.0"


def listed(path: Path, make: Callable[[str, dict[str, Any]], Made]) -> Iterator[Made]:
    """Yield what `make(guid, fields)` makes of each object of a list.

    Raises:
        DataError: the file is not JSON, or no list.
    """
    entries = loaded(path)
    if not isinstance(entries, list):
        raise DataError(f"{path}: is not a list of rows; get the published file")
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, dict) and isinstance(entry.get("guid"), str):
            yield make(entry["guid"], entry)
        else:
            yield Rejected(f"{path.name}: row {number}", 'not an object with a "guid"')

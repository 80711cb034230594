"""Shared by the data sets of KLUE v1.1: where its files are, and its lists of JSON objects.

Two ways lead to KLUE. For NLI, STS and NER the published development files are pinned, fetched and
checked, and nobody learns from KLUE's own training files. For the others (`Brought`) the user
brings both files below `MULGIL_DATA`: no checksum of them is known here, so that nothing can be
pinned or fetched. KLUE's test answers were never published.

Chosen: what cannot be checked is read all the same, and a note of every run says so. It costs that
a damaged file is found out only where a row of it makes no sense.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mulgil.contracts import Dataset
from mulgil.datasets._labelled import Made, add, loaded
from mulgil.errors import DataError
from mulgil.flow import Parts, Rejected, Source

ADDRESS = (
    "https://raw.githubusercontent.com/KLUE-benchmark/KLUE/"
    "3efd98708a40ff49251fddde35453f8fbb11f536/klue_benchmark/"
)
_HOME = "https://github.com/KLUE-benchmark/KLUE"
CITATION = (
    f"Park et al. 2021: KLUE: Korean Language Understanding Evaluation, arXiv:2105.09680, {_HOME}"
)
LICENCE = "CC BY-SA 4.0"

Row = Callable[[str, dict[str, Any]], Made]
"""Makes a row of its id and its fields."""


# ---------------------------------------------------------------- tested on KLUE, learnt elsewhere


def tested_on(name: str, sha256: str, size: int) -> Source:
    """Return the development file of a list, such as "klue-nli-v1.1"."""
    file = f"{name}_dev.json"
    return Source(f"klue/{file}", f"{ADDRESS}{name}/{file}", sha256, size)


def borrowed(
    files: Mapping[str, Path],
    sources: Sequence[Source],
    learnt: Callable[[Path], Iterable[Made]],
    make: Row,
    note: str,
) -> Parts:
    """Return the parts of a data set that learns from other people's rows.

    Args:
        files: as `Dataset.read` has them.
        sources: of train, valid and test; the test is KLUE's.
        learnt: reads a file of the other people.
        make: makes a row of KLUE's.
        note: what the user should know of it.
    """
    train, valid, test = (files[source.path] for source in sources)
    parts = Parts(rows={}, notes=[note])
    add(parts, "train", learnt(train))
    add(parts, "valid", learnt(valid))
    add(parts, "test", rows(listed(test), test, make))
    return parts


# ---------------------------------------------------------------- brought by the user


class Brought(Dataset):
    """A data set whose two files the user brings; the development file is the test."""

    licence = LICENCE
    citation = CITATION
    name: ClassVar[str] = ""
    """What its files are called before `_train.json` and `_dev.json`."""

    def files(self) -> tuple[Path, ...]:
        """Return the training file and the development file, either of which may be gzipped.

        Raises:
            DataError: they are not below the folder that `MULGIL_DATA` names.
        """
        own = os.environ.get("MULGIL_DATA")
        folder = Path(own or ".").expanduser()
        wanted = [f"klue/{self.name}_{part}.json" for part in ("train", "dev")]
        found = [
            next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), None)
            for name in wanted
        ]
        missing = [name for name, path in zip(wanted, found, strict=True) if not (own and path)]
        if missing:
            raise DataError(
                f'data "{self.title}": {" and ".join(missing)} not found below MULGIL_DATA'
                f" ({own or 'not set'}); take klue_benchmark/{self.name} of {_HOME}, put it at"
                f" {'these paths' if len(missing) > 1 else 'this path'} below a folder (.gz will"
                " do), and name the folder in MULGIL_DATA"
            )
        return tuple(path for path in found if path)

    def read(self, files: Mapping[str, Path]) -> Parts:
        """Return the parts "train" and "test" of the user's own files.

        Raises:
            DataError: a file is missing, cannot be read, or has another form.
        """
        train, test = self.files()
        parts = Parts(
            rows={},
            notes=[
                f"{train.name}, {test.name}: not checked: no published checksum is known",
                "the test is KLUE's development part: not comparable with KLUE's leaderboard",
            ],
        )
        for part, path in (("train", train), ("test", test)):
            add(parts, part, rows(self.entries(path), path, self.row))
        return parts

    def entries(self, path: Path) -> Iterable[Any]:
        """Return the entries of a file: those of a list, where no other form is known."""
        return listed(path)

    @abstractmethod
    def row(self, guid: str, entry: dict[str, Any]) -> Made:
        """Return the row of an entry, or why there is none."""


# ---------------------------------------------------------------- JSON


def rows(entries: Iterable[Any], path: Path, make: Row) -> Iterator[Made]:
    """Yield what `make(guid, fields)` makes of each object; the others are counted."""
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, dict) and isinstance(entry.get("guid"), str):
            yield make(entry["guid"], entry)
        else:
            yield Rejected(f"{path.name}: row {number}", 'not an object with a "guid"')


def listed(path: Path) -> list[Any]:
    """Return the entries of a list.

    Raises:
        DataError: the file is not JSON, or no list.
    """
    entries = loaded(path)
    if not isinstance(entries, list):
        raise DataError(f"{path}: is not a list of rows; get the published file")
    return entries

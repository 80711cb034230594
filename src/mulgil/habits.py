"""How a run's own rows were read, for whoever brings it other rows: `predict`, `evaluate --data`.

Chosen: what a table cannot say itself (that it has no header, an odd delimiter) holds for other
tables of the kind too; the names of columns are looked for before the usual ones and are not
insisted on; an encoding is taken only where the bytes do not tell. It costs that a file of another
make is still guessed at, with a note.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mulgil.errors import RunError
from mulgil.recipe import Recipe
from mulgil.rundir import read_json

_NONE = "-"  # what a field is set to when the rows have none


@dataclasses.dataclass(frozen=True, slots=True)
class Habits:
    """How rows were read.

    Attributes:
        columns: field -> column.
        header: whether a table's first row names the columns.
        delimiter: as `read_records` takes it.
        ending: of the file that the delimiter is of, such as ".txt".
        encoding: that the recipe names, "auto" when none.
        more: further settings of the data set `files` that say how cells are read.
    """

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    header: bool = True
    delimiter: str = "auto"
    ending: str = ""
    encoding: str = "auto"
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def parted(self, path: Path) -> str:
        """Return the delimiter of another file: the same where its name ends alike."""
        return self.delimiter if _ending(path) == self.ending else "auto"


def of(run: Path, recipe: Recipe) -> Habits:
    """Return how the rows of a run were read.

    Args:
        run: its folder.
        recipe: that of the folder.
    """
    chosen, table = recipe.data.settings, recipe.data.name == "files"
    named = {**chosen.columns, "label": chosen.label} if table else {}
    named["text"] = getattr(chosen, "text", "")
    own = Path(chosen.train or chosen.test) if table else Path()
    return Habits(
        columns=_found(run)
        | {field: name for field, name in named.items() if name not in ("", _NONE)},
        header=chosen.header if table else True,
        delimiter=chosen.delimiter if table else "auto",
        ending=_ending(own),
        encoding=getattr(chosen, "encoding", "auto"),
        more={name: getattr(chosen, name) for name in ("label_separator", "tags") if table},
    )


def _found(run: Path) -> dict[str, str]:
    """Return the columns that were settled when the run was begun, {} of an older run."""
    try:
        columns = read_json(run / "provenance.json").get("columns")
    except RunError:  # a model that comes with the package has none
        return {}
    return columns if isinstance(columns, dict) else {}


def _ending(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix

"""Your own files: CSV, TSV, JSON lines, Parquet or plain text, for whatever the task asks for.

Chosen: columns that are not named are guessed from the usual names and then from the content, and
every guess is a note that the plan shows; a row that cannot be used is rejected with its line and
reason, never dropped. The text stays as the user wrote it (offsets point into it), labels are
stripped and NFC. It costs one look at the first thousand records before the reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from mulgil.contracts import Dataset, DataSettings
from mulgil.datasets._columns import ALSO, UNLABELLED, Chosen, choose, settled
from mulgil.datasets._fields import Reader
from mulgil.datasets._spans import UnusableError
from mulgil.errors import DataError, SettingError
from mulgil.examples import SHAPES, EntitiesExample, Example, TextExample
from mulgil.flow import Parts, Rejected
from mulgil.settings import PATH
from mulgil.tables.formats import Records
from mulgil.tables.layouts import LaidOut
from mulgil.tables.rows import read_records, refuse_unknown


class Files(Dataset):
    """Rows from the user's own files."""

    class Settings(DataSettings):
        """Where the rows are, and how to read them."""

        train: Annotated[str, PATH] = ""
        """File to learn from. Paths in a recipe are relative to it, else to the current folder."""
        valid: Annotated[str, PATH] = ""
        """File for early stopping; without it a part of `train` is cut off."""
        test: Annotated[str, PATH] = ""
        """File for the final score; without it a part of `train` is cut off."""
        text: str = ""
        """Column of the text; guessed when left out."""
        label: str = ""
        """Column of the label; guessed when left out, "-" when the rows have none."""
        encoding: str = "auto"
        """Encoding of text files, such as "cp949"; recognised when "auto"."""
        delimiter: str = "auto"
        """What parts columns: "comma", "tab", "semicolon", "pipe" or one character."""
        header: bool = True
        """Whether the first row names the columns; if not, they are called "1", "2" and so on."""
        label_separator: str = ""
        """What parts several labels in one cell, such as "|", an empty cell has none of them; lists
        in JSON need none."""
        columns: dict[str, str] = pydantic.Field({})
        """Column of each field of the rows, such as {first = "전제"}; the others are guessed."""
        tags: Literal["words", "characters"] = "words"
        """What tagged tokens are: words, which a space parts, or characters as they stand."""

    title = "your own files (csv, tsv, txt, jsonl, json, parquet)"
    shape = "any"

    settings: Settings

    def files(self) -> tuple[Path, ...]:
        return tuple(self._paths().values())

    def read(self, files: Mapping[str, Path]) -> Parts:
        """Read the files that the settings name, as rows of the shape that is asked for.

        Training rows without a file for the test are the part "all", which is cut later.

        Raises:
            DataError: a file or a column is missing, or no row of a file can be used.
            SettingError: no file is named, or a setting does not go with the shape.
        """
        paths = self._paths()
        if not paths or list(paths) == ["valid"]:
            raise SettingError('data.train is missing: name a file, such as train = "reviews.csv"')
        shape = SHAPES.get(self.asked, TextExample)  # nobody asked: a text and its label
        named = self._named(shape)
        parts = Parts(rows={})
        names = Counter(path.name for path in paths.values())
        reader = Reader(shape, self.settings.label_separator, self.settings.tags)
        chosen: Chosen = {}
        for part, path in paths.items():
            # Files of one name in several folders are told apart by their part.
            name = path.name if names[path.name] == 1 else f"{part}/{path.name}"
            records = self._open(path, shape)
            if chosen:  # what one file settled holds in the others too
                chosen = settled(records, shape, chosen | named)
            else:
                chosen = choose(records, shape, named, self.settings.header, parts.notes)
            parts.notes += reader.look(records, chosen)
            rows = list(_rows(records, name, chosen, reader, parts.rejected))
            if not rows:
                raise DataError(f"{path}: {_nothing(parts.rejected, name)}")
            parts.rows["all" if part == "train" and "test" not in paths else part] = rows
            parts.notes += records.notes()
        if reader.labels.several:
            parts.rows = {part: list(map(_listed, rows)) for part, rows in parts.rows.items()}
        parts.notes += reader.labels.notes()
        parts.columns = {
            f: column for f, column in chosen.items() if column not in ("", UNLABELLED)
        }
        return parts

    def _paths(self) -> dict[str, Path]:
        named = {part: getattr(self.settings, part) for part in ("train", "valid", "test")}
        return {part: Path(value) for part, value in named.items() if value}

    def _open(self, path: Path, shape: type[Example]) -> Records:
        return read_records(
            path,
            encoding=self.settings.encoding,
            delimiter=self.settings.delimiter,
            header=self.settings.header,
            shape=shape,
            tagged=shape is EntitiesExample,
        )

    def _named(self, shape: type[Example]) -> Chosen:
        """Return the columns that the user named, by field."""
        named = {field: column for field, column in self.settings.columns.items() if column}
        refuse_unknown(named, shape, "data.columns", ALSO.get(shape, ()))
        for field in ("text", "label"):
            column = getattr(self.settings, field)
            if not column:
                continue
            refuse_unknown([field], shape, f"data.{field}")
            if named.get(field, column) != column:
                raise SettingError(
                    f'data.{field} is "{column}" and data.columns.{field} is "{named[field]}";'
                    " keep one of them"
                )
            named[field] = column
        if self.settings.label_separator and shape is not TextExample:
            raise SettingError(
                f'data.label_separator: rows of shape "{shape.shape}" have no several labels;'
                " leave it out"
            )
        return named


def _rows(
    records: Records, name: str, chosen: Chosen, reader: Reader, rejected: list[Rejected]
) -> Iterator[Example]:
    for record in records:
        place, reason = f"{name}:{record.number}", record.reason
        if not reason:
            try:
                yield reader.row(place, record.fields, chosen)
                continue
            except UnusableError as error:
                reason = str(error)
        # Nested JSON has no lines to count: what people find a question by is its id.
        known = isinstance(records, LaidOut) and record.fields.get("id")
        rejected.append(Rejected(place, f'question "{known}": {reason}' if known else reason))


def _nothing(rejected: list[Rejected], name: str) -> str:
    """Say why a file gave no row."""
    own = [each for each in rejected if each.id.startswith(f"{name}:")]
    if not own:
        return "has no rows; check that this is the right file"
    first = f"{own[0].id} {own[0].reason}"
    return f"none of its {len(own)} rows can be used; the first: {first}"


def _listed(row: Example) -> Example:
    """Return the row with its label as a tuple, as the other rows have it."""
    if isinstance(row, TextExample) and isinstance(row.label, str):
        return TextExample(row.id, row.text, (row.label,))
    return row

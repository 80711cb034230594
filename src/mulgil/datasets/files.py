"""Your own files: CSV, TSV, JSON lines, Parquet or plain text, with a text and a label column.

Chosen: columns that are not named are guessed from the usual names and then from the content, and
every guess is a note that the plan shows; a row that cannot be used is rejected with its line and
reason, never dropped. The text stays as the user wrote it (offsets point into it), labels are
stripped and NFC. It costs one look at the first thousand records before the reading.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from mulgil.contracts import Dataset, DataSettings
from mulgil.errors import DataError, SettingError
from mulgil.examples import Example, TextExample, columns
from mulgil.flow import Parts, Rejected
from mulgil.settings import PATH
from mulgil.tables.formats import Records
from mulgil.tables.lines import forbidden
from mulgil.tables.rows import TEXT_COLUMNS, find_column, longest_column, read_records, text_of

LABEL_COLUMNS = columns(TextExample)["label"]
"""Names by which people call the column of the label, the usual ones first."""

UNLABELLED = "-"
"""What `label` is set to when the rows have none."""

_MANY = 100  # different labels from which a column is no longer guessed to be the label

Label = str | tuple[str, ...] | None


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
        """What parts several labels in one cell, such as "|"; lists in JSON need none."""

    title = "your own files (csv, tsv, txt, jsonl, json, parquet)"

    settings: Settings

    def files(self) -> tuple[Path, ...]:
        return tuple(self._paths().values())

    def read(self, files: Mapping[str, Path]) -> Parts:
        """Read the files that the settings name.

        Training rows without a file for the test are the part "all", which is cut later.

        Raises:
            DataError: a file or a column is missing, or no row of a file can be used.
            SettingError: no file is named.
        """
        paths = self._paths()
        if not paths or list(paths) == ["valid"]:
            raise SettingError('data.train is missing: name a file, such as train = "reviews.csv"')
        parts = Parts(rows={})
        names = Counter(path.name for path in paths.values())
        labels = _Labels(self.settings.label_separator)
        chosen = ("", "")
        for part, path in paths.items():
            # Files of one name in several folders are told apart by their part.
            name = path.name if names[path.name] == 1 else f"{part}/{path.name}"
            records = self._open(path)
            chosen = self._columns(records, chosen, parts.notes)
            rows: list[Example] = list(_examples(records, name, chosen, labels, parts.rejected))
            if not rows:
                raise DataError(f"{path}: {_nothing(parts.rejected, name)}")
            parts.rows["all" if part == "train" and "test" not in paths else part] = rows
            parts.notes += records.notes()
        if labels.several:
            parts.rows = {part: list(map(_listed, rows)) for part, rows in parts.rows.items()}
        parts.notes += labels.notes()
        return parts

    def _paths(self) -> dict[str, Path]:
        named = {part: getattr(self.settings, part) for part in ("train", "valid", "test")}
        return {part: Path(value) for part, value in named.items() if value}

    def _open(self, path: Path) -> Records:
        return read_records(
            path,
            encoding=self.settings.encoding,
            delimiter=self.settings.delimiter,
            header=self.settings.header,
        )

    def _columns(
        self, records: Records, chosen: tuple[str, str], notes: list[str]
    ) -> tuple[str, str]:
        """Return the text's and the label's column; what another file settled holds here too."""
        wanted_text, wanted_label = (
            self.settings.text or chosen[0],
            self.settings.label or chosen[1],
        )
        if chosen[0]:
            text = find_column(records, wanted_text, (), "data.text")
            return text, self._label(records, wanted_label)
        text = find_column(records, wanted_text, TEXT_COLUMNS, "data.text")
        label = self._label(records, wanted_label)
        if not text and not label:
            _refuse_headless(records, self.settings.header)
        if not text:
            text = longest_column(records, but=label)
        if not label:
            label = _label_by_content(records, text)
        if not label:
            if len(records.columns) > 1:
                shown = ", ".join(f'"{name}"' for name in records.columns)
                raise DataError(
                    f"{records.name}: which of the columns {shown} is the label? set data.label,"
                    f' or "{UNLABELLED}" when there is none'
                )
            label = UNLABELLED
            hint = "; for a table in a .txt set data.delimiter" if ".txt" in records.name else ""
            notes.append(f"{records.name}: one column only, so no labels{hint}")
        if not text:
            raise DataError(f"{records.name}: has no column of text; name it with data.text")
        for field, column, wanted in (("text", text, wanted_text), ("label", label, wanted_label)):
            if not wanted and column != UNLABELLED:
                notes.append(f'{field} = column "{column}" (guessed)')
        return text, label

    def _label(self, records: Records, wanted: str) -> str:
        if wanted == UNLABELLED:
            return UNLABELLED
        return find_column(records, wanted, LABEL_COLUMNS, "data.label")


def _refuse_headless(records: Records, header: bool) -> None:
    """Refuse a first row that looks like data: one of its cells recurs in its own column."""
    for column in records.columns if header else ():
        values = [record.fields.get(column) for record in records.head()]
        if column in values:
            shown = ", ".join(f'"{name[:20]}"' for name in records.columns)
            raise DataError(
                f"{records.name}:1: the first row looks like data, not like column names ({shown});"
                " set data.header = false, or name the columns with data.text and data.label"
            )


def _label_by_content(records: Records, text: str) -> str:
    """Return the column with the fewest different values, at least two that recur, or ""."""
    best, fewest = "", _MANY + 1
    for column in records.columns:
        values = [_plain(record.fields.get(column)) for record in records.head()]
        known = [value for value in values if value]
        different = len(set(known))
        recurs = different * 2 <= len(known) + 1
        if column != text and different >= 2 and recurs and different < fewest:
            best, fewest = column, different
    return best


def _examples(
    records: Records,
    name: str,
    chosen: tuple[str, str],
    labels: _Labels,
    rejected: list[Rejected],
) -> Iterator[TextExample]:
    text_column, label_column = chosen
    for record in records:
        place = f"{name}:{record.number}"
        text, fault = text_of(record.fields, text_column)
        label: Label = None
        if not record.reason and not fault and label_column != UNLABELLED:
            label, fault = labels.read(record.fields.get(label_column))
        if record.reason or fault:
            rejected.append(Rejected(place, record.reason or fault))
        else:
            yield TextExample(place, text, label)


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


def _plain(value: Any) -> str:
    """Return a cell's value as a label's name: stripped and NFC, numbers as they are written."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return unicodedata.normalize("NFC", text.strip())


class _Labels:
    """Reads label cells, and remembers what to tell about them."""

    def __init__(self, separator: str) -> None:
        self.several = bool(separator)
        self._separator = separator
        self._names: dict[str, str] = {}  # one object a name, however many rows have it
        self._composed = 0

    def read(self, value: Any) -> tuple[Label, str]:
        """Return the label, and why there is none ("" when there is)."""
        if isinstance(value, list):
            self.several = True
            cells, needed = value, False  # [] says: none of the labels
        elif self._separator and isinstance(value, str):
            cells, needed = value.split(self._separator), True
        else:
            cells, needed = [value], True
        names = []
        for cell in cells:
            if not isinstance(cell, str | int | float | None):
                return None, f"its label is a {type(cell).__name__}, not a name"
            name = self._name(cell)
            if fault := forbidden(name):
                return None, f"its label {fault}"
            names += [name] if name else []
        if needed and not names:
            return None, "no label"
        unique = tuple(dict.fromkeys(names))
        return (unique if self.several else unique[0]), ""

    def _name(self, cell: str | int | float | None) -> str:
        name = _plain(cell)
        self._composed += isinstance(cell, str) and name != cell.strip()
        return self._names.setdefault(name, name)

    def notes(self) -> list[str]:
        """Return what was noticed about the names, one sentence each (DA-03, DA-12)."""
        alike: dict[Any, list[str]] = {}
        for name in self._names:
            alike.setdefault(_meaning(name), []).append(name)
        notes = [
            "labels that look like one are kept apart: " + ", ".join(f'"{name}"' for name in names)
            for names in alike.values()
            if len(names) > 1
        ]
        if self._composed:
            notes.append(f"labels in decomposed Hangul, composed (NFC): {self._composed}")
        return notes


def _meaning(name: str) -> float | str:
    """Return what "0" and "0.0", or "Good" and "good", have in common."""
    try:
        return float(name)
    except ValueError:
        return name.casefold()

"""Rows with their answers, written into a table.

Chosen: the original columns come first, a cell that a spreadsheet would compute is made text, and a
value that is no text or number is JSON. It costs CSV and TSV an apostrophe in front of such cells;
JSON lines are lossless.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from mulgil.tables.lines import forbidden
from mulgil.tables.rows import Row

LEFT_OUT = 1000
"""Names that are remembered: a stream may bring new ones without end."""

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what makes a spreadsheet compute a cell (OWASP)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


class RowWriter:
    """Writes rows with their answers: the original columns, then the added ones.

    In CSV and TSV a text that a spreadsheet would take for a formula gets an apostrophe in front
    (RP-02); plain numbers stay as they are. JSON lines are lossless.

    Args:
        stream: open for text; a file with `newline=""` and UTF-8 (`utf-8-sig` for Excel).
        form: one of `OUTPUTS`.
        columns: original columns; in JSON lines each row has its own.
        added: names of the answer's fields; where a column has such a name already, the added one
            gets "predicted_" in front.

    Attributes:
        left_out: columns of later JSON rows that a CSV or TSV header no longer could take, with the
            number of rows that have them; so many names at most as `LEFT_OUT` says.
    """

    def __init__(
        self, stream: TextIO, form: str, columns: Sequence[str], added: Sequence[str]
    ) -> None:
        self.left_out: Counter[str] = Counter()
        self._stream = stream
        self._columns = tuple(columns)
        self._known = frozenset(columns)
        self._names = {name: _free(name, columns) for name in added}
        self._table = None
        if form != "jsonl":
            self._table = csv.writer(stream, "excel-tab" if form == "tsv" else "excel")
            self._table.writerow([_cell(name) for name in (*columns, *self._names.values())])

    def write(self, row: Row, answer: Mapping[str, Any]) -> None:
        """Write one row.

        Args:
            row: as `iter_rows` gave it.
            answer: value of each added field; what is missing stays empty, or is left out of JSON.
        """
        if self._table:
            cells = [row.fields.get(name) for name in self._columns]
            cells += [answer.get(name) for name in self._names]
            for name in row.fields.keys() - self._known:
                if name in self.left_out or len(self.left_out) < LEFT_OUT:
                    self.left_out[name] += 1
            self._table.writerow([_cell(value) for value in cells])
            return
        added = {self._names.get(name, name): value for name, value in answer.items()}
        late = {_free(name, row.fields): value for name, value in added.items()}
        self._stream.write(_json(row.fields | late) + "\n")


def _free(name: str, taken: Sequence[str] | Mapping[str, Any]) -> str:
    while name in taken:
        name = f"predicted_{name}"
    return name


def _cell(value: Any) -> Any:
    """Return what a spreadsheet shows for a value, and never computes."""
    if value is None or isinstance(value, int | float):
        return {True: "true", False: "false"}[value] if isinstance(value, bool) else value
    text = value if isinstance(value, str) else _json(value)
    if forbidden(text):
        text = text.encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def _json(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:  # NaN, which JSON has no word for
        text = json.dumps(_finite(value), ensure_ascii=False, default=str)
    # Half a surrogate pair has no UTF-8; its escape keeps it.
    return json.dumps(json.loads(text)) if forbidden(text) else text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Files that hold rows and are no tables: tagged tokens, SQuAD's nested JSON, pairs by a tab.

Chosen: a tagged sentence is the lines between two blank ones, a token and its tag each, and one bad
line costs its sentence only; the columns have the names of the row's fields, so nothing is guessed.
It costs that a nested JSON file is held in memory, and that a line that starts with "# " or "## "
is a comment (not where spaces part token and tag: there it may be the token "#").
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from mulgil.errors import DataError
from mulgil.tables.delimited import MAX_FIELD
from mulgil.tables.formats import HEAD, Record, Records, joined, json_records
from mulgil.tables.jsonrows import check, read_line
from mulgil.tables.lines import FileLines, Line

_COMMENT = re.compile(r"#+ ")  # no token and no character starts so: it would hold a space
_QUESTION = ("id", "question", "context", "answers")
_END: Line = (0, "", "")


class LaidOut(Records):
    """Records whose columns are the fields of the rows, because the layout says so."""


def tagged_records(lines: FileLines, symbol: str) -> Records:
    """Return the sentences of token-and-tag lines: "text" a list of tokens, "entities" of tags.

    Args:
        lines: the file's lines; a blank one ends a sentence.
        symbol: what parts token and tag.
    """
    return LaidOut(lines.name, _sentences(lines, symbol), ("text", "entities"), lines)


def _sentences(lines: FileLines, symbol: str) -> Iterator[Record]:
    start, size, fault = 0, 0, ""
    cells: list[list[str]] = []
    for number, text, reason in itertools.chain(lines, [_END]):
        body = text.removesuffix("\r")
        if not reason and not body.strip() and symbol not in body:
            if start:
                tokens, tags = map(list, zip(*cells, strict=True)) if cells else ([], [])
                fields = {} if fault else {"text": tokens, "entities": tags}
                yield Record(start, fields, fault)
            start, size, fault, cells = 0, 0, "", []
            continue
        if not reason and symbol != " " and _COMMENT.match(body):
            continue
        start, size = start or number, size + len(body)
        found = body.split(symbol)
        if not reason and len(found) != 2:
            reason = f"has {_columns(len(found))}, not a token and its tag"
        if size > MAX_FIELD:
            fault = fault or f"is longer than {MAX_FIELD:,} characters; blank lines part sentences"
        fault = fault or (reason and f"line {number} {reason}")
        if fault:
            cells = []  # a file without blank lines is one sentence: it must not fill the memory
        else:
            cells.append(found)


def _columns(count: int) -> str:
    return f"{count} column" if count == 1 else f"{count} columns"


def pair_records(lines: FileLines, inputs: Sequence[str]) -> Records:
    """Return the texts of plain lines with a tab between them, in columns of these names."""
    needed = f"needs {len(inputs)} texts with a tab between ({', '.join(inputs)})"

    def rows() -> Iterator[Record]:
        for number, text, reason in lines:
            cells = text.removesuffix("\r").split("\t")
            if not reason and len(cells) != len(inputs):
                reason = f"{needed}, has {len(cells)}"
            yield Record(number, {} if reason else dict(zip(inputs, cells, strict=True)), reason)

    return LaidOut(lines.name, rows(), tuple(inputs), lines)


def question_records(lines: FileLines) -> Records:
    """Return the records of a `.json` file that may be SQuAD's own.

    In that layout (`{"data": [{"paragraphs": [{"context", "qas"}]}]}`) a record is a question,
    numbered from 1.

    Raises:
        DataError: here or while reading: it is neither that nor JSON as `json_records` knows it.
    """
    first = next((text for _, text, _ in lines.peek(HEAD) if text.strip()), "").lstrip()
    fields, fault = read_line(first)
    alone = not first.startswith("[") and fault.startswith("is not JSON")
    if "data" not in fields and not alone:
        return json_records(lines, maybe_array=True)
    fields, fault = read_line(joined(lines))
    data = fields.get("data")
    if not isinstance(data, list) or fault:
        why = "" if not fault or fault.startswith("is not JSON") else f" ({fault})"
        raise DataError(
            f'{lines.name}: is neither {{"data": [...]}} as SQuAD has it, nor one array of objects,'
            f" nor one object a line{why}; write it as .jsonl"
        )
    source = (
        Record(number, {}, found) if isinstance(found, str) else Record(number, *check(found))
        for number, found in enumerate(_questions(data), start=1)
    )
    return LaidOut(lines.name, source, _QUESTION, lines)


def _questions(data: list[Any]) -> Iterator[dict[str, Any] | str]:
    """Yield each question's fields, or what is wrong with it or with what it stands in."""
    for number, article in enumerate(data, start=1):
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if not isinstance(paragraphs, list):
            yield f'article {number} has no list "paragraphs"'
            continue
        for at, paragraph in enumerate(paragraphs, start=1):
            asked = paragraph.get("qas") if isinstance(paragraph, dict) else None
            if not isinstance(asked, list):
                yield f'paragraph {at} of article {number} has no list "qas"'
                continue
            for each in asked:
                if isinstance(each, dict):
                    row = {"context": paragraph.get("context")} | each
                    yield {name: row[name] for name in _QUESTION if name in row}
                else:
                    yield f"a question of paragraph {at} of article {number} is no object"

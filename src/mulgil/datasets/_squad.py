"""Shared by the data sets in SQuAD's form: articles, their paragraphs, questions with answers.

Chosen: parts are cut by article, because questions of one paragraph in two parts would be a leak.
An answer is kept as a stretch of the context, which is left exactly as it is in the file, and only
where the file's text stands at the file's character: a question with an answer that is elsewhere is
rejected, never mended by searching for it. It costs such questions; the published files have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mulgil.datasets import _spans
from mulgil.datasets._labelled import Made, add, loaded
from mulgil.errors import DataError
from mulgil.examples import QuestionExample
from mulgil.flow import Parts, Rejected


def read(path: Path, cuts: Mapping[str, slice]) -> Parts:
    """Return the questions of a file.

    Args:
        path: the JSON file.
        cuts: `{part: its articles}`.

    Raises:
        DataError: the file is not in SQuAD's form down to the questions.
    """
    found = articles(path)
    parts = Parts(rows={})
    for name, cut in cuts.items():
        add(parts, name, map(_row, questions(found[cut], path)))
    return parts


def articles(path: Path) -> list[Any]:
    """Return the articles of a file.

    Raises:
        DataError: it is not JSON, or has no list of them.
    """
    return _entries(loaded(path), "data", path)


def questions(found: list[Any], path: Path) -> Iterator[Any]:
    """Yield the fields of each question of these articles, its context with them.

    Raises:
        DataError: while reading: an article or a paragraph has another form.
    """
    for article in found:
        for paragraph in _entries(article, "paragraphs", path):
            for entry in _entries(paragraph, "qas", path):
                known = isinstance(entry, dict)
                yield entry | {"context": paragraph.get("context")} if known else entry


def question(name: str, entry: dict[str, Any], impossible: bool = False) -> Made:
    """Return the row of a question.

    Args:
        name: the row's id.
        entry: its fields, with its context.
        impossible: that it has no answer, whatever stands in its fields.
    """
    asked, context = entry.get("question"), entry.get("context")
    if not (isinstance(context, str) and isinstance(asked, str)):
        return Rejected(name, "the question or the context is missing")
    if not (context.strip() and asked.strip()):
        return Rejected(name, "empty text")
    if impossible:
        return QuestionExample(name, asked, context, ())
    given = entry.get("answers")
    if not isinstance(given, list) or not given:
        return Rejected(name, "no answer is given, and it is not called impossible")
    if not all(isinstance(each, dict) and type(each.get("answer_start")) is int for each in given):
        return Rejected(name, "an answer without a whole number as its answer_start")
    try:
        return QuestionExample(name, asked, context, _spans.answers(context, given))
    except _spans.UnusableError as error:
        return Rejected(name, str(error))


def _row(entry: Any) -> Made:
    name = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        return Rejected("a question without an id", 'not an object with an "id"')
    return question(name, entry)


def _entries(value: Any, key: str, path: Path) -> list[Any]:
    entries = value.get(key) if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise DataError(f'{path}: a list "{key}" is missing; get the published file')
    return entries

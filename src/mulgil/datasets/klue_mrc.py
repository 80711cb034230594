"""KLUE-MRC questions to news and encyclopedia, a third without answer; the user brings the files.

    klue/klue-mrc-v1.1_train.json   17,554 questions as published, to train and to validate
    klue/klue-mrc-v1.1_dev.json      5,841, the test

Chosen: a question of type 3, or one that is called impossible, has no answer, and the plausible
answers beside it are not read. Elsewhere an answer must stand at its character, or the question is
rejected; nothing is moved. Contexts stay as they are in the file. The task refuses questions
without an answer until `task.no_answer` is true; a note says how many there are.

What it costs: validation is cut from train by question, so that two questions to one article may
stand on both sides of that cut, and validation is kinder than the test. A score is not one of
KLUE's leaderboard; the files are read unchecked, because no checksum of them is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mulgil.datasets import _klue, _spans
from mulgil.datasets._labelled import Made
from mulgil.errors import DataError
from mulgil.examples import QuestionExample, Span
from mulgil.flow import Parts, Rejected

_NO_ANSWER = 3


class KlueMrc(_klue.Brought):
    """Questions whose answer is a stretch of the text, or that have none."""

    title = "KLUE-MRC v1.1 questions to a text, from your copy"
    shape = "question"
    name = "klue-mrc-v1.1"

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = super().read(files)
        for name, found in parts.rows.items():
            without = sum(isinstance(row, QuestionExample) and not row.answers for row in found)
            if without:
                parts.notes.append(
                    f"{name}: {without:,} of {len(found):,} questions have no answer in their"
                    " text; task.no_answer = true lets the model say so"
                )
        return parts

    def entries(self, path: Path) -> Iterable[Any]:
        for article in _members(_klue.loaded(path), "data", path):
            for paragraph in _members(article, "paragraphs", path):
                for entry in _members(paragraph, "qas", path):
                    known = isinstance(entry, dict)
                    yield entry | {"context": paragraph.get("context")} if known else entry

    def row(self, guid: str, entry: dict[str, Any]) -> Made:
        question, context = entry.get("question"), entry.get("context")
        if not (isinstance(context, str) and isinstance(question, str)):
            return Rejected(guid, "the question or the context is missing")
        if not (context.strip() and question.strip()):
            return Rejected(guid, "empty text")
        try:
            return QuestionExample(guid, question, context, _answers(context, entry))
        except _spans.UnusableError as error:
            return Rejected(guid, str(error))


def _members(value: Any, key: str, path: Path) -> Iterator[Any]:
    entries = value.get(key) if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise DataError(f'{path}: a list "{key}" is missing; get the published file')
    return iter(entries)


def _answers(context: str, entry: dict[str, Any]) -> tuple[Span, ...]:
    """Return where the answers stand; () when the question has none.

    Raises:
        UnusableError: one does not stand where it should, or none is given for no reason.
    """
    if entry.get("is_impossible") is True or entry.get("question_type") == _NO_ANSWER:
        return ()
    given = entry.get("answers")
    if not isinstance(given, list) or not given:
        raise _spans.UnusableError("no answer is given, and it is not called impossible")
    if not all(isinstance(each, dict) and type(each.get("answer_start")) is int for each in given):
        raise _spans.UnusableError("an answer without a whole number as its answer_start")
    return _spans.answers(context, given) or ()

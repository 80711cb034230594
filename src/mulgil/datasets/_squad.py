"""Shared by the data sets in SQuAD's form: articles, their paragraphs, questions with answers.

Chosen: parts are cut by article, because questions of one paragraph in two parts would be a leak.
An answer is kept as a stretch of the context, which is left exactly as it is in the file, and only
where the file's text stands at the file's character: a question with an answer that is elsewhere is
rejected, never mended by searching for it. It costs such questions; the published files have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mulgil.datasets._labelled import Made, add, loaded
from mulgil.errors import DataError
from mulgil.examples import QuestionExample, Span
from mulgil.flow import Parts, Rejected


def read(path: Path, cuts: Mapping[str, slice]) -> Parts:
    """Return the questions of a file.

    Args:
        path: the JSON file.
        cuts: `{part: its articles}`.

    Raises:
        DataError: the file is not in SQuAD's form down to the questions.
    """
    articles = _entries(loaded(path), "data", path)
    parts = Parts(rows={})
    for name, cut in cuts.items():
        add(parts, name, (row for article in articles[cut] for row in _questions(article, path)))
    return parts


def _entries(value: Any, key: str, path: Path) -> list[Any]:
    entries = value.get(key) if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise DataError(f'{path}: a list "{key}" is missing; get the published file')
    return entries


def _questions(article: Any, path: Path) -> Iterator[Made]:
    for paragraph in _entries(article, "paragraphs", path):
        entries = _entries(paragraph, "qas", path)
        for entry in entries:
            yield _question(paragraph.get("context"), entry if isinstance(entry, dict) else {})


def _question(context: Any, entry: dict[str, Any]) -> Made:
    name, question = entry.get("id"), entry.get("question")
    if not isinstance(name, str):
        return Rejected("a question without an id", f"only {', '.join(entry)[:80] or 'nothing'}")
    if not (isinstance(context, str) and isinstance(question, str)):
        return Rejected(name, "the question or the context is missing")
    if not (context.strip() and question.strip()):
        return Rejected(name, "empty text")
    answers = _answers(context, entry.get("answers"))
    if isinstance(answers, str):
        return Rejected(name, answers)
    return QuestionExample(name, question, context, answers)


def _answers(context: str, answers: Any) -> tuple[Span, ...] | str:
    """Return the stretches that answer, equal ones once, or why one of them cannot be used."""
    if not isinstance(answers, list) or not answers:
        return "no answer is given"
    spans = []
    for answer in answers:
        fields = answer if isinstance(answer, dict) else {}
        text, start = fields.get("text"), fields.get("answer_start")
        # A truth value counts as an integer in Python, and a negative start from the end.
        if not isinstance(text, str) or not text or type(start) is not int:
            return 'an answer without "text" or "answer_start"'
        if start < 0 or context[start : start + len(text)] != text:
            shown = json.dumps(text[:40], ensure_ascii=False)
            return f"answer {shown} does not stand at character {start} of the context"
        spans.append(Span(start, start + len(text)))
    return tuple(dict.fromkeys(spans))

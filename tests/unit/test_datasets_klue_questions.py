"""KLUE-MRC from the user's own copy: questions with and without answer; own-written files.

Ids such as DA-06 name the faults that a test guards against.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from klue_files import RIVER, articles, asked, brought, made, read, write

from mulgil import registry
from mulgil.examples import QuestionExample, Span
from mulgil.flow import Rejected


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return brought(tmp_path, monkeypatch)


def test_an_answer_stands_at_its_character(folder: Path) -> None:
    """TK-09: 0 is a place, the same words elsewhere are another, equal answers count once."""
    parts = read(
        folder, "klue-mrc", asked(("너른내", 0)), asked(("너른내", 16), ("내", 18), ("내", 18))
    )
    spans = [row.answers for row in parts.rows["train"] if isinstance(row, QuestionExample)]
    assert spans == [(Span(0, 3),), (Span(16, 19), Span(18, 19))]
    assert len(parts.notes) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"is_impossible": True, "question_type": 3},
        {"is_impossible": True},
        {"question_type": 3},
        {"is_impossible": True, "plausible_answers": [{"text": "너른내", "answer_start": 0}]},
    ],
)
def test_an_impossible_question_has_no_answer_and_that_is_told(
    folder: Path, fields: dict[str, Any]
) -> None:
    """A plausible answer is none; the note names the setting."""
    parts = read(folder, "klue-mrc", asked(**fields), asked(("길다", 21), guid="own-2"))
    (first, second) = parts.rows["train"]
    assert first == QuestionExample("own-1", asked()["question"], RIVER, ())
    assert isinstance(second, QuestionExample)
    assert second.answers == (Span(21, 23),)
    assert parts.notes[2].startswith("train: 1 of 2 questions have no answer")
    assert "task.no_answer = true" in parts.notes[2]
    task = registry.load("tasks", "qa")
    refused, accepted = (task(task.Settings(no_answer=allowed)) for allowed in (False, True))
    assert "task.no_answer" in refused.problem(first, refused.schema([]))
    assert accepted.problem(first, accepted.schema([])) is None


def test_a_decomposed_context_keeps_its_own_places(folder: Path) -> None:
    """DA-03, TK-09: in NFD the places count jamo; an NFC answer is not in an NFD context."""
    context, answer = (unicodedata.normalize("NFD", text) for text in (RIVER, "고을"))
    at = context.index(answer)
    write(
        folder,
        "klue-mrc",
        "train",
        articles(
            asked((answer, at)),
            asked(("고을", at), guid="composed"),
            asked((answer[:-1], at), guid="parted"),
            context=context,
        ),
    )
    write(folder, "klue-mrc", "dev", articles())
    parts = made("klue-mrc").read({})
    (row,) = parts.rows["train"]
    assert isinstance(row, QuestionExample)
    assert (row.context, row.answers) == (context, (Span(at, at + len(answer)),))
    assert [row.id for row in parts.rejected] == ["composed", "parted"]


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (asked(("고을", 8)), 'answer "고을" is not at 8; there stands "을을"'),
        (asked(("고을", 7), ("바다", 0)), 'answer "바다" is not at 0'),
        (asked(("고을", -1)), "answer_start"),
        (asked(("고을", "7")), "an answer without a whole number"),
        (asked(("고을", True)), "an answer without a whole number"),
        (asked(("고을", None)), "an answer without a whole number"),
        (asked(("", 0)), "answer 1 has no text"),
        (asked(), "no answer is given, and it is not called impossible"),
        (asked(is_impossible="true"), "no answer is given"),
        (asked(("고을", 7), answers=None), "no answer is given"),
        (asked(("고을", 7), answers=["고을"]), "an answer without a whole number"),
        (asked(("고을", 7), question=" "), "empty text"),
        (asked(("고을", 7), question=3), "the question or the context is missing"),
    ],
)
def test_a_question_that_cannot_be_used_is_rejected(
    folder: Path, question: dict[str, Any], reason: str
) -> None:
    """TK-09, DA-06: an answer that is not there is said, and nobody searches for it elsewhere."""
    parts = read(folder, "klue-mrc", question, asked(("고을", 7), guid="good"))
    assert [row.id for row in parts.rows["train"]] == ["good"]
    (rejected,) = parts.rejected
    assert rejected.id == "own-1"
    assert rejected.reason.startswith(reason)


def test_questions_of_several_texts_are_counted_through_the_file(folder: Path) -> None:
    content = articles(asked(("고을", 7)))
    content["data"] += articles(3, asked(("길다", 21), guid="own-2"))["data"]
    content["data"] += articles(asked(("길다", 21), guid="own-3"), context=None)["data"]
    write(folder, "klue-mrc", "train", content)
    write(folder, "klue-mrc", "dev", articles())
    parts = made("klue-mrc").read({})
    assert [row.id for row in parts.rows["train"]] == ["own-1", "own-2"]
    assert parts.rejected == [
        Rejected("klue-mrc-v1.1_train.json: row 2", 'not an object with a "guid"'),
        Rejected("own-3", "the question or the context is missing"),
    ]

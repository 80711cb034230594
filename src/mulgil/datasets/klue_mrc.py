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

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mulgil.datasets import _klue, _squad
from mulgil.datasets._labelled import Made
from mulgil.examples import QuestionExample
from mulgil.flow import Parts

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
        return _squad.questions(_squad.articles(path), path)

    def row(self, guid: str, entry: dict[str, Any]) -> Made:
        impossible = entry.get("is_impossible") is True or entry.get("question_type") == _NO_ANSWER
        return _squad.question(guid, entry, impossible)

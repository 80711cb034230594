"""The stretch of a text that answers a question, or that none does.

Extractive question answering as in SQuAD (Rajpurkar et al. 2016) and KorQuAD (Lim et al. 2019).
Chosen: answers begin and end at characters, not at tokens, since a Korean piece often holds the end
of a name and its particle; a window without the answer is taught to point at its own beginning
(Devlin et al. 2019), and what a span has over that is comparable between windows. So every span of
a text has a probability, and every character those of being the start, inside and the end of the
answer. It costs that answers longer than `max_answer` are never given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pydantic

from mulgil import hangul, settings
from mulgil.errors import DataError
from mulgil.examples import Example, QuestionExample
from mulgil.flow import Array, Asker, Head, Located, Marked, Schema, Skill, Text
from mulgil.judged import Judged, Written
from mulgil.objectives import SpanTask, Window
from mulgil.tasks import _answers, _spans


class QaSettings(settings.Settings):
    """Settings of extractive question answering."""

    stride: int = pydantic.Field(128, ge=0, le=4096)
    """Tokens that two windows of a long text share; half of a window at most."""
    max_answer: int = pydantic.Field(80, ge=1, le=10_000)
    """Longest answer that is given, in characters, white space left out."""
    no_answer: bool = False
    """Some questions have no answer in their text; the model may then say so."""
    best: int = pydantic.Field(5, ge=1, le=100)
    """Answers that are given beside their probabilities."""
    characters: bool = False
    """`mulgil predict`: give each character's chance to be start, inside and end too."""


class Qa(SpanTask):
    """Extractive question answering."""

    Settings: ClassVar[type[settings.Settings]] = QaSettings
    shape: ClassVar[str] = "question"
    needs: ClassVar[frozenset[Skill]] = frozenset({"tokens", "pair"})
    metrics: ClassVar[tuple[str, ...]] = ("korquad-f1", "squad-f1", "exact-match")
    apart: ClassVar[tuple[str, ...]] = ("context",)

    answering: ClassVar[frozenset[str]] = frozenset({"characters", "best", "max_answer"})

    settings: QaSettings

    @property
    def stride(self) -> int:
        return self.settings.stride

    def schema(self, train: Sequence[Example]) -> Schema:
        return Schema(self.shape, ("start", "end"))

    def problem(self, row: Example, schema: Schema) -> str | None:
        answers = _row(row).answers
        if answers is None:
            return "no answers"
        if not answers and not self.settings.no_answer:
            return "has no answer in its text; set task.no_answer = true"
        if not _row(row).question.strip():
            return "empty question"
        return _spans.fault(_row(row).context, answers)

    def tally(self, rows: Sequence[Example], schema: Schema | None) -> dict[str, int]:
        answered = sum(bool(_row(row).answers) for row in rows)
        return {"with an answer": answered, "without an answer": len(rows) - answered}

    def text(self, row: Example) -> Text:
        return _row(row).question, _row(row).context

    def gold(self, rows: Sequence[Example], schema: Schema) -> list[Marked]:
        return [_spans.marked(_row(row).context, _row(row).answers or ()) for row in rows]

    def head(self, schema: Schema) -> Head:
        return Head("tokens", 2, places=_spans.PLACES)

    def asker(self, encoded: Any, gold: Sequence[Marked], schema: Schema) -> Asker:
        def ask(inputs: Located, rows: Array, draw: Sequence[int] | None) -> Located:
            targets = [
                _answers.places(encoded.units(row), gold[encoded.owners[row]])
                for row in rows.tolist()
            ]
            return dataclasses.replace(inputs, targets=np.array(targets, np.int64))

        return ask

    def loss(self, scores: Any, inputs: Any) -> Any:
        import torch

        counts = torch.from_numpy(inputs.counts).to(scores.device)  # [B]
        targets = torch.from_numpy(inputs.targets).to(scores.device)  # [B, 2]
        each = scores.split(counts.tolist())
        rows = torch.nn.utils.rnn.pad_sequence(
            each, batch_first=True, padding_value=-1e4
        )  # [B, U, 2]
        return torch.nn.functional.cross_entropy(rows, targets, reduction="sum")

    def judge(self, gold: Any, measured: Any, schema: Schema) -> Judged:
        """Put gold answers and the likeliest ones side by side.

        Raises:
            DataError: there are no gold answers.
        """
        if gold is None:
            raise DataError("rows that are scored need answers")
        found = tuple(
            self._text(each.text, windows) for each, windows in zip(gold, measured, strict=True)
        )
        return Written(tuple(map(_texts, gold)), found)

    def _text(self, text: str, windows: Sequence[Window]) -> str:
        best = self._ranked(windows)[0]
        return text[best.start : best.end]

    def _ranked(self, windows: Sequence[Window]) -> list[_answers.Candidate]:
        chosen = self.settings
        return _answers.ranked(windows, chosen.max_answer, chosen.no_answer, chosen.best)

    def loss_of(self, gold: Any, measured: Any, schema: Schema) -> float:
        """Return the mean over windows of -ln p of start and end, halved."""
        total, count = 0.0, 0
        for each, windows in zip(gold or (), measured, strict=False):
            for characters, scores in windows:
                start, end = _answers.places(characters, each)
                chances = _spans.log_softmax(scores.T)  # [2, U]
                total -= float(chances[0, start] + chances[1, end]) / 2
                count += 1
        return total / count if count else 0.0

    def records(self, gold: Any, measured: Any, schema: Schema) -> Iterator[dict[str, Any]]:
        for each, windows in zip(gold, measured, strict=True):
            best = self._ranked(windows)[0]
            yield {
                "gold": [*_texts(each)],
                "predicted": each.text[best.start : best.end],
                "probability": round(best.probability, 6),
                "start": best.start,
                "end": best.end,
            }

    def fields(self, schema: Schema) -> tuple[str, ...]:
        more = ("characters",) if self.settings.characters else ()
        return ("answer", "probability", "start", "end", "best", *more)

    def answer(self, windows: Sequence[Window], row: Example, schema: Schema) -> dict[str, Any]:
        text = _row(row).context
        map_ = hangul.offsets(text)
        found = []
        for each in self._ranked(windows):
            start, end = hangul.to_user((each.start, each.end), map_)
            found.append(
                {
                    "answer": text[start:end],
                    "probability": round(each.probability, 6),
                    "start": start,
                    "end": end,
                }
            )
        if not self.settings.characters:
            return {**found[0], "best": found}
        shares = _answers.shares(windows, self.settings.max_answer, self.settings.no_answer)
        spelt = _spans.spelt(text, shares[:, 0], shares[:, 1:], ("start", "inside", "end"))
        return {**found[0], "best": found, "characters": spelt}


def _row(row: Example) -> QuestionExample:
    if not isinstance(row, QuestionExample):
        raise DataError(f"{row.id}: qa reads rows of shape question, not {row.shape}")
    return row


def _texts(marked: Marked) -> tuple[str, ...]:
    return tuple(marked.text[span.start : span.end] for span in marked.spans)

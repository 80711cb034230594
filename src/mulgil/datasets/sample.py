"""1,120 short Korean reviews, three classes, and a small sample of every other shape of rows.

Reviews of films, books, games, food, shopping, travel and services, with slang, typos, emoji,
negation and irony; a text that is half praise, half complaint is 중립, and so is a bare fact or a
question. Beside them, in plain everyday Korean:

    pair        90  premise and hypothesis: 함의, 중립, 모순
    rated-pair  90  two sentences, how alike they mean, 0 to 5
    entities   120  sentences with persons, places, organisations, dates; particles stay outside
    question    60  questions on 20 short texts; 4 have no answer there
    writing     90  a request and a polite answer, or a notice and its title
    passage         the texts of all the others, without labels

Chosen: the task's shape decides which of them is read. All was written for this project, to try
things out offline; persons and organisations are invented. It costs what small size costs: too few
rows to rank methods by, and one small team's idea of each task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import ClassVar

from mulgil.contracts import Dataset
from mulgil.datasets._sample_rows import Record, answered, marked, records
from mulgil.errors import DataError
from mulgil.examples import (
    EntitiesExample,
    Example,
    PairExample,
    PassageExample,
    QuestionExample,
    RatedPairExample,
    TextExample,
    WritingExample,
)
from mulgil.flow import Parts


class Sample(Dataset):
    """The bundled samples; the splits are cut from them by the data settings."""

    title: ClassVar[str] = "Bundled Korean samples"
    shape: ClassVar[str] = "any"
    licence: ClassVar[str] = "Apache-2.0"
    citation: ClassVar[str] = "Mulgil, bundled sample"

    def read(self, files: Mapping[str, Path]) -> Parts:
        shape = "text" if self.asked == "any" else self.asked
        if shape not in _READERS:
            raise DataError(
                f'data "sample": has no rows of shape "{shape}"; it has {", ".join(_READERS)}'
            )
        return Parts({"all": list(_READERS[shape]())})


def _records(name: str, header: str) -> Iterator[Record]:
    with resources.as_file(resources.files("mulgil") / "datasets" / f"{name}.tsv") as path:
        yield from records(path, header)


def _texts() -> Iterator[Example]:
    for number, (_, (text, label)) in enumerate(_records("sample", "text label"), start=1):
        yield TextExample(f"sample:{number}", text, label)


def _pairs() -> Iterator[PairExample]:
    for place, (first, second, label) in _records("sample_pair", "first second label"):
        yield PairExample(place, first, second, label)


def _rated_pairs() -> Iterator[RatedPairExample]:
    for place, (first, second, rating) in _records("sample_rated_pair", "first second rating"):
        yield RatedPairExample(place, first, second, float(rating))


def _entities() -> Iterator[EntitiesExample]:
    for place, (text,) in _records("sample_entities", "text"):
        yield EntitiesExample(place, *marked(text, place))


def _questions() -> Iterator[QuestionExample]:
    context = ""
    for place, (kind, text, answers) in _records("sample_question", "kind text answers"):
        if kind == "context":
            context = text
        else:
            yield QuestionExample(place, text, context, answered(context, answers, place))


def _writings() -> Iterator[WritingExample]:
    for place, (source, target) in _records("sample_writing", "source target"):
        yield WritingExample(place, source, target)


def _passages() -> Iterator[PassageExample]:
    """Yield every text of the other shapes once, questions left out."""
    seen: set[str] = set()
    for reader, fields in _TEXTS.items():
        for row in reader():
            for field in fields:
                text = getattr(row, field)
                if text not in seen:
                    seen.add(text)
                    yield PassageExample(f"{row.id}:{field}", text)


_TEXTS: dict[Callable[[], Iterator[Example]], tuple[str, ...]] = {
    _texts: ("text",),
    _pairs: ("first", "second"),
    _rated_pairs: ("first", "second"),
    _entities: ("text",),
    _questions: ("context",),
    _writings: ("source", "target"),
}

_READERS: dict[str, Callable[[], Iterator[Example]]] = {
    "text": _texts,
    "pair": _pairs,
    "rated-pair": _rated_pairs,
    "entities": _entities,
    "question": _questions,
    "writing": _writings,
    "passage": _passages,
}

"""Answers and entities of published data through windows and back: none is lost, none is moved."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mulgil.examples import EntitiesExample, QuestionExample, Span
from mulgil.tasks import _answers
from mulgil.tasks.ner import Ner, NerSettings
from mulgil.tasks.qa import Qa, QaSettings
from mulgil.tokenizers.subword import Subword, SubwordSettings
from span_rows import every_tokenizer, lost_answers, lost_entities, trimmed

NER = Ner(NerSettings(stride=24))


def _decomposed(text: str, spans: Iterable[Span]) -> tuple[str, tuple[Span, ...]]:
    """Return a text in NFD with its spans."""

    def size(part: str) -> int:
        return len(unicodedata.normalize("NFD", part))

    moved = (Span(size(text[: s.start]), size(text[: s.end]), s.label) for s in spans)
    return unicodedata.normalize("NFD", text), tuple(moved)


def _published(name: str, data_folder: Path) -> list[Any]:
    """Return all rows of a published data set, or skip."""
    from mulgil import fetch, registry

    dataset = registry.load("datasets", name)
    made = dataset(dataset.Settings())
    for source in made.sources:
        if not any((data_folder / f"{source.path}{end}").exists() for end in ("", ".gz")):
            pytest.skip(f"{source.path} is not in the folder that MULGIL_DATA names")
    parts = made.read(fetch.collect(made, download=False))
    return [row for part in parts.rows.values() for row in part]


def _korquad(data_folder: Path) -> tuple[list[Any], Subword, Qa]:
    rows = _published("korquad", data_folder)
    contexts = list(dict.fromkeys(row.context for row in rows))
    chosen = SubwordSettings(vocab_size=8000, max_length=256)
    tokenizer = Subword.make(chosen, None, contexts[::10], 7)
    return rows, tokenizer, Qa(QaSettings(stride=100))


def test_no_published_answer_is_lost_in_windows(data_folder: Path) -> None:
    """G19, M22, TK-09: all 5,774 of KorQuAD, 241 of them at character 0, are whole in a window."""
    rows, tokenizer, task = _korquad(data_folder)
    assert len(rows) == 5774
    assert sum(row.answers[0].start == 0 for row in rows) == 241
    gold = task.gold(rows, task.schema(rows))
    encoded: Any = tokenizer.located([task.text(row) for row in rows], task.stride)
    kept: dict[int, str] = {}
    for window, owner in enumerate(encoded.owners.tolist()):
        characters = encoded.units(window)
        start, end = _answers.places(characters, gold[owner])
        if start:
            kept[owner] = gold[owner].text[characters[start] : characters[end] + 1]
    right = [row.context[row.answers[0].start : row.answers[0].end] for row in rows]
    assert [kept.get(i) for i in range(len(rows))] == [text.rstrip() for text in right]
    assert sum(text != text.rstrip() for text in right) == 3, "a space at the end has no unit"
    first = [row for row in rows if row.answers[0].start == 0][::8]
    assert lost_answers(tokenizer, first, task) == []


@pytest.mark.real
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_every_published_answer_comes_back(form: str, data_folder: Path) -> None:
    """G19, M22: 5,774 of 5,774, composed and decomposed."""
    rows, tokenizer, task = _korquad(data_folder)
    if form == "NFD":
        rows = [
            QuestionExample(row.id, row.question, *_decomposed(row.context, row.answers))
            for row in rows
        ]
        assert sum(row.answers[0].start > 0 for row in rows) == 5774 - 241
    schema = task.schema(rows)
    assert [row.id for row in rows if task.problem(row, schema)] == []
    assert len(rows) == 5774
    for part in range(0, len(rows), 500):
        assert lost_answers(tokenizer, rows[part : part + 500], task) == []


@pytest.mark.parametrize("name", ["wordpiece", "dropping"])
def test_every_published_entity_comes_back(
    name: str, data_folder: Path, korean_texts: list[str]
) -> None:
    """TK-10, M23: entities of KLUE-NER, a tenth of them decomposed; all 14,257 in the long run."""
    rows = _published("klue-ner", data_folder)
    assert (len(rows), sum(len(row.entities) for row in rows)) == (5000, 14257)
    some = [row for row in rows[::12] if row.entities]
    tokenizer = every_tokenizer(korean_texts[:150], 64)[name]
    check_entities(tokenizer, some)
    check_entities(tokenizer, [_nfd(row) for row in some[::10]])


@pytest.mark.real
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_all_published_entities_come_back(
    form: str, data_folder: Path, korean_texts: list[str]
) -> None:
    """TK-10, M23."""
    rows = _published("klue-ner", data_folder)
    edges = [row.id for row in rows for s in row.entities if trimmed(row.text, s) != s]
    assert len(edges) == 2, "entities with white space at an edge"
    if form == "NFD":
        rows = [_nfd(row) for row in rows]
    check_entities(every_tokenizer(korean_texts[:150], 64)["bpe with bytes"], rows)


def _nfd(row: EntitiesExample) -> EntitiesExample:
    return EntitiesExample(row.id, *_decomposed(row.text, row.entities or ()))


def check_entities(tokenizer: Subword, rows: list[EntitiesExample]) -> None:
    schema = NER.schema(rows)
    assert [row.id for row in rows if NER.problem(row, schema)] == []
    assert lost_entities(tokenizer, rows, NER) == []

"""The bundled samples: every shape is whole, balanced and free of repeats; bad rows are refused."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mulgil import examples, hangul, registry
from mulgil.datasets import _sample_rows
from mulgil.errors import DataError
from mulgil.examples import Span

SIZES = {
    "text": 1120,
    "pair": 90,
    "rated-pair": 90,
    "entities": 120,
    "question": 60,
    "writing": 90,
    "passage": 1740,
}


def rows(shape: str) -> Any:
    plugin = registry.load("datasets", "sample")
    dataset = plugin(plugin.Settings())
    dataset.asked = shape
    parts = dataset.read({})
    assert (list(parts.rows), parts.rejected) == (["all"], [])
    return parts.rows["all"]


@pytest.mark.parametrize("shape", SIZES)
def test_every_shape_has_its_rows(shape: str) -> None:
    """No id, and nothing that a model reads, is there twice; no text is blank or not in NFC."""
    found = rows(shape)
    assert len(found) == SIZES[shape]
    assert {type(row) for row in found} == {examples.SHAPES[shape]}
    assert len({row.id for row in found}) == len(found)
    read = [tuple(getattr(row, name) for name in row.inputs) for row in found]
    assert len({tuple(map(hangul.key, texts)) for texts in read}) == len(found)
    for text in (text for texts in read for text in texts):
        assert text == text.strip() != ""
        assert unicodedata.is_normalized("NFC", text)
        assert not any(unicodedata.category(letter) in ("Cc", "Co", "Cs") for letter in text)


def test_nobody_asked_gives_the_reviews() -> None:
    assert rows("any") == rows("text")
    assert Counter(row.label for row in rows("text")).keys() == {"긍정", "중립", "부정"}


def test_no_shape_borrows_the_sentences_of_another() -> None:
    fields = {
        "text": ("text",),
        "pair": ("second",),
        "rated-pair": ("first", "second"),
        "entities": ("text",),
        "question": ("question",),
        "writing": ("source", "target"),
    }
    texts = Counter(
        hangul.key(getattr(row, field))
        for shape, names in fields.items()
        for row in rows(shape)
        for field in names
    )
    assert [text for text, count in texts.items() if count > 1] == []


def test_pairs_are_balanced() -> None:
    found = rows("pair")
    assert Counter(row.label for row in found) == {"함의": 30, "중립": 30, "모순": 30}
    assert set(Counter(row.first for row in found).values()) == {3}


def test_ratings_fill_the_scale() -> None:
    ratings = [row.rating for row in rows("rated-pair")]
    assert all(0 <= rating <= 5 and rating == round(rating, 1) for rating in ratings)
    assert min(Counter(int(rating + 0.5) for rating in ratings).values()) >= 14


def test_entities_stand_where_they_are_marked() -> None:
    """Each span is a name without a particle that the sentence adds to it."""
    found = rows("entities")
    kinds = Counter(span.label for row in found for span in row.entities)
    assert kinds.keys() == set(_sample_rows.KINDS)
    assert min(kinds.values()) >= 45
    assert sum(not row.entities for row in found) == 6
    for row in found:
        ends = [0] + [place for span in row.entities for place in (span.start, span.end)]
        assert ends == sorted(ends)
        assert ends[-1] <= len(row.text)
        for span in row.entities:
            name = row.text[span.start : span.end]
            assert name == name.strip() != ""
            assert not name.endswith(("에서", "에게", "으로", "까지"))
    first = found[0]
    assert [first.text[span.start : span.end] for span in first.entities] == [
        "김서연",
        "대전",
        "늘봄연구소",
    ]


def test_answers_stand_in_their_text() -> None:
    found = rows("question")
    assert len({row.context for row in found}) == 20
    assert sum(not row.answers for row in found) == 4
    starts = [row.answers[0].start for row in found if row.answers]
    assert starts.count(0) >= 5
    for row in found:
        assert row.question.endswith("?")
        for span in row.answers:
            answer = row.context[span.start : span.end]
            assert answer == answer.strip() != ""
            assert span.label == ""


def test_written_texts_are_polite_answers_or_short_titles() -> None:
    for row in rows("writing"):
        assert row.target != row.source
        assert row.target.endswith((".", "?", "!")) or len(row.target) < len(row.source)


def test_passages_are_the_texts_of_the_others() -> None:
    texts = {row.text for row in rows("passage")}
    for shape, field in (("text", "text"), ("entities", "text"), ("question", "context")):
        assert {getattr(row, field) for row in rows(shape)} <= texts


def test_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match='has no rows of shape "table"; it has text, pair'):
        rows("table")


# ---------------------------------------------------------------- the parsers


def test_marks_become_spans() -> None:
    text, spans = _sample_rows.marked("[서하람:PS], [모레:DT] [서하람:PS] 집", "x.tsv:2")
    assert text == "서하람, 모레 서하람 집"
    assert spans == (Span(0, 3, "PS"), Span(5, 7, "DT"), Span(8, 11, "PS"))
    assert _sample_rows.marked("아무도 없다", "x.tsv:2") == ("아무도 없다", ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[서하람:PS이 왔다", "a bracket too many"),
        ("서하람:PS]이 왔다", "a bracket too many"),
        ("[[서하람:PS]:PS]이 왔다", "a bracket too many"),
        ("[서하람]이 왔다", "a bracket too many"),
        ("[:PS]이 왔다", "a bracket too many"),
        ("[서하람:XX]이 왔다", 'has the kind "XX"; use one of PS, LC, OG, DT'),
        ("[서하람:ps]이 왔다", 'has the kind "ps"'),
        ("[서하람:]이 왔다", 'has the kind ""'),
        ("[서하람 :PS]이 왔다", "has a space at an end"),
    ],
)
def test_bad_marks_are_refused_with_their_line(text: str, said: str) -> None:
    """DA-06: the place, the rule and the remedy in one line."""
    with pytest.raises(DataError) as caught:
        _sample_rows.marked(text, "sample_entities.tsv:7")
    assert str(caught.value).startswith("sample_entities.tsv:7: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_answers_are_looked_up() -> None:
    spans = _sample_rows.answered("달은 밝고 달은 멀다", "달 | 밝고", "x.tsv:3")
    assert spans == (Span(0, 1), Span(3, 5))
    assert _sample_rows.answered("달은 밝다", "", "x.tsv:3") == ()
    with pytest.raises(DataError, match=r'^x\.tsv:3: answer "해" is not in the text'):
        _sample_rows.answered("달은 밝다", "해", "x.tsv:3")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("first\tsecond\n하나\t둘\n셋\n", "x.tsv:3: has 1 fields instead of 2"),
        ("first\tsecond\n하나\t둘\t셋\n", "x.tsv:2: has 3 fields instead of 2"),
        ("second\tfirst\n하나\t둘\n", 'x.tsv:1: the header must be "first second"'),
        ("", "x.tsv:1: the header must be"),
    ],
)
def test_bad_rows_are_refused_with_their_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        list(_sample_rows.records(path, "first second"))

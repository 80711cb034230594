"""Entities and questions in the data sets that are fetched: own-written and published files.

Ids such as DA-05 name the faults that a test guards against.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from labelled_files import REAL, everything, published, read

from mulgil.errors import DataError
from mulgil.examples import EntitiesExample, QuestionExample, Span
from mulgil.flow import Parts, Rejected

# ---------------------------------------------------------------- entities


COMMENTS = "## 구분자 : \\t\n## 컬럼명 : CHAR\tNE_TAG\n"


def sentence(name: str, marked: str, text: str, tags: Sequence[str]) -> str:
    lines = [f"{character}\t{tag}" for character, tag in zip(text, tags, strict=True)]
    return "\n".join([f"## {name}\t{marked}", *lines]) + "\n\n"


def ner(folder: Path, *sentences: str) -> Parts:
    return read(folder, "klue-ner", COMMENTS + "".join(sentences))


def test_entities_are_stretches_of_the_characters(tmp_path: Path) -> None:
    """TK-10: spaces inside and between entities, neighbours, and an entity at either end."""
    tags = ["B-PS", "I-PS", "I-PS", "I-PS", "O", "B-LC", "B-LC"]
    parts = ner(tmp_path, sentence("a", "<나 우리:PS> <강:LC><산:LC>", "나 우리 강산", tags))
    assert parts.rows["train"] == [
        EntitiesExample("a", "나 우리 강산", (Span(0, 4, "PS"), Span(5, 6, "LC"), Span(6, 7, "LC")))
    ]


def test_a_sentence_without_entities_has_none_and_a_hash_is_a_character(tmp_path: Path) -> None:
    (row,) = ner(tmp_path, sentence("a", "# 비", "# 비", ["O"] * 3)).rows["train"]
    assert row == EntitiesExample("a", "# 비", ())


def test_decomposed_characters_are_counted_as_they_stand(tmp_path: Path) -> None:
    """DA-03: offsets are those of the user's own text, which is not composed."""
    text = unicodedata.normalize("NFD", "강가")
    tags = ["B-LC", "I-LC", "I-LC", "O", "O"]
    parts = ner(tmp_path, sentence("a", f"<{text[:3]}:LC>{text[3:]}", text, tags))
    assert parts.rows["train"] == [EntitiesExample("a", text, (Span(0, 3, "LC"),))]


@pytest.mark.parametrize(
    ("tags", "wrong"),
    [
        (["I-PS", "O", "O"], 'tag 1 is "I-PS", but no B'),
        (["B-PS", "I-LC", "O"], 'tag 2 is "I-LC", but no B'),
        (["B-PS", "O", "I-PS"], 'tag 3 is "I-PS", but no B'),
        (["B-PX", "O", "O"], 'entity "PX" is none of PS, LC'),
        (["B", "O", "O"], 'tag 1 is "B"'),
        (["O-PS", "O", "O"], 'tag 1 is "O-PS"'),
        (["O", "", "O"], 'tag 2 is ""'),
    ],
)
def test_tags_that_are_not_well_formed_are_rejected(
    tmp_path: Path, tags: list[str], wrong: str
) -> None:
    """EV-03: an entity is never guessed from a tag that cannot stand where it stands."""
    parts = ner(tmp_path, sentence("a", "강산들", "강산들", tags))
    assert parts.rows["train"] == []
    (rejected,) = parts.rejected
    assert (rejected.id, rejected.reason.startswith(wrong)) == ("a", True)


def test_sentences_that_are_not_aligned_are_rejected(tmp_path: Path) -> None:
    """DA-06: one character too few, two on a line, a line without a tag, no header."""
    good = sentence("e", "강", "강", ["O"])
    parts = ner(
        tmp_path,
        sentence("a", "<강:LC>가", "강", ["B-LC"]),
        "## b\t강가\n강가\tO\n\n",
        "## c\t강\n강\n\n",
        "강\tO\n\n",
        good,
        sentence("f", " ", " ", ["O"]),
    )
    assert [row.id for row in parts.rows["train"]] == ["e"]
    assert parts.rejected == [
        Rejected("a", "the characters are not those of the header line"),
        Rejected("b", 'line "강가\tO" is not one character, a tab and a tag'),
        Rejected("c", 'line "강" is not one character, a tab and a tag'),
        Rejected("sentence 4", "a header line with an id is missing"),
        Rejected("f", "empty text"),
    ]


def test_parts_are_cut_by_place_whatever_is_rejected(tmp_path: Path) -> None:
    wrong = {1, 4001, 4600}
    sentences = [sentence(str(i), "강", "강", ["I-LC" if i in wrong else "O"]) for i in range(5000)]
    parts = ner(tmp_path, *sentences)
    assert {name: len(rows) for name, rows in parts.rows.items()} == {
        "train": 3999,
        "valid": 499,
        "test": 499,
    }
    assert (parts.rows["valid"][0].id, parts.rows["test"][0].id) == ("4000", "4500")


@REAL
def test_published_entities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TK-10, M23: all 14,257 entities, in order, apart, and in the order of the ids."""
    parts = published("klue-ner", monkeypatch, tmp_path)
    rows = [row for row in everything(parts) if isinstance(row, EntitiesExample)]
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    assert Counter(span.label for row in rows for span in row.entities or ()) == {
        "PS": 4418,
        "QT": 3151,
        "DT": 2312,
        "OG": 2182,
        "LC": 1649,
        "TI": 545,
    }
    for row in rows:
        ends = [place for span in row.entities or () for place in (span.start, span.end)]
        assert ends == sorted(ends)
        assert all(span.start < span.end <= len(row.text) for span in row.entities or ())


# ---------------------------------------------------------------- questions


RIVER = "한강은 서울을 지난다. 한강은 길다."


def asked(*answers: tuple[str, Any], name: str = "q") -> dict[str, Any]:
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": "어느 강이 서울을 지나나?", "answers": found}


def squad(*questions: Any, context: Any = RIVER, articles: int = 1) -> str:
    paragraphs = [{"context": context, "qas": list(questions)}]
    return json.dumps({"version": "own", "data": [{"paragraphs": paragraphs}] * articles})


def test_an_answer_at_character_0_is_an_answer(tmp_path: Path) -> None:
    """TK-09, G19: 0 is a place, the same words elsewhere are another, the end is reached."""
    parts = read(
        tmp_path,
        "korquad",
        squad(asked(("한강", 0)), asked(("한강", 13)), asked((RIVER[-3:], len(RIVER) - 3))),
    )
    spans = [row.answers for row in parts.rows["train"] if isinstance(row, QuestionExample)]
    assert spans == [(Span(0, 2),), (Span(13, 15),), (Span(17, 20),)]
    assert parts.rejected == []


def test_several_answers_stay_in_order_and_equal_ones_count_once(tmp_path: Path) -> None:
    question = asked(("서울", 4), ("서울을", 4), ("서울", 4))
    (row,) = read(tmp_path, "xquad-en", squad(question)).rows["train"]
    assert row == QuestionExample("q", question["question"], RIVER, (Span(4, 6), Span(4, 7)))


def test_space_around_a_context_stays(tmp_path: Path) -> None:
    """TK-09: a strip would move every answer."""
    (row,) = read(tmp_path, "korquad", squad(asked(("한강", 2)), context=f" \n{RIVER} ")).rows[
        "train"
    ]
    assert isinstance(row, QuestionExample)
    assert (row.context, row.answers) == (f" \n{RIVER} ", (Span(2, 4),))


def test_a_decomposed_context_keeps_its_own_places(tmp_path: Path) -> None:
    """DA-03, TK-09: in NFD the places count jamo; an NFC answer is not in an NFD context."""
    context = unicodedata.normalize("NFD", RIVER)
    answer = unicodedata.normalize("NFD", "서울")
    place = context.index(answer)
    parts = read(
        tmp_path,
        "korquad",
        squad(asked((answer, place)), asked(("서울", place), name="composed"), context=context),
    )
    (row,) = parts.rows["train"]
    assert isinstance(row, QuestionExample)
    assert row.answers == (Span(place, place + len(answer)),)
    assert [row.id for row in parts.rejected] == ["composed"]


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (asked(("서울", 5)), 'answer "서울" is not at 5; there stands'),
        (asked(("부산", 4)), 'answer "부산" is not at 4; there stands'),
        (asked(("다", -2)), 'answer_start "-2" of answer 1 is no whole number'),
        (asked(("서울", 4), ("길다", 0)), 'answer "길다" is not at 0'),
        (asked(("한\n강", 0)), 'answer "한\\n강" is not at 0'),
        (asked(("", 0)), "answer 1 has no text"),
        (asked(("서울", "4")), "an answer without a whole number as its answer_start"),
        (asked(("강", True)), "an answer without a whole number as its answer_start"),
        (asked(), "no answer is given"),
        (asked(("서울", 4)) | {"answers": None}, "no answer is given"),
        (asked(("서울", 4)) | {"question": " "}, "empty text"),
        (asked(("서울", 4)) | {"question": 3}, "the question or the context is missing"),
    ],
)
def test_a_question_that_cannot_be_used_is_rejected(
    tmp_path: Path, question: dict[str, Any], reason: str
) -> None:
    """TK-09: an answer that is not there is said, and nobody searches for it elsewhere."""
    parts = read(tmp_path, "korquad", squad(question, asked(("한강", 0), name="good")))
    assert [row.id for row in parts.rows["train"]] == ["good"]
    (rejected,) = parts.rejected
    assert rejected.id == "q"
    assert rejected.reason.startswith(reason)


@pytest.mark.parametrize("question", [3, {}, {"id": 3, "question": "?"}])
def test_a_question_without_an_id_is_counted(tmp_path: Path, question: Any) -> None:
    parts = read(tmp_path, "korquad", squad(question))
    assert [row.id for row in parts.rejected] == ["a question without an id"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"data": {}}', '{"data": [3]}', '{"data": [{"paragraphs": [{}]}]}'],
)
def test_another_form_is_an_error_of_one_line(tmp_path: Path, content: str) -> None:
    """DA-13: the file is named."""
    with pytest.raises(DataError, match=r"KorQuAD_v1\.0_dev\.json: ") as caught:
        read(tmp_path, "korquad", content)
    assert "\n" not in str(caught.value)


def test_questions_are_cut_by_article(tmp_path: Path) -> None:
    content = squad(asked(("한강", 0)), asked(("길다", 17)), articles=140)
    parts = read(tmp_path, "korquad", content)
    assert {name: len(rows) for name, rows in parts.rows.items()} == {
        "train": 200,
        "valid": 24,
        "test": 56,
    }


@REAL
def test_published_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """G19, M22: 5,774 of 5,774 answers are the file's text, the 241 at character 0 too."""
    rows = [
        row
        for row in everything(published("korquad", monkeypatch, tmp_path))
        if isinstance(row, QuestionExample)
    ]
    (path,) = tmp_path.glob("data/korquad1/*.json")
    texts = {
        entry["id"]: entry["answers"][0]["text"]
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for entry in paragraph["qas"]
    }
    found = {}
    for row in rows:
        (span,) = row.answers or ()
        found[row.id] = row.context[span.start : span.end]
    assert (len(rows), found) == (5774, texts)
    assert sum((row.answers or ())[0].start == 0 for row in rows) == 241


@REAL
@pytest.mark.parametrize("name", ["korquad", "xquad-en"])
def test_no_context_is_in_two_parts(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DA-07: a cut by article leaves no paragraph on both sides."""
    parts = published(name, monkeypatch, tmp_path)
    contexts = [
        {row.context for row in rows if isinstance(row, QuestionExample)}
        for rows in parts.rows.values()
    ]
    assert sum(map(len, contexts)) == len(set().union(*contexts))

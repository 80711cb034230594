"""The user's own files with questions: every way to write answers down, and what is refused."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulgil.datasets._spans import UnusableError, answers
from mulgil.datasets.files import Files
from mulgil.errors import DataError
from mulgil.examples import QuestionExample, Span
from mulgil.flow import Parts

CONTEXT = "세종은 한글을 만들었다. 세종은 왕이다."


def read(path, content: str, **options) -> Parts:
    path.write_bytes(content.encode())
    files = Files(Files.Settings(train=str(path), **options))
    files.asked = "question"
    return files.read({})


def lines(*rows: dict) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def row(value: object) -> dict:
    return {"question": "누가?", "context": CONTEXT, "answers": value}


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("value", "spans"),
    [
        ([{"text": "한글", "answer_start": 4}], (Span(4, 6),)),
        ([{"text": "세종", "answer_start": 0}], (Span(0, 2),)),
        ([{"text": "왕이다.", "answer_start": 18}], (Span(18, 22),)),
        ([{"text": "세종", "answer_start": 14}, {"text": "왕", "answer_start": 18}], None),
        ([{"text": "한글", "answer_start": 4}] * 3, (Span(4, 6),)),
        ([{"text": "한글"}], (Span(4, 6),)),
        (["한글", "왕"], (Span(4, 6), Span(18, 19))),
        ({"text": ["한글", "세종"], "answer_start": [4, 0]}, (Span(4, 6), Span(0, 2))),
        ({"text": "한글", "answer_start": 4}, (Span(4, 6),)),
        ({"text": ["한글"]}, (Span(4, 6),)),
        ({"text": [], "answer_start": []}, ()),
        ("한글", (Span(4, 6),)),
        ([], ()),
    ],
)
def test_answers_in_every_form(tmp_path, value, spans):
    """M22, TK-09: 0 is a place, the end too; [] says that there is none; repeats count once."""
    parts = read(tmp_path / "a.jsonl", lines(row(value)))
    spans = (Span(14, 16), Span(18, 19)) if spans is None else spans
    assert parts.rows["all"] == [QuestionExample("a.jsonl:1", "누가?", CONTEXT, spans)]


def test_answers_that_nobody_gave(tmp_path):
    """Missing is not none: such a row is unlabelled."""
    blank = {"question": "누가?", "context": CONTEXT}
    parts = read(tmp_path / "a.jsonl", lines(row([]), row(None), blank))
    assert [each.answers for each in parts.rows["all"]] == [(), None, None]
    parts = read(tmp_path / "a.jsonl", lines(blank))
    assert parts.rows["all"][0].answers is None
    assert "a.jsonl: no column is left for the answers" in parts.notes


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([{"text": "한글", "answer_start": 5}], 'answer "한글" is not at 5; there stands "글을"'),
        ([{"text": "한글", "answer_start": 99}], 'answer "한글" is not at 99; there stands ""'),
        ([{"text": "세종"}], 'answer "세종" occurs 2 times; give answer_start'),
        ([{"text": "단군"}], 'answer "단군" does not occur in the context'),
        ([{"text": "왕", "answer_start": -4}], 'answer_start "-4" of answer 1 is no whole number'),
        ([{"text": "왕", "answer_start": 18.0}], 'answer_start "18.0" of answer 1 is no whole nu'),
        ([{"text": "왕", "answer_start": True}], 'answer_start "True" of answer 1 is no whole nu'),
        ([{"text": " ", "answer_start": 3}], "answer 1 has no text"),
        ([{"answer_start": 3}], "answer 1 has no text"),
        ([7], "answer 1 has no text"),
        ([{"text": "왕"}, {"text": "단군"}], 'answer "단군" does not occur in the context'),
        ({"text": ["왕"], "answer_start": []}, "its answers have not as many starts as texts"),
        ({"start": 3}, 'its answers have no list "text"'),
        (7, "its answers are a int, not a list"),
    ],
)
def test_answers_that_are_refused(tmp_path, value, reason):
    """Rejected with line and reason, never moved to where they might be meant (DA-06)."""
    parts = read(tmp_path / "a.jsonl", lines(row([]), row(value)))
    assert [each.id for each in parts.rejected] == ["a.jsonl:2"]
    assert parts.rejected[0].reason.startswith(reason)


def test_another_unicode_form(tmp_path):
    """DA-03: offsets of the other form are wrong everywhere, and the reason names the form."""
    nfd = unicodedata.normalize("NFD", CONTEXT)
    parts = read(
        tmp_path / "a.jsonl",
        lines(
            {"question": "?", "context": nfd, "answers": [unicodedata.normalize("NFD", "한글")]},
            {"question": "?", "context": nfd, "answers": ["한글"]},
            {"question": "?", "context": nfd, "answers": [{"text": nfd[0], "answer_start": 0}]},
        ),
    )
    assert [each.answers for each in parts.rows["all"]] == [(Span(9, 15),)]
    assert [each.reason for each in parts.rejected] == [
        'answer "한글" does not occur in the context in this Unicode form (one is NFC, one is not)',
        f'answer "{nfd[0]}" parts a letter from its marks at 1',
    ]


def test_tables(tmp_path):
    """A cell has one answer; 0 is where the first one stands (M22)."""
    content = (
        "질문,지문,답,answer_start\n누가?,세종은 세종,세종,0\n누가?,세종은 세종,세종, 4 \n"
        "누가?,세종은 세종,세종,\n누가?,세종은 왕,왕,\n누가?,세종은 왕,,\n누가?,세종은 왕,왕,4.0\n"
    )
    parts = read(tmp_path / "a.csv", content)
    found = [each.answers for each in parts.rows["all"]]
    assert found == [(Span(0, 2),), (Span(4, 6),), (Span(4, 5),), None]
    assert {each.id: each.reason for each in parts.rejected} == {
        "a.csv:4": 'answer "세종" occurs 2 times; give answer_start',
        "a.csv:7": 'answer_start "4.0" of answer 1 is no whole number',
    }
    named = {"answers": "해답", "answer_start": "자리"}
    content = "question,context,해답,자리\n누가?,세종은 세종,세종,4\n"
    parts = read(tmp_path / "a.csv", content, columns=named)
    assert parts.rows["all"][0].answers == (Span(4, 6),)


def test_each_file_may_have_starts(tmp_path):
    """A start that only the second file has is not passed over."""
    train, test = tmp_path / "a.jsonl", tmp_path / "b.csv"
    train.write_text(lines(row([])), encoding="utf-8")
    test.write_text("question,context,answers,answer_start\n?,가가,가,1\n", encoding="utf-8")
    files = Files(Files.Settings(train=str(train), test=str(test)))
    files.asked = "question"
    assert files.read({}).rows["test"][0].answers == (Span(1, 2),)


def test_starts_in_a_column_of_their_own(tmp_path):
    """They are used or refused, never passed over."""
    apart = {"question": "누가?", "context": CONTEXT}
    parts = read(
        tmp_path / "a.jsonl",
        lines(
            apart | {"answers": ["세종"], "answer_start": [14]},
            apart | {"answers": [{"text": "한글"}], "answer_start": 4},
        ),
    )
    assert parts.rows["all"][0].answers == (Span(14, 16),)
    assert [each.reason for each in parts.rejected] == [
        "has an answer_start of its own beside a list of answers"
    ]


@settings(max_examples=150, deadline=None)
@given(
    before=st.text(alphabet="가나 😀é", max_size=8),
    answer=st.text(alphabet="가나😀", min_size=1, max_size=4),
    after=st.text(alphabet="가나 𝒳", max_size=8),
    form=st.sampled_from(["NFC", "NFD"]),
)
def test_any_answer_is_found_where_it_stands(before, answer, after, form):
    """G19, TK-09: with a start always; without one exactly when it stands there once."""
    before, answer, after = (unicodedata.normalize(form, each) for each in (before, answer, after))
    context, span = before + answer + after, Span(len(before), len(before) + len(answer))
    assert answers(context, [{"text": answer, "answer_start": span.start}]) == (span,)
    once = sum(context.startswith(answer, at) for at in range(len(context))) == 1
    if once:
        assert answers(context, answer) == (span,)
    else:
        with pytest.raises(UnusableError, match="give answer_start"):
            answers(context, answer)


# ---------------------------------------------------------------- SQuAD's own layout


def squad(**more) -> dict:
    asked = [
        {"id": "q1", "question": "누가?", "answers": [{"text": "세종", "answer_start": 0}]},
        {"id": "q2", "question": "언제?", "answers": [], "is_impossible": True},
        {"id": "q3", "question": "어디?"},
        {"id": "q4", "question": "무엇?", "answers": [{"text": "한글", "answer_start": 5}]},
        {"id": "q5", "question": " ", "answers": []},
    ]
    paragraphs = [{"context": CONTEXT, "qas": asked}]
    return {"version": "v1", "data": [{"title": "왕", "paragraphs": paragraphs}]} | more


@pytest.mark.parametrize("indent", [None, 2])
def test_squad(tmp_path, indent):
    """On one line or many; rows are numbered, and the id says which question is meant (M22)."""
    path = tmp_path / "a.json"
    parts = read(path, json.dumps(squad(), ensure_ascii=False, indent=indent))
    assert parts.rows["all"] == [
        QuestionExample("a.json:1", "누가?", CONTEXT, (Span(0, 2),)),
        QuestionExample("a.json:2", "언제?", CONTEXT, ()),
        QuestionExample("a.json:3", "어디?", CONTEXT, None),
    ]
    assert [(each.id, each.reason) for each in parts.rejected] == [
        ("a.json:4", 'question "q4": answer "한글" is not at 5; there stands "글을"'),
        ("a.json:5", 'question "q5": "question" is empty'),
    ]
    assert parts.notes == ["a.json: read as utf-8"]


def test_squad_with_holes(tmp_path):
    """DA-06: what is missing costs what stands in it."""
    content = squad()
    good = content["data"][0]
    hole = {"paragraphs": [7, {"context": "가"}, {"context": "가", "qas": [3]}, {"qas": [{}]}]}
    content["data"] = [good, {"title": "빈"}, hole]
    parts = read(tmp_path / "a.json", json.dumps(content))
    assert len(parts.rows["all"]) == 3
    assert [each.reason for each in parts.rejected[2:]] == [
        'article 2 has no list "paragraphs"',
        'paragraph 1 of article 3 has no list "qas"',
        'paragraph 2 of article 3 has no list "qas"',
        "a question of paragraph 3 of article 3 is no object",
        'no "question"',
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{\n"rows": []\n}', r'is neither \{"data": \[\.\.\.\]\} as SQuAD has it'),
        ('{"data": {"paragraphs": []}}', r"is neither"),
        ('{"data": [', r"is neither"),
        ('{\n"data": [], "data": []}', r'\(has the key "data" twice\); write it as \.jsonl'),
        ('{\n"data": ' + "[" * 100_000, r"is neither .*\(is nested too deeply\)"),
        ('{"data": []}', r"has no rows"),
    ],
)
def test_json_that_is_no_squad(tmp_path, content, message):
    """DA-13: bounded, one line."""
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "a.json", content)
    assert "\n" not in str(caught.value)


def test_other_json_is_still_read(tmp_path):
    for content in (lines(row([]), row(None)), f"[{lines(row([]))},\n{lines(row(None))}]"):
        parts = read(tmp_path / "a.json", content)
        assert [each.answers for each in parts.rows["all"]] == [(), None]


def test_korquad_keeps_every_answer(data_folder):
    """G19, M22: 5,774 of 5,774, and 241 of them at character 0."""
    path = Path(data_folder) / "korquad1" / "KorQuAD_v1.0_dev.json.gz"
    if not path.exists():
        pytest.skip("MULGIL_DATA has no korquad1")
    files = Files(Files.Settings(train=str(path)))
    files.asked = "question"
    parts = files.read({})
    rows = parts.rows["all"]
    assert (len(rows), len(parts.rejected)) == (5_774, 0)
    assert sum(each.answers[0].start == 0 for each in rows) == 241

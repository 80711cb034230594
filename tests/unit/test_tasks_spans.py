"""Tasks that find spans: what is right, what is asked, what people get, in their own characters."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pydantic
import pytest

from mulgil.errors import DataError
from mulgil.examples import EntitiesExample, QuestionExample, Span, TextExample
from mulgil.flow import UNASKED, Marked, Schema
from mulgil.judged import Tagged
from mulgil.objectives import Window
from mulgil.tasks import _spans
from mulgil.tasks.ner import Ner, NerSettings
from mulgil.tasks.qa import Qa, QaSettings
from span_rows import NFD, PLACES, TEXT, Windows, batch, characters, scored

ENTITIES = (Span(0, 3, "사람"), Span(5, 7, "곳"))
ROW = EntitiesExample("a:1", TEXT, ENTITIES)
TAGS = ("O", "B-곳", "I-곳", "B-사람", "I-사람")
DECOMPOSED = EntitiesExample(
    "a:2", NFD, tuple(Span(PLACES[s.start], PLACES[s.end], s.label) for s in ENTITIES)
)


def ner(**settings: Any) -> Ner:
    return Ner(NerSettings(**settings))


def qa(**settings: Any) -> Qa:
    return Qa(QaSettings(**settings))


def sure(row: EntitiesExample, task: Ner, schema: Schema) -> list[Window]:
    """Return a window whose scores are the gold tags."""
    (gold,) = task.gold([row], schema)
    own = characters(gold.text)
    asked = task.asker(Windows([own], [0]), [gold], schema)(batch([own]), np.array([0]), None)
    targets = np.maximum(asked.targets, 0)
    return [(own, (12 * np.eye(len(schema.labels))[targets]).astype(np.float32))]


# ---------------------------------------------------------------- what both share


def test_spans_are_those_of_the_composed_text() -> None:
    """TK-09, TK-10: NFD and NFC give the same gold."""
    assert _spans.marked(NFD, DECOMPOSED.entities or ()) == Marked(TEXT, ENTITIES)
    assert _spans.marked(TEXT, ENTITIES) == Marked(TEXT, ENTITIES)


def test_white_space_at_the_edges_of_a_span_is_left_out() -> None:
    """TK-09: an answer with a space behind it is an answer; no unit stands for white space."""
    assert _spans.marked(" 서울 시 ", (Span(0, 6, "곳"),)).spans == (Span(1, 5, "곳"),)
    assert _spans.marked("서울\t", (Span(0, 3),)).spans == (Span(0, 2),)
    assert _spans.fault("서울 ", (Span(0, 3),)) is None


@pytest.mark.parametrize(
    ("text", "span", "reason"),
    [
        (TEXT, (0, 11), None),
        (TEXT, (4, 5), "its span 4 to 5 is white space"),
        (TEXT, (0, 12), "its span 0 to 12 is not within its 11 characters"),
        (TEXT, (-1, 2), "its span -1 to 2 is not within its 11 characters"),
        (TEXT, (3, 3), "its span 3 to 3 is not within its 11 characters"),
        (TEXT, (5, 2), "its span 5 to 2 is not within its 11 characters"),
        (NFD, (0, 1), "its span 0 to 1 begins or ends in the midst of a character"),
        (NFD, (1, 3), "its span 1 to 3 begins or ends in the midst of a character"),
        (NFD, (0, 3), None),
        ("e\u0301", (0, 1), "its span 0 to 1 begins or ends in the midst of a character"),
    ],
)
def test_spans_that_cannot_be_those_of_a_text(
    text: str, span: tuple[int, int], reason: str | None
) -> None:
    assert _spans.fault(text, (Span(*span),)) == reason


@pytest.mark.parametrize("task", [ner(), qa()])
def test_rows_of_another_shape_are_refused_by_name(task: Any) -> None:
    with pytest.raises(DataError, match=rf"c:1: .* reads rows of shape {task.shape}, not text"):
        task.text(TextExample("c:1", "가"))


def test_what_is_asked_of_a_network() -> None:
    head = ner().head(Schema("entities", TAGS))
    assert (head.skill, head.outputs, head.places) == ("tokens", 5, _spans.PLACES)
    head = qa().head(Schema("question", ("start", "end")))
    assert (head.skill, head.outputs, head.places) == ("tokens", 2, _spans.PLACES)
    assert (ner(stride=9).stride, qa(stride=0).stride) == (9, 0)
    assert (ner().text(ROW), qa().text(QuestionExample("1", "어디?", TEXT))) == (
        TEXT,
        ("어디?", TEXT),
    )


# ---------------------------------------------------------------- ner


def test_kinds_of_entities_become_tags() -> None:
    assert ner().schema([ROW]) == Schema("entities", TAGS)
    wanted = ner(labels=["사람", "곳", "때"]).schema([ROW]).labels
    assert wanted == ("O", "B-사람", "I-사람", "B-곳", "I-곳", "B-때", "I-때")
    assert ner().schema([DECOMPOSED, EntitiesExample("1", "가", ())]).labels == TAGS


def test_rows_that_make_no_kinds() -> None:
    with pytest.raises(DataError, match="no training row has an entity"):
        ner().schema([EntitiesExample("1", "가", ()), EntitiesExample("2", "가")])
    with pytest.raises(
        DataError, match=r'a:1: entity "사람" is not in task\.labels; known: 곳, 때'
    ):
        ner(labels=["곳", "때"]).schema([ROW])


@pytest.mark.parametrize(
    ("entities", "reason"),
    [
        (ENTITIES, None),
        ((), None),
        (None, "no entities"),
        ((Span(0, 3, "때"),), 'entity "때" does not occur in training'),
        ((Span(0, 3, "사람"), Span(2, 5, "곳")), "its entities overlap, or are not in order"),
        (ENTITIES[::-1], "its entities overlap, or are not in order"),
        ((Span(0, 99, "곳"),), "its span 0 to 99 is not within its 11 characters"),
        ((Span(4, 5, "곳"),), "its span 4 to 5 is white space"),
    ],
)
def test_rows_with_entities_that_cannot_be_used(entities: Any, reason: str | None) -> None:
    task = ner()
    row = EntitiesExample("1", TEXT, entities)
    assert task.problem(row, Schema("entities", TAGS)) == reason


def test_entities_are_counted() -> None:
    schema = Schema("entities", (*TAGS, "B-때", "I-때"))
    rows = [ROW, ROW, EntitiesExample("1", "가")]
    assert ner().tally(rows, schema) == {"곳": 2, "사람": 2, "때": 0}
    assert ner().tally(rows, None) == {"곳": 2, "사람": 2}


def test_every_character_is_asked_for_its_tag() -> None:
    """TK-10: a space has no unit, the beginning is not asked, a particle is outside the name."""
    task, schema = ner(), Schema("entities", TAGS)
    gold = task.gold([ROW, EntitiesExample("2", "서울", (Span(0, 2, "곳"),))], schema)
    parts = [characters(TEXT), characters("서울"), np.array([-1, 6, 7, 9])]
    ask = task.asker(Windows(parts, [0, 1, 0]), gold, schema)
    first = ask(batch(parts), np.array([0, 1, 2]), None).targets.tolist()
    names = ["" if number == UNASKED else TAGS[number] for number in first]
    assert names == [
        *("", "B-사람", "I-사람", "I-사람", "O", "B-곳", "I-곳", "O", "O", "O"),
        *("", "B-곳", "I-곳"),
        *("", "I-곳", "O", "O"),
    ]
    turned = [parts[2], parts[1]]
    again = ask(batch(turned), np.array([2, 1]), (1, 2)).targets.tolist()
    assert again == [*first[13:], *first[10:13]], "in the order of the batch, whatever is drawn"


def test_the_loss_of_measured_tags_is_the_mean_of_what_is_learnt() -> None:
    """EV-02: over characters; the beginning of a window is not asked for."""
    torch = pytest.importorskip("torch")
    task, schema = ner(), Schema("entities", TAGS)
    gold = task.gold([ROW, DECOMPOSED], schema)
    parts = [characters(TEXT)] * 2
    scores, windows = scored(parts, 5)
    ask = task.asker(Windows(parts, [0, 1]), gold, schema)
    inputs = ask(batch(parts), np.array([0, 1]), None)
    summed = float(task.loss(torch.from_numpy(scores), inputs))
    found = task.loss_of(gold, [[windows[0]], [windows[1]]], schema)
    asked = int((inputs.targets != UNASKED).sum())
    assert asked == 18
    assert found == pytest.approx(summed / asked, abs=1e-6)
    assert task.loss_of([], [], schema) == task.loss_of(None, [], schema) == 0.0
    by_hand = [
        -float(_spans.log_softmax(scores)[i, t]) for i, t in enumerate(inputs.targets) if t >= 0
    ]
    assert found == pytest.approx(np.mean(by_hand), abs=1e-9)


def test_found_entities_are_judged_and_shown() -> None:
    task = ner()
    schema = task.schema([ROW])
    gold = task.gold([ROW, ROW], schema)
    windows = sure(ROW, task, schema)
    nothing = [(characters(TEXT), (9 * np.eye(5)[np.zeros(10, int)]).astype(np.float32))]
    judged = task.judge(gold, [windows, nothing], schema)
    assert isinstance(judged, Tagged)
    assert judged.gold == (ENTITIES, ENTITIES)
    assert judged.predicted == (ENTITIES, ())
    assert (judged.sizes.tolist(), judged.labels) == ([11, 11], ("곳", "사람"))
    one, two = task.records(gold, [windows, nothing], schema)
    assert (
        one["gold"]
        == two["gold"]
        == [
            {"text": "김민수", "label": "사람", "start": 0, "end": 3},
            {"text": "서울", "label": "곳", "start": 5, "end": 7},
        ]
    )
    assert two["predicted"] == []
    assert [{**each, "probability": 1} for each in one["predicted"]] == [
        {**each, "probability": 1} for each in one["gold"]
    ]
    assert all(0.99 < each["probability"] <= 1 for each in one["predicted"])
    with pytest.raises(DataError, match="need entities"):
        task.judge(None, [windows], schema)


def test_entities_are_shown_in_the_users_own_characters() -> None:
    """TK-10, M19: of decomposed text the places and the pieces are decomposed as well."""
    task = ner()
    schema = task.schema([ROW])
    for row in (ROW, DECOMPOSED):
        found = task.answer(sure(row, task, schema), row, schema)["entities"]
        assert [(e["start"], e["end"], e["label"]) for e in found] == [
            (s.start, s.end, s.label) for s in row.entities or ()
        ]
        for each in found:
            assert row.text[each["start"] : each["end"]] == each["text"]
        assert [unicodedata.normalize("NFC", each["text"]) for each in found] == ["김민수", "서울"]
    assert task.fields(schema) == ("entities",)
    empty: list[Window] = [(np.array([-1]), np.zeros((1, 5), np.float32))]
    assert task.answer(empty, EntitiesExample("1", "  "), schema) == {"entities": []}


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": ["곳", "곳"]},
        {"labels": []},
        {"labels": ["곳", ""]},
        {"labels": "곳"},
        {"stride": -1},
        {"stride": 5000},
        {"stride": 1.5},
        {"scheme": "BIO"},
    ],
)
def test_bad_settings_of_ner(wrong: dict[str, Any]) -> None:
    """CF-01, CF-03."""
    with pytest.raises(pydantic.ValidationError):
        NerSettings(**wrong)


def test_labels_of_ner_are_composed() -> None:
    """DA-03."""
    decomposed = unicodedata.normalize("NFD", "곳")
    assert NerSettings(labels=[f" {decomposed} "]).labels == ["곳"]

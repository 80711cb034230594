"""Tasks that find spans: what is right, what is asked, what people get, in their own characters."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pydantic
import pytest

from mulgil.errors import DataError
from mulgil.examples import EntitiesExample, QuestionExample, Span, TextExample
from mulgil.flow import UNASKED, Array, Located, Marked, Schema, Tagged, Written
from mulgil.objectives import Window
from mulgil.tasks import _spans
from mulgil.tasks.ner import Ner, NerSettings
from mulgil.tasks.qa import Qa, QaSettings

TEXT = "김민수는 서울에 산다"
ENTITIES = (Span(0, 3, "사람"), Span(5, 7, "곳"))
ROW = EntitiesExample("a:1", TEXT, ENTITIES)
TAGS = ("O", "B-곳", "I-곳", "B-사람", "I-사람")
NFD = unicodedata.normalize("NFD", TEXT)
PLACES = [len(unicodedata.normalize("NFD", TEXT[:i])) for i in range(len(TEXT) + 1)]
DECOMPOSED = EntitiesExample(
    "a:2", NFD, tuple(Span(PLACES[s.start], PLACES[s.end], s.label) for s in ENTITIES)
)


def ner(**settings: Any) -> Ner:
    return Ner(NerSettings(**settings))


def qa(**settings: Any) -> Qa:
    return Qa(QaSettings(**settings))


def question(*spans: tuple[int, int], context: str = TEXT, asked: str = "어디?") -> QuestionExample:
    return QuestionExample("q:1", asked, context, tuple(Span(*span) for span in spans))


def characters(text: str) -> Array:
    """Return the characters of the one window of a composed text."""
    return np.array([-1, *(i for i, c in enumerate(text) if not c.isspace())])


class Windows:
    """Encoded rows as a task's asker reads them."""

    def __init__(self, parts: list[Array], owners: list[int]) -> None:
        self.parts, self.owners = parts, owners

    def units(self, window: int) -> Array:
        return self.parts[window]


def batch(parts: list[Array]) -> Located:
    counts = np.array([len(part) for part in parts])
    nothing = np.zeros(int(counts.sum()), np.int64)
    return Located(np.zeros((len(parts), 1)), np.ones(len(parts)), None, nothing, nothing, counts)


def scored(parts: list[Array], outputs: int, seed: int = 3) -> tuple[Array, list[Window]]:
    """Return random scores of all units, and the same by window."""
    count = sum(map(len, parts))
    scores = np.random.default_rng(seed).normal(size=(count, outputs)).astype(np.float32)
    edges = np.cumsum([len(part) for part in parts])[:-1]
    return scores, list(zip(parts, np.split(scores, edges), strict=True))


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
    assert (ner().text(ROW), qa().text(question())) == (TEXT, ("어디?", TEXT))


# ---------------------------------------------------------------- ner


def test_kinds_of_entities_become_tags() -> None:
    assert ner().schema([ROW]) == Schema("entities", TAGS)
    wanted = ner(labels=["사람", "곳", "때"]).schema([ROW]).labels
    assert wanted == ("O", "B-사람", "I-사람", "B-곳", "I-곳", "B-때", "I-때")
    assert ner().schema([DECOMPOSED, EntitiesExample("1", "가", ())]).labels == TAGS


def test_rows_that_make_no_kinds() -> None:
    with pytest.raises(DataError, match="no training row has an entity"):
        ner().schema([EntitiesExample("1", "가", ()), EntitiesExample("2", "가")])
    with pytest.raises(DataError, match=r'a:1: entity "사람" is not in task\.labels.*"사랑"'):
        ner(labels=["곳", "사랑"]).schema([ROW])


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
    assert one["gold"] == two["gold"] == [
        {"text": "김민수", "label": "사람", "start": 0, "end": 3},
        {"text": "서울", "label": "곳", "start": 5, "end": 7},
    ]
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
    """CF-01."""
    with pytest.raises(pydantic.ValidationError):
        NerSettings(**wrong)


def test_labels_of_ner_are_composed() -> None:
    """DA-03."""
    decomposed = unicodedata.normalize("NFD", "곳")
    assert NerSettings(labels=[f" {decomposed} "]).labels == ["곳"]


# ---------------------------------------------------------------- qa


def test_the_schema_of_answers() -> None:
    assert qa().schema([]) == Schema("question", ("start", "end"))
    assert qa().needs == {"tokens", "pair"}


@pytest.mark.parametrize(
    ("row", "settings", "reason"),
    [
        (question((5, 7)), {}, None),
        (question((0, 3)), {}, None),
        (question(), {}, "has no answer in its text; set task.no_answer = true"),
        (question(), {"no_answer": True}, None),
        (QuestionExample("1", "어디?", TEXT), {}, "no answers"),
        (question((5, 7), asked=" "), {}, "empty question"),
        (question((5, 70)), {}, "its span 5 to 70 is not within its 11 characters"),
        (
            question((0, 1), context=NFD),
            {},
            "its span 0 to 1 begins or ends in the midst of a character",
        ),
    ],
)
def test_questions_that_cannot_be_used(
    row: QuestionExample, settings: dict[str, Any], reason: str | None
) -> None:
    """M22: an answer at character 0 is an answer."""
    assert qa(**settings).problem(row, qa().schema([])) == reason


def test_questions_are_counted() -> None:
    rows = [question((0, 3)), question(), QuestionExample("1", "가", "나")]
    assert qa().tally(rows, None) == {"with an answer": 1, "without an answer": 2}


def test_windows_without_the_answer_are_asked_for_their_beginning() -> None:
    """TK-09: also the one in which only a part of it stands."""
    task = qa()
    schema = task.schema([])
    gold = task.gold([question((5, 7)), question((0, 3), (5, 7)), question()], schema)
    parts = [np.array([-1, 0, 1, 2, 3, 5]), np.array([-1, 3, 5, 6, 7]), characters(TEXT)]
    ask = task.asker(Windows([*parts, parts[2]], [0, 0, 1, 2]), gold, schema)
    inputs = ask(batch([*parts, parts[2]]), np.arange(4), None)
    assert inputs.targets.tolist() == [[0, 0], [2, 3], [1, 3], [0, 0]]


def test_the_loss_of_measured_answers_is_the_mean_of_what_is_learnt() -> None:
    """EV-02: over the start and the end of every window."""
    torch = pytest.importorskip("torch")
    task = qa()
    schema = task.schema([])
    gold = task.gold([question((5, 7)), question((0, 3))], schema)
    parts = [np.array([-1, 0, 1, 2, 3, 5]), np.array([-1, 3, 5, 6, 7]), characters(TEXT)]
    scores, windows = scored(parts, 2)
    inputs = task.asker(Windows(parts, [0, 0, 1]), gold, schema)(batch(parts), np.arange(3), None)
    summed = float(task.loss(torch.from_numpy(scores), inputs))
    found = task.loss_of(gold, [windows[:2], windows[2:]], schema)
    assert found == pytest.approx(summed / inputs.targets.size, abs=1e-6)
    assert task.loss_of(None, [], schema) == 0.0


def test_a_window_of_one_unit_can_be_learnt() -> None:
    torch = pytest.importorskip("torch")
    task = qa(no_answer=True)
    parts = [np.array([-1]), characters(TEXT)]
    gold = task.gold([question(context=" "), question((0, 3))], task.schema([]))
    inputs = task.asker(Windows(parts, [0, 1]), gold, task.schema([]))(
        batch(parts), np.arange(2), None
    )
    scores = torch.zeros(len(parts[0]) + len(parts[1]), 2, requires_grad=True)
    loss = task.loss(scores, inputs)
    loss.backward()
    assert float(loss) == pytest.approx(2 * np.log(10), abs=1e-4)
    assert torch.isfinite(scores.grad).all()


def answered(start: int, end: int, text: str = TEXT) -> list[Window]:
    """Return a window that is sure of the answer from unit `start` to unit `end`."""
    own = characters(text)
    scores = np.zeros((len(own), 2), np.float32)
    scores[start, 0] = scores[end, 1] = 14
    return [(own, scores)]


def test_found_answers_are_judged_and_shown() -> None:
    task = qa(no_answer=True)
    schema = task.schema([])
    gold = task.gold([question((5, 7), (5, 8)), question()], schema)
    measured = [answered(5, 6), answered(0, 0)]
    judged = task.judge(gold, measured, schema)
    assert judged == Written((("서울", "서울에"), ()), ("서울", ""))
    one, two = task.records(gold, measured, schema)
    assert (one["gold"], one["predicted"]) == (["서울", "서울에"], "서울")
    assert (two["gold"], two["predicted"]) == ([], "")
    assert one["probability"] > 0.99 < two["probability"]
    with pytest.raises(DataError, match="need answers"):
        task.judge(None, measured, schema)


def test_answers_are_shown_in_the_users_own_characters() -> None:
    """TK-09, M19, M22: also at character 0, also across a space."""
    task = qa(best=3)
    schema = task.schema([])
    for context, places in ((TEXT, list(range(12))), (NFD, PLACES)):
        for (first, last), (start, end) in (((1, 3), (0, 3)), ((4, 6), (3, 7)), ((9, 9), (10, 11))):
            row = question(context=context)
            found = task.answer(answered(first, last), row, schema)
            assert (found["start"], found["end"]) == (places[start], places[end])
            assert found["answer"] == context[places[start] : places[end]]
            assert len(found["best"]) == 3
            assert found["best"][0] == {key: found[key] for key in found if key != "best"}
            shares = [each["probability"] for each in found["best"]]
            assert shares == sorted(shares, reverse=True)
    assert task.fields(schema) == ("answer", "probability", "start", "end", "best")


def test_no_answer_is_an_empty_one() -> None:
    row = question(context=TEXT)
    found = qa(no_answer=True).answer(answered(0, 0), row, qa().schema([]))
    assert (found["answer"], found["start"], found["end"]) == ("", 0, 0)
    assert qa().answer(answered(0, 0), row, qa().schema([]))["answer"] != ""


def test_answers_have_a_longest_length() -> None:
    row = question(context=TEXT)
    assert qa(max_answer=3).answer(answered(1, 3), row, qa().schema([]))["answer"] == "김민수"
    short = qa(max_answer=2).answer(answered(1, 3), row, qa().schema([]))
    assert all(len(each["answer"].replace(" ", "")) <= 2 for each in short["best"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"stride": -1},
        {"stride": "128"},
        {"max_answer": 0},
        {"max_answer": 20_000},
        {"no_answer": 1},
        {"best": 0},
        {"best": 101},
        {"doc_stride": 128},
    ],
)
def test_bad_settings_of_qa(wrong: dict[str, Any]) -> None:
    """CF-01."""
    with pytest.raises(pydantic.ValidationError):
        QaSettings(**wrong)

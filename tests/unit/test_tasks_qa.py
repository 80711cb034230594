"""Questions and the stretches of a text that answer them, or that none does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydantic
import pytest

from mulgil.errors import DataError
from mulgil.examples import QuestionExample, Span
from mulgil.flow import Schema
from mulgil.judged import Written
from mulgil.objectives import Window
from mulgil.tasks.qa import Qa, QaSettings
from span_rows import NFD, PLACES, TEXT, Windows, batch, characters, scored


def qa(**settings: Any) -> Qa:
    return Qa(QaSettings(**settings))


def question(*spans: tuple[int, int], context: str = TEXT, asked: str = "어디?") -> QuestionExample:
    return QuestionExample("q:1", asked, context, tuple(Span(*span) for span in spans))


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
    """Over the start and the end of every window."""
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
    assert loss.item() == pytest.approx(2 * np.log(10), abs=1e-4)
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
    """CF-01, CF-03."""
    with pytest.raises(pydantic.ValidationError):
        QaSettings(**wrong)

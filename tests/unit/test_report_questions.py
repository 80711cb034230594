"""The page of answers to questions: exact by the run's own metric, passages around the answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mulgil import registry
from mulgil.judged import Written
from mulgil.report.figures import Figures
from mulgil.report.questions import JUDGES, Questions, judge

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_run import write_lines
from fake_tasks import make_questions_run
from page_reader import page, stored

PASSAGE = "강을 건너는 다리는 1998년 가을에 열렸다. 그 다리는 길다."


def row(said: str, chance: float = 0.8, gold: tuple[str, ...] = ("1998년 가을",)) -> dict[str, Any]:
    asked = {"id": "q", "question": "언제 열렸나?", "context": PASSAGE}
    return {**asked, "gold": list(gold), "predicted": said, "probability": chance}


def read(rows: list[dict[str, Any]], metric: str = "korquad-f1") -> Questions:
    return Questions(enumerate(rows), registry.load("metrics", metric)(), [])


def test_exact_is_what_the_first_metric_says() -> None:
    """RP-04: punctuation does not count for KorQuAD, and does for the bare comparison."""
    rows = [row("1998년 가을."), row("1998년 가을에")]
    assert [number for _, number, _ in read(rows).worst] == [1]
    assert [number for _, number, _ in read(rows, "exact-match").worst] == [0, 1]


def test_judge_is_the_first_metric_that_can() -> None:
    """Names come from result.json; each of ours is a plug-in of that name."""
    none = Written((), ())
    for name in JUDGES:
        chosen = judge(Figures({"result.json": {"metrics": {"loss": {}, name: {}}}}))
        assert name in chosen.compute(none)
    assert JUDGES[0] in judge(Figures({})).compute(none)


def test_surest_wrong_answers_come_first(tmp_path: Path) -> None:
    """RP-04: the list is that of a plain sort over the rows that are not exact."""
    run = make_questions_run(tmp_path / "run", 150)
    rows = list(stored(run, "predictions.jsonl").values())
    wrong = sorted(-r["probability"] for r in rows if r["predicted"] not in r["gold"])
    listed = [
        float(a["value"])
        for a, _ in page(run).figures
        if a.get("data-at", "").startswith("predictions.jsonl#/")
    ]
    assert listed == [-v for v in wrong[:20]]


def test_confidence_counts_the_exact_answers(tmp_path: Path) -> None:
    """The bins hold every row; right are as many as exact match says."""
    run = make_questions_run(tmp_path / "run", 150)
    rows = list(stored(run, "predictions.jsonl").values())
    found = read(rows)
    exact = stored(run, "result.json")["metrics"]["korquad-f1"]["korquad-em"]["value"]
    assert sum(b.rows for b in found.confidence.bins) == 150
    assert sum(b.right for b in found.confidence.bins) == pytest.approx(150 * exact)
    shown = next(a for a, _ in page(run).figures if a.get("data-of") == "ece")
    assert float(shown["value"]) == pytest.approx(found.confidence.ece)


def shown_for(tmp_path: Path, *rows: dict[str, Any]) -> str:
    run = make_questions_run(tmp_path / "run", 0)
    write_lines(run / "predictions.jsonl", list(rows))
    return page(run).text


def test_question_answers_and_passage_are_shown(tmp_path: Path) -> None:
    """Question, given and right answer, and both in the passage."""
    text = shown_for(tmp_path, row("1998년 가을에", gold=("1998년 가을", "가을", "가을")))
    assert "언제 열렸나? said 1998년 가을에 gold 1998년 가을 / 가을 KorQuAD F1" in text
    assert "다리는 [( 1998년 가을 ] 에 ) 열렸다." in text


def test_answers_far_apart_are_both_marked(tmp_path: Path) -> None:
    """A wrong answer from elsewhere in the passage is boxed, the right one underlined."""
    far = row("길다") | {"context": PASSAGE.replace(". 그", ". " + "나무가 많다. " * 90 + "그")}
    text = shown_for(tmp_path, far)
    assert "1998년 가을 – 에 열렸다." in text
    assert " … " in text
    assert "길다 + ." in text


def test_silence_on_either_side(tmp_path: Path) -> None:
    """No answer given, or none right: said in words, and silence that is right is no mistake."""
    text = shown_for(tmp_path, row(""), row("길다", gold=()), row("", gold=()))
    assert "said nothing gold 1998년 가을" in text
    assert "said 길다 gold nothing" in text
    assert text.count("언제 열렸나?") == 2


def test_answers_that_do_not_stand_in_the_passage(tmp_path: Path) -> None:
    """RP-05: nothing is marked, nothing breaks; a row without passage has none."""
    odd = row("없는 말", gold=("또 없는 말",))
    text = shown_for(tmp_path, odd, {k: v for k, v in odd.items() if k != "context"})
    assert text.count("said 없는 말 gold 또 없는 말") == 2
    assert text.count("강을 건너는 다리는") == 1

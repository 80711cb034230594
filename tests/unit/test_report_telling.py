"""What weighs most, on the page: its figures, its blanks, and runs that tell nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mulgil import pipeline, recipe
from mulgil.report.page import write_report
from mulgil.report.telling import shown

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_run import TWO, make_run, write_lines, write_object
from fake_tasks import make_rated_run
from page_reader import check_closed, check_figures, page


def telling_run(folder: Path, told: Any) -> Path:
    run = make_run(folder, TWO, 60)
    result = json.loads((run / "result.json").read_text("utf-8"))
    write_object(run / "result.json", result | {"telling": told})
    return run


def test_each_label_has_its_ngrams_with_their_figures(tmp_path: Path) -> None:
    """RP-04: the exact value at the stated place."""
    told = {"부정": {"재미없": 3.25, "a/b~c": 1.5}, "긍정": {" 최고": 2.125}}
    run = telling_run(tmp_path / "run", told)
    plain = check_figures(make_run(tmp_path / "plain", TWO, 60))
    assert check_figures(run) == plain + 3
    text = page(run).text
    assert "What weighs most" in text
    assert "재미없 +3.25" in text
    assert "␣ 최고 +2.1" in text


def test_of_two_texts_it_says_how_they_were_counted(tmp_path: Path) -> None:
    told = {"부정": {"second:없": 3.0, "both:비:": 1.0}, "긍정": {"first:눈": 2.0}}
    text = page(telling_run(tmp_path, told)).text
    assert "없 second +3.00" in text
    assert "비: both +1.00" in text
    assert "눈 first +2.00" in text


def test_a_rating_has_what_raises_and_what_lowers_it(tmp_path: Path) -> None:
    """RP-04: figures above 0 and below, the exact value at the stated place."""
    run = make_rated_run(tmp_path, 60)
    plain, result = check_figures(run), json.loads((run / "result.json").read_text("utf-8"))
    assert "What weighs most" not in page(run).text
    told = {"raises": {"both:비": 1.25}, "lowers": {"one: 않": -0.5, "both:눈": -0.25}}
    write_object(run / "result.json", result | {"telling": told})
    assert check_figures(run) == plain + 3
    text = page(run).text
    assert "What weighs most" in text
    assert "raises 높임 비 both +1.25" in text
    assert "lowers 낮춤 ␣ 않 one -0.50 , 눈 both -0.25" in text


def test_a_run_that_rates_tells_both(tmp_path: Path) -> None:
    """From a training to its page, the heaviest first on both sides."""
    chosen = ["name=run", "data.name=sample", "task.name=sts", "data.train_rows=40"]
    run = pipeline.run(recipe.read("sample-tfidf", chosen), tmp_path)
    told = json.loads((run / "result.json").read_text("utf-8"))["telling"]
    assert list(told) == ["raises", "lowers"]
    raises, lowers = ([*each.values()] for each in told.values())
    assert raises == sorted(raises, reverse=True)
    assert lowers == sorted(lowers)
    assert raises[-1] > 0 > lowers[-1]
    assert "What weighs most" in page(write_report(run).parent).text


def test_a_colon_alone_does_not_make_two_texts(tmp_path: Path) -> None:
    text = page(telling_run(tmp_path, {"부정": {"both:": 3.0, "가": 1.0}, "긍정": {}})).text
    assert "both: +3.00" in text
    assert "nothing" in text


def test_ngrams_are_inert(tmp_path: Path) -> None:
    """RP-05: markup stays text, what cannot be seen is spelt out."""
    told = {"부정": {"<b>": 1.0, "\u202e\u200b": 0.5, '"&': 0.1}, "긍정": {}}
    shown_page = page(telling_run(tmp_path, told))
    check_closed(shown_page)
    assert "<b> +1.00" in shown_page.text
    assert "U+202E" in shown_page.text


@pytest.mark.parametrize("told", [None, [], {}, {"부정": []}, {"부정": {"가": "nan"}}, "x"])
def test_a_run_that_tells_nothing_has_a_page_without(told: Any, tmp_path: Path) -> None:
    """Runs of older versions and of networks among them; damage is no crash."""
    run = telling_run(tmp_path, told)
    if told != {"부정": {"가": "nan"}}:
        assert "What weighs most" not in page(run).text
    assert "Labels" in page(run).text


def test_blanks_are_drawn() -> None:
    assert str(shown("가 ")).count("␣") == 1
    assert str(shown("  ")).count("␣") == 2
    assert "&lt;" in shown("<")


def test_a_blank_is_no_alarm() -> None:
    assert 'class="odd"' not in shown(" 최고")
    assert 'class="odd"' in shown("최\u200b고")


def test_what_is_solved_has_no_course_to_draw(tmp_path: Path) -> None:
    run = make_run(tmp_path, TWO, 60)
    result = json.loads((run / "result.json").read_text("utf-8"))
    training = result["training"] | {"steps": 0, "epochs": 1.0}
    moment = {"finished": "2026-03-01T09:08:07+00:00"}
    write_object(run / "result.json", result | moment | {"training": training})
    look = {"kind": "valid", "step": 0, "epoch": 1.0, "best": True, "loss": 0.5, "accuracy": 0.875}
    write_lines(run / "journal.jsonl", [{"kind": "solve", "seconds": 3.1, "strength": 3.0}, look])
    text, drawn = page(run).text, (run / "report.html").read_text("utf-8")
    assert "Loss over steps" not in drawn
    assert "on the validation rows over steps" not in drawn
    assert "accuracy, validation rows 0.875" in text
    assert "solved at once" in text
    assert "2026-03-01 09:08 UTC" in text

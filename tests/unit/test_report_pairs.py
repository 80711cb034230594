"""The pages of pairs: both texts of a mistake, ratings as dots, errors, largest disagreements."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from mulgil.report import charts, gather
from mulgil.report.ratings import BARS, DOTS, Ratings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_run import write_lines, write_object
from fake_tasks import make_pair_run, make_rated_run
from page_reader import page, stored


def test_both_texts_of_a_pair_are_shown(tmp_path: Path) -> None:
    """Inputs are shown by their names, whatever those are."""
    shown = page(make_pair_run(tmp_path / "run", 40, ("비가 많이 온다.",))).text
    assert "first 비가 많이 온다. second 뒤 비가 많이 온다. said" in shown
    row = {"id": "a", "gold": "x", "predicted": "y", "전제": "가", "가설": "나", "n": 3}
    assert gather.texts(row) == [("전제", "가"), ("가설", "나")]


def test_disagreements_are_the_largest(tmp_path: Path) -> None:
    """RP-04: the list is that of a plain sort over all rows, with both texts and both ratings."""
    run = make_rated_run(tmp_path / "run", 200, ("나란히 선 나무",))
    rows = list(stored(run, "predictions.jsonl").values())
    errors = sorted((r["predicted"] - r["gold"] for r in rows), key=abs, reverse=True)
    shown = page(run)
    listed = [
        float(a["value"])
        for a, _ in shown.figures
        if a.get("data-of", "").startswith("predicted less gold of line")
    ]
    assert [abs(v) for v in listed] == [abs(v) for v in errors[:20]]
    assert listed[0] == pytest.approx(-4.9)
    assert "first 나란히 선 나무 second 뒤 나란히 선 나무 said 0.1 gold 5" in shown.text


def test_errors_are_those_of_the_predictions(tmp_path: Path) -> None:
    """RP-04: mean, half and nine tenths of the errors, and every row in the two drawings."""
    run = make_rated_run(tmp_path / "run", 150)
    rows = list(stored(run, "predictions.jsonl").values())
    errors = np.array([r["predicted"] - r["gold"] for r in rows])
    shown = page(run)
    worked = {a["data-of"]: float(a["value"]) for a, _ in shown.figures if "data-of" in a}
    assert worked["mean error"] == pytest.approx(errors.mean())
    for share in (0.5, 0.9):
        expected = np.quantile(np.abs(errors), share)
        assert worked[f"error of {share} of rows"] == pytest.approx(expected)
    assert worked["rows with ratings"] == 150
    dots = [a for tag, a in shown.elements if tag == "circle" and a["class"] == "point"]
    assert len(dots) == 150
    assert len([a for tag, a in shown.elements if tag == "rect" and a["class"] == "right"]) == BARS


def test_very_many_rows_are_thinned_and_said(tmp_path: Path) -> None:
    """A page stays small; the figures are of all rows."""
    run = make_rated_run(tmp_path / "run", 30)
    draw = random.Random(1)
    rows = [
        {"id": str(i), "first": "가", "second": "나", "gold": 2.0, "predicted": draw.random()}
        for i in range(4000)
    ]
    write_lines(run / "predictions.jsonl", rows)
    write_object(run / "result.json", stored(run, "result.json") | {"n": 4000})
    shown = page(run)
    dots = [a for tag, a in shown.elements if tag == "circle" and a["class"] == "point"]
    assert DOTS // 2 < len(dots) <= DOTS
    assert "4,000 pairs" in shown.text
    assert f"{len(dots):,} of them are drawn" in shown.text
    assert (run / "report.html").stat().st_size < 700_000


def test_equal_and_huge_ratings_can_be_drawn() -> None:
    """RP-05: all alike, all right, or of any size; no division by nothing."""
    assert charts.scatter([(2.0, 2.0)] * 3, "gold", "predicted") is not None
    assert charts.scatter([(math.nan, 1.0)], "gold", "predicted") is None
    faults: list[str] = []
    lines = [{"gold": v, "predicted": v} for v in (0, 1e11, -1e11, 1e13, math.inf, 10**400)]
    ratings = Ratings(enumerate(lines), faults)
    assert list(ratings.gold) == [0, 1e11, -1e11]
    assert ratings.worst == []
    assert faults == ["predictions.jsonl: 3 rows lack a rating and were left out."]


def test_dots_stand_where_the_ratings_are() -> None:
    """Both axes have one scale: equal ratings lie on the dashed line."""
    drawn = charts.scatter([(0.0, 0.0), (5.0, 5.0), (5.0, 0.0)], "gold", "predicted")
    assert drawn is not None
    left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
    low, high = charts.TALL - charts.BOTTOM, charts.TOP
    for x, y in ((left, low), (right, high), (right, low)):
        assert f'cx="{x:.1f}" cy="{y:.1f}"' in drawn
    assert f'points="{left:.1f},{low:.1f} {right:.1f},{high:.1f}"' in drawn

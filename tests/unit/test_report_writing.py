"""The page of written texts: unpicked examples, what they have in common, damaged files."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from mulgil.report.figures import Figures
from mulgil.report.writing import SHOWN, Texts, disagreements, view

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_run import write_lines
from fake_tasks import make_writing_run
from page_reader import check_figures, page


def lines(count: int, said: str = "글") -> list[tuple[int, dict[str, str]]]:
    return [(i, {"source": "긴 글", "gold": f"글 {i}", "predicted": said}) for i in range(count)]


@pytest.mark.parametrize(
    ("count", "shown"), [(0, 0), (1, 1), (7, 7), (20, 20), (21, 11), (999, 20)]
)
def test_examples_are_evenly_spaced_and_begin_with_the_first(count: int, shown: int) -> None:
    found = [line for line, _ in Texts(lines(count), count, []).examples]
    assert len(found) == shown <= SHOWN
    assert found[:1] == [0][:count]
    assert len({b - a for a, b in itertools.pairwise(found)}) <= 1


def test_what_texts_have_in_common_is_counted() -> None:
    rows = [*lines(3), *lines(2, ""), (9, {"source": "긴  글", "gold": "글", "predicted": "긴 글"})]
    found = Texts(rows, 6, [])
    assert (found.rows, found.empty, found.copied) == (6, 2, 1)
    assert found.commonest == ("글", 3)


def test_rows_without_texts_are_told(tmp_path: Path) -> None:
    faults: list[str] = []
    odd = [{}, {"gold": None}, {"source": 3, "gold": "글", "predicted": "글"}]
    found = Texts(list(enumerate(odd)), 3, faults)
    assert found.rows == 0
    assert view(Figures({}), found) == {"writing": None}
    assert faults == ["predictions.jsonl: 3 rows lack a text and were left out."]


def test_a_page_shows_each_text_escaped_and_true_figures(tmp_path: Path) -> None:
    """RP-01, RP-04: markup is text, figures are those of the files."""
    texts = ("<script>alert(1)</script>", "가\u0301나다" * 400, "🙂𠮷")
    run = make_writing_run(tmp_path / "run", texts=texts)
    page(run)
    html = (run / "report.html").read_text("utf-8")
    assert "<script>" not in html
    assert "What it writes" in html
    assert "ROUGE-L" in html
    assert check_figures(run) > 40


@pytest.mark.parametrize("damage", ["", "{", '{"id": 3}\n', "[]\n"])
def test_damaged_predictions_cost_the_examples_alone(tmp_path: Path, damage: str) -> None:
    run = make_writing_run(tmp_path / "run")
    (run / "predictions.jsonl").write_text(damage, "utf-8")
    page(run)
    assert "ROUGE-L" in (run / "report.html").read_text("utf-8")


def test_files_of_two_runs_are_noticed(tmp_path: Path) -> None:
    run = make_writing_run(tmp_path / "run", rows=10)
    write_lines(run / "predictions.jsonl", [row for _, row in lines(4)])
    page(run)
    told = "predictions.jsonl has 4 rows, but result.json speaks of 10."
    assert told in (run / "report.html").read_text("utf-8")
    assert disagreements(Figures({"result.json": {"n": 4}}), Texts(lines(4), 4, [])) == []

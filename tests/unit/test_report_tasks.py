"""report.html of pairs, ratings, entities and questions: what all four pages must keep."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mulgil.report import page as report
from mulgil.report.page import write_report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_run import make_run, write_lines, write_object
from fake_tasks import make_entities_run, make_pair_run, make_questions_run, make_rated_run
from page_reader import check_closed, check_figures, page, stored

MAKERS: dict[str, Callable[..., Path]] = {
    "nli": make_pair_run,
    "sts": make_rated_run,
    "ner": make_entities_run,
    "qa": make_questions_run,
}
SECTIONS = {
    "nli": {"labels", "confidence", "mistakes"},
    "sts": {"ratings", "mistakes"},
    "ner": {"kinds", "confidence", "mistakes"},
    "qa": {"confidence", "mistakes"},
}
PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<img src=x onerror=alert(3)>",
    '" onmouseover="alert(4)',
    "</style><link rel=stylesheet href='https://evil.example/x.css'>",
    "</title></p><iframe srcdoc='<script>alert(5)</script>'></iframe>",
    "{{ 7 * 7 }}{% for x in y %}",
    "&lt;b&gt; & ]]> --> <!--",
    "\u202e</b>뒤집힌\u202c\u200b\x1b[31m",
    "\U0001f469\u200d\U0001f680 \U00020bb7野家 \U0001f1f0\U0001f1f7",
)


@pytest.fixture(scope="module", params=list(MAKERS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp("runs") / request.param, 80)


def sections(shown: Any) -> set[str]:
    found = {a["aria-labelledby"] for tag, a in shown.elements if tag == "section"}
    return found - {"aware", "result", "learning", "data", "use", "recipe", "record"}


def test_figures_are_those_of_the_files(made: Path) -> None:
    """RP-04: exact value at the stated place; the page has what its task needs, and only that."""
    least = {"nli": 60, "sts": 60, "ner": 90, "qa": 50}[made.name]
    assert check_figures(made) >= least
    shown = page(made)
    assert sections(shown) == SECTIONS[made.name]
    check_closed(shown)
    assert (made / "report.html").stat().st_size < 700_000


def test_verdict_begins_with_the_first_figure(made: Path) -> None:
    """RP-04: whichever metric comes first in result.json is the first of the page."""
    metrics = stored(made, "result.json")["metrics"]
    first = next(iter(metrics))
    value = metrics[first][next(iter(metrics[first]))]["value"]
    shown = next(a for a, _ in page(made).figures)
    assert shown["data-at"] == f"result.json#/metrics/{first}/{next(iter(metrics[first]))}/value"
    assert float(shown["value"]) == value


@pytest.mark.parametrize("kind", list(MAKERS))
def test_markup_in_the_data_is_inert(kind: str, tmp_path: Path) -> None:
    """RP-01, RP-03: payloads in every text add no element but spelt-out characters."""
    calm_words = tuple(f"말 {i} 고운 글" for i in range(len(PAYLOADS)))
    bad = page(MAKERS[kind](tmp_path / "bad", 40, PAYLOADS))
    calm = page(MAKERS[kind](tmp_path / "calm", 40, calm_words))
    counts, expected = (Counter(tag for tag, _ in p.elements) for p in (bad, calm))
    del counts["span"], expected["span"]
    assert counts == expected
    check_closed(bad)
    whole = "".join(bad.body).replace(" ", "")
    assert "{{7*7}}" in whole or kind == "ner"
    assert "alert(2)" in whole
    source = (tmp_path / "bad" / "report.html").read_text(encoding="utf-8")
    assert not {"\u202e", "\u200b", "\x1b"} & set(source)
    assert "\U00020bb7" in source


@pytest.mark.parametrize("kind", list(MAKERS))
def test_kinds_and_labels_with_markup(kind: str, tmp_path: Path) -> None:
    """RP-01: names of labels, kinds, metrics and the shape are data as well."""
    run = MAKERS[kind](tmp_path / kind, 30)
    result = stored(run, "result.json")
    result["labels"] = [*(f"B-{word}" for word in PAYLOADS), *result["labels"]]
    for name in list(result["metrics"]):
        table = result["metrics"][name]
        table |= {f"support:{word}": {"value": 3.0} for word in PAYLOADS}
    result["metrics"][PAYLOADS[0]] = {PAYLOADS[1]: {"value": 0.5, "low": 0.4, "high": 0.6}}
    write_object(run / "result.json", result)
    check_closed(page(run))


@pytest.mark.parametrize("kind", list(MAKERS))
def test_decomposed_texts_are_drawn_composed(kind: str, tmp_path: Path) -> None:
    """RP-06: NFD in a file is shown as syllables."""
    words = unicodedata.normalize("NFD", "분해된 한글도 보인다")
    assert "해된 한글도 보인다" in page(MAKERS[kind](tmp_path / kind, 20, (words,))).text


@pytest.mark.parametrize("kind", list(MAKERS))
def test_runs_without_rows_and_without_result(kind: str, tmp_path: Path) -> None:
    """RP-05: no test rows; no result; no predictions; no schema."""
    empty = MAKERS[kind](tmp_path / "empty", 0)
    assert "Measured on no test rows" in page(empty).text
    run = MAKERS[kind](tmp_path / "half", 20)
    (run / "predictions.jsonl").unlink()
    assert "mistakes" not in sections(page(run))
    (run / "result.json").unlink()
    shown = page(run)
    assert shown.body[0] == "Unfinished run."
    check_closed(shown)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_shape_is_told_by_the_metrics_without_a_schema(kind: str, tmp_path: Path) -> None:
    """RP-05: a lost or broken schema.json does not turn ratings into labels."""
    run = MAKERS[kind](tmp_path / kind, 30)
    (run / "schema.json").write_text("{", encoding="utf-8")
    shown = page(run)
    assert "schema.json is not a JSON object" in shown.text
    assert sections(shown) == SECTIONS[kind]
    assert not re.search(r"\d rows lack", shown.text)


ODD: list[Any] = [
    *(None, True, "글", 10**400, float("nan"), -1, [], {}, [None], [{}], ["글"]),
    [{"start": 0, "end": 1, "label": "PS", "text": "다른", "probability": 0.5}],
    [{"start": 9, "end": 2, "label": "PS", "text": "", "probability": 0.5}],
    [{"start": -1, "end": 2, "label": "PS", "text": "", "probability": 0.5}],
    [{"start": 0.0, "end": 1.0, "label": None, "text": "글", "probability": "x"}],
]


@pytest.mark.parametrize("kind", list(MAKERS))
def test_damaged_rows_give_a_sentence_and_never_a_traceback(kind: str, tmp_path: Path) -> None:
    """RP-05: whatever stands where an answer should, the page is drawn and whole rows counted."""
    run = MAKERS[kind](tmp_path / kind, 20)
    rows = list(stored(run, "predictions.jsonl").values())
    fields = [field for field in rows[0] if field != "id"]
    bad = [rows[0] | {field: odd} for field in fields for odd in ODD]
    bad += [{k: v for k, v in rows[0].items() if k != field} for field in fields]
    write_lines(run / "predictions.jsonl", [*rows, *bad, {}, {"id": [1]}])
    shown = page(run)
    assert re.search(r"\d rows lack", shown.text)
    assert "were left out." in shown.text
    check_closed(shown)
    write_lines(run / "predictions.jsonl", rows)
    with (run / "predictions.jsonl").open("ab") as file:
        file.write(b'\xff\xfe{"id": "x", "gold"')
    # A torn last line is not worth a word.
    assert not re.search(r"\d rows lack", page(run).text)


@pytest.mark.parametrize("kind", list(MAKERS))
def test_damaged_results_never_stop_the_page(kind: str, tmp_path: Path) -> None:
    """RP-05: figures of another type are a dash."""
    run = MAKERS[kind](tmp_path / kind, 20)
    result = stored(run, "result.json")
    for broken in ([], "x", {"entity-f1": [1], "pearson": {"pearson": "x"}, "per-entity": 3}):
        write_object(run / "result.json", result | {"metrics": broken, "labels": 5})
        check_closed(page(run))


@pytest.mark.parametrize("kind", list(MAKERS))
def test_files_of_different_runs_are_noticed(kind: str, tmp_path: Path) -> None:
    """RP-04: predictions that give another figure, or another number of rows, are said."""
    run = MAKERS[kind](tmp_path / kind, 30)
    assert "predictions.jsonl gives" not in page(run).text
    result = stored(run, "result.json")
    name, figure = {
        "nli": ("ece", "ece"),
        "sts": ("rmse", "rmse"),
        "ner": ("entity-f1", "entity-f1"),
        "qa": ("korquad-f1", "korquad-em"),
    }[kind]
    result["metrics"][name][figure]["value"] += 0.05
    write_object(run / "result.json", result)
    assert "predictions.jsonl gives a" in page(run).text
    rows = list(stored(run, "predictions.jsonl").values())
    write_lines(run / "predictions.jsonl", rows[:11])
    assert "has 11 rows, but result.json speaks of 30" in page(run).text


def test_a_shape_without_a_page_of_its_own_has_the_frame(tmp_path: Path) -> None:
    """Runs of tasks that are not known here show their figures, and no fault of their rows."""
    run = make_run(tmp_path / "run", rows=10)
    write_object(run / "schema.json", {"shape": "rewriting", "labels": []})
    write_lines(run / "predictions.jsonl", [{"id": "a", "source": "글", "gold": ["요약"]}])
    shown = page(run)
    assert sections(shown) == set()
    assert not re.search(r"\d rows lack", shown.text)
    check_closed(shown)


def test_every_template_is_short_and_shipped() -> None:
    """The page is put together from parts that lie beside it."""
    folder = Path(report.__file__).parents[1] / "assets"
    parts = sorted(folder.glob("*.jinja"))
    assert len(parts) >= 6
    assert all(len(p.read_text(encoding="utf-8").splitlines()) < 400 for p in parts)


def test_same_run_gives_the_same_bytes(made: Path) -> None:
    first = write_report(made).read_bytes()
    assert write_report(made).read_bytes() == first
    assert json.loads((made / "result.json").read_text(encoding="utf-8"))["n"] == 80

"""report.html: no figure that its files do not hold, and a page for every state of a run."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulgil.errors import RunError
from mulgil.metrics.ece import Ece
from mulgil.report.figures import STYLES
from mulgil.report.language import ENOUGH, LISTED
from mulgil.report.page import write_report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_run import (
    SEVENTEEN,
    make_language_run,
    make_run,
    scored_rows,
    write_lines,
    write_object,
)
from page_reader import at, check_closed, check_figures, page, stored


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "nsmc-full")


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_language_run(tmp_path_factory.mktemp("runs") / "mini")


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_language_run(tmp_path_factory.mktemp("runs") / "teller", "causal-lm")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "petitions", SEVENTEEN, 600)


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize("kind", ["binary", "many", "masked", "causal"])
def test_every_figure_comes_from_the_files(kind: str, request: pytest.FixtureRequest) -> None:
    """RP-04: exact value at the stated place, and what is shown is that value rounded."""
    run = request.getfixturevalue(kind)
    assert check_figures(run) > 60


def test_verdict_says_the_stored_figures(binary: Path) -> None:
    """RP-04: the first sentence, word for word."""
    metrics = stored(binary, "result.json")["metrics"]
    accuracy, f1 = metrics["accuracy"]["accuracy"], metrics["macro-f1"]["macro-f1"]
    text = re.sub(r"\s+([,.)%])", r"\1", page(binary).text)
    assert (
        f"{accuracy['value']:.1%} of 400 test rows right"
        f" (95% interval {100 * accuracy['low']:.1f} – {100 * accuracy['high']:.1f}),"
        f" macro-F1 {f1['value']:.3f}, trained on 12,800 rows in 4 min 12 s."
    ) in text
    assert "Overlap, train-test exact: 11 rows stand in both parts" in text


def test_rows_are_called_unseen_only_when_they_are(tmp_path: Path) -> None:
    """The sentence depends on the overlap that was counted."""
    run = make_run(tmp_path / "clean", rows=40)
    result = stored(run, "result.json")
    result["overlap"] = {"train-test exact": 0}
    write_object(run / "result.json", result)
    text = page(run).text
    assert "unseen rows right" in text
    assert "figures may flatter" not in text


@pytest.mark.parametrize("multi", [False, True])
def test_calibration_error_agrees_with_the_metric(multi: bool, tmp_path: Path) -> None:
    """RP-04: the bins drawn from predictions.jsonl give the metric's own figure."""
    run = make_run(tmp_path / "run", ("가", "나", "다"), 300, multi_label=multi)
    rows = list(stored(run, "predictions.jsonl").values())
    expected = Ece().compute(scored_rows(("가", "나", "다"), rows))["ece"]
    shown = next(a for a, _ in page(run).figures if a.get("data-of") == "ece")
    assert float(shown["value"]) == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx(at(run, "result.json#/metrics/ece/ece/value", {}), abs=1e-12)


def test_files_of_different_runs_are_noticed(tmp_path: Path) -> None:
    """RP-04: predictions that do not belong to the result are said, not drawn silently."""
    run = make_run(tmp_path / "run", rows=200)
    result = stored(run, "result.json")
    result["metrics"]["ece"]["ece"]["value"] += 0.05
    write_object(run / "result.json", result)
    assert "gives a calibration error of" in page(run).text
    lines = (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (run / "predictions.jsonl").write_text("".join(lines[:150]), encoding="utf-8")
    assert "has 150 rows, but result.json speaks of 200" in page(run).text


def test_worst_mistakes_are_the_surest(binary: Path) -> None:
    """The list is that of a plain sort over all wrong rows."""
    rows = stored(binary, "predictions.jsonl").values()
    wrong = [r for r in rows if r["gold"] != r["predicted"]]
    wrong.sort(key=lambda r: -r["probabilities"][r["predicted"]])
    shown = [
        float(a["value"])
        for a, _ in page(binary).figures
        if a.get("data-of", "").startswith("confidence of line")
    ]
    assert shown == [r["probabilities"][r["predicted"]] for r in wrong[:20]]


def test_confusion_matrix_is_complete(many: Path) -> None:
    """RP-04: 17 x 17 cells in the order of the labels, with the stored counts."""
    cells = [a["data-at"] for a, _ in page(many).figures if "/confusion/" in a.get("data-at", "")]
    expected = [
        f"result.json#/metrics/confusion/{gold}→{said}/value"
        for gold in SEVENTEEN
        for said in SEVENTEEN
    ]
    assert cells == expected


def test_many_labels_get_a_list_of_confusions(tmp_path: Path) -> None:
    """Above 20 labels a matrix cannot be read; the commonest wrong pairs can."""
    run = make_run(tmp_path / "run", tuple(f"라벨{i}" for i in range(25)), 300)
    shown = page(run)
    assert "Commonest confusions" in shown.text
    counts = [float(a["value"]) for a, _ in shown.figures if "/confusion/" in a.get("data-at", "")]
    assert 0 < len(counts) <= 20
    assert counts == sorted(counts, reverse=True)


# ---------------------------------------------------------------- language runs


@pytest.mark.parametrize(
    ("kind", "metric", "unit"),
    [("masked", "loss", "nats a token"), ("causal", "bits-per-byte", "bits a byte")],
)
def test_language_verdict_says_the_stored_figures(
    kind: str, metric: str, unit: str, request: pytest.FixtureRequest
) -> None:
    """RP-04: the first sentence, word for word, and the cards with unit and direction."""
    run = request.getfixturevalue(kind)
    metrics = stored(run, "result.json")["metrics"]
    first, right = metrics[metric][metric], metrics["token-accuracy"]["token-accuracy"]
    text = re.sub(r"\s+([,.)%])", r"\1", page(run).text)
    assert (
        f"{first['value']:.3f} {unit} on 400 held-out texts"
        f" (95% interval {first['low']:.3f} – {first['high']:.3f}),"
        f" perplexity {metrics['perplexity']['perplexity']['value']:.2f},"
        f" {right['value']:.1%} of first guesses right,"
        " trained on 512,400 texts in 38 min 40 s."
    ) in text
    for words in ("혼란도", "바이트당 비트", "토큰 정확도", "nats a token, lower is better"):
        assert words in text
    assert "first guesses that are right, higher is better" in text


@pytest.mark.parametrize(
    ("value", "shown"), [(1.05, "1.050"), (312.25, "312.2"), (10240, "10,240")]
)
def test_perplexity_has_four_digits(value: float, shown: str) -> None:
    assert STYLES["digits"](value) == shown


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_texts_are_those_of_the_predictions(kind: str, request: pytest.FixtureRequest) -> None:
    """RP-04: quantiles, the hardest and the easiest, worked out anew from predictions.jsonl."""
    run = request.getfixturevalue(kind)
    unit = "bits a byte" if kind == "causal" else "nats a token"
    rows = list(stored(run, "predictions.jsonl").values())
    values = [
        r["nats"] / math.log(2) / r["bytes"] if kind == "causal" else r["nats"] / r["tokens"]
        for r in rows
    ]
    shown = page(run)
    worked = {a["data-of"]: float(a["value"]) for a, _ in shown.figures if "data-of" in a}
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert worked[f"quantile {share} of texts"] == pytest.approx(np.quantile(values, share))
    enough = sorted((v, i) for i, v in enumerate(values) if rows[i]["tokens"] >= ENOUGH)
    ends = [*enough[::-1][:LISTED], *enough[:LISTED]]
    listed = [(v, key) for key, v in worked.items() if key.startswith(f"{unit} of line")]
    assert listed == [(pytest.approx(v), f"{unit} of line {i}") for v, i in ends]
    assert all(rows[i]["id"] in shown.text for _, i in ends)


def test_language_page_has_no_section_of_labels(masked: Path) -> None:
    """What makes no sense without labels is absent, not empty."""
    shown = page(masked)
    sections = {a["aria-labelledby"] for tag, a in shown.elements if tag == "section"}
    assert sections == {"result", "learning", "texts", "data", "use", "recipe", "record"}
    for word in ("Labels", "Confusion", "Confidence", "Surest mistakes", "gold", "accuracy 정확도"):
        assert word not in shown.text
    check_closed(shown)


def test_language_page_says_how_to_use_it(masked: Path, causal: Path) -> None:
    """The commands name this run, and the question fits the task."""
    filling, telling = page(masked), page(causal)
    place = f"{masked.parent.name}/mini"
    assert re.search(rf"\[MASK\] 하루였다\. ' \| mulgil predict {place} -", filling.text)
    assert f"model.pretrained={place}/model" in filling.text
    assert "[MASK]" not in telling.text
    assert "옛날 어느 마을에" in telling.text


def test_language_files_of_different_runs_are_noticed(tmp_path: Path) -> None:
    """RP-04: predictions that do not belong to the result are said; so are rows without figures."""
    run = make_language_run(tmp_path / "run", rows=40)
    result, rows = stored(run, "result.json"), list(stored(run, "predictions.jsonl").values())
    odd: list[dict[str, Any]] = [
        {"id": "x"},
        rows[0] | {"nats": math.nan},
        rows[0] | {"right": "3"},
    ]
    odd += [rows[0] | {"tokens": 10**400}, rows[0] | {"bytes": -1}]
    write_lines(run / "predictions.jsonl", rows + odd)
    assert "predictions.jsonl: 5 rows lack a figure" in page(run).text
    result["metrics"]["bits-per-byte"]["bits-per-byte"]["value"] += 0.05
    write_object(run / "result.json", result)
    assert "predictions.jsonl gives bits a byte of" in page(run).text
    write_lines(run / "predictions.jsonl", rows[:30])
    assert "has 30 texts, but result.json speaks of 40" in page(run).text


def test_unfinished_and_empty_language_runs(tmp_path: Path) -> None:
    """RP-05: half a pretraining, and one without held-out texts."""
    half = make_language_run(tmp_path / "half", finished=False)
    (half / "predictions.jsonl").unlink()
    shown = page(half)
    assert shown.body[0] == "Unfinished run."
    assert "The journal ends at step 8,000" in shown.text
    assert "Bits a byte" in shown.text
    assert "Held-out texts" not in shown.text
    assert "--resume" in shown.text
    empty = page(make_language_run(tmp_path / "empty", rows=0))
    assert "Measured on no held-out texts" in empty.text
    for found in (shown, empty):
        check_closed(found)


# ---------------------------------------------------------------- runs that went otherwise


def test_unfinished_run_is_said_first(tmp_path: Path) -> None:
    """RP-05: the first words of the page, its title, and how to go on."""
    run = make_run(tmp_path / "run", finished=False)
    shown = page(run)
    assert shown.body[0] == "Unfinished run."
    assert "The journal ends at step 1,200 with a loss of" in shown.text
    assert "--resume" in shown.text
    assert "mulgil evaluate" not in shown.text
    assert "<title>Unfinished: run" in (run / "report.html").read_text(encoding="utf-8")


def test_diverged_run_is_said_first(tmp_path: Path) -> None:
    """RP-05: a loss that is no longer a number is named with its step."""
    run = make_run(tmp_path / "run", finished=False)
    with (run / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"kind": "step", "step": 1210, "loss": math.nan}) + "\n")
    text = page(run).text
    assert re.search(r"stopped being a number at step 1,210\s?: the training diverged", text)


def test_diverged_training_is_said_first(tmp_path: Path) -> None:
    """RP-05: a training that stops before it journals the bad step leaves its number."""
    run = make_language_run(tmp_path / "run", finished=False)
    write_object(run / "diverged.json", {"step": 8003, "rows": ["corpus.txt:7"]})
    shown = page(run)
    assert shown.body[0] == "Unfinished run."
    assert re.search(r"stopped being a number at step 8,003\s?: the training diverged", shown.text)


def test_broken_result_is_said_first(tmp_path: Path) -> None:
    """RP-05: half a result.json is no result."""
    run = make_run(tmp_path / "run")
    text = (run / "result.json").read_text(encoding="utf-8")
    (run / "result.json").write_text(text[: len(text) // 2], encoding="utf-8")
    shown = page(run)
    assert shown.body[0] == "Unfinished run."
    assert "result.json is not a JSON object and was left out." in shown.text


def test_finished_run_has_no_banner(binary: Path) -> None:
    assert "Unfinished" not in page(binary).text


def test_torn_last_line_is_ignored_and_others_are_said(tmp_path: Path) -> None:
    """RP-05: what a killed process leaves is not worth a word; a hole in the middle is."""
    run = make_run(tmp_path / "run", rows=50)
    journal = (run / "journal.jsonl").read_text(encoding="utf-8")
    (run / "journal.jsonl").write_text(journal + '{"kind": "step", "st', encoding="utf-8")
    assert "broken lines" not in page(run).text
    (run / "journal.jsonl").write_text('{"kind"\n[1]\n' + journal, encoding="utf-8")
    assert "journal.jsonl: 2 broken lines were left out." in page(run).text


def test_rows_without_an_answer_are_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", rows=5)
    rows = list(stored(run, "predictions.jsonl").values())
    bad: list[dict[str, Any]] = [{"id": "x"}, rows[0] | {"probabilities": {"부정": math.nan}}]
    bad += [
        rows[0] | {"gold": None},
        rows[0] | {"predicted": "없음"},
        rows[0] | {"probabilities": [1]},
    ]
    write_lines(run / "predictions.jsonl", rows + bad)
    assert "predictions.jsonl: 5 rows lack an answer" in page(run).text


def test_nearly_empty_runs_have_a_page(tmp_path: Path) -> None:
    """RP-05: no file at all, no test rows, one label."""
    (tmp_path / "bare").mkdir()
    bare = page(tmp_path / "bare")
    assert bare.body[0] == "Unfinished run."
    assert "The journal has no training step." in bare.text
    empty = page(make_run(tmp_path / "empty", rows=0))
    assert "Measured on no test rows" in empty.text
    one = page(make_run(tmp_path / "one", ("하나",), 30))
    assert "F1" in one.text
    for shown in (bare, empty, one):
        check_closed(shown)


def test_solved_run_shows_its_figures_without_curves(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", rows=30)
    write_lines(run / "journal.jsonl", [{"kind": "solve", "seconds": 3.1, "regularisation": 0.5}])
    shown = page(run)
    assert "Solved at once, without steps." in shown.text
    assert ("journal.jsonl#/0/seconds", "3.1 s") in [
        (a.get("data-at"), t) for a, t in shown.figures
    ]


def test_no_folder_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run folder"):
        write_report(tmp_path / "nothing")


def test_same_run_gives_the_same_bytes(binary: Path) -> None:
    first = write_report(binary).read_bytes()
    assert write_report(binary).read_bytes() == first
    assert len(first) < 700_000

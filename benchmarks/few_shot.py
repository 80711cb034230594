"""In context: how many examples, and what calibration is worth, on the same test rows.

    python benchmarks/few_shot.py nsmc-few-shot model.pretrained=DIR --shots 0,1,4,8,16 --draws 5

Each way of choosing examples is scored once; every calibration is worked out on the same ln p, so
that it differs by nothing else. Figures are means over the draws; intervals are bootstraps over the
test rows, of paired differences on the same rows. Content-free calibration is that of the methods,
labelled calibration asks 64 training rows that are not shown. The test rows choose nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from mulgil import pipeline, recipe, statistics
from mulgil.flow import Array

CALIBRATIONS = ("none", "content-free", "labelled")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--shots", default="0,1,4,8,16")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--out", help="a JSON file for all figures")
    chosen = parser.parse_args()
    counts = [int(count) for count in chosen.shots.split(",")]
    more = [*chosen.settings, f"data.test_rows={chosen.rows}"]
    found: dict[str, Array] = {}
    for count in counts:
        found |= scored(chosen.recipe, more, count, chosen.draws, found)
    tell(found, counts)
    if chosen.out:
        figures = {name: values.tolist() for name, values in found.items()}
        Path(chosen.out).write_text(json.dumps(figures) + "\n", encoding="utf-8")


def scored(
    name: str, settings: list[str], count: int, draws: int, before: dict[str, Array]
) -> dict[str, Array]:
    """Return `{"k calibration": probabilities [draws, rows, labels]}`, and "gold"."""
    method = ["method.name=few-shot", f"method.shots={count}", f"method.draws={draws}"]
    method = method if count else ["method.name=zero-shot"]
    made = pipeline.prepare(recipe.read(name, [*settings, *method]))
    network = pipeline.build(made)
    learner: Any = pipeline.teach(made, network)
    asking, loader = learner.network, made.loaders.test
    found: dict[str, list[Array]] = {way: [] for way in CALIBRATIONS}
    started = time.monotonic()
    for number in range(asking.draws):
        learner.calibrate(number, "none")
        draw = asking.plan.draws[number]
        raw = np.empty((len(loader), asking.outputs))
        for batch in loader.in_order():
            raw[batch.rows] = asking.scores(batch.inputs)
        for way in CALIBRATIONS:
            learner.calibrate(number, way)
            scores = raw * draw.slope + (draw.offsets or [0.0] * asking.outputs)
            found[way].append(made.task.probabilities(scores, made.schema))
    seconds = time.monotonic() - started
    shown = round(asking.size(asking.plan.draws[0]))
    print(
        f"{count} shots: prompt {shown} tokens before the question, {asking.draws} draws,"
        f" {len(loader) * asking.draws / seconds:.1f} rows a second",
        flush=True,
    )
    gold = np.asarray(loader.gold)
    return {"gold": gold, **{f"{count} {way}": np.stack(each) for way, each in found.items()}}


def right(found: dict[str, Array], name: str) -> Array:
    """Return float64 [rows], the share of draws that answer a row right."""
    answers = found[name].argmax(2)  # [draws, rows]
    shares: Array = (answers == found["gold"]).mean(0)
    return shares


def auc(found: dict[str, Array], name: str) -> float:
    """Return the area under the ROC curve of the second label, mean over draws."""
    from sklearn.metrics import roc_auc_score

    return float(np.mean([roc_auc_score(found["gold"], each[:, 1]) for each in found[name]]))


def interval(values: Array) -> str:
    """Return a mean over rows with its bootstrap interval."""
    got = statistics.bootstrap(lambda rows: {"m": float(values[rows].mean())}, len(values), seed=7)
    one = got["m"]
    return f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}]"


def tell(found: dict[str, Array], counts: list[int]) -> None:
    two = int(found["gold"].max()) == 1
    for count in counts:
        for way in CALIBRATIONS:
            name = f"{count} {way}"
            each = (found[name].argmax(2) == found["gold"]).mean(1)
            spread = f"draws {each.min():.4f} to {each.max():.4f}"
            area = f"  auc {auc(found, name):.4f}" if two else ""
            print(f"{name:<18} accuracy {interval(right(found, name))}  {spread}{area}")
            if way != "none":
                plain = right(found, name) - right(found, f"{count} none")
                print(f"{'':<18} less uncalibrated {interval(plain)}")
            if count:
                zero = right(found, name) - right(found, f"0 {way}")
                print(f"{'':<18} less zero-shot {interval(zero)}")


if __name__ == "__main__":
    main()

"""What a writing task scores without any model: the source itself, or its first words.

    python benchmarks/baselines.py petition-titles
    python benchmarks/baselines.py RECIPE data.direction=en-ko

`copy` gives the source back; `lead` its first words, as many as a training target has in the
median. Both are scored on the recipe's test rows by the task's own metrics that need no model, with
the same intervals as a run's. The training rows decide one number, the test rows none.
"""

from __future__ import annotations

import statistics as stats
import sys
from typing import Any

from mulgil import evaluation, pipeline, recipe, registry
from mulgil.judged import Written
from mulgil.objectives import RowMetric

NEEDS_A_MODEL = {"perplexity", "bits-per-byte", "distinct"}


def main(source: str, *overrides: str) -> None:
    chosen = recipe.read(source, overrides)
    dataset, task = chosen.data.make(), chosen.task.make()
    dataset.asked = task.shape
    parts, schema = pipeline.load_splits(chosen, dataset, task)
    gold = tuple((text,) for text in task.gold(parts.test, schema))
    words = round(stats.median(len(text.split()) for text in task.gold(parts.train, schema)))
    sources = [str(task.text(row)) for row in parts.test]
    ways = {
        "copy": tuple(sources),
        f"lead {words}": tuple(" ".join(text.split()[:words]) for text in sources),
    }
    print(f"{source}: {len(gold):,} test rows, seed {chosen.trainer.seed}")
    for name, predicted in ways.items():
        for figure, value in figures(task, Written(gold, predicted), chosen.trainer.seed).items():
            bounds = f"[{value['low']:.4f}, {value['high']:.4f}]"
            print(f"{name:<10} {figure:<20} {value['value']:.4f} {bounds}")


def figures(task: Any, written: Written, seed: int) -> dict[str, dict[str, float]]:
    names = tuple(name for name in task.metrics if name not in NEEDS_A_MODEL)
    assert all(issubclass(registry.load("metrics", name), RowMetric) for name in names)
    only: Any = type("Scored", (), {"metrics": names})
    found = evaluation.intervals(only, written, seed)
    return {figure: value for metric in found.values() for figure, value in metric.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])

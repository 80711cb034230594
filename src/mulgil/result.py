"""The end of a run: score the test rows with the files that are kept, and write what was found.

First predictions.jsonl, then result.json, whose presence means that the run is done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mulgil import evaluation, hangul, hardware, inspect, statistics
from mulgil.contracts import Learner, Task
from mulgil.examples import Example
from mulgil.flow import Array, Outcome, Schema
from mulgil.rundir import FORMAT, RunDir
from mulgil.storage import atomic_file


def finish(folder: RunDir, made: Any, learner: Learner, outcome: Outcome, metric: str) -> None:
    """Score the test rows and write predictions and result.

    Args:
        folder: the run.
        made: what steps 1 to 5 made (`pipeline.Prepared`).
        learner: what was taught.
        outcome: how the training ended.
        metric: the validation figure that `outcome.best` is.
    """
    recipe, loader = made.recipe, made.loaders.test
    head = made.task.head(made.schema)
    network = made.model.load(folder.path / "model", head, made.precision, made.device)
    shares = evaluation.probabilities(
        network, loader.in_order(), len(loader), made.task, made.schema
    )
    write_predictions(folder, made.task, made.schema, made.splits.test, loader.targets, shares)
    rows = {name: len(part) for name, part in made.splits.items()}
    speed = rows["train"] * outcome.epochs / max(outcome.seconds, 1e-9)
    result = {
        "format": FORMAT,
        "name": recipe.name,
        "task": recipe.task.name,
        "data": recipe.data.name,
        "model": recipe.model.name,
        "pretrained": origin(recipe.model.settings),
        "tokenizer": recipe.tokenizer.name,
        "method": recipe.method.name,
        "seed": recipe.trainer.seed,
        "precision": made.precision,
        "device": made.device,
        "labels": list(made.schema.labels),
        "multi_label": made.schema.multi_label,
        **score(made.task, made.schema, loader.targets, shares, recipe.trainer.seed),
        "valid": None if outcome.best is None else {metric: outcome.best},
        "rows": {**rows, "rejected": len(made.splits.rejected)},
        "overlap": inspect.overlap(inspect.keys(made.splits, made.task)),
        "parameters": {"total": network.parameters_total, "trainable": learner.trainable},
        "training": {
            "steps": outcome.steps,
            "epochs": outcome.epochs,
            "seconds": round(outcome.seconds, 2),
            "stopped": outcome.stopped,
            "rows_per_second": round(speed, 1),
            "peak_memory_gb": round(hardware.peak_memory() / 2**30, 2),
        },
        "notes": made.splits.notes,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder.write_json("result.json", result)


def score(task: Task, schema: Schema, gold: Any, shares: Array, seed: int) -> dict[str, Any]:
    """Return `n`, `interval` (how it was drawn) and `metrics` of scored rows."""
    if not len(shares):
        return {"n": 0, "interval": "no test rows", "metrics": {}}
    scored = evaluation.judge(task, schema, gold, shares)
    return {
        "n": len(shares),
        "interval": statistics.describe(len(shares), seed),
        "metrics": evaluation.intervals(task, scored, seed),
    }


def write_predictions(
    folder: RunDir,
    task: Task,
    schema: Schema,
    rows: Sequence[Example],
    gold: Any,
    shares: Array,
) -> None:
    """Write predictions.jsonl, a line a test row."""
    scored = evaluation.judge(task, schema, gold, shares)
    with atomic_file(folder.path / "predictions.jsonl", "w") as file:
        for i, row in enumerate(rows):
            line = {
                "id": row.id,
                "text": hangul.normalise(task.text(row)),
                "gold": evaluation.names(scored.gold[i], schema),
                "predicted": evaluation.names(scored.predicted[i], schema),
                "probabilities": {
                    label: round(float(share), 6)
                    for label, share in zip(schema.labels, shares[i], strict=True)
                },
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def origin(settings: Any) -> str | None:
    """Return a hub id, or a local folder's name without the way to it."""
    name = getattr(settings, "pretrained", None)
    return (
        None if name is None else name.rstrip("/").rpartition("/")[2] if name[:1] == "/" else name
    )

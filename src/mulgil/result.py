"""The end of a run: score the test rows with the files that are kept, and write what was found.

First predictions.jsonl, then result.json, whose presence means that the run is done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mulgil import evaluation, hangul, hardware, inspect, statistics
from mulgil.examples import Example
from mulgil.flow import Outcome, Schema
from mulgil.networks import Learner
from mulgil.objectives import LanguageTask, Task
from mulgil.rundir import FORMAT, RunDir
from mulgil.storage import atomic_file

TOLD = 12
"""What weighs most: entries of each label that a result keeps."""


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
    head = made.method.head(made.task.head(made.schema))
    kept = folder.path / "model"
    network = made.method.opened(
        made.model, made.tokenizer, head, kept, made.precision, made.device
    )
    measured = evaluation.measure(network, loader, made.task, made.schema, tokenizer=made.tokenizer)
    write_predictions(folder, made.task, made.schema, made.splits.test, loader.gold, measured)
    asked = _asked(network, made, measured) | _paid(network, made, learner)
    rows = {name: len(part) for name, part in made.splits.items()}
    peak = hardware.run_peak()
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
        **score(made.task, made.schema, loader.gold, measured, recipe.trainer.seed),
        **asked,
        **_telling(network, made.schema, head.skill == "rate"),
        "valid": None if outcome.best is None else {metric: outcome.best},
        "rows": {**rows, "rejected": len(made.splits.rejected)},
        "overlap": _overlap(made),
        "parameters": {"total": network.parameters_total, "trainable": learner.trainable},
        "training": {
            "steps": outcome.steps,
            "epochs": outcome.epochs,
            "seconds": round(outcome.seconds, 2),
            "stopped": outcome.stopped,
            "rows_per_second": round(speed, 1),
            **({} if peak is None else {"peak_memory_gb": round(peak / 2**30, 2)}),
        },
        "notes": [*made.splits.notes, *spoken(asked)],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder.write_json("result.json", result)


def _telling(network: Any, schema: Schema, rated: bool) -> dict[str, Any]:
    """Return what raises the score of each label most; {} where weights tell nothing.

    Of a rating it is also what lowers it.
    """
    told, names = network.telling(TOLD), schema.labels
    if told is None:
        return {}
    if rated:
        told, names = [*told, *network.telling(TOLD, lowering=True)], ("raises", "lowers")
    return {"telling": dict(zip(names, told, strict=True))}


def _asked(network: Any, made: Any, measured: Any) -> dict[str, Any]:
    """Return what is told of a run that asks in prompts: what was left out, and every draw.

    The figures of a draw are those of its choice of examples; the spread over draws says how much
    of a figure is the choice's luck.
    """
    if not made.method.prompts:
        return {}
    task, schema, loader = made.task, made.schema, made.loaders.test
    told: dict[str, Any] = {"prompts": network.told}
    if network.draws == 1:
        return told
    every = [evaluation.headlines(task, task.judge(loader.gold, measured, schema))]
    for number in range(1, network.draws):
        network.draw = number
        again = evaluation.measure(network, loader, task, schema)
        every.append(evaluation.headlines(task, task.judge(loader.gold, again, schema)))
    network.draw = 0
    told["draws"] = {
        name: {
            "mean": float(np.mean(values)),
            "deviation": float(np.std(values, ddof=1)),
            "each": values,
        }
        for name in every[0]
        if (values := [figures[name] for figures in every])
    }
    return told


def _paid(network: Any, made: Any, learner: Learner) -> dict[str, Any]:
    """Return what a served model was asked in all, and what that costs by the recipe's prices."""
    price = getattr(made.model, "cost", None)
    if price is None or not made.method.prompts:
        return {}
    both: list[Any] = [learner.network, network]  # what chose the examples, and what was scored
    own = [each.told.get("usage", {}) for each in both]
    usage = {name: sum(counts[name] for counts in own if name in counts) for name in own[-1]}
    return {"usage": usage | {"cost": price(usage)}} if usage else {}


def spoken(asked: dict[str, Any]) -> list[str]:
    """Return what `_asked` tells, as sentences for the notes of a run."""
    spread = [
        f"{name} {draws['mean']:.4f} over {len(draws['each'])} draws of examples (deviation"
        f" {draws['deviation']:.4f}, {min(draws['each']):.4f} to {max(draws['each']):.4f})"
        for name, draws in asked.get("draws", {}).items()
    ]
    short = asked.get("prompts", {}).get("shortened", 0)
    room = [f"{short:,} questions had no room for all examples"] if short else []
    return [*spread, *room, *_bill(asked.get("usage"))]


def _bill(usage: dict[str, Any] | None) -> list[str]:
    """Return what a served model was asked, as a sentence."""
    if not usage:
        return []
    cost = usage["cost"]
    told = "; model.price_in and model.price_out would tell the cost" if cost is None else ""
    return [
        f"{usage['requests']:,} requests ({usage['cached']:,} answers were kept from before):"
        f" {usage['prompt_tokens']:,} tokens read, {usage['completion_tokens']:,} written"
        + (told or f"; cost {cost:,.4g} by the prices of the recipe")
    ]


def _overlap(made: Any) -> dict[str, int]:
    """Return how many rows of a part stand in another; a corpus was parted by its texts."""
    if isinstance(made.task, LanguageTask):
        return {}
    counts = inspect.overlap(inspect.keys(made.splits, made.task))
    return counts | inspect.shared(made.splits, made.task)


def score(task: Task, schema: Schema, gold: Any, measured: Any, seed: int) -> dict[str, Any]:
    """Return `n`, `interval` (how it was drawn) and `metrics` of scored rows."""
    if not len(measured):
        return {"n": 0, "interval": "no test rows", "metrics": {}}
    evaluation.check_numbers(measured)
    judged = task.judge(gold, measured, schema)
    return {
        "n": len(measured),
        "interval": statistics.describe(len(measured), seed),
        "metrics": evaluation.intervals(task, judged, seed),
    }


def write_predictions(
    folder: RunDir,
    task: Task,
    schema: Schema,
    rows: Sequence[Example],
    gold: Any,
    measured: Any,
) -> None:
    """Write predictions.jsonl, a line a test row."""
    evaluation.check_numbers(measured)
    with atomic_file(folder.path / "predictions.jsonl", "w") as file:
        for row, record in zip(rows, task.records(gold, measured, schema), strict=True):
            read = {name: hangul.normalise(getattr(row, name)) for name in row.inputs}
            line = {"id": row.id, **read, **record}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def origin(settings: Any) -> str | None:
    """Return a hub id, or a local folder's name without the way to it."""
    name = getattr(settings, "pretrained", None) or getattr(settings, "vectors", None)
    if name is None or name[:1] != "/":
        return name
    *_, above, last = name.rstrip("/").split("/")
    return f"{above}/{last}" if last == "model" else last  # the model of a run

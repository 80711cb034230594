"""`mulgil check`: the plan before the work, with a trial of a few batches for time and memory.

Chosen: the first five steps are really walked, so that what cannot run is refused here with the
same words as in `train`; time is measured on a few of the run's own batches and multiplied,
because no formula knows this machine. It costs reading the data and, for a network, some ten
seconds. Nothing is written but the cache of encoded rows.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np

from mulgil import hardware, inspect, pipeline, planlines
from mulgil.networks import Stepped
from mulgil.pipeline import Prepared
from mulgil.recipe import Recipe
from mulgil.rundir import Say

TRIAL = 6
"""Steps of the trial; the first half warms up and is not counted."""

TRIAL_ROWS = 2000
"""Rows of the trial where a method solves at once."""

ASKED_ROWS = 16
"""Rows of the trial where they are asked in prompts."""


def plan(recipe: Recipe, say: Say = lambda line: None) -> dict[str, Any]:
    """Return the plan of a recipe: rows, labels, lengths, repeats, steps, time and memory.

    Args:
        recipe: read and checked.
        say: where lines for people go.
    """
    made = pipeline.prepare(recipe)
    pipeline.metric(made)
    found = inspect.report(made.splits, made.task, made.schema)
    found["lengths"] = {
        name: inspect.lengths(getattr(made.loaders, name).encoded) for name in found["rows"]
    }
    found["tokenizer_notes"] = list(made.tokenizer.notes)
    found["plan"] = _work(made)
    title = f"{recipe.name}: {recipe.task.name}, {recipe.model.name}, {recipe.method.name}"
    for line in planlines.plan(title, found):
        say(line)
    return found


def _work(made: Prepared) -> dict[str, Any]:
    """Return steps, seconds and memory, measured on a few batches of the run itself."""
    network = pipeline.build(made)
    learner = pipeline.teach(made, network)
    trainer, loaders = made.recipe.trainer, made.loaders
    plan: dict[str, Any] = {"precision": made.precision, "device": made.device}
    plan["weights"] = network.parameters_total
    plan["learning"] = learner.trainable
    epochs, more = trainer.epochs, 0.0
    if isinstance(learner, Stepped):
        batches = loaders.train.batches(0)
        plan["steps"] = round(epochs * -(-batches // trainer.accumulate))
        plan["learning_rate"] = trainer.learning_rate
        one = _step_seconds(made, learner)
        looks = epochs / trainer.evaluate_every
        answering = one / 3 * (looks * len(loaders.valid) + len(loaders.test))
        share = answering / max(len(loaders.train), 1) * batches
        plan["seconds"] = round(one * batches * epochs + share, 1)
        state = sum(array.nbytes for array in learner.state().values())
        plan["checkpoint_gb"] = round(state / 2**30, 3)
    else:
        plan["steps"] = 0
        before = hardware.peak_memory()
        if made.method.prompts:
            plan |= _asked(made, learner)
        else:
            seconds, scale = _solve_trial(made, network)
            plan["seconds"] = round(seconds * scale * 1.5, 1)  # half again for the solver
            more = (hardware.peak_memory() - before) * scale
    plan["memory_gb"] = round((hardware.peak_memory() + more) / 2**30, 2)
    plan["free_memory_gb"] = round(hardware.memory()[1] / 2**30, 2)
    return plan


def _step_seconds(made: Prepared, learner: Stepped) -> float:
    """Return the seconds a batch takes, from the median of a few."""
    times = []
    for batch in itertools.islice(made.loaders.train.epoch(0), TRIAL):
        started = time.monotonic()
        _, weight = learner.backward(batch)
        learner.update(0.0, made.recipe.trainer.clip, weight)
        times.append(time.monotonic() - started)
    return float(np.median(times[len(times) // 2 :]))


def _asked(made: Prepared, learner: Any) -> dict[str, Any]:
    """Return what asking will read, and the seconds it will take, None where asking is paid for."""
    loader, asking = made.loaders.test, learner.network
    served = made.model.kind == "endpoint"
    prompt = {
        "shared": round(asking.size(asking.plan.draws[0])),
        "question": float(loader.encoded.lengths.mean()) if len(loader) else 0.0,
        "asked": len(loader) * asking.draws,
        "unit": "characters" if served else "tokens",
    }
    if served:
        whole = round(prompt["asked"] * (prompt["shared"] + prompt["question"]))
        written = prompt["asked"] * max(asking.plan.most, 1)
        usage = {"prompt_tokens": whole, "completion_tokens": written}
        prompt["cost"] = made.model.cost(usage)  # type: ignore[attr-defined]
        return {"prompt": prompt, "seconds": None}
    rows = np.arange(min(ASKED_ROWS, len(loader)))
    started = time.monotonic()
    learner.rehearse(loader.encoded.take(rows, 1))
    one = (time.monotonic() - started) / max(len(rows), 1)
    return {"prompt": prompt, "seconds": round(one * prompt["asked"], 1)}


def _solve_trial(made: Prepared, network: Any) -> tuple[float, float]:
    """Return the seconds that the features of a few rows take, and how often all rows hold them."""
    loader = made.loaders.train
    rows = np.arange(min(TRIAL_ROWS, len(loader)))
    started = time.monotonic()
    inputs = loader.encoded.take(rows, made.recipe.loader.multiple)
    network.first_features([inputs])
    total = sum(len(part) for _, part in made.splits.items())
    return time.monotonic() - started, total / max(len(rows), 1)

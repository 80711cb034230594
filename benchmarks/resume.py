"""Kill a training run by SIGKILL at every one of its steps, go on, and compare the bits (RS-01).

    python benchmarks/resume.py --steps 60
    python benchmarks/resume.py --recipe masked-lm      also causal-lm: a pretraining

The run is the tests' own tiny one: an encoder with dropout, two batches a step with a ragged last
group, five epochs, a look at the validation rows every 0.4 epochs, a best step that is not the
last. Step k is killed before its update, after it, in its journal line or between its two batches,
in turn; every other run saves a checkpoint after each step, the rest at the looks only. Compared
with the run that nothing befell: model files, every checkpoint's arrays and state, journal,
predictions, result (all without what depends on the clock). Chosen: a parent that has loaded torch
forks every child, because loading it takes longer than the run. It costs an operating system with
fork.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "flow"))
from _cli import warm_parent
from _tiny import CAUSAL, MASKED, OFTEN, RECIPE, Tiny, essence, lines

PLACES = ("update", "updated", "journal", "partial")
LANGUAGE = {
    name: text.replace("epochs = 10", "epochs = 12")  # 60 steps and some more
    for name, text in (("masked-lm", MASKED), ("causal-lm", CAUSAL))
}
RECIPES = {"classification": RECIPE, **LANGUAGE}


def trial(tiny: Tiny, step: int, expected: object, partial: bool) -> str:
    """Kill a run at a step and go on; return what is wrong, "" when nothing is."""
    where = PLACES[step % len(PLACES)]
    if where == "partial" and not partial:
        where = "backward"
    if where == "partial" and step % 12 == 0:  # the last group of an epoch has one batch
        where = "update"
    settings = [OFTEN] if step // len(PLACES) % 2 else []
    killed = tiny.train(*settings, hooks=[["at", where, step, "SIGKILL"]])
    if killed.code != -9:
        return f"step {step}: ended with {killed.code} before it was killed: {killed.err.strip()}"
    resumed = tiny.resume(*settings)
    if resumed.code != 0:
        return f"step {step}: going on ended with {resumed.code}: {resumed.err.strip()}"
    found = essence(tiny.run)
    if found == expected:
        return ""
    assert isinstance(expected, dict)
    names = sorted(k for k in found.keys() | expected.keys() if found.get(k) != expected.get(k))
    return f"step {step} ({where}): differs in {', '.join(names)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=60, help="steps 1 to this")
    parser.add_argument("--recipe", choices=RECIPES, default="classification")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    recipe = RECIPES[options.recipe]
    partial = options.recipe == "classification"  # there it is known which groups have two batches
    started = time.perf_counter()
    with warm_parent() as warm:
        whole = Tiny(warm, warm.folder / "whole", recipe)
        done = whole.train()
        if done.code != 0:
            sys.exit(done.err)
        most = sum(line["kind"] == "step" for line in lines(whole.run))
        if not 1 <= options.steps <= most:
            parser.error(f"--steps is 1 to {most}")
        expected = essence(whole.run)
        wrong = []
        for step in range(1, options.steps + 1):
            tiny = Tiny(warm, warm.folder / f"killed-{step}", recipe)
            problem = trial(tiny, step, expected, partial)
            wrong += [problem] if problem else []
            if problem and not options.json:
                print(problem, flush=True)
    seconds = round(time.perf_counter() - started, 1)
    same = options.steps - len(wrong)
    if options.json:
        found = {"steps": options.steps, "identical": same, "seconds": seconds, "wrong": wrong}
        print(json.dumps(found))
    else:
        print(f"{same} of {options.steps} bit-identical, {seconds} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

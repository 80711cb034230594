"""What knowledge from upstream is worth: the same recipe from scratch and from a pretrained model.

    python benchmarks/transfer.py [--pretrained mulgil/mini] [--rows 500] [--seeds 5]

NSMC, so many training rows (drawn anew for each seed, no validation part: nothing is chosen),
the whole test part. Both ways see the same rows in the same order, with the same architecture and
tokenizer; only the weights that they start from differ (`model.weights`). What is chosen for each
way, its learning rate and its epochs, was chosen on other rows: `--choose` trains a grid of both on
draws of seed 100 and scores them on 5,000 other training rows. The interval is that of the mean
paired difference over the seeds (Student's t); each seed's own figures are printed with it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from scipy import stats

from mulgil import api, fetch, registry
from mulgil.recipe import section

CHOSEN = {
    "pretrained": {"epochs": 30, "learning_rate": 1e-4},
    "random": {"epochs": 20, "learning_rate": 6e-4},
}
"""What `--choose` found best for each way, at 500 rows."""
GRID = {"epochs": (10, 20, 30), "learning_rate": (1e-4, 3e-4, 6e-4)}


def train(folder: Path, weights: str, settings: dict[str, float], *more: str) -> float:
    """Train once and return the accuracy on the test rows."""
    values = [f"trainer.{key}={value}" for key, value in settings.items()]
    run = api.train(
        "nsmc-mini",
        f"model.weights={weights}",
        "data.valid_share=0",
        "trainer.evaluate_every=1000",
        *values,
        *more,
        root=folder,
    )
    figures = json.loads((run / "result.json").read_text(encoding="utf-8"))
    shutil.rmtree(run)
    return float(figures["metrics"]["accuracy"]["accuracy"]["value"])


def choose(folder: Path, rows: int, model: str) -> None:
    """Score a grid for both ways on training rows that no seed below draws."""
    part = section("data", ["data.name=nsmc"])
    train_rows = part.make().read(fetch.collect(registry.load("datasets", "nsmc"))).rows["train"]
    order = np.random.default_rng(100).permutation(len(train_rows))
    files = {"train": order[:rows], "test": order[rows : rows + 5000]}
    given = [f"model.pretrained={model}", "data.name=files"]
    for name, numbers in files.items():
        path = folder / f"{name}.jsonl"
        lines = (
            json.dumps({"text": row.text, "label": row.label}, ensure_ascii=False)
            for row in (train_rows[int(i)] for i in numbers)
        )
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        given.append(f"data.{name}={path}")
    for weights, (epochs, rate) in itertools.product(CHOSEN, itertools.product(*GRID.values())):
        settings = {"epochs": epochs, "learning_rate": rate}
        value = train(folder, weights, settings, *given, "name=grid")
        print(f"{weights:<11} epochs {epochs:>2}  learning rate {rate:g}  {value:.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pretrained", default="mulgil/mini")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--choose", action="store_true", help="score the grid, and stop")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.choose:
            return choose(folder, chosen.rows, chosen.pretrained)
        found: dict[str, list[float]] = {weights: [] for weights in CHOSEN}
        for seed in range(1, chosen.seeds + 1):
            for weights, settings in CHOSEN.items():
                more = [f"data.train_rows={chosen.rows}", f"data.seed={seed}"]
                more += [f"trainer.seed={seed}", f"model.pretrained={chosen.pretrained}"]
                value = train(folder, weights, settings, *more, f"name={weights}-{seed}")
                found[weights].append(value)
                print(f"seed {seed}  {weights:<11} {value:.4f}", flush=True)
    gains = np.array(found["pretrained"]) - np.array(found["random"])
    spread = gains.std(ddof=1) / np.sqrt(len(gains)) * stats.t.ppf(0.975, len(gains) - 1)
    for weights, values in found.items():
        print(f"{weights:<11} mean {np.mean(values):.4f}  sd {np.std(values, ddof=1):.4f}")
    print(
        f"gain {gains.mean():.4f}  95% [{gains.mean() - spread:.4f}, {gains.mean() + spread:.4f}]"
        f"  (paired t over {len(gains)} seeds, n test rows each the whole test part)"
    )


if __name__ == "__main__":
    main()

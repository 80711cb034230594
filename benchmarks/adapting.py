"""Ways to adapt one model to the same few rows: how good, how much moves, how long, how large.

    python benchmarks/adapting.py nsmc-mini --rows 2000 --seeds 3 [model.pretrained=DIR ...]

Each method trains on the same rows of each seed, with its own command (so that its memory is its
own), and is scored on the same test rows. Differences from the first method are paired over test
rows and averaged over seeds; their interval is a bootstrap over the test rows. No validation part:
nothing is chosen here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mulgil import statistics
from mulgil.flow import Array

WAYS = {
    "full": ["method.name=full"],
    "lora": ["method.name=lora"],
    "prefix": ["method.name=prompt-tuning"],
    "prompt": ["method.name=prompt-tuning", "method.variant=prompt"],
    "linear-probe": ["method.name=linear-probe"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--test-rows", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", default=",".join(WAYS))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mulgil-adapting-") as place:
        told = {
            way: [run(Path(place), chosen, way, seed) for seed in range(1, chosen.seeds + 1)]
            for way in chosen.ways.split(",")
        }
    first = next(iter(told))
    for way, runs in told.items():
        rights = np.stack([each for each, _ in runs])
        base = np.stack([each for each, _ in told[first]])
        figures = runs[0][1]
        line = f"{way:<13} {interval(rights.mean(0))}"
        if way != first:
            line += f"  less {first} {interval((rights - base).mean(0))}"
        print(line)
        seconds = np.median([each["seconds"] for _, each in runs])
        print(
            f"{'':<13} {figures['trainable']:,} of {figures['total']:,} weights,"
            f" {seconds:.0f} s of training, peak {figures['memory']:.2f} GB,"
            f" model/ {figures['size'] / 1e6:.1f} MB"
        )


def run(place: Path, chosen: argparse.Namespace, way: str, seed: int) -> tuple[Array, dict]:
    """Train once; return which test rows are right, bool [rows], and the run's figures."""
    words = [
        *(sys.executable, "-m", "mulgil", "train", chosen.recipe, *chosen.settings, *WAYS[way]),
        *(f"data.train_rows={chosen.rows}", f"data.test_rows={chosen.test_rows}"),
        *("data.valid_share=0", "trainer.evaluate_every=1000", f"trainer.seed={seed}"),
        *(f"name={way}-{seed}", "--root", str(place)),
    ]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    folder = place / f"{way}-{seed}"
    figures = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    value = figures["metrics"]["accuracy"]["accuracy"]["value"]
    print(f"{way} seed {seed}: accuracy {value:.4f}", flush=True)
    size = sum(path.stat().st_size for path in (folder / "model").rglob("*") if path.is_file())
    told = {
        **figures["parameters"],
        "seconds": figures["training"]["seconds"],
        "memory": figures["training"]["peak_memory_gb"],
        "size": size,
    }
    return np.array([row["gold"] == row["predicted"] for row in rows], float), told


def interval(values: Array) -> str:
    """Return a mean over rows with its bootstrap interval."""
    got = statistics.bootstrap(lambda rows: {"m": float(values[rows].mean())}, len(values), seed=7)
    one = got["m"]
    return f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}]"


if __name__ == "__main__":
    main()

"""Put finished runs of one task side by side: score, time, weights, size, latency of one sentence.

    python benchmarks/classics.py runs/nsmc-tfidf runs/nsmc-textcnn runs/nsmc-mini --rounds 200

Latency is that of `mulgil.load(RUN).predict([text])`, from a string to probabilities, with one
thread. Chosen: all runs in one process that take turns on the same sentence, so that a noisy
machine is noisy to all of them alike; median and 95th percentile over sentences of the bundled
sample. It costs that every model stands in memory at once. Score, time and weights are read from
the runs.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mulgil


def sentences() -> list[str]:
    """Return the texts of the bundled sample, in their order."""
    page = resources.files("mulgil").joinpath("datasets/sample.tsv").read_text("utf-8")
    return [row[0] for row in list(csv.reader(page.splitlines(), delimiter="\t"))[1:]]


def latencies(runs: list[Path], rounds: int) -> list[list[float]]:
    """Return milliseconds of each run for each of so many sentences, after five that warm up."""
    loaded = [mulgil.load(str(run)) for run in runs]
    texts = sentences()
    found: list[list[float]] = [[] for _ in runs]
    for number in range(-5, rounds):
        text = texts[number % len(texts)]
        for run, times in zip(loaded, found, strict=True):
            started = time.perf_counter()
            answers = list(run.predict([text]))
            seconds = time.perf_counter() - started
            assert len(answers) == 1
            if number >= 0:
                times.append(seconds * 1000)
    return found


def figures(run: Path) -> dict[str, Any]:
    """Return what a run says of itself, and the bytes of its model."""
    told = json.loads((run / "result.json").read_text("utf-8"))
    name, metric = next(iter(told["metrics"].items()))
    figure = next(iter(metric.values()))
    return {
        "rows": told["rows"]["train"],
        "metric": name,
        **{key: figure[key] for key in ("value", "low", "high")},
        "n": told["n"],
        "weights": told["parameters"]["total"],
        "learn": told["parameters"]["trainable"],
        "seconds": told["training"]["seconds"],
        "bytes": sum(p.stat().st_size for p in (run / "model").rglob("*") if p.is_file()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=200, help="sentences (default 200)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    times = latencies(chosen.runs, chosen.rounds)
    print("| run | training rows | score | weights (learn) | model/ | training | sentence, p95 |")
    print("|---|---|---|---|---|---|---|")
    for run, milliseconds in zip(chosen.runs, times, strict=True):
        told = figures(run)
        middle, high = np.percentile(milliseconds, [50, 95])
        print(
            f"| {run.name} | {told['rows']:,} | {told['metric']} {told['value']:.4f}"
            f" [{told['low']:.4f}, {told['high']:.4f}], n {told['n']:,} |"
            f" {told['weights']:,} ({told['learn']:,}) | {told['bytes'] / 1e6:.1f} MB |"
            f" {told['seconds']:,.0f} s | {middle:.1f} ms, {high:.1f} ms |"
        )


if __name__ == "__main__":
    main()

"""Time what should be instant: fresh processes that only say something, medians in seconds.

    python benchmarks/startup.py --runs 11

Chosen: whole processes, by the wall clock, after one that warms the file cache; "python" is an
empty interpreter of the same environment, the floor. It costs that a busy machine shows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

PYTHON = [sys.executable]
MULGIL = [sys.executable, "-m", "mulgil"]
CALLS = {
    "python": [*PYTHON, "-c", ""],
    "import mulgil": [*PYTHON, "-c", "import mulgil"],
    "mulgil --help": [*MULGIL, "--help"],
    "mulgil --version": [*MULGIL, "--version"],
    "mulgil list": [*MULGIL, "list"],
    "mulgil list recipes": [*MULGIL, "list", "recipes"],
    "mulgil train --help": [*MULGIL, "train", "--help"],
    "mulgil runs": [*MULGIL, "runs"],
    "mulgil data list": [*MULGIL, "data", "list"],
}


def median(words: list[str], runs: int, folder: str) -> float:
    """Return the median seconds of so many runs of a command that must succeed."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "MULGIL_CACHE": folder}
    times = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(words, cwd=folder, env=env, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=11, help="of each command (default 11)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {name: median(words, options.runs, folder) for name, words in CALLS.items()}
    if options.json:
        print(json.dumps({name: round(seconds, 3) for name, seconds in found.items()}))
        return
    for name, seconds in found.items():
        print(f"{name:<20} {seconds:.3f} s")


if __name__ == "__main__":
    main()

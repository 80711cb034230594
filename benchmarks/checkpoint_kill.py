"""Kill a process that saves checkpoints, at random moments, and count what is lost (CK-01, CK-16).

    python benchmarks/checkpoint_kill.py --kills 1000

Chosen: a warm parent that forks, because a fresh Python with numpy takes longer than a save and
would be killed before it gets there. Each child opens the folder as a resumed run would, saves step
after step, tells the parent when each `save` has returned, and is killed by SIGKILL after a random
time. Then the parent reads the folder as the next run would: the newest valid checkpoint must be at
least the last one that was acknowledged, hold its numbers, and never be older than after the kill
before; the best likewise. It costs an operating system with fork; power cuts are not what it tests,
as the page cache survives.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mulgil.checkpoint import Checkpoint, Checkpoints
from mulgil.storage import sweep


@dataclass
class Tally:
    kills: int = 0
    saves: int = 0
    lost: int = 0
    went_backwards: int = 0
    best_lost: int = 0
    most_orphans: int = 0
    not_swept: int = 0
    killed_in_a_save: int = 0
    seconds: float = 0.0
    ms_a_kill: float = 0.0
    errors: list[str] = field(default_factory=list)

    def failed(self) -> bool:
        return bool(
            self.lost or self.went_backwards or self.best_lost or self.not_swept or self.errors
        ) or (self.most_orphans > 1)


def weights(step: int, size: int) -> np.ndarray:
    """What the checkpoint of a step holds: computed again, so that it need not be remembered."""
    return np.random.default_rng(step).standard_normal(size // 4, dtype=np.float32)


def metric(step: int) -> float:
    """Goes up and down, so that the best is now the newest and now an old one."""
    return (step * 7919 % 101) / 101


def child(folder: Path, size: int, pipe: int) -> None:
    """Save until killed; a step's number goes into the pipe when its `save` has returned."""
    checkpoints = Checkpoints(folder)
    newest = checkpoints.newest()
    step = newest.step if newest else 0
    os.write(pipe, b"ready\n")
    while True:
        step += 1
        checkpoints.save(step, {"weights": weights(step, size)}, {"step": step}, metric(step))
        os.write(pipe, f"{step}\n".encode())


def one_kill(folder: Path, size: int, delay: float) -> list[int]:
    """Let a child save for `delay` seconds, kill it, and return the steps that it acknowledged."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            child(folder, size, writing)
        except BaseException as error:
            os.write(writing, f"error {error}\n".encode())
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        told = pipe.read(6)
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while more := pipe.read(1 << 16):
            told += more
    lines = told.decode().split("\n")[:-1]
    if lines[:1] != ["ready"] or any(not line.isdigit() for line in lines[1:]):
        raise RuntimeError(f"the child failed by itself: {lines[-1:]}")
    return [int(line) for line in lines[1:]]


def whole(checkpoint: Checkpoint | None, size: int) -> bool:
    return checkpoint is not None and (
        checkpoint.state == {"step": checkpoint.step}
        and checkpoint.metric == metric(checkpoint.step)
        and np.array_equal(checkpoint.arrays["weights"], weights(checkpoint.step, size))
    )


def run(folder: Path, kills: int, size: int, seed: int, longest: float) -> Tally:
    """Kill so many children; return what was seen."""
    tally, rng = Tally(), random.Random(seed)
    newest_before, peak = 0, (-1.0, 0)
    start = time.perf_counter()
    while tally.kills < kills:
        try:
            acknowledged = one_kill(folder, size, rng.uniform(0, longest))
        except RuntimeError as error:
            tally.errors.append(str(error))
            break
        tally.kills += 1
        tally.saves += len(acknowledged)
        orphans = sum(name.startswith(".mulgil-") for name in os.listdir(folder))
        tally.killed_in_a_save += orphans > 0
        tally.most_orphans = max(tally.most_orphans, orphans)
        # What a reader sees before anybody has cleaned up, then what the next run sees.
        reader = Checkpoints(folder)
        newest, best = reader.newest(), reader.best()
        told = max(acknowledged, default=newest_before)
        step = newest.step if newest else 0
        tally.lost += step < told or (step > 0 and not whole(newest, size))
        tally.went_backwards += step < newest_before
        peak = max([peak, *((metric(s), -s) for s in acknowledged)])
        known = (best.metric or 0.0, -best.step) if best else (-1.0, 0)
        tally.best_lost += known < peak or (best is not None and not whole(best, size))
        tally.errors += reader.notes
        newest_before, peak = max(step, newest_before), max(peak, known)
        sweep(folder)
        tally.not_swept += any(name.startswith(".mulgil-") for name in os.listdir(folder))
    tally.seconds = round(time.perf_counter() - start, 2)
    tally.ms_a_kill = round(1000 * tally.seconds / max(tally.kills, 1), 1)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--kilobytes", type=int, default=1024, help="a checkpoint's size (1024)")
    parser.add_argument("--longest", type=float, default=120, help="latest kill, ms (120)")
    parser.add_argument("--seed", type=int, default=7, help="of the moments (default 7)")
    parser.add_argument("--folder", type=Path, help="where to save (default: a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        tally = run(
            Path(place),
            options.kills,
            options.kilobytes << 10,
            options.seed,
            options.longest / 1000,
        )
    if options.json:
        print(json.dumps(vars(tally)))
    else:
        for name, value in vars(tally).items():
            print(f"{name.replace('_', ' '):16} {value}")
    return 1 if tally.failed() else 0


if __name__ == "__main__":
    sys.exit(main())

"""What can befall a training run, on purpose and at an exact place.

`at(where, step, what)` does `what` once, when the loop is at that place of that step:

    backward   before the first batch of the step          update    before the update
    partial    between two batches of one step             updated   after the update
    journal    in the middle of the step's journal line    look      in the look at valid rows
    looked     after the look, before its checkpoint       save      checkpoint half written
    saved      after the checkpoint                        keep      before model/ is written
    finish     before predictions are written
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import mulgil.checkpoint as checkpoint_module
from mulgil import disk, evaluation, pipeline, result
from mulgil.checkpoint import Checkpoints
from mulgil.methods._gradient import GradientLearner
from mulgil.rundir import Journal
from mulgil.training import Trainer


class _Now:
    """Where the loop is."""

    trainer: Any = None
    step = 0
    part = 0


def _wrap(owner: Any, name: str, around: Any) -> None:
    real = getattr(owner, name)
    setattr(owner, name, lambda *args, **options: around(real, *args, **options))


def _watch() -> None:
    """Keep `_Now` true; `part` counts the batches of the step that are done."""
    if _Now.trainer is not None:
        return

    def backward(real: Any, *args: Any) -> Any:
        found = real(*args)
        _Now.part += 1
        return found

    def fit(real: Any, trainer: Any) -> Any:
        _Now.trainer = trainer
        return real(trainer)

    def step(real: Any, trainer: Any, *args: Any) -> Any:
        _Now.step, _Now.part = trainer.at.step + 1, 0
        return real(trainer, *args)

    _Now.trainer = "none yet"
    _wrap(GradientLearner, "backward", backward)
    _wrap(Trainer, "fit", fit)
    _wrap(Trainer, "_step", step)


def at(where: str, step: int, what: str, times: int = 1) -> None:
    """Do `what` at this place of this step: a signal's name, "memory", "bug".

    `where` may also be "loss" or "gradient", which become `what`: "nan", "inf".
    """
    _watch()
    left = itertools.count()

    def strike(now: int, learner: Any = None) -> None:
        if now == step and next(left) < times:
            _do(what, learner)

    def backward(real: Any, learner: Any, batch: Any) -> Any:
        if where == ("backward", "partial")[_Now.part]:
            strike(_Now.step)
        loss, weight = real(learner, batch)
        if where == "gradient":
            strike(_Now.step, learner)
        return (float(what) if where == "loss" and _Now.step == step else loss), weight

    def update(real: Any, *args: Any) -> Any:
        if where == "update":
            strike(_Now.step)
        norm = real(*args)
        if where == "updated":
            strike(_Now.step)
        return norm

    def write(real: Any, journal: Any, kind: str, **values: Any) -> Any:
        if where == "journal" and kind == "step" and values["step"] == step:
            journal._file.write(json.dumps(values).encode()[:20])
            journal._file.flush()
            strike(step)
        found = real(journal, kind, **values)
        if where == "looked" and kind == "valid":
            strike(values["step"])
        return found

    def measure(real: Any, *args: Any, **named: Any) -> Any:
        if where != "look" or len(args) < 5:  # without `between` it is no look of the loop
            return real(*args, **named)
        batches, between = itertools.count(), args[4]

        def pause() -> None:
            if next(batches) == 1:
                strike(_Now.trainer.at.step)
            between()

        return real(*args[:4], pause)

    def commit(real: Any, target: Path, fill: Any) -> Any:
        def half(folder: Path) -> None:
            fill(folder)
            strike(int(target.name.split("-")[1]))

        return real(target, half if where == "save" else fill)

    def save(real: Any, checkpoints: Any, number: int, *args: Any) -> Any:
        found = real(checkpoints, number, *args)
        if where == "saved":
            strike(number)
        return found

    def ending(real: Any, *args: Any) -> Any:
        strike(step)
        return real(*args)

    _wrap(GradientLearner, "backward", backward)
    _wrap(GradientLearner, "update", update)
    _wrap(Journal, "write", write)
    _wrap(evaluation, "measure", measure)
    _wrap(checkpoint_module, "commit_folder", commit)
    _wrap(Checkpoints, "save", save)
    if where == "keep":
        _wrap(pipeline, "_keep", ending)
    if where == "finish":
        _wrap(result, "write_predictions", ending)


def _do(what: str, learner: Any) -> None:
    if what == "memory":
        raise MemoryError
    if what == "bug":
        raise ZeroDivisionError("a bug\nof two lines")
    if what == "torch memory":
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate"
        )
    if learner is not None:
        parameters = learner._net.module.parameters()
        next(p for p in parameters if p.grad is not None and not p.grad.is_sparse).grad.fill_(
            float(what)
        )
        return
    os.kill(os.getpid(), getattr(signal, what))


def ledger(path: str) -> None:
    """Write down which rows each step learns from, before it does."""
    _watch()
    with open(path, "a") as file:
        file.write("null\n")  # a new process

    def backward(real: Any, learner: Any, batch: Any) -> Any:
        with open(path, "a") as file:
            file.write(json.dumps([_Now.step, _Now.trainer.at.epoch, batch.rows.tolist()]) + "\n")
        return real(learner, batch)

    _wrap(GradientLearner, "backward", backward)


def small_disk(free: int) -> None:
    """Let every disk have so many bytes free."""
    usage = shutil.disk_usage("/")
    disk.shutil.disk_usage = lambda path: usage._replace(free=free)  # type: ignore[attr-defined]


def mad_clock() -> None:
    """Let the wall clock run backwards, a day at each look."""
    looks = itertools.count()
    time.time = lambda: 2e9 - 86400 * next(looks)
    time.time_ns = lambda: int(time.time() * 1e9)


def nobody() -> None:
    """Give up root's right to write everywhere (all capabilities, on Linux)."""
    if os.geteuid() == 0:
        header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        if ctypes.CDLL(None).capset(header, nothing):
            raise OSError("capset")


def standard_input(path: str) -> None:
    """Read from another file, such as a named pipe."""
    os.dup2(os.open(path, os.O_RDONLY), 0)


def ignore(name: str) -> None:
    """Start with a signal ignored, as `nohup` does."""
    signal.signal(getattr(signal, name), signal.SIG_IGN)

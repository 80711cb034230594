"""A disk that fails on purpose: every call to the operating system is counted, and can be refused.

`Faults(k, action).installed()` lets the first k calls pass and does `action` at the next one, or
from then on: an error, a short write, a SIGKILL. `CASES` is the work that is put under it. As a
script it kills a child at each call of each case and prints what went wrong as JSON.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulgil import checkpoint as checkpoint_module
from mulgil import disk, storage
from mulgil.checkpoint import Checkpoints
from mulgil.storage import (
    atomic_file,
    commit_folder,
    sweep,
    verify_folder,
    write_atomic,
)

# ---------------------------------------------------------------- faults

PATH_CALLS = [
    *("open", "rename", "replace", "mkdir", "rmdir", "unlink", "chmod"),
    *("listdir", "stat", "lstat", "statvfs"),
]


class Faults:
    """Count every call that reaches the operating system; at number `at` do `action`."""

    def __init__(self, at: int, action: Callable[[str, Any], None], lasting: bool = False) -> None:
        self.at, self.action, self.lasting = at, action, lasting
        self.calls: list[str] = []
        self._number = itertools.count()

    def hit(self, call: str, place: Any = None) -> None:
        number = next(self._number)
        self.calls.append(call)
        if number == self.at or (self.lasting and number > self.at >= 0):
            self.action(call, place)

    @contextlib.contextmanager
    def installed(self) -> Iterator[Faults]:
        with pytest.MonkeyPatch.context() as patch:
            for name in PATH_CALLS:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            patch.setattr(os, "fsync", lambda handle: self.hit("fsync"))
            for module in (storage, checkpoint_module):
                patch.setattr(module, "open", self._open, raising=False)
            real_save = checkpoint_module.save_file
            patch.setattr(
                checkpoint_module,
                "save_file",
                lambda arrays, path: (self.hit("save_file"), real_save(arrays, path))[1],
            )
            yield self

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            place = args[0] if args and isinstance(args[0], str | os.PathLike) else None
            self.hit(name, place)
            return real(*args, **options)

        return call

    def _open(self, path: Path, mode: str = "r", **options: Any) -> Any:
        self.hit("open", path)
        raw = Raw(self, path, mode)
        if "+" in mode:
            return io.BufferedRandom(raw)
        if "r" in mode:
            return io.BufferedReader(raw)
        binary = io.BufferedWriter(raw)
        return binary if "b" in mode else io.TextIOWrapper(binary, **options)


class Raw(io.FileIO):
    """A file whose writes can fail, or take only a part."""

    def __init__(self, faults: Faults, path: Path, mode: str) -> None:
        self.faults = faults
        super().__init__(path, mode.replace("b", ""))

    def write(self, data: Any) -> int:
        try:
            self.faults.hit("write")
        except ShortWriteError:
            return super().write(memoryview(data)[: max(1, len(data) // 2)]) or 0
        return super().write(data) or 0


class ShortWriteError(Exception):
    pass


def refuse(code: int) -> Callable[[str, Any], None]:
    def action(call: str, place: Any) -> None:
        if call == "save_file":
            raise RuntimeError(f"I/O error: {os.strerror(code)} (os error {code})")
        raise OSError(code, os.strerror(code), place)

    return action


def short(call: str, place: Any) -> None:
    if call == "write":
        raise ShortWriteError


def kill(call: str, place: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def temps(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".mulgil-")]


# ---------------------------------------------------------------- what is put under faults


def fill(text: str) -> Callable[[Path], None]:
    """Write two files, one in a sub-folder; by `storage.open`, so that the faults reach them."""

    def write(folder: Path) -> None:
        os.mkdir(folder / "안")
        opened = getattr(storage, "open", open)
        for name in ("a.txt", "안/b.txt"):
            with opened(folder / name, "xb") as file:
                file.write(text.encode() * 500)

    return write


class FileCase:
    """`write_atomic` over an old file."""

    def setup(self, folder: Path) -> None:
        write_atomic(folder / "a.txt", "old" * 3000)

    def run(self, folder: Path) -> None:
        write_atomic(folder / "a.txt", "new!" * 3000)

    def state(self, folder: Path) -> str:
        text = (folder / "a.txt").read_text()
        return {"old" * 3000: "old", "new!" * 3000: "new"}.get(text, "broken")


class StreamCase(FileCase):
    """`atomic_file` for an output that is not there yet: whole or absent."""

    def setup(self, folder: Path) -> None:
        pass

    def run(self, folder: Path) -> None:
        with atomic_file(folder / "out.csv") as file:
            for _ in range(3):
                file.write("좋아요,1\n" * 2000)

    def state(self, folder: Path) -> str:
        path = folder / "out.csv"
        if not path.exists():
            return "old"
        return "new" if path.read_text("utf-8") == "좋아요,1\n" * 6000 else "broken"


class FolderCase(FileCase):
    """`commit_folder` where nothing was."""

    def setup(self, folder: Path) -> None:
        pass

    def run(self, folder: Path) -> None:
        commit_folder(folder / "model", fill("new"))

    def state(self, folder: Path) -> str:
        if not (folder / "model").exists():
            return "old"
        verify_folder(folder / "model")
        text = (folder / "model" / "안" / "b.txt").read_text()
        return {"old" * 500: "old", "new" * 500: "new"}.get(text, "broken")


class ReplaceCase(FolderCase):
    """`commit_folder` over an old folder."""

    def setup(self, folder: Path) -> None:
        commit_folder(folder / "model", fill("old"))

    def state(self, folder: Path) -> str:
        return super().state(folder) if (folder / "model").exists() else "broken"


class CheckpointCase(FileCase):
    """`Checkpoints.save`, with one to remove afterwards and a best one to keep."""

    def setup(self, folder: Path) -> None:
        checkpoints = Checkpoints(folder)
        for step, metric in ((1, 0.9), (2, 0.5)):
            checkpoints.save(step, {"w": np.full(9, step)}, {"step": step}, metric)

    def run(self, folder: Path) -> None:
        Checkpoints(folder).save(3, {"w": np.full(9, 3)}, {"step": 3}, 0.1)

    def state(self, folder: Path) -> str:
        checkpoints = Checkpoints(folder)
        newest, best = checkpoints.newest(), checkpoints.best()
        if newest is None or best is None or best.step != 1 or checkpoints.notes:
            return "broken"
        if not (newest.arrays["w"] == newest.state["step"]).all():
            return "broken"
        return {2: "old", 3: "new"}.get(newest.step, "broken")


CASES = {
    "file": FileCase(),
    "stream": StreamCase(),
    "folder": FolderCase(),
    "replace": ReplaceCase(),
    "checkpoint": CheckpointCase(),
}


def calls_of(case: FileCase, folder: Path) -> list[str]:
    """Return the calls of an undisturbed run."""
    folder.mkdir()
    case.setup(folder)
    with Faults(-1, kill).installed() as faults:
        case.run(folder)
    assert case.state(folder) == "new"
    assert temps(folder) == []
    return faults.calls


def after_restart(case: FileCase, folder: Path) -> None:
    """The next start clears up, and the same work then succeeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "may_live", lambda *_: False)
        sweep(folder)
    assert temps(folder) == []
    assert case.state(folder) in {"old", "new"}
    if case.state(folder) == "old":
        case.run(folder)
    assert case.state(folder) == "new"


def kill_at_every_call(root: Path) -> list[str]:
    """Kill a child at each of its calls, for every case; return what went wrong."""
    wrong = []
    os.fsync = lambda handle: None  # a SIGKILL spares the page cache, and this is much faster
    for name, case in CASES.items():
        for k in range(len(calls_of(case, root / f"{name}-dry"))):
            folder = root / f"{name}-{k}"
            folder.mkdir()
            case.setup(folder)
            pid = os.fork()
            if pid == 0:
                with Faults(k, kill).installed():
                    case.run(folder)
                os._exit(0)
            status = os.waitpid(pid, 0)[1]
            orphans = temps(folder)
            sweep(folder)
            left, state = temps(folder), case.state(folder)
            if os.WTERMSIG(status) != signal.SIGKILL or len(orphans) > 1 + (name == "replace"):
                wrong.append(f"{name} {k}: status {status}, orphans {orphans}")
            if left or state not in {"old", "new"}:
                wrong.append(f"{name} {k}: left {left}, state {state}")
    return wrong


if __name__ == "__main__":
    sys.stdout.write(json.dumps(kill_at_every_call(Path(sys.argv[1]))))

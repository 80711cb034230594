"""Checkpoints of a run: what a continuation needs, saved whole, checked before it is used.

    checkpoints/step-00000012/   arrays.safetensors   state.json   MANIFEST.json

Chosen: folders of safetensors and strict JSON, committed by `storage.commit_folder`; nothing is
ever unpickled. The order is the step in the name, never a clock or a file's date. A step that
is saved again becomes `step-00000012-1` beside the first, which goes only then, so that newest
and best are there at every instant. Old ones go after the new one is safe. It costs room on the
disk for one checkpoint more than are kept, and one reading of each checkpoint that is opened,
for its hashes.

Damaged checkpoints are passed over, said aloud in `notes`, not counted, and never deleted. `save`
is done when it returns: arrays may change then. It takes no lock: one writer a folder, as
`storage.Lock` promises it; any number may read meanwhile.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mulgil.disk import unreadable
from mulgil.errors import RunError, StorageError
from mulgil.flow import Array
from mulgil.storage import (
    VersionError,
    commit_folder,
    discard_folder,
    make_folder,
    require_space,
    sweep,
    verify_folder,
)

FORMAT = 1
"""Version of a checkpoint's layout; one of another version is refused."""

ARRAYS = "arrays.safetensors"
STATE = "state.json"

_NAME = re.compile(r"step-(\d{8,18})(?:-(\d{1,6}))?")
_STATE_CAP = 64 << 20
_PATIENCE = 100
_DTYPES = {
    *("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
}


class Checkpoint:
    """A checkpoint whose files had the right hashes when it was opened.

    It keeps its arrays' file open, so that it stays readable when the writer removes it meanwhile.

    Attributes:
        path: its folder.
        step: updates made until then.
        metric: the finite validation metric at that step, or None.
        higher_is_better: which way the metric points.
        merit: the metric with its sign turned where less is better, or None.
        state: what was saved beside the arrays.
    """

    def __init__(self, path: Path) -> None:
        verify_folder(path)
        content = _read_state(path)
        self.path = path
        self.merit = _merit(content)
        self.step: int = content["step"]
        self.metric: float | None = content["metric"]
        self.higher_is_better: bool = content["higher_is_better"]
        self.state: dict[str, Any] = content["state"]
        try:
            self._file: Any = safe_open(path / ARRAYS, framework="np")
        except (SafetensorError, OSError) as error:
            raise RunError(
                f"{path / ARRAYS}: cannot be opened: {error}; use another copy"
            ) from error

    @functools.cached_property
    def arrays(self) -> dict[str, Array]:
        """The arrays by name, read at the first use and kept: writable, the caller's own."""
        return {name: self._file.get_tensor(name) for name in self._file.keys()}  # noqa: SIM118


class Checkpoints:
    """The checkpoints in a folder.

    Args:
        folder: where they lie; made by the first `save`.
        keep: how many of the newest stay, 1 or more; the best one stays as well.

    Attributes:
        notes: what was passed over and why, one line each, in the order it was met.

    Raises:
        ValueError: `keep` is less than 1.
    """

    def __init__(self, folder: Path, keep: int = 1) -> None:
        if keep < 1:
            raise ValueError(f"keep is at least 1, not {keep}")
        self.folder = folder
        self.keep = keep
        self.notes: list[str] = []
        self._checked: dict[str, float | None] = {}
        self._swept = False

    def save(
        self,
        step: int,
        arrays: dict[str, Array],
        state: dict[str, Any],
        metric: float | None,
        higher_is_better: bool = True,
    ) -> Path:
        """Save a checkpoint, then remove those that are neither among the newest nor the best.

        Args:
            step: updates made, 0 or more.
            arrays: numbers by name, any shape; they are not copied unless they are strided.
            state: plain JSON values: dict with string keys, list, str, bool, int, float, None.
            metric: validation metric at this step; NaN or infinite counts as None: never the best.
            higher_is_better: which way the metric points; of equal metrics the earlier is best.

        Returns:
            The checkpoint's folder.

        Raises:
            StorageError: the disk refused or is too full; the checkpoints from before are whole.
            RunError: a valid checkpoint of a later step is there.
            ValueError: the step is negative, or the state is not plain JSON.
            TypeError: an array's kind cannot be saved.
        """
        text = _state_text(step, state, metric, higher_is_better)
        dense = {name: _dense(name, array) for name, array in arrays.items()}
        make_folder(self.folder)
        if not self._swept:
            sweep(self.folder)
            self._swept = True
        valid = self._valid()
        if valid and _order(valid[-1])[0] > step:
            raise RunError(
                f"{self.folder}: holds {valid[-1]}, so step {step} would go backwards;"
                " resume the run, or choose another folder"
            )
        needed = sum(array.nbytes for array in dense.values()) + len(text)
        require_space(self.folder, needed, f"the checkpoint of step {step}")

        def fill(folder: Path) -> None:
            save_file(dense, folder / ARRAYS)
            with open(folder / STATE, "xb") as file:
                file.write(text)

        target = self._unused(step)
        commit_folder(target, fill)
        self._checked[target.name] = _merit(json.loads(text))
        self._retain()
        return target

    def newest(self) -> Checkpoint | None:
        """Return the valid checkpoint of the highest step, or None.

        Raises:
            VersionError: a newer one is whole, but of another format version; names both.
        """
        return self._first(reversed)

    def best(self) -> Checkpoint | None:
        """Return the valid checkpoint with the best metric, or None when none has a metric.

        Raises:
            VersionError: one is whole, but of another format version; names both.
        """
        return self._first(self._ranked)

    def _first(self, order: Callable[[list[str]], Iterable[str]]) -> Checkpoint | None:
        """Return the first valid checkpoint in that order of the names."""
        for _ in range(_PATIENCE):
            names = self._names()
            for name in order(names):
                path = self.folder / name
                try:
                    return Checkpoint(path)
                except (RunError, StorageError) as error:
                    if not os.path.lexists(path):
                        break  # The writer removed it, so there is another: look again.
                    if isinstance(error, VersionError):
                        raise
                    self._note(error)
            else:
                if names == self._names():
                    return None
        raise RunError(f"{self.folder}: checkpoints come and go too fast to be read; try again")

    def _names(self) -> list[str]:
        """Return the names of the checkpoints, valid or not, the newest last."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise unreadable(self.folder, error) from error
        return sorted((name for name in names if _NAME.fullmatch(name)), key=_order)

    def _ranked(self, names: list[str]) -> list[str]:
        """Return the names of those with a metric, the best first, unread ones before all."""
        merits = {}
        for name in names:
            try:
                merits[name] = _merit(_read_state(self.folder / name))
            except (RunError, StorageError):
                merits[name] = math.inf  # Opening it says what is wrong with it.
        return _best_first(merits)

    def _valid(self) -> list[str]:
        """Return the names of the valid ones; each is hashed once in this object's life."""
        names = self._names()
        for name in names:
            if name not in self._checked:
                try:
                    self._checked[name] = Checkpoint(self.folder / name).merit
                except (RunError, StorageError) as error:
                    self._note(error)
        return [name for name in names if name in self._checked]

    def _retain(self) -> None:
        """Remove the valid ones that are neither the best nor among the newest."""
        valid = self._valid()
        latest = list({_order(name)[0]: name for name in valid}.values())[-self.keep :]
        best = _best_first({name: self._checked[name] for name in valid})[:1]
        for name in set(valid).difference(latest, best):
            try:
                discard_folder(self.folder / name)
            except StorageError as error:
                self._note(error)

    def _unused(self, step: int) -> Path:
        """Return the folder for a step, with a number behind it when the step was saved before."""
        orders = map(_order, self._names())
        again = 1 + max((number for there, number in orders if there == step), default=-1)
        return self.folder / (f"step-{step:08d}-{again}" if again else f"step-{step:08d}")

    def _note(self, error: Exception) -> None:
        note = f"checkpoint passed over: {error}"
        if note not in self.notes:
            self.notes.append(note)


def _order(name: str) -> tuple[int, int]:
    """Return step and number of a checkpoint's name."""
    step, _, again = name.removeprefix("step-").partition("-")
    return int(step), int(again or 0)


def _merit(content: dict[str, Any]) -> float | None:
    """Return the metric so that more is better, None without one."""
    metric: float | None = content["metric"]
    return metric if metric is None or content["higher_is_better"] else -metric


def _best_first(merits: dict[str, float | None]) -> list[str]:
    """Return the names by merit; of equal ones the earlier step, and of one step the last save."""

    def rank(name: str) -> tuple[float, int, int]:
        step, again = _order(name)
        return -(merits[name] or 0.0), step, -again

    return sorted((name for name in merits if merits[name] is not None), key=rank)


def _dense(name: str, array: Array) -> Array:
    """Return the array in one piece, as the file wants it."""
    if array.dtype.name not in _DTYPES:
        raise TypeError(
            f'array "{name}": kind {array.dtype} cannot be saved; use one of'
            f" {', '.join(sorted(_DTYPES))} (bfloat16: its bits as uint16)"
        )
    return np.asarray(array, order="C")


def _state_text(step: int, state: dict[str, Any], metric: float | None, higher: bool) -> bytes:
    """Return the content of `state.json`."""
    if step < 0:
        raise ValueError(f"a step is 0 or more, not {step}")
    content = {
        "format": FORMAT,
        "step": int(step),
        "metric": float(metric) if metric is not None and math.isfinite(metric) else None,
        "higher_is_better": bool(higher),
        "state": state,
    }
    try:
        text = json.dumps(content, allow_nan=False)
        same = json.loads(text)["state"] == state
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the state is not plain JSON: {error}") from error
    if not same:
        raise ValueError("the state is not plain JSON: a tuple, or a key that is no string, in it")
    if len(text) > _STATE_CAP:
        raise ValueError(f"the state is longer than {_STATE_CAP:,} bytes; put numbers into arrays")
    return text.encode("ascii")


def _read_state(folder: Path) -> dict[str, Any]:
    """Return the content of `state.json`, checked for its form."""
    path = folder / STATE
    try:
        with open(path, "rb") as file:
            raw = file.read(_STATE_CAP + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        content = json.loads(raw)
        version, step, metric = content["format"], content["step"], content["metric"]
        state, higher = content["state"], content["higher_is_better"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise RunError(f"{path}: is not a checkpoint's state; use another copy") from error
    if version != FORMAT:
        raise VersionError(
            f"{folder}: a checkpoint of format {version}, but this release reads format {FORMAT};"
            " use the release that wrote it"
        )
    number = metric is None or (type(metric) is float and math.isfinite(metric))
    if (
        len(raw) > _STATE_CAP
        or not (number and type(higher) is bool and isinstance(state, dict))
        or (type(step), step) != (int, _order(folder.name)[0])
    ):
        raise RunError(f"{path}: does not fit its folder; use another copy")
    checked: dict[str, Any] = content
    return checked

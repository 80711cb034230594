"""A run is a folder that explains itself and is enough, alone, to answer, compare and resume.

    recipe.toml        what was run, all defaults written
    provenance.json    versions, seeds, checksums of data and model, the kind of machine
    schema.json        row shape, label names in order
    model/             weights, config and tokenizer in the Hugging Face layout
    checkpoints/       step-N/ folders, committed atomically
    journal.jsonl      one line a logged step or look at the validation rows
    predictions.jsonl  a line a test row: id, text, gold, predicted, probabilities
    result.json        figures with intervals; written last = the run is done
    report.html        what a person looks at first

Chosen: a folder's name is the recipe's name, and a folder that exists is never written over: it
is resumed, or another name is given. One process at a time holds the folder's lock. It costs
thinking of names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mulgil import settings
from mulgil.checkpoint import Checkpoints
from mulgil.errors import RunError, StorageError
from mulgil.flow import Schema
from mulgil.lock import Lock
from mulgil.recipe import Recipe
from mulgil.storage import sweep, write_atomic

FORMAT = 1
"""Version of result.json."""

MAY_CHANGE = frozenset(
    f"trainer.{key}"
    for key in ["patience", "save_minutes", "time_limit", "log_every", "tensorboard"]
) | {"loader.prefetch", "loader.cache"}
"""Settings that a resumed run may change: they do not change a step that was already made.

`trainer.epochs` is not among them: the learning rate of every step depends on it.
"""

Say = Callable[[str], None]


class Journal:
    """`journal.jsonl`: appended to in the run, cut back to the checkpoint on a resume.

    Args:
        path: the file.
        events: where TensorBoard events go too, or None.
    """

    def __init__(self, path: Path, events: Path | None = None) -> None:
        self._path = path
        self._events_folder = events
        self._events: Any = None
        self._file = path.open("ab")

    def write(self, kind: str, **values: Any) -> None:
        """Add a line.

        Raises:
            StorageError: the disk refused it.
        """
        line = json.dumps({"kind": kind, **_plain(values)}, ensure_ascii=False)
        with self._writing():
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        if self._events_folder is not None and "step" in values:
            self._event(values["step"], values)

    def flush(self) -> int:
        """Put everything on the disk and return the length in bytes."""
        with self._writing():
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._file.tell()

    def cut(self, length: int) -> None:
        """Forget what was written after a checkpoint: those steps are made again."""
        with self._writing():
            if self._file.seek(0, os.SEEK_END) > length:
                self._file.truncate(length)
                self._file.seek(length)

    def close(self) -> None:
        """Close the file; a line that the disk refused was reported when it was written."""
        with contextlib.suppress(OSError):
            self._file.close()
        if self._events is not None:
            self._events.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"{self._path}: cannot be written: {error.strerror}; the checkpoints are whole, so"
                " mend the disk and go on with --resume"
            ) from error

    def _event(self, step: int, values: dict[str, Any]) -> None:
        if self._events is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise RunError(
                    "trainer.tensorboard needs the extra: pip install mulgil[tensorboard]"
                ) from error
            self._events = SummaryWriter(str(self._events_folder), purge_step=step)
        for name, value in values.items():
            if isinstance(value, int | float) and name != "step":
                self._events.add_scalar(name, value, step)


class Bar:
    """A progress bar on standard error; silent when nobody looks."""

    def __init__(self, epochs: float, start: float) -> None:
        self._bar: Any = None
        self._mean: float | None = None
        self._rows = 0
        self._since = time.monotonic()
        if sys.stderr.isatty():
            from tqdm import tqdm

            shape = "{l_bar}{bar}| {n:.2f}/{total:g} epochs [{elapsed}<{remaining}{postfix}]"
            self._bar = tqdm(total=epochs, initial=start, bar_format=shape, leave=False)

    def step(self, passed: float, rows: int, loss: float) -> None:
        """Show a step: epochs passed, rows done, mean loss of the step."""
        if self._bar is None:
            return
        self._rows += rows
        self._mean = loss if self._mean is None else 0.95 * self._mean + 0.05 * loss
        speed = self._rows / max(time.monotonic() - self._since, 1e-9)
        self._bar.set_postfix_str(f"loss {self._mean:.4f}, {speed:,.0f} rows/s", refresh=False)
        self._bar.update(min(passed, self._bar.total) - self._bar.n)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()


class RunDir:
    """An open run folder. Make one with `create`, look at one with `read`.

    Args:
        path: the folder.
        say: where lines for people go.
    """

    def __init__(self, path: Path, say: Say) -> None:
        self.path = path
        self.say = say
        self.checkpoints = Checkpoints(path / "checkpoints")
        self.journal: Journal
        self.recipe = ""
        self.files: list[str] = []
        self.row_id: Callable[[int], str] = str

    @classmethod
    @contextlib.contextmanager
    def create(cls, root: Path, recipe: Recipe, resume: bool, say: Say) -> Iterator[RunDir]:
        """Make the folder, or open it again to resume, and hold its lock.

        Raises:
            RunError: it exists already, is in use, or was begun with other settings.
            StorageError: it cannot be written.
        """
        path = root / recipe.name
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path}: cannot be made: {error.strerror}") from error
        with Lock(path / ".lock"):
            begun = (path / "provenance.json").exists()
            if begun and not resume:
                state = "is finished" if (path / "result.json").exists() else "was begun"
                raise RunError(
                    f"{path} {state} already; go on with --resume, or train under another name:"
                    f" name={recipe.name}-2"
                )
            sweep(path, alone=True)
            if (path / "checkpoints").is_dir():
                sweep(path / "checkpoints", alone=True)
            run = cls(path, say)
            run.recipe = recipe.dump(path)
            if begun:
                _compare(path, run.recipe)
            run.files = [file.name for file in recipe.data.make().files()]
            events = path / "tensorboard" if recipe.trainer.tensorboard else None
            run.journal = Journal(path / "journal.jsonl", events)
            try:
                yield run
            finally:
                run.journal.close()

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / "result.json").exists()

    def write(self, name: str, text: str) -> None:
        """Write one of the folder's files, whole or not at all."""
        write_atomic(self.path / name, text)

    def write_json(self, name: str, value: Any) -> None:
        """Write one of the folder's JSON files."""
        self.write(name, json.dumps(_plain(value), ensure_ascii=False, indent=1) + "\n")

    def number_rows(self, name: Callable[[int], str]) -> None:
        """Remember the way from a training row's number to its id, for messages."""
        self.row_id = name

    @contextlib.contextmanager
    def progress(self, epochs: float, start: float = 0.0) -> Iterator[Bar]:
        """Show a progress bar while the block runs."""
        bar = Bar(epochs, start)
        try:
            yield bar
        finally:
            bar.close()

    def settle(self, provenance: dict[str, Any], schema: Schema) -> None:
        """Write what the run is and depends on; a resumed run must depend on the same.

        The provenance comes last: with it the run is begun. A recipe that was refused before leaves
        nothing that would stand in the way of the mended one.

        Raises:
            RunError: data, model or tokenizer changed since the run was begun.
        """
        path = self.path / "provenance.json"
        if path.exists():
            _compare(self.path, self.recipe)  # what was not set when it was opened is set by now
            before = read_json(path)
            for key in ("data", "model", "tokenizer"):
                if before.get(key) != provenance.get(key):
                    named = f" ({', '.join(self.files)})" if key == "data" and self.files else ""
                    raise RunError(
                        f"{self.path}: the {key}{named} changed since this run was begun:"
                        f" {_changed(before.get(key), provenance.get(key))}; put it back, or train"
                        " under another name"
                    )
            if before.get("machine") != provenance.get("machine") or before.get(
                "versions"
            ) != provenance.get("versions"):
                self.say(
                    "     note: machine, threads or library versions differ from when this run was"
                    " begun; it goes on, but not bit for bit"
                )
        self.write("recipe.toml", self.recipe)
        self.write_json("schema.json", dataclasses.asdict(schema))
        self.write_json("provenance.json", provenance)


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of one of a run's JSON files.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path.parent}: {_lacks(path)}") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: damaged: {error}; use another copy") from None
    if not isinstance(value, dict):
        raise RunError(f"{path}: damaged: not a table; use another copy")
    return value


def _lacks(path: Path) -> str:
    """Say what it means that a run has no such file."""
    if not (path.parent / "recipe.toml").exists():
        return "is no run folder (it has no recipe.toml)"
    if path.name == "result.json":
        return "is not finished (it has no result.json); go on with mulgil train --resume"
    return f"has no {path.name}; use another copy of the folder"


def read_schema(path: Path) -> Schema:
    """Return the schema of the run in this folder."""
    values = read_json(path / "schema.json")
    try:
        return Schema(
            str(values["shape"]),
            tuple(values["labels"]),
            bool(values["multi_label"]),
            float(values["threshold"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise RunError(f"{path / 'schema.json'}: damaged: {error!r}; use another copy") from error


def _compare(path: Path, text: str) -> None:
    """Refuse to resume when a setting that shaped the steps has changed."""
    before = settings.Table.read(path / "recipe.toml").values
    after = settings.Table.parse(text, "recipe").values
    changes = []
    for section in sorted({*before, *after} - {"name"}):
        old, new = before.get(section, {}), after.get(section, {})
        for key in sorted({*old, *new}):
            if key == "learning_rate" and key not in new:
                continue  # the model has not said it yet
            if old.get(key) != new.get(key) and f"{section}.{key}" not in MAY_CHANGE:
                changes.append(f"{section}.{key} was {old.get(key)!r}, is {new.get(key)!r}")
    if changes:
        raise RunError(
            f"{path}: cannot resume with other settings: {'; '.join(changes)};"
            " put them back, or train under another name"
        )


def _changed(before: Any, after: Any) -> str:
    """Return which hashes were one thing and are another, in short."""
    if isinstance(before, dict) and isinstance(after, dict):
        pairs = [(f"{key} ", before.get(key), after.get(key)) for key in after]
    else:
        pairs = [("", before, after)]
    return ", ".join(
        f"{key}was {str(old)[:12]}, is {str(new)[:12]}" for key, old, new in pairs if old != new
    )


def _plain(value: Any) -> Any:
    """Make a value fit for strict JSON: no NaN, no infinities, no numpy scalars."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()
    if isinstance(value, float) and value - value != 0:
        return None
    return value

"""From a run folder to answers: rows in, rows out, with a probability for each possible answer.

Chosen: rows are answered in chunks, sorted by length within a chunk, so that a stream of any
size needs the memory of one chunk; a bad row gives `{"error": ...}` in its own place. Threads may
share a predictor; their chunks are answered one after the other. It costs that the first answer of
a stream waits for its chunk.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mulgil import evaluation, hardware, recipe
from mulgil.encoding import batches
from mulgil.errors import DataError, MulgilError, RunError, SettingError, nearest
from mulgil.examples import SHAPES, Example
from mulgil.flow import Array, Schema
from mulgil.loader import BatchLoader
from mulgil.networks import LanguageNetwork
from mulgil.objectives import LabelTask, LanguageTask, SpanTask, Task, WritingTask
from mulgil.rundir import read_schema
from mulgil.storage import verify_folder

CHUNK = 2048
"""Rows that are answered together."""

MAX_CHARACTERS = 1_000_000
"""A longer text is an error in its place: it is a file, not a row."""


class Predictor:
    """A loaded run.

    Args:
        path: run folder.
        overrides: `task.key=value`, how a language model shall answer.

    Raises:
        RunError: the folder is no run, is not finished, or was changed.
        SettingError: an override is no setting of how to answer.
    """

    def __init__(self, path: Path, overrides: Sequence[str] = ()) -> None:
        if not (path / "recipe.toml").exists():
            raise RunError(f"{path}: is no run folder (it has no recipe.toml)")
        if not (path / "model").is_dir():
            raise RunError(f"{path}: has no model yet; go on with mulgil train --resume")
        verify_folder(path / "model")
        self.path = path
        self._turn = threading.RLock()  # networks set themselves up for what they do
        _only_answering(path, overrides)
        self.recipe = recipe.read(str(path / "recipe.toml"), overrides)
        self.schema: Schema = read_schema(path)
        self.task: Task = self.recipe.task.make()
        self.shape = SHAPES[self.task.shape]
        model, method = self.recipe.model.make(), self.recipe.method.make()
        self.kind = model.kind
        anywhere = self.recipe.trainer.model_copy(update={"device": "auto"})
        device, precision = hardware.resolve(anywhere, model.kind)
        self.precision = precision
        self.tokenizer = self.recipe.tokenizer.plugin.load(path / "model")
        head = method.head(self.task.head(self.schema))
        kept = path / "model"
        self.network = method.opened(model, self.tokenizer, head, kept, precision, device)

    @property
    def writes(self) -> bool:
        """Whether the answer is a new text, which can be had while it is written."""
        return self.task.sampling is not None

    def predict(self, rows: Iterable[Any], chunk: int = CHUNK) -> Iterator[dict[str, Any]]:
        """Yield an answer for each row, in order.

        Args:
            rows: strings; of a task that reads two texts tuples of two, or mappings by the names of
                the shape's inputs. Anything else gives an error in its place, an exception its
                message.
            chunk: rows answered together.
        """
        stream = iter(rows)
        while taken := list(itertools.islice(stream, chunk)):
            read = [_read(row, self.shape) for row in taken]
            good = [row for row in read if isinstance(row, Example)]
            answers = iter(self._answers(good) if good else [])
            yield from (next(answers) if isinstance(row, Example) else row for row in read)

    def stream(self, row: Any) -> Iterator[str]:
        """Yield the text that answers a row, piece by piece, while it is being written.

        All pieces together are the `output`, or `continuation`, that `predict` gives for the row
        alone. With beams there is one piece. Whoever leaves early stops the writing. Meanwhile no
        other thread may ask.

        Args:
            row: as `predict` takes it.

        Raises:
            SettingError: the task writes no text.
            DataError: the row cannot be answered.
        """
        task, tokenizer, asked = self.task, self.tokenizer, _read(row, self.shape)
        if not self.writes:
            raise SettingError(f'task "{self.recipe.task.name}" writes no text; use predict')
        if not isinstance(asked, Example):
            raise DataError(asked["error"])
        if isinstance(task, LanguageTask):
            prompt = known = task.beginning(str(task.text(asked)), tokenizer)
        else:
            encoded: Any = self._batches([asked], scored=False).encoded
            prompt, known = encoded.prompts[0], None
        network: Any = self.network
        tokens = network.stream(prompt, task.sampling, [tokenizer.ends()[1]])
        reader = evaluation.reading(network, tokenizer)
        return _pieces(tokens, known, reader, len(getattr(network, "until", "")))

    def _answers(self, rows: list[Example]) -> list[dict[str, Any]]:
        with self._turn:
            return self._answered(rows)

    def _answered(self, rows: list[Example]) -> list[dict[str, Any]]:
        task, network = self.task, self.network
        if isinstance(task, LanguageTask) and isinstance(network, LanguageNetwork):
            return task.respond([str(task.text(row)) for row in rows], network, self.tokenizer)
        if isinstance(task, WritingTask):
            loader = self._batches(rows, scored=False)
            written = evaluation.write(network, loader, task, self.tokenizer)
            return [task.answer(*each) for each in written]
        measured = self._measured(self._batches(rows, scored=False))
        return [self._answer(row, found) for row, found in zip(rows, measured, strict=True)]

    def _answer(self, row: Example, found: Any) -> dict[str, Any]:
        if isinstance(self.task, SpanTask):
            if all(np.isfinite(scores).all() for _, scores in found):
                return self.task.answer(found, row, self.schema)
        elif isinstance(self.task, LabelTask) and np.isfinite(found).all():
            return self.task.answer(found, self.schema)
        return {"error": "the model's answer is not a number"}

    def _batches(self, rows: Sequence[Example], scored: bool) -> BatchLoader:
        task, schema, settings = self.task, self.schema, self.recipe.loader
        prompts = self.recipe.method.plugin.prompts
        return batches(
            rows, task, schema, self.tokenizer, settings, self.kind, scored=scored, prompts=prompts
        )

    def _measured(self, loader: BatchLoader) -> Any:
        task, schema, tokenizer = self.task, self.schema, self.tokenizer
        with self._turn:
            return evaluation.measure(self.network, loader, task, schema, tokenizer=tokenizer)

    def probabilities(self, texts: Sequence[Any]) -> Array:
        """Return float64 [texts, labels].

        Raises:
            DataError: a text cannot be answered.
        """
        rows = [_read(text, self.shape) for text in texts]
        for row in rows:
            if not isinstance(row, Example):
                raise DataError(row["error"])
        good = [row for row in rows if isinstance(row, Example)]
        found: Array = self._measured(self._batches(good, scored=False))
        return found

    def score(self, rows: Sequence[Example], schema: Schema | None = None) -> tuple[Any, Any]:
        """Return gold answers (None without) and what is measured of rows.

        Args:
            rows: with gold answers.
            schema: by which they are judged: the run's own, or one with more labels behind its
                own, which all rows are answered with at a probability of 0.

        Raises:
            DataError: a row cannot be scored.
        """
        judged = schema or self.schema
        if not isinstance(self.task, LanguageTask):
            problems = [(row, self.task.problem(row, judged)) for row in rows]
            for row, reason in problems:
                if reason:
                    raise DataError(f"{row.id}: {reason}")
        more = len(judged.labels) - len(self.schema.labels)
        if more and isinstance(self.task, LabelTask):
            measured = self._measured(self._batches(rows, scored=False))
            return self.task.targets(rows, judged), np.pad(measured, ((0, 0), (0, more)))
        loader = self._batches(rows, scored=True)
        return loader.gold, self._measured(loader)


def _pieces(
    tokens: Iterator[int], known: list[int] | None, tokenizer: Any, held: int = 1
) -> Iterator[str]:
    """Yield what tokens stand for, each piece as soon as no later token changes it.

    The last character waits for the next token: one of several tokens comes whole, and a syllable
    with its last jamo. So does what may be the beginning of what ends a text, and white space,
    which goes where the text ends behind it.

    Args:
        tokens: as they are made.
        known: what they go on from, and what is not said again; None begins a text of its own,
            without white space around it.
        tokenizer: decodes them.
        held: characters that wait, one at least.
    """
    ids = list(known or ())
    before = len(tokenizer.decode(ids)) if known else 0
    said, whole = 0, ""
    for token in tokens:
        ids.append(token)
        whole = tokenizer.decode(ids)[before:]
        whole = whole if known else whole.strip()
        last = len(whole.rstrip("\ufffd")) - max(held, 1)
        sure = len(whole[: max(last, 0)].rstrip())
        if sure > said:
            yield whole[said:sure]
            said = sure
    if whole[said:]:
        yield whole[said:]


def _only_answering(path: Path, overrides: Sequence[str]) -> None:
    """Refuse settings that shaped what was trained."""
    if not overrides:
        return
    chosen = recipe.read(str(path / "recipe.toml")).task
    known = sorted(f"task.{key}" for key in getattr(chosen.plugin, "answering", ()))
    for text in overrides:
        key = text.partition("=")[0].strip()
        if key not in known:
            remedy = nearest(key, known) if known else f"task {chosen.name} has none"
            raise SettingError(
                f'override "{text}": predict takes settings of how to answer only; {remedy}'
            )


def _read(row: Any, shape: type[Example]) -> Example | dict[str, Any]:
    """Return a row as the task reads it, or its error."""
    if isinstance(row, MulgilError):
        return {"error": str(row)}
    names = shape.inputs
    if isinstance(row, Mapping):
        values = [row.get(name) for name in names]
    else:
        values = [*row] if isinstance(row, tuple | list) and len(names) > 1 else [row]
    if len(values) != len(names):
        return {"error": f"a row needs {len(names)} texts ({', '.join(names)})"}
    for name, value in zip(names, values, strict=True):
        what = "text" if len(names) == 1 else name
        if not isinstance(value, str):
            return {"error": f"a {what} must be a string, not {type(value).__name__}"}
        if not value.strip():
            return {"error": f"empty {what}"}
        if len(value) > MAX_CHARACTERS:
            return {
                "error": f"{len(value):,} characters; a row may have {MAX_CHARACTERS:,} at most"
            }
    return shape("", *values)

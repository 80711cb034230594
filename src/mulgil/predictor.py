"""From a run folder to answers: rows in, rows out, with a probability for each possible answer.

Chosen: rows are answered in chunks, sorted by length within a chunk, so that a stream of any
size needs the memory of one chunk; a bad row gives `{"error": ...}` in its own place. It costs
that the first answer of a stream waits for its chunk.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mulgil import cache, evaluation, hardware, recipe
from mulgil.contracts import LabelTask, LanguageTask, Task
from mulgil.errors import DataError, MulgilError, RunError, SettingError, nearest
from mulgil.examples import Example
from mulgil.flow import Array, Schema
from mulgil.loader import BatchLoader
from mulgil.networks import LanguageNetwork
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
        _only_answering(path, overrides)
        self.recipe = recipe.read(str(path / "recipe.toml"), overrides)
        self.schema: Schema = read_schema(path)
        self.task: Task = self.recipe.task.make()
        model = self.recipe.model.plugin
        anywhere = self.recipe.trainer.model_copy(update={"device": "auto"})
        device, precision = hardware.resolve(anywhere, model.kind)
        self.precision = precision
        self.tokenizer = self.recipe.tokenizer.plugin.load(path / "model")
        head = self.task.head(self.schema)
        self.network = model.load(path / "model", head, precision, device)

    def predict(self, texts: Iterable[Any], chunk: int = CHUNK) -> Iterator[dict[str, Any]]:
        """Yield an answer for each text, in order.

        Args:
            texts: strings; anything else gives an error in its place, an exception its message.
            chunk: rows answered together.
        """
        stream = iter(texts)
        while rows := list(itertools.islice(stream, chunk)):
            answers = [_problem(row) for row in rows]
            good = [i for i, answer in enumerate(answers) if answer is None]
            if good:
                texts = [rows[i] for i in good]
                for i, answer in zip(good, self._answers(texts), strict=True):
                    answers[i] = answer
            yield from (answer or {} for answer in answers)

    def _answers(self, texts: list[str]) -> list[dict[str, Any]]:
        task, network = self.task, self.network
        if isinstance(task, LanguageTask) and isinstance(network, LanguageNetwork):
            return task.respond(texts, network, self.tokenizer)
        return [self._answer(shares) for shares in self.probabilities(texts)]

    def _answer(self, shares: Array) -> dict[str, Any]:
        if not isinstance(self.task, LabelTask) or not np.isfinite(shares).all():
            return {"error": "the model's answer is not a number"}
        return self.task.answer(shares, self.schema)

    def probabilities(self, texts: list[str]) -> Array:
        """Return float64 [texts, labels]."""
        loader = BatchLoader(self.tokenizer.encode(texts), None, self.recipe.loader, 0)
        return evaluation.measure(self.network, loader, self.task, self.schema)

    def score(self, rows: Sequence[Example]) -> tuple[Array | None, Array]:
        """Return gold targets (None without) and what is measured of rows.

        Raises:
            DataError: a row cannot be scored.
        """
        if isinstance(self.task, LanguageTask):
            asker = self.task.asker(self.tokenizer)
            windows = cache.windows(rows, self.task, self.tokenizer, None)
            loader = BatchLoader(windows, None, self.recipe.loader, 0, asker)
            return None, evaluation.measure(self.network, loader, self.task, self.schema)
        problems = [(row, self.task.problem(row, self.schema)) for row in rows]
        for row, reason in problems:
            if reason:
                raise DataError(f"{row.id}: {reason}")
        if not rows or not isinstance(self.task, LabelTask):
            return np.zeros(0, np.int64), np.zeros((0, len(self.schema.labels)))
        gold = self.task.targets(rows, self.schema)
        return gold, self.probabilities([self.task.text(row) for row in rows])


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


def _problem(row: Any) -> dict[str, Any] | None:
    """Return the error for a row that cannot be answered, or None."""
    if isinstance(row, MulgilError):
        return {"error": str(row)}
    if not isinstance(row, str):
        return {"error": f"a text must be a string, not {type(row).__name__}"}
    if not row.strip():
        return {"error": "empty text"}
    if len(row) > MAX_CHARACTERS:
        return {"error": f"{len(row):,} characters; a row may have {MAX_CHARACTERS:,} at most"}
    return None

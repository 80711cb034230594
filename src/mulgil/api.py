"""The verbs as functions: the command line and `import mulgil` both call these.

Nothing here computes: each verb opens what it needs, hands it down the house and returns plain
data, so that a notebook, a script and the command line see the same thing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mulgil import (
    bundled,
    classes,
    exporting,
    fetch,
    inspect,
    pipeline,
    recipe,
    registry,
    rescoring,
    result,
    rundir,
    splits,
    vocabulary,
)
from mulgil import plan as planning
from mulgil.contracts import Dataset, DataSettings
from mulgil.errors import DataError, RunError, SettingError
from mulgil.objectives import LanguageTask, Task
from mulgil.predictor import Predictor
from mulgil.report.page import write_report
from mulgil.rundir import Say
from mulgil.settings import Table

ROOT = Path("runs")
"""Where run folders go."""


def quiet(line: str) -> None:
    """Say nothing."""


def train(
    source: str, *overrides: str, root: Path = ROOT, resume: bool = False, say: Say = quiet
) -> Path:
    """Train a recipe through the seven steps and write its report.

    Args:
        source: recipe file, or the name of a bundled recipe.
        overrides: `section.key=value`.
        root: folder of run folders.
        resume: go on with a run that was begun.
        say: where lines for people go.

    Returns:
        The run folder.

    Raises:
        UserError: settings, data, model or folder are wrong; one line says what.
        DivergedError: the loss is no longer a number.
        StoppedError: a signal came, after saving.
    """
    chosen = recipe.read(source, overrides)
    folder = root / chosen.name
    reported = all(os.path.exists(folder / name) for name in ("result.json", "report.html"))
    path = pipeline.run(chosen, root, resume, say)
    if not reported:  # a run that was finished and reported before is left as it is
        write_report(path)
    return path


def check(source: str, *overrides: str, say: Say = quiet) -> dict[str, Any]:
    """Return the plan of a recipe without training: see `mulgil.plan`."""
    return planning.plan(recipe.read(source, overrides), say)


def load(run: Path | str, *overrides: str) -> Predictor:
    """Open a run folder for answering: `load("runs/x").predict(["좋아요"])`.

    Args:
        run: a finished run folder, or "mulgil/..." for a model that comes with the package.
        overrides: `task.key=value`, how a language model answers, such as `task.temperature=0`.
    """
    return Predictor(_place(run), overrides)


def _place(run: Path | str) -> Path:
    """Return the folder of a run, or of a model that comes with the package."""
    name = str(run)
    known = name.startswith(bundled.PREFIX) and not Path(run).exists()
    return bundled.run(name) if known else Path(run)


def evaluate(run: Path | str, data: Path | None = None, *overrides: str) -> dict[str, Any]:
    """Return figures with intervals: of the run's own test rows, or of a labelled file.

    Args:
        run: a finished run folder.
        data: file with labels, or any text for a language model; the run's own test rows when it
            is left out. It is read as the run's own data was, where it has the same columns.
        overrides: `data.key=value`, how to read the file.

    Returns:
        `n`, `interval`, `metrics`, and what there is to tell; of a file also `rejected`, `notes`
        and, where the run's training rows are at hand, `overlap`.

    Raises:
        RunError: the run is not finished.
        SettingError: an override is of another section, or there is no file that it could be for.
        DataError: the file cannot be read, or too many rows cannot be scored.
    """
    path = Path(run)
    if data is None:
        if overrides:
            raise SettingError(f'"{overrides[0]}": says how to read a file; name it with --data')
        figures = _figures(path)
        told = ("n", "interval", "metrics", "overlap", "draws", "prompts", "usage")
        return {key: figures[key] for key in told if key in figures}
    predictor = load(path)
    _only_data(overrides)
    part, settings = rescoring.section(data, overrides, predictor)
    dataset = part.make()
    dataset.asked = predictor.task.shape
    parts = dataset.read({})
    rows = next(iter(parts.rows.values()))
    task, schema = predictor.task, predictor.schema
    if not isinstance(task, LanguageTask):
        schema = classes.wider(rows, task, schema, settings.max_rejected, parts.notes)
        rows, refused = splits.usable(rows, lambda row: task.problem(row, schema))
        parts.rejected += refused
        splits.check_rejected(len(rows), parts.rejected, settings.max_rejected)
    gold, measured = predictor.score(rows, schema)
    seed = predictor.recipe.trainer.seed
    return {
        **result.score(task, schema, gold, measured, seed),
        **rescoring.seen(predictor, rows, parts.notes),
        "rejected": inspect.rejected(parts.rejected),
        "notes": parts.notes,
    }


def predict(run: Path | str, texts: Iterable[str], *overrides: str) -> Iterator[dict[str, Any]]:
    """Yield an answer for each text, in order; a bad one gives `{"error": ...}`."""
    return load(run, *overrides).predict(texts)


def export(run: Path | str, folder: Path | str, to: str = "hf") -> dict[str, Any]:
    """Write a run's model into a new folder for other programs, checked: see `mulgil.exporting`.

    Args:
        run: a run folder, or "mulgil/..." for a model that comes with the package.
        folder: is made; nothing may be in it.
        to: the format, "hf" for a plain Hugging Face folder.
    """
    return exporting.export(_place(run), Path(folder), to)


def runs(root: Path = ROOT) -> list[dict[str, Any]]:
    """Return a line for each run folder below `root`: name, state, parts, headline figure.

    Of one that was begun and is not finished, the step of its last checkpoint.
    """
    if not root.is_dir():
        return []
    found = []
    for path in sorted(file.parent for file in root.glob("*/recipe.toml")):
        line: dict[str, Any] = {"run": str(path), "state": "begun"}
        if not (path / "result.json").exists():
            line |= _begun(path)
        else:
            try:
                line |= _line(_figures(path))
            except (RunError, LookupError, TypeError):
                line["state"] = "damaged"
        found.append(line)
    return found


def _begun(path: Path) -> dict[str, Any]:
    """Return what `runs` tells of a run that is not finished: its parts, and the step it is at."""
    try:
        values = Table.read(path / "recipe.toml").values
        parts = {key: values[key]["name"] for key in ("data", "model", "method")}
    except (SettingError, LookupError, TypeError):
        parts = {}
    saved = [folder.name.split("-")[1] for folder in path.glob("checkpoints/step-*")]
    return {**parts, "step": max((int(step) for step in saved if step.isdecimal()), default=0)}


def _line(figures: dict[str, Any]) -> dict[str, Any]:
    """Return what `runs` tells of a finished run."""
    headline = next(iter(figures["metrics"].items()), None)
    return {
        **{key: figures.get(key) for key in ("data", "model", "method", "n")},
        "state": "done",
        "metric": headline[0] if headline else None,
        "value": headline[1][headline[0]] if headline else None,
        "seconds": figures["training"]["seconds"],
    }


def _figures(run: Path) -> dict[str, Any]:
    """Return the content of `result.json`.

    Raises:
        RunError: the run is not finished, or the file is damaged.
    """
    path = run / "result.json"
    figures = rundir.read_json(path)
    for key, kind in (("n", int), ("interval", str), ("metrics", dict), ("overlap", dict)):
        if not isinstance(figures.get(key), kind):
            raise RunError(
                f'{path}: damaged: "{key}" is missing or no {kind.__name__}; delete it and go on'
                " with mulgil train --resume, which scores the run again"
            )
    return figures


def data_info(name: str) -> dict[str, Any]:
    """Return title, shape, licence, citation and files of a data set."""
    plugin = registry.load("datasets", name)
    return {
        "name": name,
        "title": plugin.title,
        "shape": plugin.shape,
        "licence": plugin.licence or "your own",
        "citation": plugin.citation,
        "files": [{"path": s.path, "url": s.url, "bytes": s.size} for s in plugin.sources],
    }


def data_get(name: str) -> dict[str, str]:
    """Bring a data set's files to this machine, checked; return `{path: local file}`."""
    return {
        path: str(file) for path, file in fetch.collect(registry.load("datasets", name)).items()
    }


def data_check(name: str, *overrides: str) -> dict[str, Any]:
    """Return the data check of a data set or a file, without any model.

    Args:
        name: a data set, or a file.
        overrides: `data.key=value`, how to read it; `task.name=...` and the task's settings, what
            the rows are for, by default a task of their shape, of files classification.
    """
    dataset, settings, task = _read_for(name, overrides)
    made = splits.complete(dataset.read(fetch.collect(dataset)), settings, task.text, task.apart)
    try:
        schema = classes.schema_of(made, task, settings.max_rejected)
    except DataError:  # the task has no schema for these rows, but they can be counted
        return inspect.report(made, task, None)
    for part, rows in made.items():
        left, refused = splits.usable(rows, lambda row: task.problem(row, schema))
        made.rejected += refused
        setattr(made, part, left)
    return inspect.report(made, task, schema)


def data_rows(name: str, *overrides: str) -> Iterator[tuple[str, Any]]:
    """Yield (part, row) of a data set or a file, as it was read; overrides as in `data_check`."""
    dataset, _, _ = _read_for(name, overrides)
    for title, rows in dataset.read(fetch.collect(dataset)).rows.items():
        for row in rows:
            yield title, row


def _read_for(name: str, overrides: tuple[str, ...]) -> tuple[Dataset, DataSettings, Task]:
    """Return a data set, its settings, and the task that its rows are read for."""
    chosen = [text for text in overrides if text.startswith("task.")]
    part, settings = _any_data(name, tuple(text for text in overrides if text not in chosen))
    dataset: Dataset = part.make()
    if not any(text.startswith("task.name=") for text in chosen):
        chosen.insert(0, f"task.name={_task_for(dataset.shape)}")
    task = recipe.section("task", chosen)
    if dataset.shape not in {task.plugin.shape, "any"}:
        raise SettingError(
            f'task "{task.name}" reads rows of shape "{task.plugin.shape}", but {name} gives'
            f' "{dataset.shape}"'
        )
    dataset.asked = task.plugin.shape
    return dataset, settings, task.make()


def tokenizer_train(
    files: Iterable[str], out: Path | str, *overrides: str, say: Say = quiet
) -> dict[str, Any]:
    """Learn a tokenizer from texts of any size into a new folder: see `mulgil.vocabulary.train`."""
    return vocabulary.train(list(files), Path(out), overrides, say)


def tokenizer_report(tokenizers: Iterable[str], text: Path | str) -> dict[str, Any]:
    """Compare tokenizers on one text: see `mulgil.vocabulary.report`."""
    return vocabulary.report(list(tokenizers), Path(text))


def _any_data(name: str, overrides: tuple[str, ...]) -> tuple[recipe.Part, DataSettings]:
    """Return the data section for a data set's name or a file's path."""
    _only_data(overrides)
    if name in registry.names("datasets"):
        part = recipe.section("data", [f"data.name={name}", *overrides])
    elif Path(name).suffix or Path(name).exists():
        part = recipe.section("data", ["data.name=files", f"data.train={name}", *overrides])
    else:
        registry.load("datasets", name)  # raises with the nearest name
        raise DataError(f'no data set "{name}"')
    settings: DataSettings = part.settings
    return part, settings


def _only_data(overrides: tuple[str, ...]) -> None:
    for text in overrides:
        if not text.startswith("data."):
            raise SettingError(f'"{text}": only data.key=value says how to read a file')


def _task_for(shape: str) -> str:
    """Return a task that reads this shape, for the data check."""
    if shape == "any":
        return "classification"
    for name in registry.names("tasks"):
        if registry.load("tasks", name).shape == shape:
            return name
    raise DataError(f"no task reads rows of shape {shape}")

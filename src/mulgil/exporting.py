"""From a run folder to a folder of another format, which must answer as the run does.

Chosen: what was written is opened again and asked rows of the run, test rows where it has them, in
fp32 on the CPU, as the run is beside it; if an answer differs by more than the format allows,
nothing is left. A format is one file of `mulgil.formats`, which knows how to write and to open; the
method says how a run becomes a network that stands by itself (`Method.merged`). It costs the memory
of the model twice, and the time of 64 rows twice.
"""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import os
import pkgutil
from pathlib import Path
from typing import Any

import numpy as np

from mulgil import evaluation, formats, recipe, registry
from mulgil.encoding import batches
from mulgil.errors import ModelError, RunError, SettingError, nearest
from mulgil.examples import SHAPES, Example, WritingExample
from mulgil.flow import Array
from mulgil.formats._base import Format, Opened
from mulgil.objectives import LabelTask, SpanTask
from mulgil.result import origin
from mulgil.rundir import read_schema
from mulgil.storage import (
    commit_folder,
    make_folder,
    require_space,
    sweep,
    verify_folder,
)

ROWS = 64
"""Rows that are asked of both."""

README = "README.md"


def names() -> list[str]:
    """Return the formats' names, sorted: the files of `mulgil.formats`."""
    found = (name for _, name, _ in pkgutil.iter_modules(formats.__path__))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def export(run: Path, folder: Path, to: str = "hf") -> dict[str, Any]:
    """Write a run's model into a new folder, and see that it answers as the run does.

    Args:
        run: a run folder with its model.
        folder: is made, whole or not at all; may be there already when it is empty.
        to: a name of `names`.

    Returns:
        `folder`, `format`, `rows` that were asked, `figure` that was compared, the greatest
        `difference`, `most` (the limit), `files` and `bytes`.

    Raises:
        SettingError: no such format.
        RunError: the run cannot be opened, or the folder has something in it.
        ModelError: the run cannot be written so, or what was written answers otherwise.
        StorageError: the disk refused.
    """
    form = _format(to)
    folder = Path(os.path.abspath(folder))
    _require_free(folder)
    opened = _opened(run, form)
    told: dict[str, Any] = {"folder": str(folder), "format": to, "rows": len(opened.rows)}

    def fill(place: Path) -> None:
        form.write(opened, place)
        told["figure"], told["difference"] = _compare(opened, form, place)
        told["most"] = form.most
        if not told["difference"] <= form.most:  # NaN too
            raise ModelError(
                f"{run}: its export to {to} answers otherwise: {told['figure']} differ by"
                f" {told['difference']:.2g}, {form.most:g} at most is allowed; nothing was written"
            )
        (place / README).write_text(_readme(opened, form, place, told), encoding="utf-8")
        files = [path for path in place.rglob("*") if path.is_file()]
        told["files"] = sorted(path.relative_to(place).as_posix() for path in files)
        told["bytes"] = sum(path.stat().st_size for path in files)

    make_folder(folder.parent)
    sweep(folder.parent)
    require_space(folder.parent, 4 * opened.network.parameters_total, "the export")
    commit_folder(folder, fill)
    return told


def _format(name: str) -> Format:
    if name not in names():
        raise SettingError(f'no format "{name}" to export to; {nearest(name, names())}')
    module = importlib.import_module(f"mulgil.formats.{name.replace('-', '_')}")
    own = (one for one in vars(module).values() if isinstance(one, type))
    (made,) = (one for one in own if issubclass(one, Format) and one.__module__ == module.__name__)
    found: Format = made()
    return found


def _require_free(folder: Path) -> None:
    """Refuse a place where something is."""
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise RunError(f"{folder}: is there already and is no folder; give another name with -o")
    if any(folder.iterdir()):
        raise RunError(f"{folder}: is there already and not empty; give another name with -o")


def _opened(run: Path, form: Format) -> Opened:
    """Open a run in fp32 on the CPU.

    Raises:
        RunError: it is no run folder, is not finished, or was changed.
        ModelError: it cannot be exported.
    """
    if not (run / "recipe.toml").exists():
        beside = [path.parent.name for path in run.parent.glob("*/recipe.toml")]
        hint = f"; {nearest(run.name, beside)}" if beside else ""
        raise RunError(f"{run}: is no run folder (it has no recipe.toml){hint}")
    kept = run / "model"
    if not kept.is_dir():
        raise RunError(f"{run}: has no model yet; go on with mulgil train --resume")
    chosen = recipe.read(str(run / "recipe.toml"))
    model, method, task = chosen.model.make(), chosen.method.make(), chosen.task.make()
    problem = form.refusal(chosen, model)
    if problem:
        raise ModelError(f"{run}: {problem}")
    verify_folder(kept)
    schema = read_schema(run)
    tokenizer = chosen.tokenizer.plugin.load(kept)
    head = method.head(task.head(schema))
    network = method.merged(model, tokenizer, head, kept)
    rows = _rows(run, SHAPES[task.shape])
    return Opened(chosen, schema, task, model, method, head, tokenizer, network, rows)


def _rows(run: Path, shape: type[Example]) -> list[Example]:
    """Return test rows of the run; where it has none, rows of the bundled sample."""
    path, found = run / "predictions.jsonl", []
    try:
        with path.open(encoding="utf-8") as file:
            for line in itertools.islice(file, ROWS):
                values = json.loads(line)
                row = shape(str(values["id"]), *(str(values[name]) for name in shape.inputs))
                if isinstance(row, WritingExample):
                    row = dataclasses.replace(row, target=str(values["gold"]))
                found.append(row)
    except FileNotFoundError:
        pass  # a run without a test part, or one that comes with the package
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(
            f"{path}: damaged: {error!r}; delete result.json and go on with mulgil train --resume,"
            " which scores the run again"
        ) from error
    return found or _sample(shape)


def _sample(shape: type[Example]) -> list[Example]:
    plugin = registry.load("datasets", "sample")
    made = plugin(plugin.Settings())
    made.asked = shape.shape
    return list(made.read({}).rows["all"][:ROWS])


def _compare(run: Opened, form: Format, folder: Path) -> tuple[str, float]:
    """Return what was compared, and by how much the answers of run and folder differ at most."""
    tokenizer, network = form.reopened(run, folder)
    figure, ours = _measured(run, run.tokenizer, run.network)
    _, theirs = _measured(run, tokenizer, network)
    pairs = list(itertools.zip_longest(ours, theirs, fillvalue=np.zeros(0)))
    if any(one.shape != other.shape for one, other in pairs):
        return figure, float("inf")  # texts are not even read alike
    gaps = [np.abs(one - other).max() for one, other in pairs if one.size]
    return figure, float(np.max(gaps)) if gaps else float("nan")


def _measured(run: Opened, tokenizer: Any, network: Any) -> tuple[str, list[Array]]:
    """Return the name of a figure, and what a network makes of the rows."""
    task, schema = run.task, run.schema
    label = isinstance(task, LabelTask)
    loader = batches(
        run.rows,
        task,
        schema,
        tokenizer,
        run.recipe.loader,
        run.model.kind,
        scored=not (label or isinstance(task, SpanTask)),
    )
    if label:
        name = "ratings" if task.shape == "rated-pair" else "probabilities"
        return name, [evaluation.measure(network, loader, task, schema)]
    if isinstance(task, SpanTask):
        texts = evaluation.measure(network, loader, task, schema)
        return "scores of characters", [scores for text in texts for _, scores in text]
    nats = [network.nats(batch.inputs)[0] for batch in loader.in_order()]
    return "log-probabilities of tokens", nats


def _readme(run: Opened, form: Format, folder: Path, told: dict[str, Any]) -> str:
    """Return README.md: where the model comes from, what it answers, and how it is asked."""
    chosen, labels = run.recipe, list(run.schema.labels)
    model = f"{chosen.model.name}, {origin(chosen.model.settings) or 'from scratch'}"
    facts = {
        "run": chosen.name,
        "task": chosen.task.name,
        "model": model,
        "method": chosen.method.name,
        "labels": json.dumps(labels, ensure_ascii=False) if labels else "",
        "several labels a row": f"from {run.schema.threshold:g}" if run.schema.multi_label else "",
        "longest row": f"{getattr(run.tokenizer, 'max_length', 0):,} tokens",
    }
    lines = [f"- {name}: {value}" for name, value in facts.items() if value]
    checked = (
        f"Opened again and asked {told['rows']} rows, it answered as the run does:"
        f" {told['figure']} differ by {told['difference']:.1g} at most."
    )
    parts = (
        "# " + chosen.name,
        "물길(Mulgil)로 만든 모델입니다. Made with Mulgil.",
        "\n".join(lines),
    )
    return "\n\n".join((*parts, checked, "## Use", form.usage(run, folder)))

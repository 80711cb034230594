"""Step 1, settings: a recipe is one TOML file, one table a step, strict, and it is the whole run.

Chosen: each section is checked by the settings class of the plug-in that it names, so that a
setting lives beside the code that reads it; a recipe may stand on one other (`base`), one level
only, so that what runs can be read in two files at most. Paths in a file are relative to that
file, paths in a command line override to the current folder. What is run is written out with
every default, so that the run's own recipe gives the run again. It costs importing the plug-ins
of the four named parts.
"""

from __future__ import annotations

import dataclasses
import os
import re
import unicodedata
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import pydantic

from mulgil import registry, settings
from mulgil.errors import SettingError, nearest
from mulgil.settings import Settings, Table

WINGS = {
    "data": "datasets",
    "model": "models",
    "tokenizer": "tokenizers",
    "task": "tasks",
    "method": "methods",
}
"""Sections whose `name` picks a plug-in, and the wing that it is picked from."""

DEFAULTS = {"data": "files", "model": "encoder", "task": "classification", "method": "full"}
"""What is taken when a section has no `name`; the tokenizer's default is the model's own choice."""

TOP = ("name", "base")
NAME = re.compile(r"[\w가-힣][\w가-힣.\-]{0,99}")


class LoaderSettings(Settings):
    """Step 5: how rows become batches."""

    rows: int = pydantic.Field(32, ge=1, le=65536)
    """Most rows in a batch."""
    tokens: int = pydantic.Field(4096, ge=8, le=1 << 24)
    """Most tokens in a batch, padding included: long rows make smaller batches."""
    multiple: int = pydantic.Field(8, ge=1, le=512)
    """Lengths are rounded up to a multiple of this: every new shape costs a kernel build."""
    window: int = pydantic.Field(64, ge=1, le=4096)
    """Batches of like length are cut from so many batches of shuffled rows; 1 is no bucketing."""
    prefetch: int = pydantic.Field(2, ge=0, le=64)
    """Batches made ready ahead by a thread; 0 makes them in the loop itself."""
    cache: bool = True
    """Keep encoded rows in the cache folder, keyed by content, tokenizer and settings."""


class TrainerSettings(Settings):
    """Step 7: how the steps are made."""

    engine: str = "local"
    """Where the steps run: `mulgil list engines`."""
    epochs: float = pydantic.Field(3.0, gt=0, le=10_000)
    """Passes over the training rows; a fraction stops within one."""
    learning_rate: float | None = pydantic.Field(None, gt=0, le=10)
    """Peak learning rate; without it the model's own, by its kind and width (step 6 says it)."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up: to zero in a line, in a cosine, or not."""
    warmup: float = pydantic.Field(0.06, ge=0, lt=1)
    """Share of all steps in which the learning rate rises from zero."""
    weight_decay: float = pydantic.Field(0.01, ge=0, le=1)
    """AdamW's decay of weight matrices; biases, norms and embeddings are never decayed."""
    clip: float = pydantic.Field(1.0, gt=0, le=1e9)
    """Longest gradient; longer ones are scaled down to it."""
    accumulate: int = pydantic.Field(1, ge=1, le=4096)
    """Batches whose gradients make one step, weighted by their rows."""
    seed: int = pydantic.Field(7, ge=0, lt=1 << 31)
    """Seed of the new weights, the order of the rows and the dropout."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the network; masters are always fp32. "auto" takes bf16 where it pays."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """"auto" takes a GPU when there is one."""
    evaluate_every: float = pydantic.Field(1.0, ge=1e-4, le=10_000)
    """Epochs between two looks at the validation rows (and between two checkpoints)."""
    metric: str = "auto"
    """Validation figure that picks the best weights; "auto" is the task's first metric, "loss" is
    the mean loss."""
    patience: int = pydantic.Field(0, ge=0, le=1_000_000)
    """Stop after so many looks without a better figure; 0 never stops early."""
    save_minutes: float = pydantic.Field(10.0, gt=0, le=1e6)
    """A checkpoint is also saved when so many minutes have gone by since the last."""
    time_limit: float | None = pydantic.Field(None, gt=0, le=1e6)
    """Minutes after which training stops, keeps the best weights so far and is evaluated."""
    log_every: int = pydantic.Field(10, ge=1, le=1_000_000)
    """Steps between two lines of the journal."""
    tensorboard: bool = False
    """Also write TensorBoard events (extra "tensorboard")."""


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A section that picks a plug-in: its name, its class and its checked settings."""

    name: str
    plugin: Any
    settings: Any

    def make(self) -> Any:
        """Return the plug-in, made with its settings."""
        return self.plugin(self.settings)


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """A checked recipe. Every section has its settings, defaults included."""

    name: str
    data: Part
    model: Part
    tokenizer: Part
    task: Part
    method: Part
    loader: LoaderSettings
    trainer: TrainerSettings

    def dump(self, folder: Path) -> str:
        """Write the recipe out with every default; paths are relative to `folder`."""
        tables = {}
        for section in WINGS:
            part: Part = getattr(self, section)
            values = part.settings.model_dump()
            for mark in (settings.PATH, settings.PATHS):
                for key in settings.marked(type(part.settings), mark):
                    values[key] = _relative(values[key], folder)
            for key in settings.marked(type(part.settings), settings.PATH_OR_NAME):
                if values[key] and Path(values[key]).is_absolute():
                    values[key] = _relative(values[key], folder)
            tables[section] = {"name": part.name, **values}
        tables["loader"] = self.loader.model_dump()
        tables["trainer"] = self.trainer.model_dump()
        return settings.dump(tables, {"name": self.name})


def bundled() -> dict[str, Path]:
    """Return the recipes that come with the package: `{name: file}`."""
    folder = Path(str(resources.files("mulgil") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read(recipe: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        recipe: a path, or the name of a bundled recipe.
        overrides: `section.key=value`, the later ones win.

    Raises:
        SettingError: with file, line, rule, value seen and remedy.
    """
    path = _find(recipe)
    table = Table.read(path)
    sections = _sections(table, path.parent)
    base = table.values.get("base")
    if base is not None:
        sections = _stand_on(base, sections, table, path)
    _lay(sections, overrides)
    name = sections.pop("", {}).get("name", path.stem)
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name.encode()) > 200:
        raise SettingError(
            f'{table.at("name")}: name must be letters, digits, ".", "-", "_" (1 to 100 of them,'
            f" 200 bytes at most, no dash or dot first), not {name!r}"
        )
    return _check(unicodedata.normalize("NFC", name), sections)


def section(name: str, overrides: Sequence[str]) -> Part:
    """Check one section by itself, made of overrides only."""
    sections: dict[str, dict[str, Any]] = {"": {}}
    _lay(sections, overrides)
    values = dict(sections.get(name, {}))
    return _part(name, WINGS[name], values.pop("name", None), DEFAULTS[name], values)


def _find(recipe: str) -> Path:
    path = Path(recipe)
    if path.suffix == ".toml" or os.path.exists(path):
        return path
    known = bundled()
    if recipe not in known:
        raise SettingError(
            f'no recipe file and no bundled recipe "{recipe}"; {nearest(recipe, known)}'
        )
    return known[recipe]


def _sections(table: Table, folder: Path) -> dict[str, dict[str, Any]]:
    known = {*TOP, *WINGS, "loader", "trainer"}
    sections: dict[str, dict[str, Any]] = {"": {}}
    for key, value in table.values.items():
        if key not in known:
            raise SettingError(f"{table.at(key)}: unknown section {key}; {nearest(key, known)}")
        if key in TOP:
            sections[""][key] = value
        elif isinstance(value, dict):
            sections[key] = {name: _Value(v, table, folder) for name, v in value.items()}
        else:
            raise SettingError(f"{table.at(key)}: {key} must be a table: [{key}]")
    return sections


@dataclasses.dataclass(frozen=True, slots=True)
class _Value:
    """A setting's value and where it came from; `raw` is what stood on the command line."""

    value: Any
    table: Table
    folder: Path
    raw: str | None = None


def _stand_on(
    base: Any, sections: dict[str, dict[str, Any]], table: Table, path: Path
) -> dict[str, dict[str, Any]]:
    """Lay the recipe's sections over its base's; a new plug-in name drops the base's keys."""
    place = table.at("base")
    if not isinstance(base, str):
        raise SettingError(f"{place}: base must be a recipe's name or file, not {base!r}")
    beside = path.parent / (base if base.endswith(".toml") else f"{base}.toml")
    if beside.resolve() == path.resolve():
        raise SettingError(f"{place}: base is the recipe itself")
    try:
        lower_path = beside if beside.exists() else _find(base)
        lower = Table.read(lower_path)
    except SettingError as error:
        raise SettingError(f"{place}: base: {error}") from None
    if "base" in lower.values:
        raise SettingError(f'{place}: base "{base}" stands on a base itself; one level only')
    merged = _sections(lower, lower_path.parent)
    picked = {section: _picked(section, merged) for section in WINGS}
    for section, values in sections.items():
        renamed = section in WINGS and "name" in values and values["name"].value != picked[section]
        merged[section] = values if renamed else merged.get(section, {}) | values
    return merged


def _picked(section: str, sections: dict[str, dict[str, Any]]) -> Any:
    """Return the name of the plug-in that a section picks, whether it says so or not."""
    values = sections.get(section, {})
    if "name" in values:
        return values["name"].value
    if section in DEFAULTS:
        return DEFAULTS[section]
    model = _picked("model", sections)
    return registry.load("models", model).tokenizer if model in registry.names("models") else None


def _lay(sections: dict[str, dict[str, Any]], overrides: Sequence[str]) -> None:
    """Lay overrides over the sections, the names of plug-ins first, wherever they stand."""
    given = {}
    for text in overrides:
        key, value = settings.parse_override(text)
        given[key] = value, text
    picked = {
        section: _picked(section, sections) for section in WINGS if f"{section}.name" in given
    }
    for key in sorted(given, key=lambda key: not key.endswith(".name")):
        _override(sections, key, *given[key], picked)


def _override(
    sections: dict[str, dict[str, Any]], key: str, value: Any, text: str, picked: dict[str, Any]
) -> None:
    origin = Table({}, {}, f'override "{settings.one_line(text)}"')
    raw = text.partition("=")[2].strip()
    if key == "name":
        sections[""]["name"] = value if isinstance(value, str) else raw
        return
    section, _, setting = key.partition(".")
    known = {*WINGS, "loader", "trainer"}
    if section not in known or not setting:
        raise SettingError(
            f"{origin.origin}: {key} is not a setting; {nearest(section, {*known, 'name'})}"
        )
    values = sections.setdefault(section, {})
    if setting == "name" and value != picked.get(section, value):
        values.clear()
    values[setting] = _Value(value, origin, Path.cwd(), raw)


def _check(name: str, sections: dict[str, dict[str, Any]]) -> Recipe:
    parts: dict[str, Part] = {}
    for section, wing in WINGS.items():
        values = dict(sections.get(section, {}))
        given = values.pop("name", None)
        default = DEFAULTS.get(section) or parts["model"].plugin.tokenizer
        parts[section] = _part(section, wing, given, default, values)
    loader = _build(LoaderSettings, "loader", sections.get("loader", {}))
    trainer = _build(TrainerSettings, "trainer", sections.get("trainer", {}))
    known = registry.names("engines")
    if trainer.engine not in known:
        place = sections["trainer"]["engine"].table.at("trainer.engine")
        remedy = nearest(trainer.engine, known)
        raise SettingError(f'{place}: unknown engine "{trainer.engine}"; {remedy}')
    return Recipe(name=name, loader=loader, trainer=trainer, **parts)


def _part(section: str, wing: str, given: Any, default: str, values: dict[str, Any]) -> Part:
    chosen = default if given is None else given.value
    if not isinstance(chosen, str):
        raise SettingError(f"{given.table.at(section + '.name')}: {section}.name must be a name")
    try:
        plugin = registry.load(wing, chosen)
    except SettingError as error:
        place = given.table.at(f"{section}.name") if given else section
        raise SettingError(f"{place}: {error}") from None
    return Part(chosen, plugin, _build(plugin.Settings, section, values))


def _build(model: Any, section: str, values: dict[str, Any]) -> Any:
    """Check a section; the message points to the place that the wrong value came from."""
    plain = {key: value.value for key, value in values.items()}
    for key, value in values.items():
        field = model.model_fields.get(key)
        if field and field.annotation in (str, str | None) and value.raw is not None:
            # data.label=1 is the column "1": on a command line nobody writes quotes in quotes
            plain[key] = value.value if isinstance(value.value, str) else value.raw
    for key in settings.marked(model, settings.PATH):
        if isinstance(plain.get(key), str) and plain[key]:
            plain[key] = _absolute(plain[key], values[key].folder)
    for key in {*settings.marked(model, settings.PATHS)} & plain.keys():
        paths = plain[key] if isinstance(plain[key], list) else [plain[key]]  # one path alone
        plain[key] = [_absolute(path, values[key].folder) for path in paths]
    for key in settings.marked(model, settings.PATH_OR_NAME):
        if isinstance(plain.get(key), str):
            plain[key] = _path_or_name(plain[key], values[key].folder)
    also = ["name"] if section in WINGS else []
    return settings.build(model, plain, section, _Origins(values, section), also)


class _Origins(Table):
    """Values from several files: `at` asks the file that the key came from."""

    def __init__(self, values: dict[str, _Value], section: str) -> None:
        super().__init__({}, {}, f"[{section}]")
        self._values = values
        self._section = section

    def at(self, key: str) -> str:
        inner = key.removeprefix(self._section + ".")
        for name, value in self._values.items():
            if f"{inner}.".startswith(f"{name}.") or key == self._section:
                return value.table.at(key)
        return self.origin


def _absolute(value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or value[:1] in ("", "$"):
        return value
    return str((folder / Path(value).expanduser()).absolute())


def _path_or_name(value: str, folder: Path) -> str:
    path: str = _absolute(value, folder)
    return path if value.startswith((".", "/", "~")) or os.path.exists(path) else value


def _relative(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_relative(path, folder) for path in value]
    return os.path.relpath(value, folder) if value and value[0] != "$" else value


def schema() -> dict[str, Any]:
    """Return a JSON schema of recipes, for editors (one table a step, by plug-in name)."""
    properties: dict[str, Any] = {
        "name": {"type": "string", "description": "Name of the run folder."},
        "base": {"type": "string", "description": "A recipe that this one stands on."},
    }
    for section, wing in WINGS.items():
        choices = []
        for name, text in registry.describe(wing).items():
            table = registry.load(wing, name).Settings.model_json_schema()
            table["properties"] = {"name": {"const": name}, **table.get("properties", {})}
            table["description"] = text
            choices.append(table)
        # Any of them, and no name required: a base, or the model's choice, may give the name.
        properties[section] = {"anyOf": choices}
    properties["loader"] = LoaderSettings.model_json_schema()
    properties["trainer"] = TrainerSettings.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Mulgil recipe",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }

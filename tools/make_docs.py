"""Write the reference pages from the code, so that they cannot say anything else.

    python tools/make_docs.py            writes docs/reference/
    python tools/make_docs.py --check    changes nothing; exit code 1 when a file is out of date

Three files: `settings.md` from the settings classes (types and bounds from their JSON schema,
words from their docstrings), `combinations.md` from `contracts.refusal`, and `recipe.schema.json`.
Chosen: committed files with a check, rather than pages that are built when they are published,
because a reader of the repository and a reviewer of a change should see them. It costs running this
after a setting has changed (a test says so), in an environment without other packages' plug-ins.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mulgil import contracts, recipe, registry
from mulgil.contracts import DataSettings
from mulgil.recipe import DEFAULTS, WINGS, LoaderSettings, TrainerSettings

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_MARK = "Written by `tools/make_docs.py` from the code; `make docs` writes it anew.\n"
_TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}
_STEPS = {
    "data": "step 2",
    "model": "step 3",
    "tokenizer": "step 4",
    "task": "step 6",
    "method": "step 6",
}


def plugins(wing: str) -> dict[str, Any]:
    """Return `{name: class}` of a wing."""
    return {name: registry.load(wing, name) for name in registry.names(wing)}


# ---------------------------------------------------------------- settings.md


def settings_page() -> str:
    """Return the page of every section, plug-in and setting."""
    lines = [
        "# Settings",
        "",
        _MARK,
        "A section's `name` picks a plug-in; the other keys of the section are that plug-in's own.",
        'A value of "not set" cannot be written in a recipe: leave the key out.',
        "",
        "At the top of a recipe stand `name`, the name of the run folder (the file's name when it"
        " is left out), and `base`, a recipe that this one stands on.",
    ]
    for section, wing in WINGS.items():
        lines += ["", f"## [{section}]", "", f"The wing `{wing}`, {_STEPS[section]}."]
        default = DEFAULTS.get(section)
        lines[-1] += f" Without `name`: `{default}`." if default else _tokenizer_defaults()
        shared: set[str] = set()
        if section == "data":
            lines += ["", "### Every data set", "", *_table(DataSettings)]
            shared = set(DataSettings.model_fields)
        for name, plugin in plugins(wing).items():
            lines += ["", f"### {name}", "", registry.describe(wing)[name], ""]
            lines += _table(plugin.Settings, shared)
    for section, model, step in (
        ("loader", LoaderSettings, 5),
        ("trainer", TrainerSettings, 7),
    ):
        lines += ["", f"## [{section}]", "", f"Step {step}.", "", *_table(model)]
    return "\n".join(lines) + "\n"


def _tokenizer_defaults() -> str:
    """Say which tokenizer each model takes when the recipe names none."""
    chosen = ", ".join(f"`{m.tokenizer}` for `{name}`" for name, m in plugins("models").items())
    return f" Without `name`: {chosen}."


def _table(model: Any, but: set[str] | None = None) -> list[str]:
    """Return a Markdown table of a settings class; the names in `but` are left out."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    rows = []
    for name, field in schema.get("properties", {}).items():
        if name in (but or ()):
            continue
        shown = "required" if name in required else f"`{_default(field.get('default'))}`"
        said = " ".join(field.get("description", "").split()).replace("|", "\\|")
        rows.append(
            f"| `{name}` | {_type(field)} | {shown.replace('`not set`', 'not set')} | {said} |"
        )
    if not rows:
        return ["No settings of its own."]
    return ["| setting | type | default | meaning |", "|---|---|---|---|", *rows]


def _default(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, float) and 0 < abs(value) < 1e-3:
        return f"{value:g}".replace("e-0", "e-")
    return json.dumps(value, ensure_ascii=False)


def _type(field: dict[str, Any]) -> str:
    """Return a JSON schema type in words: its choices or its bounds."""
    if "anyOf" in field:
        known = [_type(one) for one in field["anyOf"] if one.get("type") != "null"]
        return " or ".join(known)
    if "enum" in field:
        return ", ".join(f'`"{choice}"`' for choice in field["enum"])
    if field.get("type") == "array":
        inner = _type(field.get("items", {}))
        least, most = field.get("minItems"), field.get("maxItems")
        count = f"{least} " if least and least == most else ""
        kind, comma, rest = inner.partition(",")
        return f"list of {count}{kind}s{comma}{rest}"
    kind = str(field.get("type", "any"))
    return _TYPES.get(kind, kind) + _bounds(field)


def _bounds(field: dict[str, Any]) -> str:
    low, above = field.get("minimum"), field.get("exclusiveMinimum")
    high, below = field.get("maximum"), field.get("exclusiveMaximum")
    said = [
        f"{sign} {int(value) if value == int(value) else value:,}"
        for sign, value in ((">=", low), (">", above), ("<=", high), ("<", below))
        if value is not None
    ]
    return f", {' and '.join(said)}" if said else ""


# ---------------------------------------------------------------- combinations.md


def combinations_page() -> str:
    """Return the page of what goes together, as `contracts.refusal` says."""
    data, models, tasks, methods = map(plugins, ("datasets", "models", "tasks", "methods"))
    lines = [
        "# What goes together",
        "",
        _MARK,
        "Four rules decide before any work: the data's row shape is the task's, the model has the"
        " skills that the task needs, the method works on the model's kind and serves the task."
        " Where they refuse, `mulgil check` says which rule and why.",
    ]
    for name, task in tasks.items():
        fitting = [each for each, one in data.items() if one.shape in {task.shape, "any"}]
        found = {n: _runs(data[fitting[0]], model, task, methods) for n, model in models.items()}
        lines += [
            "",
            f"## {name}",
            "",
            f"Data: {', '.join(fitting)}.",
            "",
            f"| model | {' | '.join(methods)} |",
            "|---|" + "---|" * len(methods),
            *(f"| {each} | {' | '.join(runs)} |" for each, runs in found.items() if any(runs)),
        ]
    lines += [
        "",
        "## Why",
        "",
        "| model | kind | skills |",
        "|---|---|---|",
        *(f"| {n} | {m.kind} | {', '.join(sorted(m.skills))} |" for n, m in models.items()),
        "",
        "| task | row shape | needs |",
        "|---|---|---|",
        *(f"| {n} | {t.shape} | {', '.join(sorted(t.needs))} |" for n, t in tasks.items()),
        "",
        "| method | works on | serves tasks that need |",
        "|---|---|---|",
        *(
            f"| {n} | {', '.join(sorted(m.works_on))} | {', '.join(sorted(m.serves or ['any']))} |"
            for n, m in methods.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _runs(data: Any, model: Any, task: Any, methods: dict[str, Any]) -> list[str]:
    """Return "yes" for each method that these may be combined with, "" for the others."""
    names = dict.fromkeys(("data", "model", "task", "method"), "")
    found = (contracts.refusal(data, model, task, method, names) for method in methods.values())
    return ["" if problem else "yes" for problem in found]


# ---------------------------------------------------------------- files


def pages() -> dict[str, str]:
    """Return `{file name: text}` of everything that is written."""
    schema = json.dumps(recipe.schema(), ensure_ascii=False, indent=1)
    return {
        "settings.md": settings_page(),
        "combinations.md": combinations_page(),
        "recipe.schema.json": schema + "\n",
    }


def stale(folder: Path) -> list[str]:
    """Return the names of the files in `folder` that are missing or not up to date."""
    return [
        name
        for name, text in pages().items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or check them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Plain)
    parser.add_argument("--check", action="store_true", help="only say which files are out of date")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they lie")
    chosen = parser.parse_args(arguments)
    old = stale(chosen.folder)
    if chosen.check:
        for name in old:
            sys.stderr.write(f"{chosen.folder / name}: out of date; run make docs\n")
        return 1 if old else 0
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (chosen.folder / name).write_text(text, encoding="utf-8")
    sys.stderr.write(f"{chosen.folder}: {', '.join(old) or 'nothing'} changed\n")
    return 0


class _Plain(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the description."""


if __name__ == "__main__":
    sys.exit(main())

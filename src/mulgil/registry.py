"""The folder is the registry: a plug-in is one file of a wing, its name is the file's name.

`tasks/masked_lm.py` is the task `masked-lm`; the first line of its docstring is what `mulgil
list` prints, read from the source without importing it. A package from outside plugs in with an
entry point in the group `mulgil.<wing>` whose value is a module. The class of a plug-in is the
one class that its module defines as a subclass of the wing's contract.

Chosen: no decorators and no central table, so that adding a thing means adding a file. It costs
a rule (one plug-in class a module), which `load` checks, and a stored snapshot of names in the
tests, so that an accidental disappearance fails.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
from pathlib import Path
from typing import Any

from mulgil.errors import ModelError, SettingError, nearest

WINGS = {
    "datasets": "contracts.Dataset",
    "models": "contracts.Model",
    "tokenizers": "contracts.Tokenizer",
    "tasks": "objectives.Task",
    "methods": "contracts.Method",
    "engines": "contracts.Engine",
    "metrics": "objectives.Metric",
}
"""Each wing, and where in the house the contract stands that its plug-ins keep."""


@functools.cache
def modules(wing: str) -> dict[str, str]:
    """Return `{plug-in name: module path}` of a wing, the package's own first, sorted by name.

    Files that start with an underscore are helpers of the wing, not plug-ins.
    """
    package = importlib.import_module(f"mulgil.{wing}")
    own = {
        name.replace("_", "-"): f"mulgil.{wing}.{name}"
        for _, name, _ in pkgutil.iter_modules(package.__path__)
        if not name.startswith("_")
    }
    outside = {
        point.name: point.value
        for point in importlib.metadata.entry_points(group=f"mulgil.{wing}")
        if point.name not in own
    }
    return dict(sorted((own | outside).items()))


def names(wing: str) -> list[str]:
    """Return the names of a wing's plug-ins, sorted."""
    return list(modules(wing))


def describe(wing: str) -> dict[str, str]:
    """Return `{name: first line of the docstring}` without importing any plug-in."""
    return {name: _first_line(path) for name, path in modules(wing).items()}


def contract(wing: str) -> type[Any]:
    """Return the class that every plug-in of a wing derives from."""
    room, _, name = WINGS[wing].partition(".")
    found: type[Any] = getattr(importlib.import_module(f"mulgil.{room}"), name)
    return found


def load(wing: str, name: str) -> Any:
    """Return the plug-in class called `name` in `wing`.

    Raises:
        SettingError: there is no such plug-in; the message has the nearest name.
        ModelError: the module cannot be imported, or does not define exactly one class of the
            wing's contract.
    """
    known = modules(wing)
    if name not in known:
        raise SettingError(f'unknown {wing.removesuffix("s")} "{name}"; {nearest(name, known)}')
    base = contract(wing)
    try:
        module = importlib.import_module(known[name])
    except ImportError as error:
        raise ModelError(
            f"{known[name]}: {base.__name__.lower()} {name} cannot be imported: {error};"
            " install what it needs, or remove the package that it came with"
        ) from error
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    ]
    if len(classes) != 1:
        found = ", ".join(c.__name__ for c in classes) or "none"
        raise ModelError(
            f"{known[name]}: a plug-in module defines exactly one public {base.__name__};"
            f" found {found}"
        )
    return classes[0]


def _first_line(module: str) -> str:
    """Return the first docstring line of a module, from its source; "" where there is none."""
    try:
        spec = importlib.util.find_spec(module)
        source = Path(spec.origin if spec and spec.origin else "").read_text(encoding="utf-8")
        doc = ast.get_docstring(ast.parse(source))
    except (ImportError, OSError, ValueError, SyntaxError):  # a broken package from outside
        return ""
    return doc.splitlines()[0] if doc else ""

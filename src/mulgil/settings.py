"""Strict TOML: settings that belong to the component that reads them; errors name the line.

Chosen: pydantic models (strict, frozen, unknown keys refused) over the standard library's
`tomllib`, and a scan of our own for the line of each key, because `tomllib` forgets it. TOML
rather than YAML: `1e-4` is a number and `no` is a word. It costs pydantic's import (0.05 s) on
commands that read a recipe; `--help` and `list` do not pay it unless a plug-in is loaded.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from mulgil.errors import SettingError, nearest

_NAME = r"""(?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"({_NAME}(?:\s*\.\s*{_NAME})*)"
_HEADER = re.compile(rf"^\s*\[\[?\s*{_DOTTED}\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"^\s*{_DOTTED}\s*=")
_TRIPLE = re.compile(r'"""|\'\'\'')

MAX_BYTES = 1 << 20
"""A recipe longer than this is refused: it is some other file."""


class Settings(pydantic.BaseModel):
    """Base of every component's settings: a field's docstring is its documentation."""

    model_config = pydantic.ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages beyond the plain installation that are needed: keys of `extras.EXTRAS`."""
        return ()


S = TypeVar("S", bound=Settings)

PATH = "path"
"""Mark of a field that holds a path, in `Annotated`; the recipe makes it absolute."""

PATHS = "paths"
"""Mark of a field that holds a list of paths or globs; one that starts with "$" stays as it is."""

PATH_OR_NAME = "path or name"
"""Mark of a field that holds a local folder or a name from elsewhere (a hub id)."""


def marked(model: type[Settings], mark: str) -> list[str]:
    """Return the names of the fields that carry this mark."""
    return [name for name, field in model.model_fields.items() if mark in field.metadata]


class Table:
    """A TOML file as a dictionary that remembers where each key stands.

    Attributes:
        values: the parsed content.
        lines: `{"section.key": line number}`, counted from 1.
        origin: the file's name for messages.
    """

    def __init__(self, values: dict[str, Any], lines: dict[str, int], origin: str) -> None:
        self.values = values
        self.lines = lines
        self.origin = origin

    @classmethod
    def read(cls, path: Path) -> Table:
        """Parse a file.

        Raises:
            SettingError: it is missing, too large, not UTF-8, or not TOML; with the line.
        """
        try:
            if path.is_dir():
                raise SettingError(f"{path}: is a folder; give the recipe file in it")
            if path.stat().st_size > MAX_BYTES:
                raise SettingError(f"{path}: larger than 1 MiB, so not a recipe")
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise SettingError(f"{path}: no such recipe file") from None
        except UnicodeDecodeError as error:
            raise SettingError(f"{path}: not UTF-8 ({error.reason}); save it as UTF-8") from None
        except OSError as error:
            raise SettingError(f"{path}: cannot be read: {error.strerror}") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, origin: str) -> Table:
        """Parse TOML text; `origin` names it in messages."""
        try:
            values = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            reason = str(error) or "nested too deeply"
            place = re.search(r"\(at line (\d+), column (\d+)\)", reason)
            at = f":{place[1]}" if place else ""
            reason = re.sub(r"\s*\(at .*\)$", "", reason)
            raise SettingError(f"{origin}{at}: not valid TOML: {reason}") from None
        return cls(values, _key_lines(text), origin)

    def at(self, key: str) -> str:
        """Return `file:line` of the key, of its table when the key has no line, or the file."""
        while key:
            if key in self.lines:
                return f"{self.origin}:{self.lines[key]}"
            key = key.rpartition(".")[0]
        return self.origin


def _key_lines(text: str) -> dict[str, int]:
    """Return `{dotted key: line}`; lines inside triple-quoted strings are passed over.

    Each table that a dotted key makes on its way has the line of its first mention.
    """
    lines: dict[str, int] = {}
    table, inside = "", False
    # TOML knows no line end but these; `splitlines` would also count U+2028 within a string.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not inside:
            header, key = _HEADER.match(line), _KEY.match(line)
            found = header or key
            if found:
                above = f"{table}." if key and table else ""
                dotted = above + _clean(found[1])
                table = dotted if header else table
                parts = dotted.split(".")
                for end in range(1, len(parts) + 1):
                    lines.setdefault(".".join(parts[:end]), number)
        inside ^= len(_TRIPLE.findall(line)) % 2 == 1
    return lines


def _clean(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def dump(tables: dict[str, dict[str, Any]], top: dict[str, Any]) -> str:
    """Write TOML: keys of `top` first, then a table each; a None becomes a comment.

    Args:
        tables: `{section: {key: str | int | float | bool | list | dict of scalars | None}}`.
        top: the keys before the first table.
    """
    lines = [f"{key} = {toml(value)}" for key, value in top.items()]
    for section, values in tables.items():
        lines += ["", f"[{section}]"]
        for key, value in values.items():
            lines.append(f"# {key} is not set" if value is None else f"{key} = {toml(value)}")
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """Return a value as TOML writes it, in one line."""
    if isinstance(value, dict):
        inner = ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def parse_override(text: str) -> tuple[str, Any]:
    """Read `section.key=value`; the value is TOML, and a bare word is taken as a string.

    Raises:
        SettingError: there is no `=`, the key is not dotted, or the bytes are not UTF-8.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise SettingError(f"override {text!r}: is not UTF-8; set the terminal's encoding to UTF-8")
    key, sign, raw = text.partition("=")
    key = key.strip()
    if not sign or not re.fullmatch(r"[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*", key):
        raise SettingError(f'"{text}": an override looks like section.key=value')
    try:
        found = tomllib.loads(f"value = {raw.strip()}")
    except tomllib.TOMLDecodeError:
        return key, raw.strip()
    return key, found["value"] if len(found) == 1 else raw.strip()


def build(
    model: type[S], values: dict[str, Any], section: str, table: Table, also: Sequence[str] = ()
) -> S:
    """Make settings from a table's values.

    Args:
        model: the settings class.
        values: the section's own values.
        section: its name, for messages and lines; "" for the top of the file.
        table: where the lines are known from.
        also: keys of the section that the model does not know, for the remedy of a misspelt one.

    Raises:
        SettingError: with place, rule, value seen and remedy of the first mistake.
    """
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        # A name that is none comes first: it may be why another setting does not fit.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in (section, *first["loc"]) if part != "")
        rule = _explain(first, key, [*also, *model.model_fields])
        place = table.at(key)
        raise SettingError(f"{place}: {rule}{_as_list(first, place)}") from None


def _explain(error: Any, key: str, known: Sequence[str]) -> str:
    """Turn one of pydantic's errors into rule, value seen and remedy."""
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])
        return f"unknown setting {key}; {nearest(name, known)}"
    if error["type"] == "missing":
        return f"{key} is missing"
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    message = message.replace("a valid integer", "an integer").replace("a valid ", "a ")
    message = message.removesuffix(", unable to parse string as a number")
    if not error["loc"]:
        return f"{key}: {message}"  # several settings that do not go together
    rule = message if error["type"] == "value_error" else f"must be {message}"
    return f"{key} {rule}, not {_shown(error['input'])}"


def _as_list(error: Any, place: str) -> str:
    """Return the remedy for a text where a list is wanted, in a shell within single quotes."""
    value = error["input"]
    if error["type"] != "list_type" or not isinstance(value, str) or len(value) > 200:
        return ""
    names = [name.strip(" \"'") for name in value.strip("[] ").split(",")]
    written = one_line(toml([name for name in names if name]))
    return f"; write '{written}'" if place.startswith("override") else f"; write {written}"


def _shown(value: Any) -> str:
    text = one_line(f'"{value}"' if isinstance(value, str) else str(value))
    return text if len(text) <= 60 else text[:57] + "..."


def one_line(text: str) -> str:
    """Return the text with line breaks and other unprintable characters as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)

"""What a run's files say, read leniently, and figures that tell where they stand in those files.

Chosen: lenient reading, because a report is wanted most when a run went wrong: a file that is
missing or broken becomes a sentence on the page, and a torn last line (what a stopped run
leaves) nothing at all. It costs strictness: who wants it uses `mulgil evaluate`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mulgil.report.visible import attribute

RESULT, JOURNAL, ANSWERS = "result.json", "journal.jsonl", "predictions.jsonl"
SLACK = 1e-3
"""How far what predictions.jsonl gives may be from result.json: its figures are rounded."""

Row = dict[str, Any]


def read_text(path: Path, faults: list[str]) -> str:
    """Return a file's text, "" when there is none; what cannot be read goes to `faults`."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        faults.append(f"{path.name} cannot be read: {error.strerror}.")
        return ""


def read_object(path: Path, faults: list[str]) -> Row:
    """Return a JSON file's object, an empty one when there is none or it cannot be read."""
    text = read_text(path, faults)
    if not path.exists():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    faults.append(f"{path.name} is not a JSON object and was left out.")
    return {}


def read_lines(path: Path, faults: list[str]) -> Iterator[tuple[int, Row]]:
    """Yield (line number from 0, object) of a JSON Lines file; a torn last line is ignored."""
    broken, torn = 0, False
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    value = None
                torn = not isinstance(value, dict)
                broken += torn
                if not torn:
                    yield number, value
    except FileNotFoundError:
        return
    except OSError as error:
        faults.append(f"{path.name} cannot be read: {error.strerror}.")
    if broken - torn:
        faults.append(f"{path.name}: {broken - torn:,} broken lines were left out.")


def duration(seconds: float) -> str:
    """Return 12.3 s, 4 min 12 s or 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600):,} h {int(seconds % 3600 // 60):02d} min"


STYLES: dict[str, Callable[[float], str]] = {
    "count": lambda v: f"{v:,.0f}",
    "percent": lambda v: f"{v:.1%}",
    "bare": lambda v: f"{100 * v:.1f}",
    "score": lambda v: f"{v:.3f}" if abs(v) < 100 else f"{v:,.1f}",
    "signed": lambda v: f"{v:+.2f}" if abs(v) < 100 else f"{v:+,.0f}",
    "digits": lambda v: f"{v:,.{min(max(3 - _tens(v), 0), 3)}f}",
    "short": lambda v: f"{v:,.0f}" if abs(v) >= 100 else f"{v:.3g}",
    "big": lambda v: f"{v / 1e6:,.1f} M" if abs(v) >= 1e6 else f"{v:,.0f}",
    "time": duration,
}
"""How figures are rounded for people."""


def _tens(value: float) -> int:
    """Return the power of ten that the value has."""
    return math.floor(math.log10(abs(value))) if value else 0


def worked_out(value: float, style: str, what: str) -> Markup:
    """Return a figure that was worked out from the files; `what` says what it is."""
    return _figure(value, style, Markup('data-of="{}"').format(what))


def _figure(value: float, style: str, source: Markup) -> Markup:
    shown = STYLES[style](value) if math.isfinite(value) else str(value)
    return Markup('<data value="{}" {}>{}</data>').format(repr(value), source, shown)


class Figures:
    """Looks figures up and draws them with their exact value and their place.

    Attributes:
        files: `{file name: content}`; a JSON Lines file is `{line number: object}`.
    """

    def __init__(self, files: dict[str, Any]) -> None:
        self.files = files

    def get(self, *keys: Any) -> Any:
        """Return what stands at `file, key, key, ...`, or None."""
        value: Any = self.files
        for key in keys:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    def keys(self, *keys: Any) -> list[str]:
        """Return the names of what stands below that place."""
        value = self.get(*keys)
        return [str(key) for key in value] if isinstance(value, dict) else []

    def number(self, *keys: Any) -> float | None:
        """Return the number that stands there, or None when it is anything else."""
        value = self.get(*keys)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def __call__(self, style: str, file: str, *keys: Any) -> Markup:
        """Return the figure at that place for the page, or a dash when there is none."""
        value = self.number(file, *keys)
        if value is None:
            return Markup("–")
        place = "/".join(str(key).replace("~", "~0").replace("/", "~1") for key in keys)
        source = Markup('data-at="{}#/{}"').format(file, attribute(place))
        return _figure(value, style, source)

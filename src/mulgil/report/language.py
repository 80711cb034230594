"""What the page of a language run draws: how hard its held-out texts are, and which are hardest.

Chosen: the unit is bits a byte where every token of a text is asked for (causal-lm and
bidirectional-lm), which compares texts in any script; other tasks get nats a token.
Predictions are read in one pass that keeps a number a text and the beginnings of a few texts, so
that long texts cost no memory. Texts with few tokens asked for stand behind all others in the lists
of the hardest and the easiest, because chance alone decides how hard those are.
"""

from __future__ import annotations

import math
import tomllib
from array import array
from collections.abc import Iterable

import numpy as np

from mulgil.report import charts, gather
from mulgil.report.figures import ANSWERS, Figures, Row, worked_out
from mulgil.report.gather import Foremost

LISTED = 8
"""Hardest texts that are shown, and as many easiest ones."""
ENOUGH = 8
"""Tokens asked for from which a text says something by itself."""
SHOWN = 140
"""Characters of a text that are shown."""
BARS = 32
"""Stretches of the histogram."""
FAR = 0.99
"""Share of the texts that the histogram's scale reaches; the few beyond would flatten the rest."""
QUANTILES = ((0.05, "5%"), (0.25, "25%"), (0.5, "half"), (0.75, "75%"), (0.95, "95%"))


class Texts:
    """What the model made of the held-out texts, gathered in one pass.

    Attributes:
        bits: whether a text's figure is bits a byte, not nats a token.
        rows: texts read.
        sums: nats, tokens, right tokens and bytes of all of them.
        values: a figure for each text in which something was asked.
        hardest: (line, row, figure) of the hardest texts, the hardest first.
        easiest: the same of the easiest ones.
    """

    def __init__(self, lines: Iterable[tuple[int, Row]], bits: bool, faults: list[str]) -> None:
        self.bits = bits
        self.rows = odd = 0
        self.sums = [0.0, 0.0, 0.0, 0.0]
        self.values = array("d")
        hardest: Foremost[Row] = Foremost(LISTED)
        easiest: Foremost[Row] = Foremost(LISTED)
        for line, row in lines:
            measured = _measured(row)
            if measured is None:
                odd += 1
                continue
            self.rows += 1
            self.sums = [a + b for a, b in zip(self.sums, measured, strict=True)]
            value = _figure(measured, bits)
            if value is None:
                continue
            self.values.append(value)
            for held, rank in ((hardest, value), (easiest, -value)):
                first = measured[1] >= ENOUGH, rank
                if held.takes(first, line):
                    held.add(first, line, _beginning(line, row))
        self.hardest = [(line, row, rank) for (_, rank), line, row in hardest.sorted()]
        self.easiest = [(line, row, -rank) for (_, rank), line, row in easiest.sorted()]
        if odd:
            faults.append(f"{ANSWERS}: {odd:,} rows lack a figure and were left out.")

    @property
    def unit(self) -> str:
        """What a text's figure counts."""
        return "bits a byte" if self.bits else "nats a token"

    @property
    def quoted(self) -> dict[int, Row]:
        """`{line: row}` of the texts that are shown."""
        return {line: row for line, row, _ in (*self.hardest, *self.easiest)}


def _measured(row: Row) -> tuple[float, float, float, float] | None:
    """Return nats, tokens, right tokens and bytes of a row, or None when one is missing."""
    found = [row.get(key) for key in ("nats", "tokens", "right", "bytes")]
    try:
        nats, tokens, right, size = (
            float(v) for v in found if isinstance(v, int | float) and 0 <= v < math.inf
        )
    except (ValueError, OverflowError):  # fewer than four, or one of more than 308 digits
        return None
    return nats, tokens, right, size


def _figure(measured: tuple[float, float, float, float], bits: bool) -> float | None:
    """Return bits a byte or nats a token, None for a text in which nothing was asked."""
    nats, tokens, _, size = measured
    whole = size * math.log(2) if bits else tokens
    value = nats / whole if whole and tokens else math.inf
    return value if math.isfinite(value) else None


def _beginning(line: int, row: Row) -> Row:
    """Return what is kept of a row: its figures, and of its text the beginning only."""
    text = row.get("text")
    text = text if isinstance(text, str) else ""
    kept = {key: row[key] for key in ("nats", "tokens", "right", "bytes")}
    return kept | {"id": str(row.get("id", line)), "text": text[:SHOWN], "length": len(text)}


def task_name(result: Row, recipe: str) -> str:
    """Return the task of a run, from its result or, unfinished, from its recipe; "" if unknown."""
    if isinstance(result.get("task"), str):
        return str(result["task"])
    try:
        task = tomllib.loads(recipe).get("task")
    except (tomllib.TOMLDecodeError, RecursionError):
        return ""
    return str(task.get("name", "")) if isinstance(task, dict) else ""


def view(fig: Figures, texts: Texts, task: str) -> Row:
    """Return what the template draws of the held-out texts."""
    return {
        "task": task,
        "unit": texts.unit,
        "metric": "bits-per-byte" if texts.bits else "loss",
        "shown": SHOWN,
        "enough": ENOUGH,
        "spread": _spread(texts) if texts.values else None,
        "hardest": [_text(fig, texts, *item) for item in texts.hardest],
        "easiest": [_text(fig, texts, *item) for item in texts.easiest],
    }


def disagreements(fig: Figures, texts: Texts) -> list[str]:
    """Say where predictions.jsonl and result.json cannot be of the same run."""
    nats, tokens, right, size = texts.sums
    found = {
        "loss": ("a loss", nats, tokens),
        "bits-per-byte": ("bits a byte", nats / math.log(2), size),
        "token-accuracy": ("a token accuracy", right, tokens),
    }
    shares = {name: (title, part / whole) for name, (title, part, whole) in found.items() if whole}
    return gather.disagreements(fig, texts.rows, shares, "texts")


def _spread(texts: Texts) -> Row:
    """Return the histogram of the texts' figures, and their quantiles."""
    values = np.frombuffer(texts.values)  # [texts], float64
    least, most = float(values.min()), float(np.quantile(values, FAR))
    most = most if most > least else least + 1
    counts, _ = np.histogram(np.minimum(values, most), BARS, (least, most))
    median = float(np.median(values))
    beyond = int((values > most).sum())
    return {
        "drawn": charts.histogram(counts.tolist(), (least, most), median, texts.unit),
        "texts": worked_out(len(values), "count", "texts with a figure"),
        "beyond": worked_out(beyond, "count", "texts beyond the scale") if beyond else None,
        "quantiles": [
            (name, worked_out(float(np.quantile(values, at)), "score", f"quantile {at} of texts"))
            for at, name in QUANTILES
        ],
    }


def _text(fig: Figures, texts: Texts, line: int, row: Row, value: float) -> Row:
    """Return what is shown of a text."""
    return {
        "id": row["id"],
        "text": row["text"],
        "length": row["length"],
        "value": worked_out(value, "score", f"{texts.unit} of line {line}"),
        "right": fig("count", ANSWERS, line, "right"),
        "tokens": fig("count", ANSWERS, line, "tokens"),
    }

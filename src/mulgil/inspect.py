"""The data check: what a person should know of the rows before a single step is made.

Counts rows, labels and lengths; finds rows that repeat, rows that carry two labels, and test
rows that training has seen. Equal means equal after NFC with runs of white space folded: what a
tokenizer would see as the same text. Nothing is changed and nothing is judged: the report says,
the user decides.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from mulgil import hangul
from mulgil.contracts import Encoded
from mulgil.examples import Example
from mulgil.flow import Rejected, Schema, each_of
from mulgil.objectives import LanguageTask, Task
from mulgil.splits import Splits

Keyed = dict[str, list[str]]


def report(parts: Splits, task: Task, schema: Schema | None) -> dict[str, Any]:
    """Return the check of the rows as plain data.

    Returns:
        rows: rows a part; labels: `{part: {answer: how often}}`; duplicates, conflicts, overlap
        (these four where rows have answers); odd: rows with characters that deserve a look;
        rejected: count, reasons and the first ids.
    """
    found: dict[str, Any] = {"rows": {name: len(rows) for name, rows in parts.items()}}
    if not isinstance(task, LanguageTask):  # a corpus is parted by its texts, copies are left out
        keyed = keys(parts, task)
        found |= {
            "labels": {name: task.tally(rows, schema) for name, rows in parts.items()},
            "duplicates": {name: len(keys) - len(set(keys)) for name, keys in keyed.items()},
            "conflicts": _conflicts(parts.train, keyed["train"]),
            "overlap": overlap(keyed),
        }
    return found | {
        "odd": odd(
            text for _, rows in parts.items() for row in rows for text in each_of(task.text(row))
        ),
        "rejected": rejected(parts.rejected),
        "notes": list(parts.notes),
    }


def keys(parts: Splits, task: Task) -> Keyed:
    """Return, for each part, what makes two texts the same."""
    return {name: [hangul.key(task.text(row)) for row in rows] for name, rows in parts.items()}


def overlap(keyed: Keyed) -> dict[str, int]:
    """Return how many rows of a part have a text of another part, named "test in train"."""
    seen = {name: set(keys) for name, keys in keyed.items()}
    pairs = (("test", "train"), ("test", "valid"), ("valid", "train"))
    return {
        f"{part} in {other}": sum(key in seen[other] for key in keyed[part])
        for part, other in pairs
    }


def lengths(encoded: Encoded) -> dict[str, float]:
    """Return the middle, 95th percentile and longest length, and shares cut and unknown."""
    if not len(encoded):
        return {}
    middle, high, most = np.quantile(encoded.lengths, [0.5, 0.95, 1.0])
    total = {} if encoded.owners is None else {"tokens": int(encoded.lengths.sum())}
    return {
        "median": float(middle),
        "p95": float(high),
        "longest": float(most),
        "truncated": encoded.truncated,
        "truncated_share": round(encoded.truncated / len(encoded), 4),
        "unknown_share": round(encoded.unknown, 5),
        **total,
    }


def odd(texts: Iterable[str]) -> dict[str, int]:
    """Count texts that are decomposed, or hold invisible or broken characters."""
    tests: dict[str, Callable[[str], bool]] = {
        "not NFC": lambda text: hangul.normalise(text) != text,
        "zero-width or direction marks": lambda text: any(c in text for c in _INVISIBLE),
        "replacement character U+FFFD": lambda text: "\ufffd" in text,
        "half-width jamo": lambda text: any("\uffa0" <= c <= "\uffdc" for c in text),
    }
    counts = dict.fromkeys(tests, 0)
    for text in texts:
        if not text.isascii():
            for name, test in tests.items():
                counts[name] += test(text)
    return {name: count for name, count in counts.items() if count}


def rejected(rows: Sequence[Rejected]) -> dict[str, Any]:
    """Return count, reasons by number and the first ten ids."""
    reasons = Counter(row.reason for row in rows)
    return {
        "count": len(rows),
        "reasons": dict(reasons.most_common(10)),
        "first": [f"{row.id}: {row.reason}" for row in rows[:10]],
    }


_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2069"


def _conflicts(rows: Sequence[Example], keys: Sequence[str]) -> int:
    """Count training texts that carry different answers."""
    answers: dict[str, set[Any]] = defaultdict(set)
    for row, key in zip(rows, keys, strict=True):
        names = (field.name for field in dataclasses.fields(row))
        given = tuple(getattr(row, name) for name in names if name not in {"id", *row.inputs})
        answers[key].add(given)
    return sum(len(found) > 1 for found in answers.values())

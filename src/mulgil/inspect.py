"""The data check: what a person should know of the rows before a single step is made.

Counts rows, labels and lengths; finds rows that repeat, rows that carry two labels, and test
rows that training has seen. Equal means equal after NFC with runs of white space folded: what a
tokenizer would see as the same text. Nothing is changed and nothing is judged: the report says,
the user decides.
"""

from __future__ import annotations

import dataclasses
import itertools
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from mulgil import hangul, splits
from mulgil.contracts import Encoded
from mulgil.examples import Example
from mulgil.flow import Rejected, Schema, each_of
from mulgil.objectives import LanguageTask, Task
from mulgil.splits import Splits

Keyed = dict[str, list[str]]

PLACES = 3
"""Places that are named of each fault."""

_PAIRS = (("test", "train"), ("test", "valid"), ("valid", "train"))


def report(parts: Splits, task: Task, schema: Schema | None) -> dict[str, Any]:
    """Return the check of the rows as plain data.

    Returns:
        rows: rows a part; labels: `{part: {answer: how often}}`; duplicates, conflicts, overlap
        and places, the first few of the last two (these five where rows have answers); odd: rows
        with characters that deserve a look; rejected: count, reasons and the first ids.
    """
    found: dict[str, Any] = {"rows": {name: len(rows) for name, rows in parts.items()}}
    if not isinstance(task, LanguageTask):  # a corpus is parted by its texts, copies are left out
        keyed = keys(parts, task)
        conflicts = _conflicts(parts.train, keyed["train"])
        found |= {
            "labels": {name: task.tally(rows, schema) for name, rows in parts.items()},
            "duplicates": {name: len(keys) - len(set(keys)) for name, keys in keyed.items()},
            "conflicts": len(conflicts),
            "overlap": overlap(keyed) | shared(parts, task),
            "places": {"conflicts": conflicts[:PLACES], **_repeats(parts, keyed)},
        }
    return found | {
        "odd": odd(
            text for _, rows in parts.items() for row in rows for text in each_of(task.text(row))
        ),
        "rejected": rejected(parts.rejected),
        "notes": [*parts.notes, *misspelt(parts)],
    }


def keys(parts: Splits, task: Task) -> Keyed:
    """Return, for each part, what makes two texts the same."""
    return {name: [hangul.key(task.text(row)) for row in rows] for name, rows in parts.items()}


def overlap(keyed: Keyed) -> dict[str, int]:
    """Return how many rows of a part have a text of another part, named "test in train"."""
    seen = {name: set(keys) for name, keys in keyed.items()}
    return {
        f"{part} in {other}": sum(key in seen[other] for key in keyed[part])
        for part, other in _PAIRS
    }


def shared(parts: Splits, task: Task) -> dict[str, int]:
    """Return how many rows have a field that rows of another part have: "test context in train".

    Of the fields that a task names (`Task.apart`); where there are two, either one of the other.
    """
    found = {}
    for part, other in _PAIRS if task.apart else ():
        rows = dict(parts.items())
        seen = {hangul.key(getattr(row, field)) for row in rows[other] for field in task.apart}
        for field in task.apart:
            count = sum(hangul.key(getattr(row, field)) in seen for row in rows[part])
            found[f"{part} {field} in {other}"] = count
    return found


def _repeats(parts: Splits, keyed: Keyed) -> dict[str, list[str]]:
    """Return the first rows of a part whose text another part has, each with the other's place."""
    rows, found = dict(parts.items()), {}
    for part, other in _PAIRS:
        first: dict[str, str] = {}
        for row, key in zip(rows[other], keyed[other], strict=True):
            first.setdefault(key, row.id)
        both = zip(rows[part], keyed[part], strict=True)
        same = (f"{row.id} = {first[key]}" for row, key in both if key in first)
        found[f"{part} in {other}"] = list(itertools.islice(same, PLACES))
    return found


def misspelt(parts: Splits) -> list[str]:
    """Return a note for each label of one or two rows that is one slip away from a frequent one.

    A slip is a jamo or another character that is wrong, missing or too much; digits are none,
    since 1 and 2 are different labels.
    """
    counts: Counter[str] = Counter()
    where: dict[str, list[str]] = defaultdict(list)
    for _, rows in parts.items():
        for row in rows:
            label = getattr(row, "label", None)
            for name in label if isinstance(label, tuple) else [label] if label else []:
                counts[name] += 1
                if counts[name] <= _RARE:
                    where[name].append(row.id)
    rare = [name for name, count in counts.items() if count <= _RARE]
    known = [name for name, count in counts.most_common() if count >= _FREQUENT]
    notes = []
    for name in rare[:_MOST]:
        meant = next((other for other in known if _slip(name, other)), None)
        if meant is not None:
            rows_ = "1 row" if counts[name] == 1 else f"{counts[name]} rows"
            notes.append(
                f'label "{name}" has {rows_} ({", ".join(where[name])}); did you mean "{meant}"?'
            )
    return notes


_RARE, _FREQUENT, _MOST = 2, 10, 200


def _slip(one: str, other: str) -> bool:
    """Say whether two names differ by one jamo or one other character that is no digit."""
    a, b = (unicodedata.normalize("NFD", name).casefold() for name in (one, other))
    if min(len(a), len(b)) < _SHORTEST:
        return False
    at = next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    rests = {(a[at + 1 :], b[at + 1 :]), (a[at + 1 :], b[at:]), (a[at:], b[at + 1 :])}
    digits = any(map(str.isdigit, a[at : at + 1] + b[at : at + 1]))
    return any(x == y for x, y in rests) and not digits


_SHORTEST = 4


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
    """Return count, reasons by number, the same in words with places, and the first ten ids."""
    reasons = Counter(row.reason for row in rows)
    return {
        "count": len(rows),
        "reasons": dict(reasons.most_common(10)),
        "places": splits.reasons(rows)[:10],
        "first": [f"{row.id}: {row.reason}" for row in rows[:10]],
    }


_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2069"


def _conflicts(rows: Sequence[Example], keys: Sequence[str]) -> list[str]:
    """Return where training texts are that carry different answers, a text each."""
    answers: dict[str, dict[Any, str]] = defaultdict(dict)
    for row, key in zip(rows, keys, strict=True):
        names = (field.name for field in dataclasses.fields(row))
        given = tuple(getattr(row, name) for name in names if name not in {"id", *row.inputs})
        answers[key].setdefault(given, row.id)
    return [" and ".join(found.values()) for found in answers.values() if len(found) > 1]

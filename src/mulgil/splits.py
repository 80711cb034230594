"""Step 2, data: from what a data set's files hold to three parts that never share a cut.

Chosen: a missing test part is cut from all rows, a missing validation part is cut from the
training rows and never from the test; both cuts are stratified by label and drawn once with the
data's own seed, so that another training seed sees the same rows. Rows whose texts are equal
(after NFC) stay on one side of a cut, and where a task names fields that rows share, such as the
text that many questions are asked of, rows that share one do too: no cut of ours makes a leak. It
costs parts that are some rows off the share. A data set whose rows do not fit into memory gives
all three parts itself, as sequences that are read as they are asked for; those are neither cut nor
copied here.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from mulgil import hangul
from mulgil.contracts import DataSettings
from mulgil.errors import DataError
from mulgil.examples import Example
from mulgil.flow import Parts, Rejected, Text

Reads = Callable[[Example], Text]
Way = Callable[[Example], tuple[str, ...]]
"""The texts of a row that keep it together with the rows that have one of them too."""


@dataclasses.dataclass(slots=True)
class Splits:
    """The rows of a run.

    Attributes:
        train: rows that the network learns from.
        valid: rows that choose the best weights; may be empty.
        test: rows that the score is measured on; nothing else ever reads them.
        rejected: rows that were left out, with reasons.
        notes: what was guessed, cut or noticed.
        columns: field -> column of the user's table, {} where there is none.
        undrawn: training rows that `train_rows` left out; their labels are classes all the same.
    """

    train: Sequence[Example]
    valid: Sequence[Example]
    test: Sequence[Example]
    rejected: list[Rejected]
    notes: list[str]
    columns: dict[str, str] = dataclasses.field(default_factory=dict)
    undrawn: Sequence[Example] = ()

    def items(self) -> list[tuple[str, Sequence[Example]]]:
        """Return the three parts with their names."""
        return [("train", self.train), ("valid", self.valid), ("test", self.test)]


def complete(
    parts: Parts, settings: DataSettings, text: Reads, apart: Sequence[str] = ()
) -> Splits:
    """Cut what is missing and draw what was asked for.

    Parts that are no lists are taken as they are: with them, `train_rows`, `test_rows` and
    `max_rejected` are the data set's own business, and it must give all three.

    Args:
        parts: what the data set read.
        settings: shares, limits and the seed.
        text: what the task reads of a row; equal texts stay together.
        apart: the task's fields of that name; rows that share one stay together.

    Raises:
        DataError: too many rows are rejected, or a part would be empty.
    """
    if any(map(_lazy, parts.rows.values())):
        return _as_given(parts)
    rows = {name: list(part) for name, part in parts.rows.items()}
    check_rejected(sum(map(len, rows.values())), parts.rejected, settings.max_rejected)
    notes = list(parts.notes)
    train = rows.get("train") or rows.get("all") or []
    test, valid = rows.get("test"), rows.get("valid")
    if test is None:
        train, test = cut(train, settings.test_share, settings.seed, text, apart)
        notes.append(_told("test", test, "all rows", settings.test_share, settings, apart))
    if valid is None:
        train, valid = cut(train, settings.valid_share, settings.seed + 1, text, apart)
        notes.append(_told("valid", valid, "train", settings.valid_share, settings, apart))
    undrawn: Sequence[Example] = ()
    for name, part, limit in (
        ("train", train, settings.train_rows),
        ("test", test, settings.test_rows),
    ):
        if limit is not None and limit < len(part):
            drawn = draw(part, limit, settings.seed)
            notes.append(f"{name}: {limit:,} of {len(part):,} rows drawn ({_seed(settings)})")
            if name == "train":
                kept = set(map(id, drawn))
                undrawn = [row for row in part if id(row) not in kept]
            part[:] = drawn
    if not train:
        raise DataError(
            "data: no training rows are left; check the file and the shares cut from it"
        )
    return Splits(train, valid, test, parts.rejected, notes, parts.columns, undrawn)


def _told(
    name: str,
    part: Sequence[Example],
    whole: str,
    share: float,
    settings: DataSettings,
    apart: Sequence[str],
) -> str:
    """Return what to say of a cut."""
    if share and not part:
        what = "scored" if name == "test" else "looked at during training"
        return (
            f"{name}: no row could be cut from {whole}, so nothing is {what}: each label has a"
            f" single text, or there are too few rows; name a file with data.{name}"
        )
    kept = f", rows of one {' or '.join(apart)} together" if apart else ""
    return f"{name}: {len(part):,} rows cut from {whole} (stratified{kept}, {_seed(settings)})"


def _lazy(rows: Sequence[Example]) -> bool:
    """Return whether rows are read as they are asked for, so that nobody should copy them."""
    return not isinstance(rows, list | tuple)


def _as_given(parts: Parts) -> Splits:
    """Return the parts of a data set that does all cutting and drawing itself."""
    train, valid, test = (parts.rows[name] for name in ("train", "valid", "test"))
    if not train:
        raise DataError("data: no training rows are left; make data.valid_share or test_share less")
    return Splits(train, valid, test, parts.rejected, list(parts.notes), parts.columns)


def cut(
    rows: Sequence[Example], share: float, seed: int, text: Reads, apart: Sequence[str] = ()
) -> tuple[list[Example], list[Example]]:
    """Return (the rest, about `share` of the rows), both in their old order, stratified by label.

    Equal texts go to the same side. A label with a single text stays in the rest. Rows that have
    one of the fields in `apart` in common go to the same side, too, a chain of them as a whole;
    where that leaves less than half of the share to be cut, the first field alone decides, and
    then the whole text.
    """
    ways: list[Way] = [_way(fields) for fields in dict.fromkeys([tuple(apart), tuple(apart[:1])])]
    ways = [*(ways if apart else []), lambda row: (hangul.key(text(row)),)]
    for way in ways:
        taken = _taken(rows, groups([way(row) for row in rows]), share, seed, bool(apart))
        if len(taken) * 2 >= int(share * len(rows)):
            break
    return (
        [row for i, row in enumerate(rows) if i not in taken],
        [row for i, row in enumerate(rows) if i in taken],
    )


def _way(fields: Sequence[str]) -> Way:
    return lambda row: tuple(hangul.key(getattr(row, field)) for field in fields)


def groups(keys: Sequence[tuple[str, ...]]) -> list[list[int]]:
    """Return the numbers of rows that hang together by a key that they share, by the first one."""
    parent: list[int] = list(range(len(keys)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for i, own in enumerate(keys):
        for key in own:
            one, other = sorted((root(first.setdefault(key, i)), root(i)))
            parent[other] = one
    found: dict[int, list[int]] = defaultdict(list)
    for i in range(len(keys)):
        found[root(i)].append(i)
    return list(found.values())


def _taken(
    rows: Sequence[Example], parted: list[list[int]], share: float, seed: int, large: bool
) -> set[int]:
    """Return numbers of rows, whole groups of them, about `share` of each label.

    Args:
        rows: to be cut.
        parted: groups of row numbers.
        share: of the rows.
        seed: of the draw.
        large: whether groups may be so large that one alone would be far too much.
    """
    strata: dict[object, list[list[int]]] = defaultdict(list)
    for members in parted:
        strata[_label(rows[members[0]])].append(members)
    for names in [name for name, found in strata.items() if isinstance(name, tuple)]:
        if len(strata[names]) == 1:  # a set of labels that no other text has: cut among its like
            strata["single sets"] += strata.pop(names)
    generator = np.random.default_rng(seed)
    taken: set[int] = set()
    for label in sorted(strata, key=str):
        pieces = strata[label]
        wanted = round(share * sum(map(len, pieces)))
        count = 0
        for i in generator.permutation(len(pieces))[: max(len(pieces) - 1, 0)]:
            if count >= wanted:
                break
            if large and count + len(pieces[i]) > 1.5 * wanted + 1:
                continue
            taken.update(pieces[i])
            count += len(pieces[i])
    return taken


def draw(rows: Sequence[Example], limit: int, seed: int) -> list[Example]:
    """Return `limit` rows in their old order, each label with its share (largest remainders)."""
    strata: dict[object, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        strata[_label(row)].append(i)
    labels = sorted(strata, key=str)
    exact = np.array([limit * len(strata[label]) / len(rows) for label in labels])
    counts = np.floor(exact).astype(int)
    for i in np.argsort(counts - exact, kind="stable")[: limit - int(counts.sum())]:
        counts[i] += 1
    generator = np.random.default_rng(seed)
    kept = [
        i
        for label, count in zip(labels, counts, strict=True)
        for i in generator.permutation(strata[label])[:count]
    ]
    return [rows[i] for i in sorted(kept)]


def fingerprint(rows: Sequence[Example]) -> str:
    """Return a sha256 of the rows' content, for the record of a run and for a resume.

    Rows that are not in memory know their own.
    """
    own = getattr(rows, "fingerprint", None)
    if own is not None:
        return str(own())
    digest = hashlib.sha256()
    for row in rows:
        for field in dataclasses.fields(row):
            digest.update(repr(getattr(row, field.name)).encode("utf-8", "surrogatepass"))
            digest.update(b"\0")
    return digest.hexdigest()


def _label(row: Example) -> object:
    return getattr(row, "label", None)


def _seed(settings: DataSettings) -> str:
    return f"seed {settings.seed}"


def usable(
    rows: Sequence[Example], problem: Callable[[Example], str | None]
) -> tuple[list[Example], list[Rejected]]:
    """Return the rows that can be used, and the others with the reason.

    Args:
        rows: of one part.
        problem: says why a row cannot be used, or None.
    """
    found = [(row, problem(row)) for row in rows]
    good = [row for row, reason in found if not reason]
    return good, [Rejected(row.id, reason) for row, reason in found if reason]


def check_rejected(used: int, rejected: Sequence[Rejected], limit: float, part: str = "") -> None:
    """Refuse to go on when too large a share of the rows cannot be used.

    Args:
        used: how many can.
        rejected: the others.
        limit: the largest share of them, `data.max_rejected`.
        part: whose rows they are; "" for all.

    Raises:
        DataError: with the commonest reasons and the first rows of each.
    """
    total = used + len(rejected)
    if total == 0:
        raise DataError("data: there are no rows")
    if len(rejected) > limit * total:
        told = reasons(rejected)
        more = f"; {len(told) - 3:,} more reasons" if len(told) > 3 else ""
        remedy = f"mend them or raise data.max_rejected (now {limit})"
        if len(rejected) * 2 > total:  # not some bad rows: the file is read otherwise than meant
            remedy = "are these the right columns and labels? data.text, data.label, ... name them"
        raise DataError(
            f"data: {len(rejected):,} of {total:,} {part}{' ' if part else ''}rows cannot be used:"
            f" {'; '.join(told[:3])}{more}; {remedy}"
        )


def reasons(rejected: Sequence[Rejected]) -> list[str]:
    """Return why rows were left out, the commonest first: how many, and the first three of each."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rejected:
        found[row.reason].append(row.id)
    told = []
    for reason, ids in sorted(found.items(), key=lambda item: -len(item[1])):
        places = ", ".join([*ids[:3], *["..."][: len(ids) > 3]])
        told.append(f"{len(ids):,} {'row' if len(ids) == 1 else 'rows'}: {reason} ({places})")
    return told

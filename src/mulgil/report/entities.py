"""What the page of entities draws: figures by kind, what was confused, and sentences with marks.

Chosen: every gold entity is counted once in the table of confusions: by the kind that was found
within the same borders, else as "borders differ" when anything found touches it, else as missed;
what was found where no gold entity touches is invented. So a row's counts add up to the kind's
entities. It costs that a wrong kind within other borders counts as a matter of borders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from mulgil.report import gather, marks, tables
from mulgil.report.figures import ANSWERS, RESULT, Figures, Row, worked_out
from mulgil.report.gather import Confidence, Foremost
from mulgil.report.marks import Group, Stretch

BORDERS, MISSED, INVENTED = "borders differ", "missed", "invented"
_Found = tuple[Stretch, float]
"""An entity that was found, and its probability."""


class Entities:
    """Gold and found entities of the test rows, gathered in one pass.

    Attributes:
        rows: rows read.
        right: entities that were found with their borders and their kind.
        gold: entities of each kind.
        said: found entities of each kind.
        taken: how often a gold kind was taken for what: `{(gold, said): count}`.
        confidence: found entities by their probability.
        worst: (rank, line, (row, groups)) of the rows with mistakes, the surest mistake first.
    """

    def __init__(self, lines: Iterable[tuple[int, Row]], faults: list[str]) -> None:
        self.rows = self.right = odd = 0
        self.gold: Counter[str] = Counter()
        self.said: Counter[str] = Counter()
        self.taken: Counter[tuple[str, str]] = Counter()
        self.confidence = Confidence()
        worst: Foremost[tuple[Row, list[Group]]] = Foremost()
        for line, row in lines:
            try:
                gold, said = _entities(row)
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
                odd += 1
                continue
            self.rows += 1
            rank = self._count(gold, said)
            if rank is not None:
                found = marks.groups(gold, [stretch for stretch, _ in said])
                worst.add(rank, line, (row, found))
        self.worst = worst.sorted()
        if odd:
            faults.append(
                f"{ANSWERS}: {odd:,} rows lack entities that fit their text and were left out."
            )

    def _count(self, gold: list[Stretch], said: list[_Found]) -> float | None:
        """Count a row; return how sure its surest mistake is, -1 when it only missed, or None."""
        wanted, found = set(gold), {stretch for stretch, _ in said}
        self.right += len(wanted & found)
        self.gold.update(stretch.label for stretch in wanted)
        self.said.update(stretch.label for stretch in found)
        self._take(wanted, found)
        for stretch, sure in said:
            self.confidence.add(sure, stretch in wanted)
        wrong = [sure for stretch, sure in said if stretch not in wanted]
        return max(wrong) if wrong else None if wanted <= found else -1.0

    def _take(self, wanted: set[Stretch], found: set[Stretch]) -> None:
        for gold in wanted:
            same = [s for s in found if (s.start, s.end) == (gold.start, gold.end)]
            if gold in found:
                said = gold.label
            elif same:
                said = min(s.label for s in same)
            else:
                said = _BORDERS if any(map(gold.touches, found)) else _MISSED
            self.taken[gold.label, said] += 1
        for stretch in found:
            if not any(map(stretch.touches, wanted)):
                self.taken[_INVENTED, stretch.label] += 1

    @property
    def f1(self) -> float:
        """Micro F1, 1 where there was nothing to find and nothing was found."""
        both = self.gold.total() + self.said.total()
        return 2 * self.right / both if both else float(self.rows > 0)

    @property
    def quoted(self) -> dict[int, Row]:
        """`{line: row}` of the rows that are shown."""
        return {line: row for _, line, (row, _) in self.worst}


_BORDERS, _MISSED, _INVENTED = "\0borders", "\0missed", "\0invented"
"""Beside the kinds in `Entities.taken`; a kind that is really called "missed" is not mixed up."""


def _entities(row: Row) -> tuple[list[Stretch], list[_Found]]:
    """Return the gold and the found entities of a row.

    Raises:
        AttributeError, KeyError, OverflowError, TypeError, ValueError: it has none that fit.
    """
    text = row["text"]
    if not isinstance(text, str):
        raise TypeError("no text")
    found = marks.stretches(text, row["predicted"])
    sure = [gather.chance(span["probability"]) for span in row["predicted"]]
    return marks.stretches(text, row["gold"]), list(zip(found, sure, strict=True))


def kinds(fig: Figures, schema: Row, entities: Entities) -> list[str]:
    """Return the kinds of entities, in the order of the run, then those of predictions alone."""
    tags = fig.get(RESULT, "labels") or schema.get("labels")
    known = [str(tag) for tag in tags] if isinstance(tags, list) else []
    named = [tag[2:] for tag in known if tag.startswith("B-")]
    measured = [
        name.removeprefix("support:")
        for name in fig.keys(RESULT, "metrics", "per-entity")
        if name.startswith("support:")
    ]
    return list(dict.fromkeys([*named, *measured, *sorted({*entities.gold, *entities.said})]))


def view(fig: Figures, entities: Entities, named: list[str]) -> dict[str, Any]:
    """Return what the template draws of the entities."""
    return {
        "labels": named,
        "by_kind": tables.by_kind(fig, "per-entity", named),
        "confusion": _confusion(entities, named) if entities.taken else None,
        "confidence": entities.confidence if entities.said else None,
        "sentences": [_sentence(fig, *item) for item in entities.worst],
    }


def disagreements(fig: Figures, entities: Entities) -> list[str]:
    """Say where predictions.jsonl and result.json cannot be of the same run."""
    found = {"entity-f1": ("an F1 of entities", entities.f1)}
    return gather.disagreements(fig, entities.rows, found)


def _confusion(entities: Entities, named: list[str]) -> Row:
    golds, saids = [*named, _INVENTED], [*named, _BORDERS, _MISSED]
    words = {_BORDERS: BORDERS, _MISSED: MISSED, _INVENTED: INVENTED}
    counts: list[list[float | None]] = [
        [
            None if gold == _INVENTED and said in words else entities.taken[gold, said]
            for said in saids
        ]
        for gold in golds
    ]

    def figure(i: int, j: int) -> Any:
        gold, said = words.get(golds[i], golds[i]), words.get(saids[j], saids[j])
        return worked_out(entities.taken[golds[i], saids[j]], "count", f"{gold} taken for {said}")

    rows, columns = ([words.get(name, name) for name in side] for side in (golds, saids))
    return tables.matrix(rows, columns, counts, figure, roomy=8)


def _sentence(
    fig: Figures, rank: float, line: int, held: tuple[Row, list[Group]]
) -> dict[str, Any]:
    """Return what is shown of a row with mistakes; `rank` is -1 when it only missed something."""
    row, found = held
    wrong = [group.state for group in found if group.state != "right"]
    return {
        "id": str(row.get("id", line)),
        "sure": worked_out(rank, "percent", f"probability of line {line}") if rank >= 0 else None,
        "text": marks.marked(row["text"], found),
        "states": [state for state in ("kind", "borders", "missed", "invented") if state in wrong],
    }

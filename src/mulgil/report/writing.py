"""What the page of written texts draws: examples that nobody picked, and what they have in common.

Chosen: every k-th row of predictions.jsonl is shown with its source, the right text and the written
one, because no figure says whether a text makes sense; beside them how often nothing was written,
the source was given back, or one text was written again and again. It costs reading them.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable
from typing import Any

from mulgil.report import gather
from mulgil.report.figures import ANSWERS, RESULT, Figures, Row, worked_out

SHOWN = 20
"""Examples that a page shows."""


class Texts:
    """What was written, gathered in one pass.

    Attributes:
        rows: rows read.
        empty: how many texts are empty.
        copied: how many are the source again.
        sizes: characters of each written text, and of each right one.
        commonest: the text that was written most often, and how often.
        examples: (line, row), every k-th.
    """

    def __init__(self, lines: Iterable[tuple[int, Row]], whole: int, faults: list[str]) -> None:
        self.rows = self.empty = self.copied = odd = 0
        self.sizes: tuple[list[int], list[int]] = ([], [])
        self.examples: list[tuple[int, Row]] = []
        step = max(math.ceil(whole / SHOWN), 1)
        counts: Counter[str] = Counter()
        for line, row in lines:
            gold, said, source = row.get("gold"), row.get("predicted"), row.get("source")
            if not (isinstance(gold, str) and isinstance(said, str) and isinstance(source, str)):
                odd += 1
                continue
            if self.rows % step == 0 and len(self.examples) < SHOWN:
                self.examples.append((line, row))
            self.rows += 1
            self.empty += not said.strip()
            self.copied += said.split() == source.split()
            self.sizes[0].append(len(said))
            self.sizes[1].append(len(gold))
            counts[said] += 1
        self.commonest = counts.most_common(1)[0] if counts else ("", 0)
        if odd:
            faults.append(f"{ANSWERS}: {odd:,} rows lack a text and were left out.")

    @property
    def quoted(self) -> dict[int, Row]:
        """`{line: row}` of the texts that are shown."""
        return dict(self.examples)


def view(fig: Figures, texts: Texts) -> dict[str, Any]:
    """Return what the template draws of the texts."""
    if not texts.rows:
        return {"writing": None}
    lengths = [statistics.median(sizes) for sizes in texts.sizes]
    return {
        "writing": {
            "examples": [_example(fig, line, row) for line, row in texts.examples],
            "empty": worked_out(texts.empty, "count", "empty texts"),
            "copied": worked_out(texts.copied, "count", "texts equal to their source"),
            "lengths": [
                worked_out(middle, "count", f"median characters of {what}")
                for middle, what in zip(lengths, ("written", "right"), strict=True)
            ],
            "commonest": texts.commonest[0] if texts.commonest[1] > 1 else "",
            "times": worked_out(texts.commonest[1], "count", "rows with the commonest text"),
        }
    }


def disagreements(fig: Figures, texts: Texts) -> list[str]:
    """Say where predictions.jsonl and result.json cannot be of the same run."""
    return gather.disagreements(fig, texts.rows, {})


def whole(fig: Figures) -> int:
    """Return how many test rows result.json speaks of."""
    return int(fig.number(RESULT, "n") or 0)


def _example(fig: Figures, line: int, row: Row) -> dict[str, Any]:
    return {
        "id": str(row.get("id", line)),
        "source": row["source"],
        "gold": row["gold"],
        "said": row["predicted"],
        "chance": fig("score", ANSWERS, line, "log_probability"),
        "gold_chance": fig("score", ANSWERS, line, "gold_log_probability"),
    }

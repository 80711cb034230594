"""What a page says of a model's own weights: what weighs most for a label, or for a rating.

Chosen: a line a label with its heaviest n-grams, each with its figure, because a person sees at
once whether a model has learnt the matter or an accident of the data. Blanks are part of an n-gram
and are drawn as U+2423. It costs nothing but room: a weight says what one n-gram adds, not how
often it decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from mulgil.report.figures import RESULT, Figures, Row
from mulgil.report.visible import visible

WAYS = ("both", "first", "second", "one")
"""How an n-gram of two texts was counted; stands before it with a colon."""

_BLANK = Markup('<span class="blank" title="U+0020 SPACE">␣</span>')


def table(fig: Figures, labels: Sequence[str]) -> Row | None:
    """Return what weighs most for each label; None of a run that tells nothing.

    Args:
        fig: looks figures up.
        labels: in the order wanted; "raises" and "lowers" of a rating.
    """
    told = [name for label in labels for name in fig.keys(RESULT, "telling", label)]
    two = all(name.partition(":")[0] in WAYS and ":" in name for name in told)
    rows = [
        {
            "name": label,
            "told": [
                {
                    "text": shown(name.partition(":")[2] if two else name),
                    "way": name.partition(":")[0] if two else "",
                    "figure": fig("signed", RESULT, "telling", label, name),
                }
                for name in fig.keys(RESULT, "telling", label)
            ],
        }
        for label in labels
    ]
    return {"rows": rows, "two": two} if any(row["told"] for row in rows) else None


def shown(name: str) -> Markup:
    """Return an n-gram with its blanks drawn, and all else that cannot be seen spelt out."""
    return _BLANK.join(visible(part) for part in name.split(" "))

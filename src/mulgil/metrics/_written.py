"""What metrics of written text share: the best of several right texts, and overlap of two bags.

Chosen: a row without a right text stands for "no answer", whose one right text is the empty one; so
every row counts (nothing is dropped), and a silent answer to it is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from mulgil.flow import Array
from mulgil.judged import Written


def golds(scored: Written) -> list[tuple[str, ...]]:
    """Return each row's right texts, at least one."""
    return [row or ("",) for row in scored.gold]


def best(
    scored: Written, score: Callable[[str, str], tuple[float, ...]], names: Sequence[str]
) -> Array:
    """Return float64 [N, figures]: each figure of a row with the right text that favours it most.

    Args:
        scored: the rows.
        score: takes the predicted text and a right one, returns a figure for each name.
        names: of the figures.
    """
    rows = [
        [max(figure) for figure in zip(*(score(text, gold) for gold in right), strict=True)]
        for text, right in zip(scored.predicted, golds(scored), strict=True)
    ]
    return np.array(rows, np.float64).reshape(len(rows), len(names))


def means(names: Sequence[str], total: Array, count: int) -> dict[str, float]:
    """Return the mean of each figure over the rows, 0 when there are none."""
    return {
        name: float(value) / count if count else 0.0
        for name, value in zip(names, total, strict=True)
    }


def overlap(predicted: Iterable[Hashable], gold: Iterable[Hashable]) -> float:
    """Return F1 of two bags: twice what they share / what both hold; 1 when both are empty."""
    ours, theirs = Counter(predicted), Counter(gold)
    held = ours.total() + theirs.total()
    return 2 * (ours & theirs).total() / held if held else 1.0

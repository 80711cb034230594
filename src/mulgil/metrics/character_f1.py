"""KLUE's character-level macro F1 of entities: mean over the tags B-KIND and I-KIND, without O.

Every character of the text, white space included, has a tag: B-KIND where an entity begins,
I-KIND where it goes on, O elsewhere. The figure is scikit-learn's
`f1_score(labels=every tag but O, average="macro", zero_division=1)`, as the KLUE paper has it.
The published code of KLUE's baseline counts O too, which makes its figures higher.

A tag that is neither in the gold nor in the predicted tags counts as 1 in the mean: where a kind
never occurs, or only in entities of one character, the figure is flattered. A tag that is in one of
them only counts as 0. Without rows the figure is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mulgil.examples import Span
from mulgil.flow import Array
from mulgil.judged import Tagged
from mulgil.metrics._counts import Mark, f1, matched
from mulgil.objectives import RowMetric


class CharacterF1(RowMetric):
    """Macro F1 over 2 tags a kind; only characters inside an entity matter."""

    def rows(self, scored: Tagged) -> Array:
        numbers = {label: 2 * i for i, label in enumerate(scored.labels)}
        gold, predicted = (
            [_tags(spans, numbers) for spans in rows] for rows in (scored.gold, scored.predicted)
        )
        return matched(gold, predicted, 2 * len(numbers))

    def figures(self, total: Array, count: int) -> dict[str, float]:
        right, predicted, gold = total.reshape(3, -1)
        if not count:
            return {"character-f1": 0.0}
        each = np.where(predicted + gold > 0, f1(right, predicted, gold), 1.0)
        return {"character-f1": float(each.mean()) if len(each) else 1.0}


def _tags(spans: Sequence[Span], numbers: dict[str, int]) -> set[Mark]:
    """Return the tag of each character inside a span: B of a kind is even, I the next number."""
    return {
        (numbers[span.label] + (place > span.start), place)
        for span in spans
        for place in range(span.start, span.end)
    }

"""What every language task shares: rows are passages without labels, figures are likelihoods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from mulgil.errors import DataError
from mulgil.examples import Example, PassageExample
from mulgil.flow import UNASKED, Array, Blanks, Head, Schema
from mulgil.judged import Judged, Likelihood
from mulgil.objectives import LanguageTask


class _LanguageTask(LanguageTask):
    """Reads passages; measures nats, tokens, right ones and bytes."""

    shape: ClassVar[str] = "passage"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "bits-per-byte", "token-accuracy")

    def schema(self, train: Sequence[Example]) -> Schema:
        return Schema(self.shape, ())

    def problem(self, row: Example, schema: Schema) -> str | None:
        return None

    def text(self, row: Example) -> str:
        if not isinstance(row, PassageExample):
            raise DataError(
                f"{row.id}: a language task reads rows of shape passage, not {row.shape}"
            )
        return row.text

    def head(self, schema: Schema) -> Head:
        (skill,) = self.needs
        return Head(skill, 0)

    def judge(self, gold: Array | None, measured: Array, schema: Schema) -> Judged:
        return Likelihood(*measured.T)

    def records(
        self, gold: Array | None, measured: Array, schema: Schema
    ) -> Iterator[dict[str, Any]]:
        for nats, tokens, right, size in measured:
            yield {
                "nats": round(float(nats), 4),
                "tokens": int(tokens),
                "right": int(right),
                "bytes": int(size),
            }

    def loss_of(self, gold: Array | None, measured: Array, schema: Schema) -> float:
        nats, tokens, *_ = measured.sum(0)
        return float(nats / tokens) if tokens else 0.0


def next_tokens(inputs: Any, rows: Array, draw: Sequence[int] | None) -> Blanks:
    """Ask at each place but the last for the token after it; who reads both ways, also for this."""
    ids, lengths = inputs.ids, inputs.lengths
    targets = np.full(ids.shape, UNASKED, np.int64)  # [B, L]
    targets[:, :-1] = ids[:, 1:]
    targets[np.arange(ids.shape[1]) >= lengths[:, None] - 1] = UNASKED
    return Blanks(ids, lengths, targets, inputs.bytes)


def special_ids(tokenizer: Any) -> Array:
    """Return the ids that are never asked for."""
    return np.array(sorted({*tokenizer.special_ids.values()}), np.int64)

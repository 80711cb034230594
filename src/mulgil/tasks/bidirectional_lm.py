"""Guess each token from the left and from the right: pretraining of ELMo (Peters et al. 2018).

A window stands between the tokens that begin and end a text. Between each two neighbours there are
two guesses: the right one from all that stands before it, the left one from all that stands behind
it; the loss is the mean of both. Chosen: such a place counts as one token, so that perplexity is
that of both models together (e to the mean of their nats) and bits a byte is the mean of what each
needs for the text. It costs that a text longer than a window pays for a beginning and an end at
each cut, and that it writes nothing: `mulgil predict` says how likely a text is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from mulgil import settings
from mulgil.flow import UNASKED, Array, Asker, Frame, Schema, Skill
from mulgil.networks import LanguageNetwork
from mulgil.tasks._language import _LanguageTask, next_tokens

TOGETHER = 64
"""Windows that are measured at once where people ask."""


class BidirectionalLmSettings(settings.Settings):
    """Settings of bidirectional language modelling: there are none."""


class BidirectionalLm(_LanguageTask):
    """Bidirectional language modelling."""

    Settings: ClassVar[type[settings.Settings]] = BidirectionalLmSettings
    needs: ClassVar[frozenset[Skill]] = frozenset({"both"})
    frame: ClassVar[Frame] = "sentence"
    answering: ClassVar[frozenset[str]] = frozenset()

    def fields(self, schema: Schema) -> tuple[str, ...]:
        return ("log_probability", "tokens", "perplexity")

    def asker(self, tokenizer: Any) -> Asker:
        return next_tokens

    def records(
        self, gold: Array | None, measured: Array, schema: Schema
    ) -> Iterator[dict[str, Any]]:
        """Yield what the others yield; a token that one side alone had right is half a one."""
        for record, right in zip(
            super().records(gold, measured, schema), measured[:, 2].tolist(), strict=True
        ):
            yield record | {"right": right}

    def respond(
        self, texts: Sequence[str], network: LanguageNetwork, tokenizer: Any
    ) -> list[dict[str, Any]]:
        """Say of each text how likely it is from both sides.

        `log_probability` is the mean of ln p from the left and from the right, `tokens` how many
        guesses each side makes, its end included, `perplexity` e to the nats of one.
        """
        encoded = tokenizer.framed(_joined(tokenizer.windows([texts], self.frame)))
        found = np.zeros((len(texts), 2))  # nats, tokens
        order = np.argsort(encoded.lengths, kind="stable")
        for start in range(0, len(order), TOGETHER):
            rows = order[start : start + TOGETHER]
            blanks = next_tokens(encoded.take(rows, 8), rows, None)
            counts = (blanks.targets != UNASKED).sum(1)
            owners = np.repeat(encoded.owners[rows], counts)
            np.add.at(found, owners, np.stack([network.nats(blanks)[0], np.ones(len(owners))], 1))
        return [_answer(*each) for each in found.tolist()]


def _joined(parts: Iterator[dict[str, Array]]) -> dict[str, Array]:
    (only,) = parts  # all texts are one chunk
    return only


def _answer(nats: float, tokens: float) -> dict[str, Any]:
    if not tokens:
        return {"error": "has no token to judge"}
    return {
        "log_probability": round(-nats, 4),
        "tokens": int(tokens),
        "perplexity": round(float(np.exp(nats / tokens)), 4),
    }

"""Recurrent networks over words: LSTM, GRU or the plain cell, one way or both; fresh from sizes.

Chosen: a bidirectional LSTM whose states are weighed by attention (Hochreiter, Schmidhuber 1997;
Yang et al. 2016), over learnt subwords. It costs a step after the other along a text, which no
core or GPU does side by side; and dropout makes two like texts differ, so pairs want little of it.
On a CPU with AMX bf16 takes half the time of fp32 for the LSTM; for the other cells it pays from
some 256 numbers a state on, below that `trainer.precision = "fp32"` is a fifth faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pydantic

from mulgil import settings
from mulgil.models._bodied import Bodied, WordSettings, worded

if TYPE_CHECKING:
    from mulgil.models._bodies import Body

DROPOUT = 0.5
"""Dropout of words, between layers and before the head; 0.3 gave the same on film reviews."""


class RecurrentSettings(WordSettings):
    """Settings of recurrent networks; the sizes are for a fresh model only."""

    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """Fresh: what reads a word after the other."""
    directions: Literal[1, 2] = 2
    """Fresh: 1 reads forwards, 2 reads backwards as well."""
    layers: int = pydantic.Field(1, ge=1, le=32)
    """Fresh: how many read each the states of the one before."""
    hidden: int = pydantic.Field(128, ge=1, le=8192)
    """Fresh: width of a state of each direction."""
    pooling: Literal["attention", "max", "mean", "last"] = "attention"
    """Fresh: how a text's states become one vector."""
    variational: bool = False
    """Fresh: whether dropout takes the same numbers of every word of a text."""


class Recurrent(Bodied):
    """The family."""

    Settings: ClassVar[type[settings.Settings]] = RecurrentSettings

    @classmethod
    def body_class(cls) -> type[Body]:
        from mulgil.models._recurrent import RecurrentBody

        return RecurrentBody

    def body(self, tokenizer: Any) -> Body:
        from mulgil.models._recurrent import RecurrentBody, RecurrentConfig

        chosen = self.settings

        def make(width: int) -> Body:
            config = RecurrentConfig(
                vocab_size=tokenizer.size,
                embedding=width,
                hidden_size=chosen.directions * chosen.hidden,
                hidden=chosen.hidden,
                cell=chosen.cell,
                layers=chosen.layers,
                directions=chosen.directions,
                pooling=chosen.pooling,
                variational=chosen.variational,
                dropout=DROPOUT,
                pad_token_id=tokenizer.special_ids["pad"],
            )
            return RecurrentBody(config)

        return worded(chosen, tokenizer, make)

"""Fill the blanks: pretraining of encoders, from scratch or on from a checkpoint (Devlin 2019).

Of a window's tokens a share is asked for; most of those are hidden behind [MASK], some are
replaced by a random token, some stay as they are. Chosen: what is hidden is drawn anew for every
batch (RoBERTa's dynamic masking), the same count in every batch of a size, so that shapes recur;
`whole_words` hides all pieces of a word together. A held-out text is always asked the same
question. It costs that perplexity is over hidden tokens only: it compares two models on the same
tokenizer and rate, and bits a byte compares tokenizers roughly (bytes of the hidden pieces).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pydantic

from mulgil import settings
from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Asker, Blanks, Frame, Schema, Skill
from mulgil.networks import LanguageNetwork
from mulgil.tasks._language import _LanguageTask


class MaskedLmSettings(settings.Settings):
    """Settings of masked-language modelling."""

    rate: float = pydantic.Field(0.15, gt=0, le=0.8)
    """Share of the tokens that are asked for."""
    hidden: float = pydantic.Field(0.8, ge=0, le=1)
    """Share of those that are hidden behind the mask token."""
    random: float = pydantic.Field(0.1, ge=0, le=1)
    """Share of those that are replaced by a random token; the rest stays as it is."""
    whole_words: bool = False
    """Ask for all pieces of a word or for none."""
    top: int = pydantic.Field(5, ge=1, le=100)
    """How many fillings `mulgil predict` gives for each blank."""

    @pydantic.model_validator(mode="after")
    def _shares(self) -> MaskedLmSettings:
        if self.hidden + self.random > 1:
            raise ValueError(
                f"hidden {self.hidden} and random {self.random} are shares of the same tokens;"
                " together they may be 1 at most"
            )
        return self


class MaskedLm(_LanguageTask):
    """Masked-language modelling."""

    Settings: ClassVar[type[settings.Settings]] = MaskedLmSettings
    needs: ClassVar[frozenset[Skill]] = frozenset({"fill"})
    frame: ClassVar[Frame] = "sentence"
    answering: ClassVar[frozenset[str]] = frozenset({"top"})

    settings: MaskedLmSettings

    def fields(self, schema: Schema) -> tuple[str, ...]:
        return ("filled", "probability", "blanks")

    def asker(self, tokenizer: Any) -> Asker:
        """Return what hides tokens.

        Raises:
            ModelError: the tokenizer has no mask token.
        """
        return _Asker(self.settings, tokenizer)

    def respond(
        self, texts: Sequence[str], network: LanguageNetwork, tokenizer: Any
    ) -> list[dict[str, Any]]:
        from mulgil.tasks._filling import fill

        return fill(texts, network, tokenizer, self.settings.top)


class _Asker:
    """Hides tokens of windows."""

    def __init__(self, chosen: MaskedLmSettings, tokenizer: Any) -> None:
        special = tokenizer.special_ids
        if "mask" not in special:
            raise ModelError(
                "task masked-lm: the tokenizer has no mask token; use a checkpoint that was"
                " pretrained with one, or a fresh tokenizer"
            )
        self.chosen = chosen
        self.mask = special["mask"]
        ordinary = np.ones(tokenizer.size, np.bool_)
        ordinary[[*special.values()]] = False
        self.ordinary = ordinary  # [V]
        self.words = np.flatnonzero(ordinary)
        self.sizes = tokenizer.byte_lengths()  # [V]
        self.begins = tokenizer.begins() if chosen.whole_words else None  # [V]

    def __call__(self, inputs: Any, rows: Array, draw: Sequence[int] | None) -> Blanks:
        ids, lengths = inputs.ids, inputs.lengths
        inside = np.arange(ids.shape[1]) < lengths[:, None]  # [B, L]
        places = np.flatnonzero(inside & self.ordinary[ids])  # [candidates], into [B*L]
        if draw is None:  # each row by its number alone
            sizes = np.bincount(places // ids.shape[1], minlength=len(ids))
            chance = np.concatenate(
                [
                    np.random.default_rng([0, int(row)]).random((2, size))
                    for row, size in zip(rows, sizes, strict=True)
                ],
                1,
            )
        else:
            chance = np.random.default_rng(draw).random((2, len(places)))
        asked = self._asked(ids, places, chance[0], draw is None)
        flat = ids.reshape(-1).copy()
        targets = np.full(flat.shape, UNASKED, np.int64)
        chosen = places[asked]
        targets[chosen] = flat[chosen]
        fate = chance[1][asked]
        flat[chosen[fate < self.chosen.hidden]] = self.mask
        swapped = (fate >= self.chosen.hidden) & (fate < self.chosen.hidden + self.chosen.random)
        if swapped.any():
            share = (fate[swapped] - self.chosen.hidden) / self.chosen.random
            flat[chosen[swapped]] = self.words[(share * len(self.words)).astype(np.int64)]
        size = np.zeros(len(ids))
        np.add.at(size, chosen // ids.shape[1], self.sizes[targets[chosen]])
        return Blanks(flat.reshape(ids.shape), lengths, targets.reshape(ids.shape), size)

    def _asked(self, ids: Array, places: Array, chance: Array, each: bool) -> Array:
        """Return which of the candidates are asked for, bool [candidates]."""
        if not len(places):
            return np.zeros(0, np.bool_)
        if self.begins is not None:
            fresh = self.begins[ids.reshape(-1)[places]]  # a word begins here
            fresh |= np.diff(places // ids.shape[1], prepend=-1) != 0
            words = np.cumsum(fresh) - 1
            asked: Array = (chance[fresh] < self.chosen.rate)[words]
            return asked if each or asked.any() else words == 0
        if each:
            few: Array = chance < self.chosen.rate
            return few
        count = max(1, round(self.chosen.rate * len(places)))
        asked = np.zeros(len(places), np.bool_)
        asked[np.argpartition(chance, count - 1)[:count]] = True
        return asked

"""Guess the next word: pretraining of decoders, from scratch or on from a checkpoint.

A window begins with the token that begins a text, and every token after it is asked for, the end
of the text included. Chosen: a window sees nothing of another, however many are packed into a
batch, so that the likelihood of a text does not depend on its neighbours; its nats over its bytes
in UTF-8 are the bits a byte that compare tokenizers. It costs that a text longer than a window is
read in windows that know nothing of each other, which makes the figure a little worse than one
with a sliding context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pydantic

from mulgil import settings
from mulgil.flow import Asker, Frame, Sampling, Schema, Skill
from mulgil.networks import LanguageNetwork
from mulgil.tasks import _continuing
from mulgil.tasks._language import _LanguageTask, next_tokens


class CausalLmSettings(settings.Settings):
    """Settings of causal language modelling; those of sampling are for `mulgil predict`."""

    max_new: int = pydantic.Field(64, ge=1, le=4096)
    """Tokens that a text is continued by, at most."""
    temperature: float = pydantic.Field(0.8, ge=0, le=10)
    """Of the distribution that is drawn from; 0 always takes the likeliest token."""
    top_k: int = pydantic.Field(0, ge=0, lt=1 << 31)
    """Draw among so many of the likeliest tokens; 0 draws among all."""
    top_p: float = pydantic.Field(0.95, gt=0, le=1)
    """Draw among the likeliest tokens that together have this probability."""
    repetition_penalty: float = pydantic.Field(1.0, ge=1, le=10)
    """Divide the score of tokens that were there already; 1 leaves them alone."""
    seed: int = pydantic.Field(7, ge=0, lt=1 << 31)
    """Of the draws."""


class CausalLm(_LanguageTask):
    """Causal language modelling."""

    Settings: ClassVar[type[settings.Settings]] = CausalLmSettings
    needs: ClassVar[frozenset[Skill]] = frozenset({"score"})
    frame: ClassVar[Frame] = "document"
    answering: ClassVar[frozenset[str]] = frozenset(CausalLmSettings.model_fields)

    settings: CausalLmSettings

    def fields(self, schema: Schema) -> tuple[str, ...]:
        return ("continuation", "tokens", "log_probability")

    def asker(self, tokenizer: Any) -> Asker:
        return next_tokens

    def respond(
        self, texts: Sequence[str], network: LanguageNetwork, tokenizer: Any
    ) -> list[dict[str, Any]]:
        return _continuing.go_on(texts, network, tokenizer, self.sampling)

    def beginning(self, text: str, tokenizer: Any) -> list[int]:
        return _continuing.beginning(text, tokenizer)

    @property
    def sampling(self) -> Sampling:
        return Sampling(**self.settings.model_dump())

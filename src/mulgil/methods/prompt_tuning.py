"""Prompt tuning: a few vectors before every text learn, and a head; the model itself rests.

Three variants: "prompt" learns the vectors themselves (Lester et al. 2021), "p-tuning" has a small
network make them (Liu et al. 2021), "prefix" gives every layer's attention keys and values of its
own (Li and Liang 2021). Chosen: "prefix" by default, since vectors at the input alone need models
of billions of weights to come near full fine-tuning; plain vectors begin as embeddings of tokens
that are drawn. It costs positions: the text has `tokens` fewer of them, and every step is run as
transformers wrote it, padded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic

from mulgil import settings
from mulgil.flow import Skill
from mulgil.methods._adapting import Adapting, AddedSettings, reading, writing
from mulgil.networks import Adapter


class PromptTuningSettings(AddedSettings):
    """Settings of prompt tuning."""

    variant: Literal["prefix", "prompt", "p-tuning"] = "prefix"
    """What is learnt: keys and values of every layer, vectors at the input, or what makes those."""
    tokens: int = pydantic.Field(20, ge=1, le=1024)
    """How many stand before every text."""
    width: int = pydantic.Field(128, ge=1, le=8192)
    """p-tuning: width of the network that makes the vectors."""
    rate: float = pydantic.Field(50.0, gt=0, le=1e6)
    """What is new learns so many times faster than `trainer.learning_rate` says."""


class PromptTuning(Adapting):
    """Learnt vectors before every text."""

    Settings: ClassVar[type[settings.Settings]] = PromptTuningSettings
    serves: ClassVar[frozenset[Skill] | None] = frozenset(
        {"pool", "pair", "rate", "tokens", "score", "write"}
    )

    settings: PromptTuningSettings

    @property
    def places(self) -> int:
        return -(-self.settings.tokens // 8) * 8  # rows are padded to a multiple of 8

    def _config(self, network: Any) -> Any:
        import peft

        common = {"task_type": network.sort, "num_virtual_tokens": self.settings.tokens}
        if network.sort == "SEQ_2_SEQ_LM" and self.settings.variant != "prefix":
            common["num_transformer_submodules"] = 1  # what is read gets them, not what is written
        if self.settings.variant == "prefix":
            return peft.PrefixTuningConfig(**common)
        if self.settings.variant == "p-tuning":
            return peft.PromptEncoderConfig(**common, encoder_hidden_size=self.settings.width)
        return peft.PromptTuningConfig(**common)

    def _adapter(self, made: Any) -> Adapter:
        told = {"FEATURE_EXTRACTION", "TOKEN_CLS", "CAUSAL_LM"}  # whose output has their places too
        config = made.peft_config["default"]
        inside = self.settings.variant != "prefix" and config.task_type in told
        tokens = self.settings.tokens
        return Adapter(writing(made), made, tokens if inside else 0, taken=tokens)

    def _begin(self, made: Any) -> None:
        """Begin vectors as embeddings of tokens; keys and values small."""
        import torch

        if self.settings.variant == "p-tuning":
            return
        new = made.prompt_encoder["default"].embedding.weight
        with torch.no_grad():
            if self.settings.variant == "prefix":
                new.normal_(std=0.02)
                return
            words = made.get_input_embeddings().weight
            new.copy_(words[torch.randint(len(words), (len(new),), device=words.device)])

    def _put(self, network: Any, folder: Path) -> None:
        network.adapt(self._adapter(reading(network, folder)))

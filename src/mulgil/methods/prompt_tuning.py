"""Prompt tuning: a few vectors before every text learn, and a head; the model itself rests.

Three variants: "prompt" learns the vectors themselves (Lester et al. 2021), "p-tuning" has a small
network make them (Liu et al. 2021), "prefix" gives every layer's attention keys and values of its
own (Li and Liang 2021). Chosen: "prefix" by default, since vectors at the input alone need models
of billions of weights to come near full fine-tuning; plain vectors begin as embeddings of tokens
that are drawn. It costs positions: the text has `tokens` fewer of them, and every step is run as
transformers wrote it, padded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import pydantic

from mulgil import settings
from mulgil.errors import ModelError
from mulgil.flow import Skill
from mulgil.methods._adapting import Adapting, AddedSettings, heads, reading, writing
from mulgil.networks import Adapter

_LAST = "score"
"""What transformers calls the head of a decoder, which reads a row's last token."""


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

        part, variant = network.part, self.settings.variant
        common: dict[str, Any] = {
            "task_type": network.sort,
            "num_virtual_tokens": self.settings.tokens,
            "modules_to_save": heads(network) or None,
        }
        if variant == "prefix":
            _takes_keys(part)
            return peft.PrefixTuningConfig(**common)
        width = part.get_input_embeddings().weight.shape[1]  # ELECTRA's is not that of its layers
        common |= {"token_dim": width, "num_layers": 1, "num_attention_heads": 1}
        if network.sort == "SEQ_2_SEQ_LM":
            common["num_transformer_submodules"] = 1  # what is read gets them, not what is written
        if variant == "p-tuning":
            return peft.PromptEncoderConfig(**common, encoder_hidden_size=self.settings.width)
        return peft.PromptTuningConfig(**common)

    def _adapter(self, made: Any) -> Adapter:
        told = {"FEATURE_EXTRACTION", "TOKEN_CLS", "CAUSAL_LM"}  # whose output has their places too
        sort = made.peft_config["default"].task_type
        prefix, tokens = self.settings.variant == "prefix", self.settings.tokens
        last = sort == "SEQ_CLS" and getattr(made, "cls_layer_name", "") == _LAST
        if sort == "FEATURE_EXTRACTION" or (last and not prefix):
            made.forward = _heeding(made, tokens, prefix, last)
        _writes_as_asked(made, tokens)
        lead = tokens if sort in told and not prefix else 0
        return Adapter(writing(made), made, lead, taken=tokens)

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


def _takes_keys(part: Any) -> None:
    """Refuse an architecture whose attention takes no keys and values from outside.

    Raises:
        ModelError: it does not.
    """
    ways = (part.forward, part.base_model.forward)
    if not any("past_key_values" in signature(way).parameters for way in ways):
        raise ModelError(
            f"method.variant: {type(part).__name__} takes no keys and values, and prefix learns"
            ' those; set method.variant = "prompt"'
        )


def _writes_as_asked(made: Any, tokens: int) -> None:
    """Let peft's module generate what is asked for, heard or not.

    It hides its base from whoever clears the checkpoint's own generation settings before each text,
    warns of positions that it leaves to the base to count (which is right where no prompt is
    padded), and would copy whoever listens.
    """
    base = made.get_base_model()
    if not base.can_generate():
        return
    base.generation_config = type(base.generation_config)()
    warnings.filterwarnings("ignore", message="Position ids are not supported")
    config = made.peft_config["default"]
    if config.task_type != "SEQ_2_SEQ_LM" or config.peft_type == "PREFIX_TUNING":
        return

    def generate(input_ids: Any, attention_mask: Any, **told: Any) -> Any:
        vectors, mask = _in_front(made, tokens, input_ids, attention_mask)
        return base.generate(inputs_embeds=vectors, attention_mask=mask, **told)

    made.generate = generate


def _in_front(made: Any, tokens: int, ids: Any, mask: Any) -> tuple[Any, Any]:
    """Return vectors [B, P + L, H] and mask [B, P + L] of ids [B, L] behind the learnt ones."""
    import torch

    words = made.word_embeddings(ids)
    vectors = torch.cat([made.get_prompt(len(ids)).to(words.dtype), words], 1)
    return vectors, torch.nn.functional.pad(mask, (tokens, 0), value=1)


def _heeding(made: Any, tokens: int, prefix: bool, last: bool) -> Callable[..., Any]:
    """Return a forward that heeds what peft's own passes over.

    Peft does not tell a bare body of which text a token is. A decoder that scores rows by their
    last token takes that of the padding where it is given vectors.

    Args:
        made: peft's module.
        tokens: how many stand before every text.
        prefix: they are keys and values.
        last: a row's last token is scored.
    """
    import torch

    base = made.get_base_model()

    def forward(input_ids: Any, attention_mask: Any, **kinds: Any) -> Any:
        if prefix:
            mask = torch.nn.functional.pad(attention_mask, (tokens, 0), value=1)
            keys = made.get_prompt(len(input_ids))
            return base(input_ids=input_ids, attention_mask=mask, past_key_values=keys, **kinds)
        vectors, mask = _in_front(made, tokens, input_ids, attention_mask)
        told = {name: torch.nn.functional.pad(each, (tokens, 0)) for name, each in kinds.items()}
        if not last:
            return base(inputs_embeds=vectors, attention_mask=mask, **told)
        hidden = base.base_model(inputs_embeds=vectors, attention_mask=mask)[0]
        ends = hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]  # [B, H]
        return SimpleNamespace(logits=base.get_submodule(_LAST)(ends))

    return forward

"""LoRA: beside each weight matrix learns a product of two narrow ones; the matrix itself rests.

A layer computes W x + (alpha / rank) B A x, with A [rank, in] and B [out, rank], B zero at first
(Hu et al. 2021). Chosen: all linear layers of the body by default, which is nearer to full
fine-tuning than the attention alone at the same number of weights; the head learns whole. While it
learns, the fast bodies multiply by the sum of both, rounded once; a run that answers has them
merged. It costs a sum of W's size a layer and step there, and what `dropout` needs, the
layers as peft runs them, padded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic

from mulgil import settings
from mulgil.contracts import Model
from mulgil.errors import ModelError
from mulgil.flow import Head
from mulgil.methods._adapting import Adapting, AddedSettings, heads, reading, writing
from mulgil.networks import Adapter, Network

_KINDS = {"Linear", "Conv1D"}
"""Layers that are added to; GPT-2's are of the second kind."""

_APART = ("pooler", "embed", "lm_head", "classifier", "score", "predictions", "shared")
"""Parts that are no layers of the body."""


class LoraSettings(AddedSettings):
    """Settings of LoRA."""

    rank: int = pydantic.Field(8, ge=1, le=4096)
    """Width of what is added."""
    alpha: int = pydantic.Field(16, ge=1, le=1_000_000)
    """What is added counts alpha / rank times."""
    dropout: float = pydantic.Field(0.0, ge=0, lt=1)
    """Dropout of what is added reads; above 0 the fast bodies cannot be used."""
    target: Literal["all", "attention"] = "all"
    """Linear layers that are added to: all of the body, or those of its attention."""


class Lora(Adapting):
    """Low-rank adaptation."""

    Settings: ClassVar[type[settings.Settings]] = LoraSettings

    settings: LoraSettings

    def _config(self, network: Any) -> Any:
        import peft

        chosen = self.settings
        names = _layers(network.part, chosen.target)
        return peft.LoraConfig(
            task_type=network.sort,
            r=chosen.rank,
            lora_alpha=chosen.alpha,
            lora_dropout=chosen.dropout,
            target_modules=names,
            modules_to_save=heads(network) or None,
            fan_in_fan_out=any(
                type(network.part.get_submodule(name)).__name__ == "Conv1D" for name in names
            ),
        )

    def _adapter(self, made: Any) -> Adapter:
        return Adapter(writing(made), weight=None if self.settings.dropout else _composed)

    def merged(self, model: Model, tokenizer: Any, head: Head, folder: Path) -> Network:
        """Return the model with what was added summed into its weights."""
        return self.opened(model, tokenizer, head, folder, "fp32", "cpu")

    def _put(self, network: Any, folder: Path) -> None:
        reading(network, folder).merge_and_unload()  # which changes the network's own module


def _layers(part: Any, target: str) -> list[str]:
    """Return the names of the linear layers that are added to.

    Raises:
        ModelError: there is none.
    """
    body = {id(layer) for layer in part.base_model.modules()}
    names = [
        name
        for name, layer in part.named_modules()
        if type(layer).__name__ in _KINDS
        and id(layer) in body
        and not any(word in step for step in name.lower().split(".") for word in _APART)
    ]
    if target == "attention":
        names = [name for name in names if "attn" in name.lower() or "attention" in name.lower()]
    if not names:
        raise ModelError(
            f"method.target: {type(part).__name__} has no linear layer of the sort {target};"
            ' take method "full"'
        )
    return names


def _composed(layer: Any) -> Any:
    """Return W + (alpha / rank) B A in the precision of A, with gradients."""
    base = getattr(layer, "base_layer", None)
    if base is None:
        return layer.weight
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight  # [r, in], [out, r]
    added = (up.float() @ down.float()) * layer.scaling["default"]
    return (base.weight + (added.t() if layer.fan_in_fan_out else added)).to(down.dtype)

"""The encoder that scores characters: what each says of itself, read off the token that holds it.

Chosen: a token has a linear head for each of its first `places` characters, since a Korean piece
often runs over the end of a name into its particle; the k-th character takes the k-th head's
scores. Only that layer differs from transformers' "ForTokenClassification", which opens what is
saved, with `places x outputs` labels. It costs that many times the weights of a plain head, and
characters past the last place share one head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mulgil.errors import ModelError
from mulgil.flow import Array, Head, Located
from mulgil.models import _checkpoints
from mulgil.models._fastbert import FastBody, supports
from mulgil.models._network import EncodingNetwork, sizes


class SpanNetwork(EncodingNetwork):
    """Scores characters.

    Args:
        module: of transformers' "ForTokenClassification" sort.
        head: how many scores a character gets, and the places of a token.
        precision: "fp32" or "bf16"; training keeps fp32 masters either way.
        device: "cpu" or "cuda".
    """

    def __init__(self, module: Any, head: Head, precision: str, device: str) -> None:
        super().__init__(module, module.base_model, precision, device)
        self.head = head
        known = {
            "BertForTokenClassification",
            "RobertaForTokenClassification",
            "XLMRobertaForTokenClassification",
        }
        if type(module).__name__ in known and supports(self.body):
            self._fast = FastBody(self.body)

    @property
    def sort(self) -> str:
        return "TOKEN_CLS"

    @property
    def outputs(self) -> int:
        return self.head.outputs

    def forward(self, inputs: Located) -> Tensor:
        """Return scores [U, outputs] of all units of the batch, with gradients."""
        tokens = torch.from_numpy(inputs.tokens).to(self.device)
        places = torch.from_numpy(inputs.places).to(self.device).clamp(max=self.head.places - 1)
        if isinstance(self._fast, FastBody):
            hidden, packing = self._fast(**self._tensors(inputs))  # [T, H]
            scores = self.module.classifier(self.module.dropout(hidden))
            rows = packing.slots[torch.searchsorted(packing.source, tokens)]
        else:
            scores = self.module(**self._tensors(inputs)).logits  # [B, L, places * outputs]
            scores = scores[:, self._lead :]
            rows = tokens
        each = scores.reshape(-1, self.head.outputs)
        found: Tensor = each[rows * self.head.places + places]
        return found

    def set_head(self, weight: Array, bias: Array) -> None:
        raise ModelError("the head of a network that scores characters is not solved; train it")

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        """Write a checkpoint that plain transformers opens; its labels are named PLACE:LABEL."""
        self._release()
        config = self.module.config
        names = [f"{place}:{name}" for place in range(self.head.places) for name in labels]
        config.id2label = dict(enumerate(names))
        config.label2id = {name: i for i, name in enumerate(names)}
        self._write(self.module, folder)


def fresh(chosen: Any, tokenizer: Any, head: Head, precision: str, device: str) -> SpanNetwork:
    """Return a BERT of the chosen sizes with random weights that scores characters."""
    from transformers import BertForTokenClassification

    config = sizes(chosen, tokenizer, num_labels=head.outputs * head.places)
    return SpanNetwork(BertForTokenClassification(config), head, precision, device)


def opened(
    folder: Path, head: Head, precision: str, device: str, known: bool = True, whole: bool = False
) -> SpanNetwork:
    """Open a checkpoint; not `known`, its weights are random again.

    Args:
        folder: the checkpoint.
        head: what the task asks for.
        precision: "fp32" or "bf16".
        device: "cpu" or "cuda".
        known: keep what it has learnt.
        whole: it was saved with this head, which must be there.
    """
    from transformers import AutoModelForTokenClassification

    labels = head.outputs * head.places
    module, info = _checkpoints.opened(AutoModelForTokenClassification, folder, num_labels=labels)
    _checkpoints.whole(info, folder, "" if whole else f"{module.base_model_prefix}.")
    network = SpanNetwork(module if known else type(module)(module.config), head, precision, device)
    if whole:
        network.answers_only()
    return network

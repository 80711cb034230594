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
from torch import Tensor, nn

from mulgil.errors import ModelError
from mulgil.flow import Array, Head, Located
from mulgil.models import _checkpoints
from mulgil.models._bodies import Body, TokenHead
from mulgil.models._fastbert import FastBody, supports
from mulgil.models._heads import keep_head, kept_head
from mulgil.models._network import EncodingNetwork, sizes


class SpanNetwork(EncodingNetwork):
    """Scores characters.

    Args:
        module: of transformers' "ForTokenClassification" sort, or `TokenHead`.
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
    def part(self) -> Any:
        return self.body if isinstance(self.module, TokenHead) else self.module

    @property
    def sort(self) -> str:
        return "FEATURE_EXTRACTION" if isinstance(self.module, TokenHead) else "TOKEN_CLS"

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

    def features(self, inputs: Located) -> Array:
        """Return what the head reads of each unit's token, float32 [U, width].

        Raises:
            ModelError: the head of this architecture is no single linear layer.
        """
        tokens = torch.from_numpy(inputs.tokens).to(self.device)
        with self._answering():
            if isinstance(self._fast, FastBody):
                hidden, packing = self._fast(**self._tensors(inputs))  # [T, H]
                each = hidden[packing.slots[torch.searchsorted(packing.source, tokens)]]
            else:
                read: list[Tensor] = []
                head = self._linear().register_forward_pre_hook(lambda _, got: read.append(got[0]))
                try:
                    self.module(**self._tensors(inputs))
                finally:
                    head.remove()
                states = read[0][:, self._lead :]  # [B, L, H]
                each = states.reshape(-1, states.shape[-1])[tokens]
            found: Array = each.float().cpu().numpy()
            return found

    def _linear(self) -> nn.Linear:
        """Return the layer that is solved."""
        layer = getattr(self.module, "classifier", None)
        if not isinstance(layer, nn.Linear) or layer.bias is None:
            raise ModelError(
                f"model: the head of {type(self.module).__name__} is no single linear layer, so it"
                " cannot be solved; take method full"
            )
        return layer

    def set_head(self, weight: Array, bias: Array) -> None:
        """Put solved heads on the tokens: the first place's outputs, then the second's, and so on.

        Args:
            weight: [places * outputs, width].
            bias: [places * outputs].
        """
        self._linear()
        self._put_head(weight, bias)

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        """Write a checkpoint that plain transformers opens; its labels are named PLACE:LABEL."""
        self._release()
        config = self.module.config
        names = [f"{place}:{name}" for place in range(self.head.places) for name in labels]
        config.id2label = dict(enumerate(names))
        config.label2id = {name: i for i, name in enumerate(names)}
        self._write(self.part, folder)
        if isinstance(self.module, TokenHead):
            keep_head(folder, self.module.classifier)

    def read_head(self, folder: Path) -> None:
        if isinstance(self.module, TokenHead):
            head = self.module.classifier
            head.load_state_dict(kept_head(folder, head))


def around(body: Body, head: Head, precision: str, device: str) -> SpanNetwork:
    """Put a new head on a body's states."""
    return SpanNetwork(TokenHead(body, head.outputs * head.places), head, precision, device)


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

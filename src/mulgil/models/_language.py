"""An encoder with its vocabulary in front: it says what stands behind a blank.

Chosen: the checkpoint's own masked-LM head, so that plain transformers opens what was trained;
only the places that are asked for pass through it, a slice at a time (`_vocabulary`). BERT and
RoBERTa run through `_fastbert` with their rows packed; all others run as transformers wrote them,
in parts of like length. A checkpoint without such a head gets a fresh one, which costs its first
few hundred steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mulgil.flow import UNASKED, Array, Blanks
from mulgil.models import _checkpoints, _vocabulary
from mulgil.models._network import EncoderNetwork, sizes
from mulgil.networks import LanguageNetwork

_PART = 16384
"""Padded tokens that are run at once where rows are not packed."""


class MaskedNetwork(EncoderNetwork, LanguageNetwork):
    """Says how likely hidden tokens are; `module` is of transformers' "ForMaskedLM" sort."""

    tied = True

    def _head_known(self) -> bool:
        return type(self.module).__name__ in {
            "BertForMaskedLM",
            "RobertaForMaskedLM",
            "XLMRobertaForMaskedLM",
        }

    @property
    def outputs(self) -> int:
        return int(self.module.config.vocab_size)

    def loss(self, inputs: Blanks) -> Tensor:
        total = torch.zeros((), device=self.device)
        for hidden, targets in self._asked(inputs):
            total = total + _vocabulary.nats_of(hidden, *self._words(), targets)
        return total

    def nats(self, inputs: Blanks) -> tuple[Array, Array]:
        with self._answering():
            found = [
                _vocabulary.measure(hidden, *self._words(), targets)
                for hidden, targets in self._asked(inputs)
            ]
        return np.concatenate([n for n, _ in found]), np.concatenate([r for _, r in found])

    def distributions(self, inputs: Blanks) -> Array:
        with self._answering():
            found = [
                _vocabulary.log_probabilities(hidden, *self._words())
                for hidden, _ in self._asked(inputs)
            ]
        return np.concatenate(found)

    def _asked(self, inputs: Blanks) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (what the vocabulary sees [M, H], targets [M]), row after row."""
        if self._fast is not None:
            ids, mask = self._tensors(inputs)
            hidden, packing = self._fast(ids, mask)  # [T, H]
            places = torch.from_numpy(np.flatnonzero(inputs.targets != UNASKED)).to(self.device)
            slots = packing.slots[torch.searchsorted(packing.source, places)]
            targets = torch.from_numpy(inputs.targets.reshape(-1)).to(self.device)
            yield self._transform(hidden.index_select(0, slots)), targets[places]
            return
        for part in parts(inputs, _PART):
            ids, mask = self._tensors(part)
            targets = torch.from_numpy(part.targets).to(self.device)
            hidden = self._before_words(ids, mask)
            asked = targets != UNASKED
            yield hidden[asked], targets[asked]

    def _words(self) -> tuple[Tensor, Tensor | None]:
        layer: Any = self.module.get_output_embeddings()
        return layer.weight, layer.bias

    def _transform(self, hidden: Tensor) -> Tensor:
        """What stands between the body and the vocabulary: dense, activation, layer norm."""
        if type(self.module).__name__ == "BertForMaskedLM":
            bert: Tensor = self.module.cls.predictions.transform(hidden)
            return bert
        head = self.module.lm_head
        roberta: Tensor = head.layer_norm(nn.functional.gelu(head.dense(hidden)))
        return roberta

    def _before_words(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Run the module as transformers wrote it, and catch what its vocabulary layer sees."""
        caught: list[Tensor] = []
        layer: Any = self.module.get_output_embeddings()

        def catch(_: Any, seen: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            caught.append(seen[0])
            return (seen[0][..., :0, :],)  # the vocabulary's product is ours: it gets no rows

        hook = layer.register_forward_pre_hook(catch)
        try:
            self.module(input_ids=ids, attention_mask=mask)
        finally:
            hook.remove()
        return caught[0]


def parts(inputs: Blanks, tokens: int) -> Iterator[Blanks]:
    """Cut a batch, in its order, into parts of at most so many padded tokens, cut to width."""
    start = width = 0
    for row, length in enumerate(inputs.lengths):
        wider = max(width, int(length))
        if row > start and wider * (row + 1 - start) > tokens:
            yield _part(inputs, start, row, width)
            start, wider = row, int(length)
        width = wider
    yield _part(inputs, start, len(inputs.lengths), width)


def _part(inputs: Blanks, start: int, stop: int, width: int) -> Blanks:
    rows = slice(start, stop)
    return Blanks(
        inputs.ids[rows, :width],
        inputs.lengths[rows],
        inputs.targets[rows, :width],
        inputs.bytes[rows],
    )


def fresh(chosen: Any, tokenizer: Any, precision: str, device: str) -> MaskedNetwork:
    """Return a BERT of the chosen sizes with random weights and a masked-LM head."""
    from transformers import BertForMaskedLM

    return MaskedNetwork(BertForMaskedLM(sizes(chosen, tokenizer)), precision, device)


def opened(folder: Path, precision: str, device: str, known: bool = True) -> MaskedNetwork:
    """Open a checkpoint with its masked-LM head, or with a fresh one where it has none.

    Not `known`, its weights are random again.
    """
    from transformers import AutoModelForMaskedLM

    module, info = _checkpoints.opened(AutoModelForMaskedLM, folder)
    _checkpoints.whole(info, folder, f"{module.base_model_prefix}.")
    return MaskedNetwork(module if known else type(module)(module.config), precision, device)

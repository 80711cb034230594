"""A network with its vocabulary in front, and the encoder that says what stands behind a blank.

Chosen: the checkpoint's own head, so that plain transformers opens what was trained; only the
places that are asked for pass through it, a slice at a time (`_vocabulary`). BERT and RoBERTa run
through `_fastbert` with their rows packed, GPT-2 through `_fastgpt`; all others run as transformers
wrote them, in parts of like length. A checkpoint without a masked-LM head gets a fresh one, which
costs its first few hundred steps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Blanks, Given
from mulgil.models import _checkpoints, _vocabulary
from mulgil.models._fastbert import FastBody, supports
from mulgil.models._network import sizes
from mulgil.models._packing import Packing
from mulgil.models._torch import TorchNetwork
from mulgil.networks import LanguageNetwork

PART = 16384
"""Padded tokens that are run at once where rows are not packed."""

Asked = Iterator[tuple[Tensor, Tensor]]
"""What the vocabulary sees [M, H], or its scores [M, V], and the targets [M], row after row."""


class VocabularyNetwork(TorchNetwork, LanguageNetwork):
    """Says how likely tokens are."""

    @abstractmethod
    def _asked(self, inputs: Blanks) -> Asked:
        """Yield what is asked for, part after part of the batch."""

    def _words(self) -> tuple[Tensor, Tensor | None] | None:
        """Return weight [V, H] and bias [V] of the vocabulary; None where `_asked` gives scores."""
        layer: Any = self.module.get_output_embeddings()
        return layer.weight, getattr(layer, "bias", None)

    def _run(self, tensors: dict[str, Tensor]) -> Any:
        """Run the module as transformers wrote it."""
        return self.module(**tensors)

    def _before_words(self, tensors: dict[str, Tensor], asked: Tensor) -> Tensor:
        """Run the module, and catch what its vocabulary layer sees [M, H] of asked [B, L]."""
        caught: list[Tensor] = []
        layer: Any = self.module.get_output_embeddings()

        def catch(_: Any, seen: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            caught.append(seen[0][:, self._lead :][asked])
            return (seen[0][..., :0, :],)  # the vocabulary's product is ours: it gets no rows

        hook = layer.register_forward_pre_hook(catch)
        try:
            self._run(tensors)
        finally:
            hook.remove()
        return caught[0]

    def _all_words(self, tensors: dict[str, Tensor], asked: Tensor) -> Tensor:
        """Return the module's own scores [M, V] of asked [B, L]."""
        scores: Tensor = self._run(tensors).logits
        return scores[:, self._lead :][asked]

    def loss(self, inputs: Blanks) -> Tensor:
        total, words = torch.zeros((), device=self.device), self._words()
        for found, targets in self._asked(inputs):
            if words is None:
                total = total + nn.functional.cross_entropy(found.float(), targets, reduction="sum")
            else:
                total = total + _vocabulary.nats_of(found, *words, targets)
        return total

    def nats(self, inputs: Blanks) -> tuple[Array, Array]:
        with self._answering():
            pairs = [self._judged(*asked) for asked in self._asked(inputs)]
        return np.concatenate([n for n, _ in pairs]), np.concatenate([r for _, r in pairs])

    def _judged(self, found: Tensor, targets: Tensor) -> tuple[Array, Array]:
        words = self._words()
        if words is not None:
            return _vocabulary.measure(found, *words, targets)
        chances = torch.log_softmax(found.float(), 1)  # [M, V]
        nats = -chances.gather(1, targets[:, None])[:, 0].double()
        return nats.cpu().numpy(), (chances.argmax(1) == targets).cpu().numpy()

    def distributions(self, inputs: Blanks) -> Array:
        with self._answering():
            words = self._words()
            return np.concatenate(
                [
                    torch.log_softmax(found.float(), 1).cpu().numpy()
                    if words is None
                    else _vocabulary.log_probabilities(found, *words)
                    for found, _ in self._asked(inputs)
                ]
            )

    def _packed(self, hidden: Tensor, packing: Packing, inputs: Blanks) -> tuple[Tensor, Tensor]:
        """Pick the places asked for out of packed hidden states [T, H]."""
        places = torch.from_numpy(np.flatnonzero(inputs.targets != UNASKED)).to(self.device)
        slots = packing.slots[torch.searchsorted(packing.source, places)]
        targets = torch.from_numpy(inputs.targets.reshape(-1)).to(self.device)
        return hidden.index_select(0, slots), targets[places]

    def scores(self, inputs: Any) -> Array:
        raise ModelError(
            "a language network has no scores of whole rows; take its likelihoods, or a model with"
            ' a head, such as "encoder"'
        )

    def set_head(self, weight: Array, bias: Array) -> None:
        raise ModelError(
            "a language network's head is its vocabulary, which is not solved; take a model with"
            ' the skill "pool", such as "encoder"'
        )

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        """Write a checkpoint that plain transformers opens; a language network has no labels."""
        self._release()
        self._write(self.module, folder)


class MaskedNetwork(VocabularyNetwork):
    """Says how likely hidden tokens are; `module` is of transformers' "ForMaskedLM" sort."""

    def __init__(self, module: Any, precision: str, device: str) -> None:
        super().__init__(module, module.base_model, precision, device)
        known = {"BertForMaskedLM", "RobertaForMaskedLM", "XLMRobertaForMaskedLM"}
        if type(module).__name__ in known and supports(self.body):
            self._fast = FastBody(self.body)

    @property
    def outputs(self) -> int:
        return int(self.module.config.vocab_size)

    def _layout(self) -> tuple[list[str], list[str]]:
        if not isinstance(self._fast, FastBody) or self._adapter is not None:
            return [], []
        prefix = next(name for name, part in self.module.named_modules() if part is self.body)
        return [], [f"{prefix}.{name}" for name in self._fast.transposed()]

    def _asked(self, inputs: Blanks) -> Asked:
        if self._fast is not None:
            states, targets = self._packed(*self._fast(**self._tensors(inputs)), inputs)
            yield self._transform(states), targets
            return
        for part in parts(inputs, PART):
            wanted = torch.from_numpy(part.targets).to(self.device)
            asked = wanted != UNASKED
            yield self._before_words(self._tensors(part), asked), wanted[asked]

    def _transform(self, hidden: Tensor) -> Tensor:
        """What stands between the body and the vocabulary: dense, activation, layer norm."""
        if type(self.module).__name__ == "BertForMaskedLM":
            bert: Tensor = self.module.cls.predictions.transform(hidden)
            return bert
        head = self.module.lm_head
        roberta: Tensor = head.layer_norm(nn.functional.gelu(head.dense(hidden)))
        return roberta


def parts(inputs: Blanks, tokens: int) -> Iterator[Blanks]:
    """Cut a batch, in its order, into parts of at most so many padded tokens, cut to width."""
    given = inputs.given
    sizes = inputs.lengths if given is None else np.maximum(inputs.lengths, given.lengths)
    start = width = 0
    for row, length in enumerate(sizes):
        wider = max(width, int(length))
        if row > start and wider * (row + 1 - start) > tokens:
            yield _part(inputs, slice(start, row))
            start, wider = row, int(length)
        width = wider
    yield _part(inputs, slice(start, len(sizes)))


def _part(inputs: Blanks, rows: slice) -> Blanks:
    lengths, given = inputs.lengths[rows], inputs.given
    width = int(lengths.max(initial=0))
    if given is not None:
        some = given.lengths[rows]
        given = Given(given.ids[rows, : int(some.max(initial=0))], some)
    return Blanks(
        inputs.ids[rows, :width], lengths, inputs.targets[rows, :width], inputs.bytes[rows], given
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

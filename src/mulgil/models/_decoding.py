"""The decoder as a network: how likely a text is, and how it goes on.

Chosen: GPT-2 runs through `_fastgpt`; every other causal model of transformers runs as it was
written there, up to its last hidden state, and only the places that are asked for pass through the
vocabulary (`_vocabulary`). A model that does more than one product between the two (a soft cap, a
scale) is found out by a probe of eight tokens when it is opened, and computes its own scores; the
same probe refuses one that reads ahead. It costs such a model the scores of all places.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Blanks, Segment
from mulgil.models import _checkpoints, _positions
from mulgil.models._choosing import behind, choose, tokens
from mulgil.models._fastgpt import FastGpt, supports
from mulgil.models._language import PART, Asked, parts
from mulgil.models._network import gpt2
from mulgil.models._prefix import Prefix
from mulgil.models._writing import WritingNetwork

_SCORES = 1 << 27
"""Scores that are made at once where the module computes its own."""


class DecoderNetwork(WritingNetwork):
    """Says how likely tokens are, each from those before it, and writes new ones.

    Args:
        module: a transformers model of the "ForCausalLM" sort.
        precision: "fp32" or "bf16"; training keeps fp32 masters either way.
        device: "cpu" or "cuda".

    Raises:
        ModelError: the module cannot run on tokens alone, or reads ahead.
    """

    def __init__(self, module: Any, precision: str, device: str) -> None:
        super().__init__(module, module.base_model, precision, device)
        self._kept: tuple[list[int], int, Prefix] | None = None
        known = type(module).__name__ == "GPT2LMHeadModel" and type(module.lm_head) is nn.Linear
        if known and supports(self.body):
            self._fast = FastGpt(self.body)
        self._straight = self._fast is not None or self._probe()
        """Whether the scores are one product of what the vocabulary sees."""

    @property
    def outputs(self) -> int:
        return len(self.module.get_input_embeddings().weight)

    def _words(self) -> tuple[Tensor, Tensor | None] | None:
        return super()._words() if self._straight else None

    def _asked(self, inputs: Blanks) -> Asked:
        if self._fast is not None:
            yield self._packed(*self._fast(**self._tensors(inputs)), inputs)
            return
        size = PART if self._straight else max(_SCORES // self.outputs, 1)
        for part in parts(inputs, size):
            tensors = self._tensors(part)
            targets = torch.from_numpy(part.targets).to(self.device)
            asked = targets != UNASKED
            found = self._before_words if self._straight else self._all_words
            yield found(tensors, asked), targets[asked]

    def _run(self, tensors: dict[str, Tensor]) -> Any:
        return self.module(**tensors, use_cache=False)

    @property
    def sort(self) -> str:
        return "CAUSAL_LM"

    def _probe(self) -> bool:
        """Say whether the scores are one product of the last hidden state and a table.

        Raises:
            ModelError: the module cannot run on tokens alone, or reads ahead.
        """
        name = type(self.module).__name__
        ids = torch.arange(1, 9, device=self.device)[None] * 7919 % self.outputs  # [1, 8]
        other = torch.cat([ids[:, :-1], (ids[:, -1:] + 1) % self.outputs], 1)
        mask = torch.ones_like(ids)
        self.module.eval()
        with torch.inference_mode():
            try:
                scores = self.module(input_ids=ids, attention_mask=mask).logits[0]  # [8, V]
                after = self.module(input_ids=other, attention_mask=mask).logits[0]
            except Exception as error:  # whatever an architecture says that wants other inputs
                reason = " ".join(str(error).split())[:200]
                raise ModelError(
                    f"model.pretrained: {name} cannot run on tokens alone ({reason}); use a causal"
                    " language model such as gpt2 or llama"
                ) from error
            if not torch.allclose(scores[:-1], after[:-1], atol=1e-3, rtol=1e-3):
                raise ModelError(
                    f"model.pretrained: {name} reads ahead, so it cannot say how likely a text is;"
                    ' use model.name = "encoder"'
                )
            if not isinstance(self.module.get_output_embeddings(), nn.Linear):
                return False
            try:
                tensors = {"input_ids": ids, "attention_mask": mask}
                states = self._before_words(tensors, mask.bool())  # [8, H]
                found = nn.functional.linear(states, *(super()._words() or ()))
            except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
                return False  # its vocabulary sees something of another shape
        return found.shape == scores.shape and torch.allclose(found, scores, atol=1e-4, rtol=1e-4)

    # ------------------------------------------------------------ new text

    def _room(self, prompts: list[list[int]], most: int) -> tuple[list[list[int]], int]:
        """A prompt that is too long loses its beginning."""
        limit = self.longest()
        if limit is None:
            return prompts, most
        limit -= self._taken
        room = min(most, limit - 1)
        return [prompt[room - limit :] for prompt in prompts], room

    def choose(
        self, prefix: Segment, queries: Sequence[Segment], choices: Sequence[Segment]
    ) -> Array:
        before, asked = tokens(prefix), [*map(tokens, queries)]
        with self._answering():
            return choose(self.module, self._begun(before), asked, [*map(tokens, choices)])

    def follow(
        self,
        prefix: Sequence[int],
        prompts: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
    ) -> tuple[Array, Array]:
        """Return (-ln p float64, whether it is the likeliest) of targets' tokens, row after row.

        Args:
            prefix: token ids that stand before all prompts, read once for all of them.
            prompts: token ids; one of prefix and prompt holds a token.
            targets: token ids that stand behind each prompt.

        Raises:
            ModelError: the model keeps a state instead of keys and values.
        """
        with self._answering():
            return behind(self.module, self._begun([*prefix]), prompts, targets)

    def _begun(self, prefix: list[int]) -> Prefix:
        """Return what prompts begin with, read: the last one is kept until a weight moves."""
        if self._optimizer is not None:  # it learns, and nothing is worth keeping
            self._kept = None
            return Prefix(self.module, prefix)
        moved = sum(weight._version for weight in self.module.parameters())
        if self._kept is None or self._kept[:2] != (prefix, moved):
            self._kept = None  # two would not fit together where the model is large
            self._kept = (prefix, moved, Prefix(self.module, prefix))
        return self._kept[2]

    def _measured_behind(
        self, prefix: Prefix, prompts: list[list[int]], fresh: list[list[int]]
    ) -> list[list[float]]:
        rows = [row[len(prefix.last) :] for row in prompts]
        nats, _ = behind(self.module, prefix, rows, fresh)
        ends = np.cumsum([len(new) for new in fresh])
        return [(-part).tolist() for part in np.split(nats, ends[:-1])]

    def longest(self) -> int | None:
        """Return the longest text that the config allows, in tokens; None knows no limit."""
        return _positions.longest(_positions.plain(self.module.config))

    def _measured(self, prompts: list[list[int]], fresh: list[list[int]]) -> list[list[float]]:
        """Return ln p of each new token."""
        rows = [[*old, *new] for old, new in zip(prompts, fresh, strict=True)]
        lengths = np.array([len(row) - 1 for row in rows])
        ids = np.zeros((len(rows), lengths.max()), np.int64)
        targets = np.full(ids.shape, UNASKED)
        for i, row in enumerate(rows):
            ids[i, : len(row) - 1] = row[:-1]
            targets[i, len(prompts[i]) - 1 : len(row) - 1] = fresh[i]
        nats, _ = self.nats(Blanks(ids, lengths, targets, np.zeros(len(rows))))
        ends = np.cumsum([len(new) for new in fresh])
        return [(-part).tolist() for part in np.split(nats, ends[:-1])]


def fresh(chosen: Any, tokenizer: Any, precision: str, device: str) -> DecoderNetwork:
    """Return a GPT-2 of the chosen sizes with random weights."""
    from transformers import GPT2LMHeadModel

    config = gpt2(chosen, tokenizer)
    return DecoderNetwork(GPT2LMHeadModel(config), precision, device)


def pretrained(folder: Path, precision: str, device: str, known: bool = True) -> DecoderNetwork:
    """Open a checkpoint with the head that it brings; not `known`, its weights are random again."""
    from transformers import AutoModelForCausalLM

    module, info = _checkpoints.opened(AutoModelForCausalLM, folder)
    _checkpoints.whole(info, folder)
    return DecoderNetwork(module if known else type(module)(module.config), precision, device)


def saved(folder: Path, precision: str, device: str) -> DecoderNetwork:
    """Open what `DecoderNetwork.save` wrote."""
    network = pretrained(folder, precision, device)
    network.answers_only()
    return network

"""The decoder as a network: how likely a text is, and how it goes on.

Chosen: GPT-2 runs through `_fastgpt`; every other causal model of transformers runs as it was
written there, up to its last hidden state, and only the places that are asked for pass through the
vocabulary (`_vocabulary`). A model that does more than one product between the two (a soft cap, a
scale) is found out by a probe of eight tokens when it is opened, and computes its own scores; the
same probe refuses one that reads ahead. It costs such a model the scores of all places.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Blanks, Sampling
from mulgil.models import _checkpoints
from mulgil.models._continuing import batches, continued
from mulgil.models._fastgpt import FastGpt, supports
from mulgil.models._language import parts
from mulgil.models._vocabulary import log_probabilities, measure, nats_of
from mulgil.networks import LanguageNetwork
from mulgil.optimizer import MasterAdamW

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

_AT_ONCE = 1 << 14
"""Padded tokens that are run at once where rows are not packed."""

_SCORES = 1 << 27
"""Scores that are made at once where the module computes its own."""

_LENGTHS = ("max_position_embeddings", "max_seq_len", "max_sequence_length")
"""What configs call the longest text; GPT-2's `n_positions` answers to the first."""


class DecoderNetwork(LanguageNetwork):
    """Says how likely tokens are, each from those before it, and writes new ones.

    Args:
        module: a transformers model of the "ForCausalLM" sort.
        precision: "fp32" or "bf16"; training keeps fp32 masters either way.
        device: "cpu" or "cuda".

    Raises:
        ModelError: the module cannot run on tokens alone, or reads ahead.
    """

    def __init__(self, module: Any, precision: str, device: str) -> None:
        self.module = module.to(device)
        self.device = torch.device(device)
        self.dtype = _DTYPES[precision]
        self.body = module.base_model
        known = type(module).__name__ == "GPT2LMHeadModel" and type(module.lm_head) is nn.Linear
        self._fast = FastGpt(self.body) if known and supports(self.body) else None
        self._straight = self._fast is not None or self._probe()
        self._optimizer: MasterAdamW | None = None
        self._cast = False
        self._whole: dict[str, Tensor] | None = {}  # weights as they were before rounding

    @property
    def outputs(self) -> int:
        return len(self.module.get_input_embeddings().weight)

    @property
    def parameters_total(self) -> int:
        return sum(p.numel() for p in self.module.parameters())  # tied weights come once

    # ------------------------------------------------------------ learning by steps

    def optimizer(self, weight_decay: float) -> MasterAdamW:
        """Make the optimizer that holds the fp32 masters; the module becomes its working copy."""
        self._unround()
        self._optimizer = MasterAdamW(self.module, weight_decay=weight_decay, dtype=self.dtype)
        return self._optimizer

    def seed(self, seed: int) -> None:
        """Seed the dropout of the fast path."""
        if self._fast is not None:
            self._fast.masks.seed = seed

    def seek(self, call: int) -> None:
        """Set the dropout of the fast path to its `call`-th forward pass."""
        if self._fast is not None:
            self._fast.masks.seek(call)

    def loss(self, inputs: Blanks) -> Tensor:
        total = torch.zeros((), device=self.device)
        for found, targets in self._asked(inputs):
            if self._straight:
                total = total + nats_of(found, *self._table(), targets)
            else:
                total = total + nn.functional.cross_entropy(found.float(), targets, reduction="sum")
        return total

    def _asked(self, inputs: Blanks) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (what the vocabulary sees [M, H], targets [M]), row after row.

        Where the module computes its own scores the first is those, [M, V].
        """
        if self._fast is not None:
            hidden, packing = self._fast(*self._tensors(inputs))  # [T, H]
            places = torch.from_numpy(np.flatnonzero(inputs.targets != UNASKED)).to(self.device)
            slots = packing.slots[torch.searchsorted(packing.source, places)]
            targets = torch.from_numpy(inputs.targets.reshape(-1)).to(self.device)
            yield hidden.index_select(0, slots), targets[places]
            return
        size = _AT_ONCE if self._straight else max(_SCORES // self.outputs, 1)
        for part in parts(inputs, size):
            ids, mask = self._tensors(part)
            targets = torch.from_numpy(part.targets).to(self.device)
            asked = targets != UNASKED
            if self._straight:
                yield self._states(ids, mask)[asked], targets[asked]
            else:
                scores = self.module(input_ids=ids, attention_mask=mask, use_cache=False).logits
                yield scores[asked], targets[asked]

    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Run the body as transformers wrote it: [B, L] to its last hidden state [B, L, H]."""
        found: Tensor = self.body(
            input_ids=ids, attention_mask=mask, use_cache=False
        ).last_hidden_state
        return found

    def _table(self) -> tuple[Tensor, Tensor | None]:
        head = self.module.get_output_embeddings()
        return head.weight, getattr(head, "bias", None)

    def _tensors(self, inputs: Blanks) -> tuple[Tensor, Tensor]:
        ids = torch.from_numpy(inputs.ids)  # [B, L]
        mask = torch.arange(ids.shape[1]) < torch.from_numpy(inputs.lengths)[:, None]  # [B, L]
        return ids.to(self.device), mask.long().to(self.device)

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
                states = self._states(ids, mask)[0]
            except (AttributeError, TypeError, ValueError):  # the body answers in another way
                return False
            found = nn.functional.linear(states, *self._table())
        return found.shape == scores.shape and torch.allclose(found, scores, atol=1e-4, rtol=1e-4)

    # ------------------------------------------------------------ answering

    def nats(self, inputs: Blanks) -> tuple[Array, Array]:
        with self._answering():
            found = [self._judged(*asked) for asked in self._asked(inputs)]
        return np.concatenate([n for n, _ in found]), np.concatenate([r for _, r in found])

    def _judged(self, found: Tensor, targets: Tensor) -> tuple[Array, Array]:
        if self._straight:
            return measure(found, *self._table(), targets)
        chances = torch.log_softmax(found.float(), 1)  # [M, V]
        nats = -chances.gather(1, targets[:, None])[:, 0].double()
        return nats.cpu().numpy(), (chances.argmax(1) == targets).cpu().numpy()

    def distributions(self, inputs: Blanks) -> Array:
        with self._answering():
            return np.concatenate(
                [
                    log_probabilities(found, *self._table())
                    if self._straight
                    else torch.log_softmax(found.float(), 1).cpu().numpy()
                    for found, _ in self._asked(inputs)
                ]
            )

    def features(self, inputs: Any) -> Array:
        """Return the mean over the tokens of the last hidden state, float32 [B, width]."""
        with self._answering():
            ids, mask = self._tensors(inputs)
            if self._fast is not None:
                hidden, packing = self._fast(ids, mask)
                mean = packing.mean(hidden)
            else:
                weights = mask.to(self.dtype)[:, :, None]
                mean = (self._states(ids, mask) * weights).sum(1) / weights.sum(1)
            found: Array = mean.float().cpu().numpy()
            return found

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

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """No dropout, no gradients, weights in the working precision and up to date.

        Buffers stay as they are: rotary frequencies in bfloat16 would be wrong at far places.
        """
        if self._optimizer is not None:
            self._optimizer.flush()
        elif not self._cast:
            self._cast = True
            if self.dtype is not torch.float32:
                held = dict(self.module.named_parameters())
                if self._whole is not None:
                    self._whole = {name: p.data for name, p in held.items()}
                for parameter in held.values():
                    parameter.data = parameter.data.to(self.dtype)
        self.module.eval()
        with torch.inference_mode():
            yield

    # ------------------------------------------------------------ new text

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, stops: Sequence[int]
    ) -> list[tuple[list[int], list[float]]]:
        """Continue each prompt; one that is too long for the model loses its beginning.

        A drawn text depends on the seed and on all the prompts of the call; the likeliest text
        (temperature 0) depends on its own prompt alone.

        Raises:
            ModelError: a prompt is empty, or the architecture cannot generate.
        """
        if not all(len(prompt) for prompt in prompts):
            raise ModelError("a prompt has no tokens; give it the token that begins a text")
        limit = self.longest()
        room = sampling.max_new if limit is None else min(sampling.max_new, limit - 1)
        if room < 1:
            return [([], []) for _ in prompts]
        kept = [list(p) if limit is None else list(p)[room - limit :] for p in prompts]
        found: dict[int, tuple[list[int], list[float]]] = {}
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), self._answering():
            torch.manual_seed(sampling.seed)
            for rows in batches(self.module, kept, room):
                begun = [kept[i] for i in rows]
                new = continued(self.module, begun, sampling, room, stops)
                found |= zip(rows, zip(new, self._measured(begun, new), strict=True), strict=True)
        return [found[i] for i in range(len(kept))]

    def longest(self) -> int | None:
        """Return the longest text that the config allows, in tokens; None knows no limit."""
        values = (getattr(self.module.config, name, None) for name in _LENGTHS)
        return next((int(value) for value in values if isinstance(value, int)), None)

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

    # ------------------------------------------------------------ files

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        """Write a checkpoint that plain transformers opens; a language network has no labels."""
        if self._optimizer is not None:
            self._optimizer.release()
            self._optimizer = None
        self._unround()
        with _checkpoints.quiet():
            self.module.save_pretrained(folder)

    def _unround(self) -> None:
        """Give the module the weights that it had before it answered."""
        if self._cast and self._whole is None:
            raise ModelError("a network that was opened for answering is not saved again")
        for name, weight in (self._whole or {}).items():
            self.module.get_parameter(name).data = weight
        self._whole, self._cast = {}, False


def fresh(chosen: Any, tokenizer: Any, precision: str, device: str) -> DecoderNetwork:
    """Return a GPT-2 of the chosen sizes with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    special = tokenizer.special_ids
    config = GPT2Config(
        vocab_size=tokenizer.size,
        n_embd=chosen.hidden,
        n_layer=chosen.layers,
        n_head=chosen.heads,
        n_inner=chosen.intermediate,
        n_positions=chosen.positions,
        embd_pdrop=chosen.dropout,
        attn_pdrop=chosen.dropout,
        resid_pdrop=chosen.dropout,
        bos_token_id=special.get("bos", special.get("cls")),
        eos_token_id=special.get("eos", special.get("sep")),
        pad_token_id=special.get("pad"),
    )
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
    network._whole = None  # it only answers: the rounded weights are enough
    return network

"""What every network of torch shares: weights in two precisions, dropout that resumes, files.

Chosen: while it learns, the optimizer holds float32 masters and the module is its working copy;
while it answers, only parameters are rounded (a buffer such as rotary frequencies would be wrong
at far places in bfloat16), and the whole ones are kept for saving. It costs both in memory for as
long as the network may still be saved.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mulgil.errors import ModelError
from mulgil.flow import Array
from mulgil.models import _checkpoints
from mulgil.models._fastbert import FastBody
from mulgil.models._fastgpt import FastGpt
from mulgil.networks import Adapter, Network
from mulgil.optimizer import MasterAdamW

_RATES = ("dropout", "attention_dropout", "activation_dropout")
"""Where modules hold a dropout that is no module of its own."""

_SETTINGS = ("dropout", "dropout_prob", "dropout_rate", "pdrop")
"""How configs end the names of dropouts."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TorchNetwork(Network):
    """A transformers module in a working precision.

    Args:
        module: what learns and is saved.
        body: the part of it that makes hidden states of tokens.
        precision: "fp32" or "bf16"; training keeps fp32 masters either way.
        device: "cpu" or "cuda".
    """

    def __init__(self, module: Any, body: Any, precision: str, device: str) -> None:
        self.module = module.to(device)
        self.body = body
        self.device = torch.device(device)
        self.dtype = DTYPES[precision]
        self._fast: FastBody | FastGpt | None = None
        self._optimizer: MasterAdamW | None = None
        self._cast = False
        self._whole: dict[str, Tensor] | None = {}  # weights as they were before rounding
        self._adapter: Adapter | None = None
        kinds = int(getattr(body.config, "type_vocab_size", 0) or 0)
        self._tells_kinds = kinds > 1 and "token_type_ids" in signature(body.forward).parameters

    @property
    def parameters_total(self) -> int:
        return sum(p.numel() for p in self.module.parameters())  # tied weights come once

    # ------------------------------------------------------------ learning by steps

    def optimizer(self, weight_decay: float) -> MasterAdamW:
        """Make the optimizer that holds the fp32 masters; the module becomes its working copy."""
        self._unround()
        sparse, transposed = self._layout()
        self._optimizer = MasterAdamW(
            self.module,
            weight_decay=weight_decay,
            dtype=self.dtype,
            sparse=sparse,
            transposed=transposed,
        )
        self._round_what_rests()
        return self._optimizer

    def _round_what_rests(self) -> None:
        """Give weights that never learn the working precision; an adapter's base is not kept."""
        composed = self._adapter is not None and self._fast is not None
        apart = self._read_by_rows()
        for name, parameter in self.module.named_parameters():
            # A weight that an adapter's part is added to is rounded with it, not before.
            held = parameter is apart or (composed and name.endswith(".base_layer.weight"))
            if parameter.requires_grad or held:
                continue
            if self._adapter is None and self._whole is not None:
                self._whole[name] = parameter.data
            parameter.data = parameter.data.to(self.dtype)

    @property
    def sort(self) -> str | None:
        """Return what peft calls a module of this sort: SEQ_CLS, CAUSAL_LM; None has no name."""
        return None

    @property
    def part(self) -> Any:
        """What is saved of the module, and what a method may add to."""
        return self.module

    def adapt(self, adapter: Adapter) -> None:
        """Run with what a method has added; from here on it alone is saved."""
        self._adapter = adapter
        if adapter.module is not None:
            self._wrap(adapter.module)
        if self._fast is not None and adapter.weight is not None and adapter.module is None:
            self._fast = type(self._fast)(self.body, weight=adapter.weight)
        else:
            self._fast = None

    def read_head(self, folder: Path) -> None:
        """Take the head that a run has saved beside what it added; by default that has it too."""

    def _wrap(self, module: Any) -> None:
        """Run `part` within this module."""
        self.module = module

    @property
    def _taken(self) -> int:
        """Return how many positions a text has less than the config says."""
        return self._adapter.taken if self._adapter is not None else 0

    @property
    def _lead(self) -> int:
        """Return how many places stand before a text's own in what the module gives."""
        return self._adapter.lead if self._adapter is not None else 0

    def _layout(self) -> tuple[list[str], list[str]]:
        """Return the names of tables with row-sparse gradients, and of weights laid transposed."""
        return [], []

    def drop(self, rate: float | None) -> None:
        """Set the dropout of every part, here and in the config; None leaves it as it is."""
        if rate is None:
            return
        for part in self.module.modules():
            if isinstance(part, nn.Dropout):
                part.p = rate
            for name in _RATES:
                if type(getattr(part, name, None)) is float:
                    setattr(part, name, rate)
        config = self.body.config
        for name in (name for name in vars(config) if name.endswith(_SETTINGS)):
            if isinstance(getattr(config, name), int | float):
                setattr(config, name, rate)

    def seed(self, seed: int) -> None:
        """Seed the dropout of the fast path."""
        if self._fast is not None:
            self._fast.masks.seed = seed

    def seek(self, call: int) -> None:
        """Set the dropout of the fast path to its `call`-th forward pass."""
        if self._fast is not None:
            self._fast.masks.seek(call)

    def _tensors(self, inputs: Any) -> dict[str, Tensor]:
        """Return what the body reads, int64 [B, L] on the device, by the names it has there."""
        ids = torch.from_numpy(inputs.ids)
        mask = torch.arange(ids.shape[1]) < torch.from_numpy(inputs.lengths)[:, None]
        found = {"input_ids": ids.to(self.device), "attention_mask": mask.long().to(self.device)}
        kinds = getattr(inputs, "kinds", None)
        if kinds is not None and self._tells_kinds:
            found["token_type_ids"] = torch.from_numpy(kinds).to(self.device)
        return found

    # ------------------------------------------------------------ answering

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """No dropout, no gradients, weights in the working precision and up to date."""
        if self._optimizer is not None:
            self._optimizer.flush()
        elif not self._cast:
            self._cast = True
            if self.dtype is not torch.float32:
                held = dict(self.module.named_parameters())
                if self._whole is not None:
                    self._whole = {name: p.data for name, p in held.items()}
                apart = self._read_by_rows()
                for parameter in held.values():
                    if parameter is not apart:
                        parameter.data = parameter.data.to(self.dtype)
        self.module.eval()
        with torch.inference_mode():
            yield

    def features(self, inputs: Any) -> Array:
        """Return the mean over the tokens of the last hidden state, float32 [B, width]."""
        with self._answering():
            tensors = self._tensors(inputs)
            if self._fast is not None:
                hidden, packing = self._fast(**tensors)
                pooled = packing.mean(hidden)
            else:
                pooled = masked_mean(self._states(**tensors), tensors["attention_mask"])
            found: Array = pooled.float().cpu().numpy()
            return found

    def _states(self, **tensors: Tensor) -> Tensor:
        """Run the body as transformers wrote it: [B, L] to its last hidden state [B, L, H]."""
        found: Tensor = self.body(**tensors)[0][:, self._lead :]
        return found

    def _read_by_rows(self) -> nn.Parameter | None:
        """Return the table whose rows are rounded as they are read, which is left whole."""
        return None

    def answers_only(self) -> None:
        """Keep no weights but the rounded ones: it will not be saved again."""
        self._whole = None

    # ------------------------------------------------------------ files

    def _release(self) -> None:
        """Give the module its float32 weights, from the optimizer or from before it answered."""
        if self._optimizer is not None:
            self._optimizer.release()
            self._optimizer = None
        self._unround()

    def _unround(self) -> None:
        if self._cast and self._whole is None:
            raise ModelError("a network that was opened for answering is not saved again")
        for name, weight in (self._whole or {}).items():
            self.module.get_parameter(name).data = weight
        self._whole, self._cast = {}, False

    def _write(self, part: Any, folder: Path) -> None:
        """Write a module's config and weights so that plain transformers, or peft, opens them."""
        if self._adapter is not None:
            return self._adapter.write(folder)
        with _checkpoints.quiet():
            part.save_pretrained(folder)


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over real tokens: hidden [B, L, H], mask [B, L] -> [B, H]."""
    weights = mask.to(hidden.dtype)[:, :, None]
    return (hidden * weights).sum(1) / weights.sum(1)

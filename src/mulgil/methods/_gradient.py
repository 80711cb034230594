"""The learner that every gradient method shares: a torch network, AdamW, a state that resumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mulgil.errors import DataError, RunError
from mulgil.flow import UNASKED, Array, Batch, Blanks, Located
from mulgil.networks import Network, Stepped
from mulgil.optimizer import MasterAdamW


class GradientLearner(Stepped):
    """Learns by AdamW on the network's own module.

    Args:
        task: gives the loss of labels; a language network knows its own.
        network: has `module` (torch), `forward(inputs)` and `seek(step)` for its dropout.
        weights: float32 [labels], or None.
        trainer: the recipe's trainer settings.
        rate: what multiplies the trainer's learning rate.
    """

    def __init__(
        self, task: Any, network: Any, weights: Array | None, trainer: Any, rate: float = 1.0
    ) -> None:
        self.task = task
        self.network: Network = network
        self._net = network
        self.optimizer: MasterAdamW = network.optimizer(weight_decay=trainer.weight_decay)
        self._weights = None if weights is None else torch.from_numpy(weights).to(network.device)
        self._rate = rate
        self._seed = 0
        self._calls = 0
        self._parts = 0

    @property
    def trainable(self) -> int:
        return sum(p.numel() for p in self._net.module.parameters() if p.requires_grad)

    def seed(self, seed: int) -> None:
        self._seed = seed
        torch.manual_seed(seed)
        self._net.seed(seed)

    def backward(self, batch: Batch) -> tuple[float, float]:
        if self._parts:
            self.optimizer.accumulate()
        self._parts += 1
        self._net.module.train()
        self._net.seek(self._calls)
        self._calls += 1
        loss, weight = self._loss(batch)
        if weight:
            loss.backward()
        return float(loss.detach()), weight

    def _loss(self, batch: Batch) -> tuple[Any, float]:
        """Return the summed loss and what it is a sum over: rows, or tokens asked for."""
        if isinstance(batch.inputs, Blanks):
            asked = float((batch.inputs.targets != UNASKED).sum())
            return self._net.loss(batch.inputs) if asked else torch.zeros(()), asked
        if isinstance(batch.inputs, Located):
            asked = float((batch.inputs.targets != UNASKED).sum())
            return self.task.loss(self._net.forward(batch.inputs).float(), batch.inputs), asked
        if batch.targets is None:
            raise DataError("training rows need labels")
        targets = torch.from_numpy(batch.targets).to(self._net.device)
        scores = self._net.forward(batch.inputs).float()
        return self.task.loss(scores, targets, self._weights), float(len(batch.rows))

    def update(self, learning_rate: float, clip: float, weight: float) -> float:
        step = self.optimizer.step
        norm = step(learning_rate * self._rate, clip, 1.0 / weight) if weight else 0.0
        self.optimizer.zero()
        self._parts = 0
        return norm

    def state(self) -> dict[str, Array]:
        held = {f"optimizer.{name}": value for name, value in self.optimizer.state().items()}
        held["calls"] = torch.tensor([self._calls], dtype=torch.int64)
        held["random"] = torch.get_rng_state()
        if torch.cuda.is_available():
            held["random.cuda"] = torch.cuda.get_rng_state()
        return {name: value.detach().cpu().numpy() for name, value in held.items()}

    def restore(self, state: dict[str, Array]) -> None:
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
        try:
            self._calls = int(tensors["calls"])
            torch.set_rng_state(tensors["random"])
            if "random.cuda" in tensors and torch.cuda.is_available():
                torch.cuda.set_rng_state(tensors["random.cuda"])
            prefix = "optimizer."
            self.optimizer.restore(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        except (KeyError, ValueError, RuntimeError) as error:
            raise RunError(
                f"the checkpoint does not fit this network: {error}; train in a new folder"
            ) from error

"""What the families of checkpoints share: a network is opened, then its dropout is set."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mulgil.contracts import Model
from mulgil.flow import Head, Skill
from mulgil.models import _checkpoints
from mulgil.networks import Network

if TYPE_CHECKING:
    from mulgil.models._torch import TorchNetwork

RATES = ((256, 1e-3, 4e-4), (512, 1e-3, 1e-4), (1 << 30, 3e-4, 5e-5))
"""Learning rates: width of a token's vector at most, the rate of fresh weights, of learnt ones."""

WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")
"""What configs call the width of a token's vector."""


class Family(Model):
    """Builds a network from a checkpoint, or fresh from sizes (`SizedSettings`)."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._folder: Path | None = None

    def rate(self, needs: frozenset[Skill]) -> float:
        """Return a learning rate: wide networks take small steps, and learnt weights smaller ones.

        See decision 0023 for what it was chosen by.
        """
        folder, width = self.source(), int(self.settings.hidden)
        if folder is not None:
            told = _checkpoints.config(folder)
            width = next((int(told[name]) for name in WIDTHS if name in told), 768)
        fresh, learnt = next(rates for most, *rates in RATES if width <= most)
        return fresh if folder is None or self.settings.weights == "random" else learnt

    def build(self, tokenizer: Any, head: Head, precision: str, device: str, seed: int) -> Network:
        import torch

        torch.manual_seed(seed)
        network = self._opened(tokenizer, head, precision, device)
        network.drop(self.settings.dropout)
        return network

    @abstractmethod
    def _opened(self, tokenizer: Any, head: Head, precision: str, device: str) -> TorchNetwork:
        """Return the network with a new head; torch is seeded."""

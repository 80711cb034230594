"""What the families of checkpoints share: a network is opened, then its dropout is set."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mulgil.contracts import Model
from mulgil.flow import Head
from mulgil.networks import Network

if TYPE_CHECKING:
    from mulgil.models._torch import TorchNetwork


class Family(Model):
    """Builds a network from a checkpoint, or fresh from sizes (`SizedSettings`)."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._folder: Path | None = None

    def build(self, tokenizer: Any, head: Head, precision: str, device: str, seed: int) -> Network:
        import torch

        torch.manual_seed(seed)
        network = self._opened(tokenizer, head, precision, device)
        network.drop(self.settings.dropout)
        return network

    @abstractmethod
    def _opened(self, tokenizer: Any, head: Head, precision: str, device: str) -> TorchNetwork:
        """Return the network with a new head; torch is seeded."""

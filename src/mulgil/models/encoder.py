"""Encoders (BERT, RoBERTa, ELECTRA and their kin): a hub id, a local folder, or fresh from sizes.

Chosen: a checkpoint that brings its class's own pooler (or needs none) gets that class's own
head, so that plain transformers opens the run; one that comes without a pooler gets the mean
over its tokens and a linear layer, because a pooler of random weights costs accuracy. Only
safetensors are opened, and a config that names code of its own is refused: a model's files are
data. BERT and RoBERTa run through `_fastbert`; all others run as transformers wrote them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mulgil import settings
from mulgil.flow import Head, Kind, Skill
from mulgil.models import _checkpoints, _positions
from mulgil.models._family import Family
from mulgil.models._sizes import SizedSettings
from mulgil.networks import Network

if TYPE_CHECKING:
    from mulgil.models._torch import TorchNetwork


class EncoderSettings(SizedSettings):
    """Settings of the encoder family; the sizes are for a fresh model only."""

    pooling: Literal["auto", "mean"] = "auto"
    """"auto" takes the checkpoint's own head where it has one, "mean" never does."""


class Encoder(Family):
    """The family."""

    Settings: ClassVar[type[settings.Settings]] = EncoderSettings
    kind: ClassVar[Kind] = "encoder"
    skills: ClassVar[frozenset[Skill]] = frozenset(
        {"pool", "pair", "rate", "tokens", "fill", "choose"}
    )
    tokenizer: ClassVar[str] = "subword"

    def source(self) -> Path | None:
        """Return the checkpoint's folder, downloaded when it is a hub id.

        Raises:
            ModelError: it cannot be found or reached, or holds no weights that are read.
        """
        name = self.settings.pretrained
        if name is None or self._folder is not None:
            return self._folder
        self._folder = _checkpoints.locate(name)
        return self._folder

    def longest(self) -> int:
        """Return the longest row in tokens that the positions of the model allow."""
        folder = self.source()
        if folder is None:
            return int(self.settings.positions)
        return _positions.longest(_checkpoints.config(folder)) or 512

    def _opened(self, tokenizer: Any, head: Head, precision: str, device: str) -> TorchNetwork:
        from mulgil.models import _heads, _language, _masked_choosing, _network, _spans

        folder, known = self.source(), self.settings.weights == "pretrained"
        if folder is not None:
            _checkpoints.fits(folder, tokenizer.size)
        if head.skill == "choose":
            longest = self.longest()
            return _masked_choosing.opened(folder, tokenizer, longest, precision, device)
        if head.skill == "fill":
            if folder is None:
                return _language.fresh(self.settings, tokenizer, precision, device)
            return _language.opened(folder, precision, device, known)
        if head.skill == "tokens":
            if folder is None:
                return _spans.fresh(self.settings, tokenizer, head, precision, device)
            return _spans.opened(folder, head, precision, device, known)
        if folder is None:
            network = _network.fresh(self.settings, tokenizer, head, precision, device)
        else:
            own = head.pooling == "own" and self.settings.pooling == "auto"
            network = _network.pretrained(folder, head, own, precision, device, known)
        network.body.config.problem_type = _heads.problem(head)
        return network

    @classmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> Network:
        from mulgil.models import _language, _network, _spans

        _checkpoints.inspect(folder)
        if head.skill == "fill":
            network = _language.opened(folder, precision, device)
            network.answers_only()
            return network
        if head.skill == "tokens":
            return _spans.opened(folder, head, precision, device, whole=True)
        return _network.saved(folder, head.outputs, precision, device)

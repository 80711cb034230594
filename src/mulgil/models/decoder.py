"""Decoders (GPT-2, Llama and their kin): a hub id, a local folder, or fresh from sizes.

Chosen: whatever transformers opens as a causal language model, with the vocabulary that it
brings; a fresh model is a GPT-2, whose table of tokens is also its output layer. Only safetensors
are opened, and a config that names code of its own is refused: a model's files are data. A model
that reads both ways is refused before the work: its likelihoods would be no likelihoods. GPT-2
runs through `_fastgpt`; all others run as transformers wrote them. Rows are classified by the class
of transformers for that, from the vector of their last token, the one that has seen the whole row.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mulgil import settings
from mulgil.errors import ModelError
from mulgil.flow import Head, Kind, Skill
from mulgil.models import _checkpoints, _positions
from mulgil.models._family import Family
from mulgil.models._sizes import SizedSettings
from mulgil.networks import Network

if TYPE_CHECKING:
    from mulgil.models._torch import TorchNetwork

POOLED = {"pool", "pair", "rate"}
"""Skills that need one vector a row."""


class Decoder(Family):
    """The family."""

    Settings: ClassVar[type[settings.Settings]] = SizedSettings
    kind: ClassVar[Kind] = "decoder"
    skills: ClassVar[frozenset[Skill]] = frozenset(
        {"pool", "pair", "rate", "score", "write", "choose"}
    )
    tokenizer: ClassVar[str] = "subword"

    def source(self) -> Path | None:
        """Return the checkpoint's folder, downloaded when it is a hub id.

        Raises:
            ModelError: it cannot be found or reached, holds no weights that are read, or is of
                another family.
        """
        name = self.settings.pretrained
        if name is None or self._folder is not None:
            return self._folder
        folder = _checkpoints.locate(name)
        _one_way(folder)
        self._folder = folder
        return folder

    def longest(self) -> int | None:
        """Return the longest row in tokens that the positions of the model allow."""
        folder = self.source()
        if folder is None:
            return int(self.settings.positions)
        return _positions.longest(_checkpoints.config(folder))

    def _opened(self, tokenizer: Any, head: Head, precision: str, device: str) -> TorchNetwork:
        from mulgil.models import _decoding, _heads, _network

        folder, known = self.source(), self.settings.weights == "pretrained"
        if folder is not None:
            _checkpoints.fits(folder, tokenizer.size)
        if head.skill in POOLED:
            network = _network.last_token(
                folder, self.settings, tokenizer, head, precision, device, known
            )
            network.module.config.problem_type = _heads.problem(head)
            return network
        if folder is None:
            return _decoding.fresh(self.settings, tokenizer, precision, device)
        return _decoding.pretrained(folder, precision, device, known)

    @classmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> Network:
        from mulgil.models import _decoding, _network

        _checkpoints.inspect(folder)
        if head.skill in POOLED:
            return _network.saved(folder, head.outputs, precision, device)
        return _decoding.saved(folder, precision, device)


def _one_way(folder: Path) -> None:
    """Refuse an architecture that does not read one way; an unknown one fails when it is opened."""
    from transformers.models.auto import configuration_auto, modeling_auto

    config = _checkpoints.config(folder)
    kind = config.get("model_type")
    if kind not in configuration_auto.CONFIG_MAPPING_NAMES:
        return
    both = kind in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    if both or config.get("is_encoder_decoder"):
        remedy = 'use model.name = "seq2seq"' if both else "take one such as gpt2 or llama"
        raise ModelError(
            f"model.pretrained: {folder.name} is of type {kind}, an encoder with a decoder; model"
            f' "decoder" takes causal language models alone: {remedy}'
        )
    causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    masked = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if not causal or (masked and not config.get("is_decoder")):
        raise ModelError(
            f"model.pretrained: {folder.name} is of type {kind}, which is no causal language"
            ' model; use model.name = "encoder"'
        )

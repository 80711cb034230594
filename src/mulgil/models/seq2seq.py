"""Encoders with decoders (T5, BART, Marian): a hub id, a folder, an encoder's two sides, or fresh.

Chosen: whatever transformers opens as a sequence-to-sequence language model, with the vocabulary
that it brings. A fresh model is a T5: its relative positions bound no text, its norms come first,
which eases learning from nothing, and its one table of tokens is also its output layer. (Rows of 5
to 12 tokens written backwards, 0.24 million weights, 400 steps at a peak rate of 1e-3, one seed: a
loss of 3.18 a token, a BART of these sizes 3.64, gated feed-forward layers 3.27.) `encoder` starts
both sides from one pretrained encoder (Rothe et al. 2020); what the decoder adds, the attention to
the other side, is new and costs its first steps, and the sides do not share their tables, since a
saved folder could not say so. Only safetensors are opened, and a config that names code of its own
is refused: a model's files are data.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pydantic

from mulgil import settings
from mulgil.errors import ModelError
from mulgil.flow import Head, Kind, Skill
from mulgil.models import _checkpoints, _sides
from mulgil.models._family import Family
from mulgil.models._sizes import SizedSettings
from mulgil.networks import Network

if TYPE_CHECKING:
    from mulgil.models._torch import TorchNetwork


class Seq2SeqSettings(SizedSettings):
    """A checkpoint, an encoder to start from, or sizes; the sizes are for a fresh model only."""

    encoder: Annotated[str | None, settings.PATH_OR_NAME] = None
    """Start both sides from this encoder: local folder, hub id, or a bundled "mulgil/..."."""

    @pydantic.model_validator(mode="after")
    def _one_start(self) -> Seq2SeqSettings:
        if self.pretrained is not None and self.encoder is not None:
            raise ValueError(
                "pretrained is a whole encoder-decoder, encoder starts a new one;"
                " they exclude each other: give one of the two"
            )
        return self


class Seq2Seq(Family):
    """The family."""

    Settings: ClassVar[type[settings.Settings]] = Seq2SeqSettings
    kind: ClassVar[Kind] = "seq2seq"
    skills: ClassVar[frozenset[Skill]] = frozenset({"write", "choose"})
    tokenizer: ClassVar[str] = "subword"

    def source(self) -> Path | None:
        """Return the folder of the checkpoint, or of the encoder that both sides start from.

        Raises:
            ModelError: it cannot be found or reached, holds no weights that are read, or is of
                another family.
        """
        if self._folder is None and self.settings.pretrained is not None:
            folder = _checkpoints.locate(self.settings.pretrained)
            _two_parts(folder)
            self._folder = folder
        if self._folder is None and self.settings.encoder is not None:
            try:
                folder = _checkpoints.locate(self.settings.encoder)
            except ModelError as error:
                told = str(error).replace("model.pretrained", "model.encoder")
                raise ModelError(told) from error
            _both_ways(folder)
            self._folder = folder
        return self._folder

    def longest(self) -> int | None:
        """Return the longest row in tokens that the positions of both sides allow."""
        folder = self.source()
        if folder is None:
            return int(self.settings.positions)
        config = _checkpoints.config(folder)
        sides = (_sides.longest(config, side) for side in ("encoder", "decoder"))
        return min((side for side in sides if side is not None), default=None)

    def _opened(self, tokenizer: Any, head: Head, precision: str, device: str) -> TorchNetwork:
        from mulgil.models import _seq2seq

        folder = self.source()
        if folder is None:
            return _seq2seq.fresh(self.settings, tokenizer, precision, device)
        _sides.fits(_checkpoints.config(folder), folder.name, tokenizer.size)
        known = self.settings.weights == "pretrained"
        if self.settings.encoder is not None:
            return _seq2seq.warm(folder, tokenizer, precision, device, known)
        network = _seq2seq.pretrained(folder, precision, device, known)
        if head.skill == "choose":
            network.closing = tokenizer.around(1).slots[1]
        return network

    @classmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> Network:
        from mulgil.models import _seq2seq

        _checkpoints.inspect(folder)
        return _seq2seq.saved(folder, precision, device)


def _two_parts(folder: Path) -> None:
    """Refuse an architecture without two sides; an unknown one fails when it is opened."""
    kind, families = _families(folder)
    if kind is None or "seq2seq" in families:
        return
    if "decoder" in families:
        what, remedy = "a decoder alone", 'use model.name = "decoder"'
    elif "encoder" in families:
        remedy = 'use model.name = "encoder", or start both sides from it with model.encoder'
        what = "an encoder alone"
    else:
        what, remedy = "no encoder with a decoder for text", "take one such as T5 or BART"
    raise ModelError(f"model.pretrained: {folder.name} is of type {kind}, {what}; {remedy}")


def _both_ways(folder: Path) -> None:
    """Refuse what is no encoder, or one that transformers cannot also run as a decoder."""
    kind, families = _families(folder)
    if kind is None or families == {"encoder", "causal"}:
        return
    if "seq2seq" in families:
        what, remedy = "an encoder with a decoder", "give it as model.pretrained"
    elif "decoder" in families:
        what, remedy = "a decoder alone", "take an encoder, such as bert or roberta"
    else:
        what = "which transformers cannot run as a decoder"
        remedy = "take an encoder such as bert, roberta or electra"
    raise ModelError(f"model.encoder: {folder.name} is of type {kind}, {what}; {remedy}")


def _families(folder: Path) -> tuple[str | None, set[str]]:
    """Return the config's kind, None where transformers knows it not, and what runs it."""
    from transformers.models.auto import configuration_auto
    from transformers.models.auto import modeling_auto as auto

    config = _checkpoints.config(folder)
    kind = config.get("model_type")
    if kind not in configuration_auto.CONFIG_MAPPING_NAMES:
        return None, set()
    if kind in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return kind, {"seq2seq"}
    if config.get("is_encoder_decoder"):  # what its encoder reads is no text
        return kind, set()
    causal = kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    masked = kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if causal and (not masked or config.get("is_decoder")):
        return kind, {"decoder"}
    return kind, {name for name, is_so in (("encoder", masked), ("causal", causal)) if is_so}

"""Encoders (BERT, RoBERTa, ELECTRA and their kin): a hub id, a local folder, or fresh from sizes.

Chosen: a checkpoint that brings its class's own pooler (or needs none) gets that class's own
head, so that plain transformers opens the run; one that comes without a pooler gets the mean
over its tokens and a linear layer, because a pooler of random weights costs accuracy. Only
safetensors are read, and a config that names code of its own is refused: a model's files are
data. BERT and RoBERTa run through `_fastbert`; all others run as transformers wrote them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from mulgil import settings
from mulgil.contracts import Model, Network
from mulgil.errors import ModelError
from mulgil.flow import Head, Kind, Skill


class EncoderSettings(settings.Settings):
    """Settings of the encoder family; the sizes are for a fresh model only."""

    pretrained: Annotated[str | None, settings.PATH_OR_NAME] = None
    """Hub id or local folder; without it the model is fresh, of the sizes below."""
    pooling: Literal["auto", "mean"] = "auto"
    """"auto" takes the checkpoint's own head where it has one, "mean" never does."""
    hidden: int = pydantic.Field(256, ge=8, le=8192)
    """Fresh: width of a token's vector."""
    layers: int = pydantic.Field(4, ge=1, le=96)
    """Fresh: number of layers."""
    heads: int = pydantic.Field(4, ge=1, le=128)
    """Fresh: attention heads; they must divide `hidden`."""
    intermediate: int | None = pydantic.Field(None, ge=8, le=65536)
    """Fresh: width of the feed-forward layer; 4 x hidden by default."""
    positions: int = pydantic.Field(512, ge=8, le=1 << 16)
    """Fresh: longest row."""
    dropout: float = pydantic.Field(0.1, ge=0, lt=1)
    """Fresh: dropout of hidden states and attention."""

    @pydantic.model_validator(mode="after")
    def _divides(self) -> EncoderSettings:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} must be a multiple of heads {self.heads}")
        return self


class Encoder(Model):
    """The family."""

    Settings: ClassVar[type[settings.Settings]] = EncoderSettings
    kind: ClassVar[Kind] = "encoder"
    skills: ClassVar[frozenset[Skill]] = frozenset({"pool", "tokens"})
    tokenizer: ClassVar[str] = "subword"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._folder: Path | None = None

    def source(self) -> Path | None:
        """Return the checkpoint's folder, downloaded when it is a hub id.

        Raises:
            ModelError: it cannot be found or reached, or holds no safetensors.
        """
        name = self.settings.pretrained
        if name is None or self._folder is not None:
            return self._folder
        self._folder = Path(name) if Path(name).is_absolute() else _download(name)
        _inspect(self._folder)
        return self._folder

    def longest(self) -> int:
        """Return the longest row in tokens that the positions of the model allow."""
        folder = self.source()
        if folder is None:
            return int(self.settings.positions)
        config = _config(folder)
        positions = int(config.get("max_position_embeddings", 512))
        shifted = config.get("model_type") in {"roberta", "xlm-roberta", "camembert"}
        return positions - (int(config.get("pad_token_id") or 0) + 1 if shifted else 0)

    def build(self, tokenizer: Any, head: Head, precision: str, device: str, seed: int) -> Network:
        import torch

        from mulgil.models import _network

        torch.manual_seed(seed)
        folder = self.source()
        if folder is None:
            return _network.fresh(self.settings, tokenizer, head, precision, device)
        vocabulary = int(_config(folder).get("vocab_size", 0))
        if tokenizer.size > vocabulary:
            raise ModelError(
                f"{folder.name}: its tokenizer has {tokenizer.size:,} tokens, its embedding table"
                f" {vocabulary:,} rows; the two files are not of one model"
            )
        own = head.pooling == "own" and self.settings.pooling == "auto"
        return _network.pretrained(folder, head.outputs, own, precision, device)

    @classmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> Network:
        from mulgil.models import _network

        _inspect(folder)
        return _network.saved(folder, head.outputs, precision, device)


def _config(folder: Path) -> dict[str, Any]:
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"model.pretrained: {folder} has no config.json; give one that transformers opens"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model.pretrained: {folder}/config.json cannot be read: {error}"
        ) from None
    if not isinstance(values, dict):
        raise ModelError(f"model.pretrained: {folder}/config.json is not a model's config")
    return values


def _inspect(folder: Path) -> None:
    """Refuse folders that hold code, pickled weights only, or nothing at all."""
    if not folder.is_dir():
        raise ModelError(f"model.pretrained: no such folder: {folder}")
    if "auto_map" in _config(folder):
        raise ModelError(
            f"model.pretrained: {folder.name} wants to run code of its own (auto_map in"
            " config.json), which is never done; use an architecture that transformers has"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin"))
        raise ModelError(
            f"model.pretrained: {folder.name} has no *.safetensors"
            + (
                "; its .bin weights are pickled and never opened here: convert them"
                if pickled
                else ""
            )
        )


def _download(name: str) -> Path:
    """Fetch a checkpoint from the hub, or take it from the hub's own cache."""
    from huggingface_hub import snapshot_download

    wanted = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "vocab*"]
    wanted += ["special_tokens_map.json", "merges.txt", "added_tokens.json", "*.model"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub's client raises a dozen kinds, all meaning "not here"
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f'model.pretrained: "{name}" is no local folder, and the hub did not give it'
            f" ({type(error).__name__}: {reason})"
        ) from error

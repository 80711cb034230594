"""The settings that encoders and decoders share: a checkpoint, or the sizes of a fresh model."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from mulgil import settings


class SizedSettings(settings.Settings):
    """A checkpoint, or sizes; the sizes are for a fresh model only."""

    pretrained: Annotated[str | None, settings.PATH_OR_NAME] = None
    """Local folder, hub id, or a bundled "mulgil/..."; without it a fresh model of these sizes."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """"random" takes a checkpoint's architecture and tokenizer and forgets what it has learnt."""
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
    dropout: float | None = pydantic.Field(None, ge=0, lt=1)
    """Dropout of hidden states and attention; without it 0.1 fresh, else the checkpoint's own."""

    @property
    def fresh_dropout(self) -> float:
        """The dropout of a fresh model."""
        return 0.1 if self.dropout is None else self.dropout

    @pydantic.model_validator(mode="after")
    def _divides(self) -> SizedSettings:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} must be a multiple of heads {self.heads}")
        return self

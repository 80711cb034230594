"""The families whose bodies are the house's own (`_bodies`), for every task of texts and tokens.

Chosen: a run's `model/` of the same family is what `pretrained` takes: its body is kept and a new
head put on, whatever the run's task was. Words may begin as vectors that were learnt elsewhere. It
costs that nothing else can be opened: there are no such checkpoints on a hub.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pydantic

from mulgil import settings
from mulgil.errors import ModelError
from mulgil.flow import Array, Head, Kind, Skill
from mulgil.models import _checkpoints
from mulgil.models._family import Family
from mulgil.networks import Network

if TYPE_CHECKING:
    from mulgil.models._bodies import Body
    from mulgil.models._torch import TorchNetwork

PAIRED = {"pair", "rate"}
"""What a head sits on where each row holds two texts."""


class BodiedSettings(settings.Settings):
    """Settings of every family with a body of its own."""

    pretrained: Annotated[str | None, settings.PATH_OR_NAME] = None
    """Folder `model/` of a run of the same family; its sizes count then. Without it, fresh."""
    dropout: float | None = pydantic.Field(None, ge=0, lt=1)
    """Dropout of the body and its head; by default the family's own, or the checkpoint's."""


class WordSettings(BodiedSettings):
    """Settings of a body that has a table of words."""

    embedding: int = pydantic.Field(128, ge=1, le=8192)
    """Fresh: width of a word's vector; `vectors` bring their own."""
    vectors: Annotated[str | None, settings.PATH] = None
    """Word vectors to begin with: a file in word2vec's text form, or `model/` of a word2vec run."""
    freeze_vectors: bool = False
    """Whether the table rests; pieces that `vectors` does not know then stay random."""

    @pydantic.model_validator(mode="after")
    def _begins_once(self) -> WordSettings:
        if self.pretrained and self.vectors:
            raise ValueError("vectors are for a fresh model, and pretrained brings its own words")
        return self


class Bodied(Family):
    """Builds networks around a body."""

    Settings: ClassVar[type[settings.Settings]] = BodiedSettings
    kind: ClassVar[Kind] = "classic"
    skills: ClassVar[frozenset[Skill]] = frozenset({"pool", "pair", "rate", "tokens"})
    tokenizer: ClassVar[str] = "subword"
    peak: ClassVar[float] = 1e-3
    """Learning rate of what is new in it."""

    def rate(self, needs: frozenset[Skill]) -> float:
        return self.peak

    @classmethod
    @abstractmethod
    def body_class(cls) -> type[Body]:
        """Return the class of the body, imported here."""

    @abstractmethod
    def body(self, tokenizer: Any) -> Body:
        """Return a fresh body for a tokenizer's vocabulary; torch is seeded."""

    def source(self) -> Path | None:
        """Return the folder that the body is taken from.

        Raises:
            ModelError: it is none, or not one of this family.
        """
        name = self.settings.pretrained
        if name is None or self._folder is not None:
            return self._folder
        if not Path(name).is_absolute():
            raise ModelError(
                f'model.pretrained: "{name}" is no local folder; give model/ of a run of this'
                " family"
            )
        self._folder = self._inspected(Path(name))
        return self._folder

    @classmethod
    def _inspected(cls, folder: Path) -> Path:
        _checkpoints.inspect(folder)
        found = _checkpoints.config(folder).get("model_type")
        wanted = cls.body_class().config_class.model_type
        if found != wanted:
            raise ModelError(
                f'model.pretrained: {folder} holds a "{found}", not a "{wanted}"; give model/ of a'
                " run of this family"
            )
        return folder

    @classmethod
    def _read(cls, folder: Path) -> Body:
        """Open the body in a folder."""
        opened, info = _checkpoints.opened(cls.body_class(), cls._inspected(folder))
        _checkpoints.whole(info, folder, pooler=True)
        found: Body = opened
        return found

    def _opened(self, tokenizer: Any, head: Head, precision: str, device: str) -> TorchNetwork:
        folder = self.source()
        if folder is not None:
            _checkpoints.fits(folder, tokenizer.size)
        body = self.body(tokenizer) if folder is None else self._read(folder)
        if getattr(self.settings, "freeze_vectors", False):
            body.get_input_embeddings().weight.requires_grad_(False)
        return self._around(body, head, precision, device)

    @classmethod
    def _around(cls, body: Body, head: Head, precision: str, device: str) -> TorchNetwork:
        """Return the network of a body with a new head."""
        from mulgil.models import _network, _spans

        if head.skill == "tokens":
            return _spans.around(body, head, precision, device)
        return _network.around(body, head.outputs, head.skill in PAIRED, precision, device)

    @classmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> Network:
        network = cls._around(cls._read(folder), head, precision, device)
        network.read_head(folder)
        network.answers_only()
        return network


def worded(chosen: WordSettings, tokenizer: Any, make: Callable[[int], Body]) -> Body:
    """Return a fresh body whose words begin as vectors that were learnt elsewhere, if any were.

    Args:
        chosen: the family's settings.
        tokenizer: gives the pieces; its special tokens have no vector.
        make: makes a body of a width of words.

    Raises:
        ModelError: the vectors cannot be read, or know none of the pieces.
    """
    if chosen.vectors is None:
        return make(chosen.embedding)
    import torch

    table = begin(Path(chosen.vectors), tokenizer)
    body = make(table.shape[1])
    with torch.no_grad():
        body.get_input_embeddings().weight.copy_(torch.from_numpy(table))
    return body


def begin(path: Path, tokenizer: Any) -> Array:
    """Return what a table of words begins with, float32 [V, D].

    Pieces that have no vector get a random one of the others' spread.
    """
    import torch

    from mulgil.models import _vectors

    table, found = _vectors.table(path, pieces(tokenizer))
    drawn = torch.randn(table.shape).numpy() * table[found].std()
    filled: Array = np.where(found[:, None], table, drawn).astype(np.float32)
    return filled


def pieces(tokenizer: Any) -> Sequence[str | None]:
    """Return a vocabulary's pieces by id, None for special tokens and gaps."""
    special = {*tokenizer.special_ids.values()}
    return [
        piece if piece and number not in special else None
        for number, piece in enumerate(tokenizer.pieces())
    ]

"""ELMo: tokens by their characters, LSTMs from both sides, a learnt mix of the layers (2018).

Chosen: `bidirectional-lm` teaches it from texts; downstream everything below the mix rests by
default, as in the paper, and a BiLSTM of the task's own may stand above it (`top`). It runs in
bfloat16 where that pays: products only, gates and cells stay float32. It costs words' vectors: the
BiLSTM reads the mix alone, where the paper puts vectors beside it.

Measured on one core with AMX, default sizes, a vocabulary of 4,000: an upstream step of 4,000
tokens takes 0.68 s in bfloat16, 0.98 s in float32, and the losses of five steps agree to 0.001.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic

from mulgil import settings
from mulgil.errors import ModelError
from mulgil.flow import Head, Skill
from mulgil.models._bodied import Bodied, BodiedSettings, pieces
from mulgil.networks import Network

if TYPE_CHECKING:
    from mulgil.models._bodies import Body
    from mulgil.models._elmo import ElmoBody
    from mulgil.models._elmo_language import ElmoLanguage
    from mulgil.models._torch import TorchNetwork

Size = Annotated[int, pydantic.Field(ge=1, le=4096)]
Sort = Annotated[list[Size], pydantic.Field(min_length=2, max_length=2)]


class ElmoSettings(BodiedSettings):
    """Settings of ELMo; the sizes of the layers are for a fresh model only."""

    layers: int = pydantic.Field(2, ge=1, le=16)
    """Fresh: layers of LSTMs."""
    projection: int = pydantic.Field(128, ge=2, le=4096)
    """Fresh: width of a layer's states in each direction, and of a token's own vector."""
    cells: int = pydantic.Field(256, ge=2, le=16384)
    """Fresh: numbers that each LSTM remembers."""
    filters: list[Sort] = pydantic.Field(
        [[1, 32], [2, 64], [3, 128], [4, 128]], min_length=1, max_length=16
    )
    """Fresh: (width in characters, how many) of each sort of filter over a token's characters."""
    letter_width: int = pydantic.Field(16, ge=1, le=1024)
    """Fresh: width of a character's vector."""
    longest: int = pydantic.Field(26, ge=4, le=256)
    """Fresh: characters of a token at most, with a mark at each end; more are cut off."""
    highways: int = pydantic.Field(1, ge=0, le=8)
    """Fresh: highway layers over the filters."""
    jamo: bool = True
    """Fresh: spell Hangul syllables in jamo, so that words share their parts."""
    freeze: bool = True
    """With `pretrained`, downstream: only the mix and what stands above it learn."""
    top: Literal["none", "lstm"] = "none"
    """Downstream: what stands on the mix: nothing, or a BiLSTM of the task's own."""
    top_hidden: int = pydantic.Field(128, ge=1, le=4096)
    """Width of that BiLSTM in each direction."""
    top_words: int = pydantic.Field(128, ge=0, le=8192)
    """Width of word vectors of the task's own, which it reads beside the mix; 0 for none."""
    pooling: Literal["mean", "max"] = "mean"
    """Downstream: how a text's vector is made of its tokens' states."""

    @property
    def fresh_dropout(self) -> float:
        """The dropout of a fresh model."""
        return 0.1 if self.dropout is None else self.dropout


class Elmo(Bodied):
    """The family."""

    Settings: ClassVar[type[settings.Settings]] = ElmoSettings
    skills: ClassVar[frozenset[Skill]] = frozenset({"pool", "pair", "rate", "tokens", "both"})

    settings: ElmoSettings

    @classmethod
    def body_class(cls) -> type[Body]:
        from mulgil.models._elmo import ElmoBody

        return ElmoBody

    def body(self, tokenizer: Any) -> Body:
        import torch

        from mulgil.models._elmo import ElmoBody, ElmoConfig, spelling

        chosen = self.settings
        table, letters = spelling(pieces(tokenizer), chosen.jamo, chosen.longest)
        config = ElmoConfig(
            vocab_size=len(table),
            letters=letters,
            longest=table.shape[1],
            letter_width=chosen.letter_width,
            filters=chosen.filters,
            highways=chosen.highways,
            projection=chosen.projection,
            cells=chosen.cells,
            num_hidden_layers=chosen.layers,
            dropout=chosen.fresh_dropout,
            pad_token_id=tokenizer.special_ids["pad"],
        )
        made = ElmoBody(config)
        made.get_buffer("spelling").copy_(torch.from_numpy(table))
        return made

    def _opened(self, tokenizer: Any, head: Head, precision: str, device: str) -> TorchNetwork:
        chosen, folder = self.settings, self.source()
        body: Any = self.body(tokenizer) if folder is None else self._read(folder)
        spelt = int(body.config.vocab_size)
        if spelt != tokenizer.size:
            raise ModelError(
                f"{folder}: its model spells {spelt:,} tokens, its tokenizer has"
                f" {tokenizer.size:,}; the two are not of one run, take model/ whole"
            )
        if head.skill != "both":
            rests = chosen.freeze and folder is not None
            top, words = chosen.top, chosen.top_words
            body.dress(top, chosen.top_hidden, words, chosen.pooling, rests)
            return self._around(body, head, precision, device)
        body.dress("none", chosen.top_hidden, 0, chosen.pooling, False)
        network = _guessing(body, precision, device)
        if folder is not None and _knows_words(folder):
            network.read_head(folder)
        return network

    @classmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> Network:
        if head.skill != "both":
            return super().load(folder, head, precision, device)
        body: Any = cls._read(folder)
        network = _guessing(body, precision, device)
        network.read_head(folder)
        network.answers_only()
        return network


def _guessing(body: ElmoBody, precision: str, device: str) -> ElmoLanguage:
    from mulgil.models._elmo_language import ElmoLanguage

    return ElmoLanguage(body, precision, device)


def _knows_words(folder: Path) -> bool:
    """Say whether a folder is of an upstream run, whose vocabulary layer goes on."""
    from mulgil.models._elmo_language import FILE

    return (folder / FILE).exists()

"""Recurrent networks over words: LSTM, GRU or the plain cell, one way or both; fresh from sizes.

Chosen: a bidirectional LSTM whose states are weighed by attention (Hochreiter, Schmidhuber 1997;
Yang et al. 2016), over learnt subwords. It costs a step after the other along a text, which no
core or GPU does side by side; and dropout makes two like texts differ, so pairs want little of it.
On a CPU with AMX bf16 takes half the time of fp32 for the LSTM; for the other cells it pays from
some 256 numbers a state on, below that `trainer.precision = "fp32"` is a fifth faster.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pydantic

from mulgil import settings
from mulgil.errors import ModelError
from mulgil.flow import Head, Skill
from mulgil.models import _checkpoints
from mulgil.models._bodied import Bodied, WordSettings, worded
from mulgil.networks import Network

if TYPE_CHECKING:
    from mulgil.models._bodies import Body
    from mulgil.models._torch import TorchNetwork

DROPOUT = 0.5
"""Dropout of words, between layers and before the head; 0.3 gave the same on film reviews."""

SPEAKING = {"score": "mulgil-recurrent-lm", "write": "mulgil-recurrent-seq2seq"}
"""Skills with the vocabulary in front, and the sort of model that has each."""

SPEAKING_DROPOUT = 0.2
"""Dropout of the words, between layers and before the vocabulary."""


class RecurrentSettings(WordSettings):
    """Settings of recurrent networks; the sizes are for a fresh model only."""

    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """Fresh: what reads a word after the other."""
    directions: Literal[1, 2] = 2
    """Fresh: 1 reads forwards, 2 reads backwards as well; a language model only reads forwards."""
    layers: int = pydantic.Field(1, ge=1, le=32)
    """Fresh: how many read each the states of the one before."""
    hidden: int = pydantic.Field(128, ge=1, le=8192)
    """Fresh: width of a state of each direction."""
    pooling: Literal["attention", "max", "mean", "last"] = "attention"
    """Fresh: how a text's states become one vector; nothing to a model with its vocabulary."""
    variational: bool = False
    """Fresh: whether dropout takes the same numbers of every word of a text."""


class Recurrent(Bodied):
    """The family."""

    Settings: ClassVar[type[settings.Settings]] = RecurrentSettings
    skills: ClassVar[frozenset[Skill]] = Bodied.skills | {"score", "write"}
    peak: ClassVar[float] = 2e-3

    @classmethod
    def body_class(cls) -> type[Body]:
        from mulgil.models._recurrent import RecurrentBody

        return RecurrentBody

    def body(self, tokenizer: Any) -> Body:
        from mulgil.models._recurrent import RecurrentBody, RecurrentConfig

        chosen = self.settings
        more = {"directions": chosen.directions, "pooling": chosen.pooling, "dropout": DROPOUT}
        return self._fresh(RecurrentBody, RecurrentConfig, tokenizer, more)

    def _fresh(self, family: Any, config: Any, tokenizer: Any, more: dict[str, Any]) -> Body:
        """Return a module of the chosen sizes; `more` is what each sort of it sets for itself."""
        chosen = self.settings

        def make(width: int) -> Body:
            made: Body = family(
                config(
                    vocab_size=tokenizer.size,
                    embedding=width,
                    hidden_size=more["directions"] * chosen.hidden,
                    hidden=chosen.hidden,
                    cell=chosen.cell,
                    layers=chosen.layers,
                    variational=chosen.variational,
                    pad_token_id=tokenizer.special_ids["pad"],
                    **more,
                )
            )
            return made

        return worded(chosen, tokenizer, make)

    # ------------------------------------------------------------ language

    def _opened(self, tokenizer: Any, head: Head, precision: str, device: str) -> TorchNetwork:
        if head.skill not in SPEAKING:
            return super()._opened(tokenizer, head, precision, device)
        folder = self.source()
        if folder is None:
            module = self._speaker(head.skill, tokenizer)
        else:
            _checkpoints.fits(folder, tokenizer.size)
            module = _speaking(folder, head.skill)
        if self.settings.freeze_vectors:
            module.get_input_embeddings().weight.requires_grad_(False)
        return _network(module, head.skill, precision, device)

    def _speaker(self, skill: str, tokenizer: Any) -> Body:
        """Return a fresh module with its vocabulary in front."""
        if skill == "score":
            from mulgil.models._recurrent_language import RecurrentLm, RecurrentLmConfig

            more = {"directions": 1, "dropout": SPEAKING_DROPOUT}
            return self._fresh(RecurrentLm, RecurrentLmConfig, tokenizer, more)
        from mulgil.models._recurrent_writing import RecurrentWriter, RecurrentWriterConfig

        special = tokenizer.special_ids
        more = {
            "directions": self.settings.directions,
            "dropout": SPEAKING_DROPOUT,
            "decoder_start_token_id": special.get("bos", special.get("cls", special["pad"])),
        }
        return self._fresh(RecurrentWriter, RecurrentWriterConfig, tokenizer, more)

    @classmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> Network:
        if head.skill not in SPEAKING:
            return super().load(folder, head, precision, device)
        network = _network(_speaking(folder, head.skill), head.skill, precision, device)
        network.answers_only()
        return network

    @classmethod
    def _inspected(cls, folder: Path) -> Path:
        if _checkpoints.config(folder).get("model_type") not in SPEAKING.values():
            return super()._inspected(folder)
        _checkpoints.inspect(folder)
        return folder

    @classmethod
    def _read(cls, folder: Path) -> Body:
        """Open the body in a folder; of a language model it is what stands below the vocabulary."""
        _for(folder, cls.body_class().config_class.model_type, SPEAKING["score"])
        return super()._read(folder)


def _for(folder: Path, *wanted: str) -> None:
    """Refuse a folder of another sort of this family's models."""
    found = _checkpoints.config(folder).get("model_type")
    if found not in wanted:
        raise ModelError(
            f'model.pretrained: {folder} holds a "{found}", not a "{wanted[0]}"; give model/ of a'
            " run of this family whose task was of the same sort"
        )


def _speaking(folder: Path, skill: str) -> Body:
    """Open what a run has saved with its vocabulary."""
    from mulgil.models._recurrent_language import RecurrentLm
    from mulgil.models._recurrent_writing import RecurrentWriter

    _checkpoints.inspect(folder)
    _for(folder, SPEAKING[skill])
    family = RecurrentLm if skill == "score" else RecurrentWriter
    opened, info = _checkpoints.opened(family, folder)
    _checkpoints.whole(info, folder, pooler=True)
    module: Body = opened
    return module


def _network(module: Body, skill: str, precision: str, device: str) -> TorchNetwork:
    from mulgil.models._decoding import DecoderNetwork
    from mulgil.models._seq2seq import Seq2SeqNetwork

    kind = DecoderNetwork if skill == "score" else Seq2SeqNetwork
    return kind(module, precision, device)

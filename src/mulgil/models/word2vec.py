"""Word vectors: a table of one vector a token, learnt with task skip-gram or read from a file.

Upstream, gensim learns the table from texts (word2vec, Mikolov et al. 2013; with `subwords` as
fastText does). Downstream, the table is the whole body: a text is the mean of its tokens' vectors,
of two texts [u, v, |u - v|, u * v] is scored, a token is its own vector. With method linear-probe
the vectors rest and a logistic regression is solved on them; with full they learn on (much as
fastText's classifier).

Chosen: tokens are the tokenizer's, morphemes by default, because a Korean word carries particles
and endings, and a table of words would be large and full of holes. Pieces that were seen too rarely
have a vector of zeros. It costs what every table costs: no order of words, one vector for all
senses of a piece.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic

from mulgil import settings
from mulgil.errors import ModelError
from mulgil.flow import Head, Skill
from mulgil.models import _bodied, _vectors
from mulgil.models._bodied import Bodied, BodiedSettings
from mulgil.networks import Network

if TYPE_CHECKING:
    from mulgil.models._bodies import Body
    from mulgil.models._torch import TorchNetwork

RELATE: Skill = "relate"
"""The skill of telling words that stand near each other from words that do not."""

FIRST_RATE = 0.025
"""gensim's own first learning rate."""


class Word2vecSettings(BodiedSettings):
    """Settings of word vectors; all but `vectors`, `pretrained`, `dropout` are for learning them.

    How far apart two words of a pair may stand is `task.window`.
    """

    vectors: Annotated[str | None, settings.PATH] = None
    """Downstream: a file in word2vec's format (.vec or .txt is text, .bin binary), or `model/` of a
    run of task skip-gram, which brings its tokenizer. Without it the table is random at first."""
    dimensions: int = pydantic.Field(100, ge=1, le=_vectors.MOST_NUMBERS)
    """Numbers of a vector; a file or a run brings its own."""
    algorithm: Literal["skip-gram", "cbow"] = "skip-gram"
    """Guess the words near a word, or a word from the mean of those near it (faster)."""
    negative: int = pydantic.Field(5, ge=1, le=100)
    """Drawn words that a real pair is held against in training."""
    min_count: int = pydantic.Field(5, ge=1, lt=1 << 31)
    """Pieces that are met less often in training get no vector (zeros)."""
    sample: float = pydantic.Field(1e-3, ge=0, le=1)
    """Frequent pieces are passed over the more often, the smaller this is; 0 passes over none."""
    subwords: list[int] = pydantic.Field([0, 0], min_length=2, max_length=2)
    """Shortest and longest character n-gram of a piece that has a vector too (fastText), such as
    [2, 4]; a piece's vector is then the mean of all of them. [0, 0] has none."""
    buckets: int = pydantic.Field(200_000, ge=1, le=1 << 26)
    """Vectors that all n-grams share; 4 x `dimensions` bytes each, while they are learnt."""
    threads: int = pydantic.Field(1, ge=1, le=256)
    """Threads that learn. With more than one no two runs are the same."""
    export: Literal["text", "binary", "none"] = "text"
    """Also write `vectors.vec` (word2vec's text format, 12 bytes a number) or `vectors.bin`."""

    @pydantic.model_validator(mode="after")
    def _agrees(self) -> Word2vecSettings:
        low, high = self.subwords
        if not (low == high == 0 or 1 <= low <= high <= 20):
            raise ValueError("subwords must be [shortest, longest] from 1 to 20, or [0, 0]")
        if self.vectors is not None and self.pretrained is not None:
            raise ValueError("vectors and pretrained both bring a table; give one of them")
        return self


class Word2vec(Bodied):
    """The family."""

    Settings: ClassVar[type[settings.Settings]] = Word2vecSettings
    skills: ClassVar[frozenset[Skill]] = Bodied.skills | {RELATE}
    tokenizer: ClassVar[str] = "morpheme"

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.body_class()  # or transformers warns of an unknown type when a tokenizer is opened

    def rate(self, needs: frozenset[Skill]) -> float:
        return FIRST_RATE if RELATE in needs else super().rate(needs)

    @classmethod
    def body_class(cls) -> type[Body]:
        from mulgil.models._word2vec import WordsBody

        return WordsBody

    def source(self) -> Path | None:
        """Return the folder whose table and tokenizer are taken; None for a file, or nothing."""
        name = self.settings.vectors
        if self._folder is None and name is not None and Path(name).is_dir():
            self._folder = self._inspected(Path(name))
        return super().source()

    def body(self, tokenizer: Any) -> Body:
        """Return the table for a tokenizer's vocabulary, from a file or random."""
        import torch

        from mulgil.models._word2vec import WordsBody, config

        pieces, pad = _bodied.pieces(tokenizer), tokenizer.special_ids.get("pad")
        if self.settings.vectors is not None:
            table, _ = _vectors.table(Path(self.settings.vectors), pieces)
        else:  # as word2vec itself begins
            width = self.settings.dimensions
            table = ((torch.rand(len(pieces), width) - 0.5) / width).numpy()
        return WordsBody(config(table, pad), table)

    @classmethod
    def _around(cls, body: Body, head: Head, precision: str, device: str) -> TorchNetwork:
        """Return the network of a table; fp32 always, for there is no product to make faster."""
        return super()._around(body, head, "fp32", device)

    def build(self, tokenizer: Any, head: Head, precision: str, device: str, seed: int) -> Network:
        if head.skill != RELATE:
            return super().build(tokenizer, head, precision, device, seed)
        from mulgil.models._word2vec import PairNetwork

        if self.settings.vectors is not None or self.settings.pretrained is not None:
            raise ModelError(
                "task skip-gram learns vectors from nothing, for a file has no table of contexts to"
                " go on with; leave out model.vectors and model.pretrained"
            )
        if not hasattr(tokenizer, "pieces"):
            raise ModelError(
                "tokenizer: task skip-gram needs one with a vocabulary; take morpheme, subword or"
                " syllable"
            )
        return PairNetwork.fresh(self.settings, _bodied.pieces(tokenizer))

    @classmethod
    def load(cls, folder: Path, head: Head, precision: str, device: str) -> Network:
        if head.skill != RELATE:
            return super().load(folder, head, precision, device)
        from mulgil.models._word2vec import PairNetwork

        return PairNetwork.open(folder)

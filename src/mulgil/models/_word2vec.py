"""Networks of word vectors: the one that is learnt from pairs of words, and the body made of it.

A pair is a word and one that stands near it. `PairNetwork` has two tables, one for each of them,
and says how well it tells a real pair from ten drawn ones; gensim teaches it. `WordsBody` is the
first table alone, under any head: a text is the mean of its tokens' vectors.

Chosen: negatives of a held-out pair are drawn from its row's own tokens and its place, so that
every evaluation asks the same, whatever the batches are. Weights are the same file in both uses, so
that a run of vectors is opened as a body at once. It costs that the second table is read, and
dropped, each time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor, nn

from mulgil.errors import DivergedError, ModelError
from mulgil.flow import UNASKED, Array, Blanks
from mulgil.models import _bodies, _vectors
from mulgil.networks import LanguageNetwork
from mulgil.quiet import quiet

NEGATIVES = 10
"""Drawn words that a held-out pair is held against."""
POWER = 0.75
"""A word is drawn by its count to this power (Mikolov et al. 2013)."""
SLICE = 4096
"""Pairs that are measured at once."""
LONGEST = 10_000
"""Tokens of a sequence; gensim drops what stands behind them."""
LAST_RATE = 1e-4
"""The learning rate falls in a line to this."""

CONTEXTS = "contexts.weight"
COUNTS = "counts"


class WordsConfig(_bodies.BodyConfig):
    """What a table of words says of itself: `BodyConfig` has it all."""

    model_type = "mulgil-word2vec"


class WordsBody(_bodies.Body):
    """A vector a token, with nothing behind it."""

    config_class = WordsConfig

    def __init__(self, config: WordsConfig, table: Array | None = None) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        if table is not None:
            self.words.weight.data = torch.from_numpy(table)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor]:
        states = self.read(input_ids, self.get_input_embeddings().weight.dtype)
        return (states * attention_mask[:, :, None].to(states.dtype),)


_bodies.register(WordsConfig, WordsBody)


def config(table: Array, pad: int | None) -> WordsConfig:
    """Return the config of a table [V, D]."""
    return WordsConfig(vocab_size=len(table), hidden_size=table.shape[1], pad_token_id=pad)


class PairNetwork(LanguageNetwork):
    """Tells words that stand near each other from words that do not.

    Args:
        chosen: the family's settings.
        pieces: the vocabulary's strings by id, None for special tokens.
        vectors: float32 [V, D], of words; a piece that was seen too rarely has zeros.
        contexts: float32 [V, D], of the words near them.
        counts: float64 [V], how often each piece was met in training; 0 where too rarely.

    Attributes:
        course: window and epochs of a rehearsal; its learner sets them.
    """

    def __init__(
        self,
        chosen: Any,
        pieces: Sequence[str | None],
        vectors: Array,
        contexts: Array,
        counts: Array,
    ) -> None:
        self.chosen = chosen
        self.pieces = list(pieces)
        self.vectors, self.contexts, self.counts = vectors, contexts, counts
        self.course = (5, 5)

    @classmethod
    def fresh(cls, chosen: Any, pieces: Sequence[str | None]) -> PairNetwork:
        """Return a network that has learnt nothing: its vectors are zero."""
        tables = np.zeros((2, len(pieces), chosen.dimensions), np.float32)
        return cls(chosen, pieces, tables[0], tables[1], np.zeros(len(pieces)))

    @classmethod
    def open(cls, folder: Path) -> PairNetwork:
        """Open what `save` wrote.

        Raises:
            ModelError: the folder is not of such a network, or damaged.
        """
        arrays, pieces = _vectors.weights(folder)
        shape, found = arrays[_vectors.TABLE].shape, arrays.get(CONTEXTS, np.zeros(0))
        if found.shape != shape or arrays.get(COUNTS, found).shape != shape[:1]:
            raise ModelError(
                f"{folder}: has vectors {shape}, but no such table of contexts and counts; use a"
                " whole copy of a run of task skip-gram"
            )
        return cls(None, pieces, arrays[_vectors.TABLE], found, arrays[COUNTS])

    @property
    def known(self) -> Array:
        """Which pieces have a vector, bool [V]."""
        return np.asarray(self.vectors.any(1))

    @property
    def outputs(self) -> int:
        return len(self.vectors)

    @property
    def parameters_total(self) -> int:
        return int(self.vectors.size + self.contexts.size)

    # ------------------------------------------------------------ learning

    def learn(
        self,
        tokens: Array,
        starts: Array,
        window: int,
        epochs: int,
        rate: float | None,
        seed: int,
        say: Callable[[str], None] | None = None,
    ) -> dict[str, float]:
        """Learn from sequences; return figures for the journal.

        Args:
            tokens: int [T], one sequence after the other.
            starts: int64 [rows + 1], where each begins.
            window: farthest distance of two words of a pair.
            epochs: passes over the sequences.
            rate: first learning rate; None takes gensim's own.
            seed: of the first weights and all draws.
            say: where a line goes after each pass; None says nothing.

        Raises:
            ModelError: gensim is not installed, or no piece occurs often enough.
            DivergedError: what was learnt is no number.
        """
        chosen, started = self.chosen, time.monotonic()
        special = np.array([piece is None for piece in self.pieces])
        sequences = Sequences(tokens, starts, special)
        self.counts = np.bincount(sequences.tokens, minlength=len(special)).astype(float)
        self.counts[self.counts < chosen.min_count] = 0
        if not self.counts.any():
            raise ModelError(
                f"model.min_count: no piece occurs {chosen.min_count} times in the training texts;"
                " lower it or give more texts"
            )
        named = chosen.subwords != [0, 0]
        if named:
            sequences.names = [piece or "" for piece in self.pieces]
        first = {} if rate is None else {"alpha": rate, "min_alpha": min(LAST_RATE, rate)}
        with quiet("gensim"):
            made = _learner(chosen)(
                sentences=sequences,
                vector_size=chosen.dimensions,
                window=window,
                min_count=chosen.min_count,
                negative=chosen.negative,
                ns_exponent=POWER,
                sample=chosen.sample,
                sg=int(chosen.algorithm == "skip-gram"),
                workers=chosen.threads,
                epochs=epochs,
                seed=seed,
                callbacks=() if say is None else [_teller(say, epochs)],
                **first,
            )
        self._take(made, named)
        if not (np.isfinite(self.vectors).all() and np.isfinite(self.contexts).all()):
            raise DivergedError(
                "word2vec: a vector is no finite number; lower trainer.learning_rate and train"
                " under another name"
            )
        seconds = time.monotonic() - started
        return {
            "epochs": epochs,
            "tokens": len(sequences.tokens),
            "pieces": int((self.counts > 0).sum()),
            "learning_rate": float(made.alpha),
            "threads": chosen.threads,
            "tokens_per_second": round(len(sequences.tokens) * epochs / max(seconds, 1e-9), 1),
            "seconds": round(seconds, 3),
        }

    def first_features(self, inputs: Sequence[Any]) -> list[Any]:
        """Rehearse learning from a few rows, so that its time can be told; nothing is kept."""
        chosen = self.chosen.model_copy(update={"min_count": 1})
        (window, epochs), rehearsal = self.course, PairNetwork.fresh(chosen, self.pieces)
        for batch in inputs:
            tokens = batch.ids[np.arange(batch.ids.shape[1]) < batch.lengths[:, None]]
            starts = np.concatenate([[0], np.cumsum(batch.lengths)])
            rehearsal.learn(tokens, starts, window, epochs, None, 0)
        return [np.zeros((len(batch.ids), 0), np.float32) for batch in inputs]

    def _take(self, made: Any, named: bool) -> None:
        """Put what gensim has learnt in the order of the vocabulary."""
        self.vectors, self.contexts = np.zeros_like(self.vectors), np.zeros_like(self.contexts)
        keys = made.wv.index_to_key
        if named:
            numbers = {piece: number for number, piece in enumerate(self.pieces) if piece}
            keys = [numbers[key] for key in keys]
            for piece, number in numbers.items():  # those too rare for a vector of their own, too
                with contextlib.suppress(KeyError):  # none of its n-grams is known
                    self.vectors[number] = made.wv.get_vector(piece)
        else:
            self.vectors[keys] = made.wv.vectors
        self.contexts[keys] = made.syn1neg

    # ------------------------------------------------------------ measuring

    def nats(self, inputs: Blanks) -> tuple[Array, Array]:
        """Return of each pair its nats, and whether it outranks all of its negatives.

        The nats are those of word2vec's own objective: -ln s(v.u) of the pair itself, and of each
        negative -ln s(-v.u), summed. `inputs.targets` [B, L * span] has for each token of the rows
        `span` places for words that stand near it.
        """
        rows, places = np.nonzero(inputs.targets != UNASKED)
        span = inputs.targets.shape[1] // inputs.ids.shape[1]
        words, near = inputs.ids[rows, places // span], inputs.targets[rows, places]
        keys = _key(inputs.ids, inputs.lengths)[rows] + places.astype(np.uint64)
        shares = np.cumsum(self.counts**POWER)
        nats, right = np.zeros(len(rows)), np.zeros(len(rows), np.bool_)
        for start in range(0, len(rows), SLICE):
            part = slice(start, start + SLICE)
            drawn = np.searchsorted(shares / shares[-1], _chances(keys[part]), side="right")
            asked = np.concatenate([near[part, None], drawn], 1)  # [pairs, 1 + NEGATIVES]
            scores = (self.contexts[asked] @ self.vectors[words[part], :, None])[:, :, 0]
            scores = scores.astype(np.float64)
            scores[:, 0] *= -1
            nats[part] = np.logaddexp(0, scores).sum(1)
            right[part] = -scores[:, 0] > scores[:, 1:].max(1)
        return nats, right

    def loss(self, inputs: Blanks) -> Any:
        raise ModelError("word vectors are learnt at once, not in steps; take method full")

    def features(self, inputs: Any) -> Any:
        raise ModelError(_NO_ROWS)

    def scores(self, inputs: Any) -> Array:
        raise ModelError(_NO_ROWS)

    def set_head(self, weight: Array, bias: Array) -> None:
        raise ModelError(_NO_ROWS)

    # ------------------------------------------------------------ files

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        """Write both tables, the vocabulary's strings and, where it is asked for, a vector file."""
        arrays = {
            _vectors.TABLE: self.vectors,
            CONTEXTS: self.contexts,
            COUNTS: self.counts,
        }
        config(self.vectors, None).save_pretrained(folder)
        path = folder / "model.safetensors"
        safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
        _vectors.write_pieces(folder, self.pieces)
        if self.chosen.export != "none":
            binary = self.chosen.export == "binary"
            kept = [
                (piece, number)
                for number, piece in enumerate(self.pieces)
                if piece and self.vectors[number].any() and not any(c.isspace() for c in piece)
            ]
            kept.sort(key=lambda one: -self.counts[one[1]])  # the frequent first, as is usual
            path = folder / ("vectors.bin" if binary else "vectors.vec")
            numbers = [number for _, number in kept]
            _vectors.write(path, [piece for piece, _ in kept], self.vectors[numbers], binary)


_NO_ROWS = (
    "word vectors that are learnt have no scores of whole rows; give the finished run to another"
    " task with model.vectors"
)


class Sequences:
    """Sequences of tokens, as often as they are asked for, with special tokens left out.

    Args:
        tokens: int [T], one sequence after the other.
        starts: int64 [rows + 1], where each begins.
        special: bool [V], what is left out.
    """

    def __init__(self, tokens: Array, starts: Array, special: Array) -> None:
        kept = ~special[tokens]
        self.tokens: Array = tokens[kept]
        self.starts: Array = np.concatenate([[0], np.cumsum(kept)])[starts]
        self.names: list[str] | None = None

    def __iter__(self) -> Iterator[list[Any]]:
        for begin, end in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            for start in range(begin, end, LONGEST):
                part = self.tokens[start : min(start + LONGEST, end)].tolist()
                yield part if self.names is None else [self.names[number] for number in part]


def _learner(chosen: Any) -> Any:
    """Return gensim's class, with what only one of them knows."""
    try:
        from gensim.models import FastText, Word2Vec
    except ImportError as error:
        raise ModelError('task skip-gram needs gensim; pip install "mulgil[word2vec]"') from error
    if chosen.subwords == [0, 0]:
        return Word2Vec

    def learner(**values: Any) -> Any:
        shortest, longest = chosen.subwords
        return FastText(min_n=shortest, max_n=longest, bucket=chosen.buckets, **values)

    return learner


def _teller(say: Callable[[str], None], epochs: int) -> Any:
    """Return what tells of each pass that gensim makes."""
    from gensim.models.callbacks import CallbackAny2Vec

    class Teller(CallbackAny2Vec):  # type: ignore[misc]
        def on_train_begin(self, model: Any) -> None:
            self.passed, self.since = 0, time.monotonic()

        def on_epoch_end(self, model: Any) -> None:
            self.passed += 1
            say(f"     epoch {self.passed} of {epochs}  {time.monotonic() - self.since:.1f} s")

    return Teller()


def _mixed(values: Array) -> Array:
    """Return uint64 numbers that look drawn (the last steps of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))


def _key(ids: Array, lengths: Array) -> Array:
    """Return uint64 [B], a number that hangs on all tokens of a row and on nothing else."""
    places = np.arange(1, ids.shape[1] + 1, dtype=np.uint64) << np.uint64(32)  # [L]
    each = _mixed(places + ids.astype(np.uint64))  # [B, L]
    inside = np.arange(ids.shape[1]) < lengths[:, None]
    return _mixed(np.where(inside, each, np.uint64(0)).sum(1, dtype=np.uint64))


def _chances(keys: Array) -> Array:
    """Return float64 [pairs, NEGATIVES] from 0 to 1, drawn by keys uint64 [pairs]."""
    step = np.uint64(0x9E3779B97F4A7C15)
    numbers = np.arange(1, NEGATIVES + 1, dtype=np.uint64) * step
    return (_mixed(_mixed(keys)[:, None] + numbers) >> np.uint64(11)) * 2.0**-53

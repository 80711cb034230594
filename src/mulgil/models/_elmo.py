"""ELMo's body: tokens read by their characters, LSTMs from both sides, a learnt mix of all layers.

A token's vector is made of its characters by filters of several widths, each at its best place,
highway layers and a projection (Kim et al. 2016); on these stand LSTMs that read from the left and
others that read from the right, which meet nowhere (Peters et al. 2018). What a task reads is
gamma * sum of softmax(s)_j * layer_j, with s and gamma learnt, the characters' layer doubled to the
width of the others; above it may stand a BiLSTM, which reads word vectors of the task's own beside
the mix, as the paper's models do. Chosen: the vocabulary's spelling lies with the weights as a
table, Hangul in jamo unless told otherwise, so that words that end otherwise share their parts;
each distinct token of a batch is spelt once. It costs the paper's clipping of cells, which is left
out (gradients are clipped instead), and in byte-level vocabularies, whose letters are bytes, the
jamo.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mulgil.flow import Array
from mulgil.models._bodies import Body, BodyConfig, register
from mulgil.models._elmo_lstm import Lstm, Steps, steps

BEGIN, END, FIRST = 1, 2, 3
"""Characters before a token, behind it, and the first of its own; 0 fills it up."""

_DISTINCT = 64
"""Distinct tokens of a batch are rounded up to a multiple of this: new shapes cost kernels."""


class ElmoConfig(BodyConfig):
    """Sizes of the body.

    Attributes:
        letters: rows of the characters' table.
        longest: characters of a token, its marks included.
        letter_width: width of a character's vector.
        filters: (width in characters, how many) of each sort of filter.
        highways: highway layers.
        projection: width of a layer's state in each direction.
        cells: numbers that each LSTM remembers.
        num_hidden_layers: layers of LSTMs.
        top: "none", or "lstm" for a BiLSTM over the mix.
        top_hidden: its width in each direction.
        top_words: width of the word vectors that it reads beside the mix; 0 for none.
        pooling: "mean" or "max", how a text's vector is made of its states.
        freeze: whether all below the mix rests.
    """

    model_type = "mulgil-elmo"

    letters: int = FIRST
    longest: int = 3
    letter_width: int = 16
    filters: list[list[int]] | None = None
    highways: int = 1
    projection: int = 128
    cells: int = 256
    num_hidden_layers: int = 2
    top: str = "none"
    top_hidden: int = 128
    top_words: int = 0
    pooling: str = "mean"
    freeze: bool = False


def spelling(pieces: Sequence[str | None], jamo: bool, most: int) -> tuple[Array, int]:
    """Return the characters of each piece of a vocabulary, and how many sorts there are.

    A special token, and a gap, is a character of its own. "##" before a piece is one character.

    Args:
        pieces: by id; None for special tokens and gaps.
        jamo: take Hangul syllables apart.
        most: characters of a piece at most, the marks at its ends included; more are cut off.

    Returns:
        int32 [V, C], 0 behind a piece's end, and the number that no character reaches.
    """
    written = [None if piece is None else _letters(piece, jamo)[: most - 2] for piece in pieces]
    known = sorted({letter for piece in written if piece is not None for letter in piece})
    numbers = {letter: number for number, letter in enumerate(known, start=FIRST)}
    after = FIRST + len(known)
    rows = []
    for piece in written:
        if piece is None:
            rows.append([after])
            after += 1
        else:
            rows.append([BEGIN, *(numbers[letter] for letter in piece), END])
    table = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, found in zip(table, rows, strict=True):
        row[: len(found)] = found
    return table, after


def _letters(piece: str, jamo: bool) -> list[str]:
    plain = piece.removeprefix("##")
    spelt = unicodedata.normalize("NFD" if jamo else "NFC", plain)
    return [*(["##"] if plain != piece else []), *spelt]


class Product(nn.Linear):
    """A linear layer that methods which add to layers leave alone: those below the mix rest."""


class Spelt(nn.Module):
    """Vectors of tokens, made of their characters.

    Args:
        config: sizes.
    """

    def __init__(self, config: ElmoConfig) -> None:
        super().__init__()
        filters = config.filters or []
        width = sum(count for _, count in filters)
        self.known = nn.Embedding(config.letters, config.letter_width, padding_idx=0)
        self.filters = nn.ModuleList(
            Product(size * config.letter_width, count) for size, count in filters
        )
        highways = [Product(width, 2 * width) for _ in range(config.highways)]
        self.highways = nn.ModuleList(highways)
        self.project = Product(width, config.projection)
        self.sizes = [size for size, _ in filters]
        with torch.no_grad():
            for layer in highways:
                layer.bias[width:] = -2.0  # it begins by carrying its input on

    def forward(self, letters: Tensor) -> Tensor:
        """Return vectors [U, P] of tokens' characters, int64 [U, C]."""
        wide = max([letters.shape[1], *self.sizes])
        letters = nn.functional.pad(letters, (0, wide - letters.shape[1]))
        vectors = self.known(letters)  # [U, C, D]
        count, _, width = vectors.shape
        flat = vectors.reshape(count, -1)
        found = []
        for size, layer in zip(self.sizes, self.filters, strict=True):
            seen = flat.unfold(1, size * width, width)  # [U, C - size + 1, size * D]
            found.append(layer(seen).max(1).values.relu())
        vector = torch.cat(found, 1)
        for layer in self.highways:
            fresh, carry = layer(vector).chunk(2, 1)
            gate = carry.sigmoid()
            vector = gate * fresh.relu() + (1 - gate) * vector
        projected: Tensor = self.project(vector)
        return projected


class Both(nn.Module):
    """An LSTM in each direction.

    Args:
        width: numbers that each reads of a token.
        cells: numbers that each remembers.
        projection: width of its states; None leaves them as wide as the cells.
    """

    def __init__(self, width: int, cells: int, projection: int | None = None) -> None:
        super().__init__()
        self.left = Lstm(width, cells, projection)
        self.right = Lstm(width, cells, projection)

    def forward(self, left: Tensor, right: Tensor, by: tuple[Steps, Steps]) -> tuple[Tensor, ...]:
        """Return what each makes of its own reading, [T, width] to [T, states]."""
        return self.left(left, by[0]), self.right(right, by[1])


class ElmoBody(Body):
    """From tokens to the mix of all layers, or to the states of a BiLSTM over it."""

    config_class = ElmoConfig
    base_model_prefix = "elmo"

    def __init__(self, config: ElmoConfig) -> None:
        super().__init__(config)
        table = torch.zeros(config.vocab_size, config.longest, dtype=torch.int32)
        self.register_buffer("spelling", table)
        self.spelt = Spelt(config)
        self.layers = nn.ModuleList(
            Both(config.projection, config.cells, config.projection)
            for _ in range(config.num_hidden_layers)
        )
        self.mix = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))
        self.gamma = nn.Parameter(torch.ones(1))
        self.dropout = nn.Dropout(float(config.dropout))
        self.top: Both | None = None
        self.words: nn.Embedding | None = None
        self.dress(config.top, config.top_hidden, config.top_words, config.pooling, config.freeze)
        self.post_init()

    def dress(self, top: str, hidden: int, words: int, pooling: str, freeze: bool) -> None:
        """Put on what a task has of its own; a new BiLSTM and its words begin at random.

        Args:
            top: "none" or "lstm".
            hidden: width of the BiLSTM in each direction.
            words: width of the word vectors that the BiLSTM reads beside the mix; 0 for none.
            pooling: "mean" or "max".
            freeze: let all below the mix rest.
        """
        config: Any = self.config
        config.top, config.top_hidden, config.top_words = top, hidden, words
        config.pooling, config.freeze = pooling, freeze
        width = config.hidden_size = 2 * config.projection
        self.top = self.words = None
        if top == "lstm":
            self.top = Both(width + words, hidden)
            config.hidden_size = 2 * hidden
            if words:
                self.words = nn.Embedding(config.vocab_size, words)
                nn.init.normal_(self.words.weight, std=0.1)
        for part in (self.spelt, self.layers):
            part.requires_grad_(not freeze)

    def read_layers(self, ids: Tensor, by: tuple[Steps, Steps]) -> list[tuple[Tensor, ...]]:
        """Return the states of all layers from the left and from the right, each [T, P].

        Args:
            ids: int64 [T], the batch's tokens, row after row.
            by: how they are laid out.
        """
        table: Any = self.spelling
        distinct, places = torch.unique(ids, return_inverse=True)
        distinct = nn.functional.pad(distinct, (0, -len(distinct) % _DISTINCT))
        vectors = self.spelt(table[distinct].long())  # [U, P]
        left = right = self._dropped(nn.functional.embedding(places, vectors))  # [T, P]
        found: list[tuple[Tensor, ...]] = [(left, right)]
        for number, layer in enumerate(self.layers):
            fresh = [self._dropped(states) for states in layer(left, right, by)]
            left, right = (fresh[0] + left, fresh[1] + right) if number else fresh
            found.append((left, right))
        return found

    def _dropped(self, states: Tensor) -> Tensor:
        """Drop some numbers, unless the layers rest."""
        dropped: Tensor = states if self.config.freeze else self.dropout(states)
        return dropped

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor]:
        """Return (states [B, L, H],), zeros behind a row's end; see `Body`."""
        there = attention_mask.bool()
        by = steps(attention_mask.long().sum(1))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze):
            layers = self.read_layers(input_ids[there], by)
        shares = (torch.softmax(self.mix.float(), 0) * self.gamma.float()).to(self.mix.dtype)
        mixed: Any = sum(
            share * torch.cat(pair, 1) for share, pair in zip(shares, layers, strict=True)
        )  # [T, 2P]
        if self.top is not None:
            if self.table is not None:
                mixed = torch.cat([self.read(input_ids, mixed.dtype)[there], mixed], 1)
            mixed = self.dropout(mixed)
            mixed = torch.cat(self.top(mixed, mixed, by), 1)
        states = mixed.new_zeros(there.numel(), mixed.shape[1])
        states = states.index_copy(0, there.flatten().nonzero()[:, 0], mixed)
        return (states.view(*there.shape, -1),)

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.config.pooling == "mean":
            return super().pooled(states, mask)
        least = torch.finfo(states.dtype).min
        return states.masked_fill(mask[:, :, None] == 0, least).max(1).values


register(ElmoConfig, ElmoBody)

"""The body of a convolutional network over words (Kim 2014).

Each kernel looks at as many words in a row and gives `filters` numbers, of which the largest over
the text is kept. Chosen: windows stand around every word, zeros outside the text, so that the
shortest text has windows and the same numbers describe single words; a window is one product with
a linear layer. It costs the memory of the windows, the kernels' sum times the words' vectors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mulgil.models._bodies import Body, BodyConfig, register


class TextCnnConfig(BodyConfig):
    """Sizes: width of a word's vector, words a kernel looks at, numbers that each kernel gives."""

    model_type = "mulgil-textcnn"
    embedding: int = 128
    kernels: tuple[int, ...] | list[int] = (3, 4, 5)
    filters: int = 100


class TextCnnBody(Body):
    """Words, kernels, ReLU; the largest over the text."""

    def __init__(self, config: TextCnnConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.embedding)
        nn.init.normal_(self.words.weight, std=0.1)
        self.kernels = nn.ModuleList(
            nn.Linear(size * config.embedding, config.filters) for size in config.kernels
        )
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor]:
        words = self.read(input_ids, next(self.kernels.parameters()).dtype)
        words = words * attention_mask.to(words.dtype)[:, :, None]  # [B, L, D]
        sizes = self.config.kernels
        pairs = zip(sizes, self.kernels, strict=True)
        return (torch.cat([kernel(windows(words, size)) for size, kernel in pairs], 2).relu(),)

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the largest over the text, [B, kernels * filters]; ReLU leaves none below 0."""
        return (states * mask.to(states.dtype)[:, :, None]).amax(1)


def windows(words: Tensor, size: int) -> Tensor:
    """Return the vectors of the words around each: [B, L, D] to [B, L, size * D]."""
    before = (size - 1) // 2
    padded = nn.functional.pad(words, (0, 0, before, size - 1 - before))
    length = words.shape[1]
    return torch.cat([padded[:, place : place + length] for place in range(size)], 2)


register(TextCnnConfig, TextCnnBody)

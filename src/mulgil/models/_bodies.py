"""Bodies of the house's own: small networks from tokens to states, with the files of any other.

A body is a transformers module with a config of its own, so that a run is saved and opened as
every checkpoint is (safetensors and JSON, no code from elsewhere). Two texts are pooled each for
itself by the same weights, and [u, v, |u - v|, u * v] is scored (InferSent, Conneau et al. 2017).
Chosen: the words' table is read row by row, so that only rows that a batch met learn, as with the
fast encoders. It costs that a body cannot be given vectors in place of tokens.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from mulgil.errors import ModelError
from mulgil.models._fast import lookup
from mulgil.models._torch import masked_mean


class BodyConfig(PretrainedConfig):  # type: ignore[misc]
    """What every body says of itself; each family adds its sizes and a `model_type`.

    Attributes:
        vocab_size: rows of the words' table.
        hidden_size: width of a token's state.
        type_vocab_size: 2, for tokens are told apart by the text that they are of.
        dropout: share of numbers that every dropout of the body and its head takes.
        pad_token_id: token that fills rows up.
    """

    vocab_size: int = 0
    hidden_size: int = 0
    type_vocab_size: int = 2
    dropout: float | int = 0.0
    pad_token_id: int | None = None


class Body(PreTrainedModel):  # type: ignore[misc]
    """From tokens to states [B, L, H]; what fills a row up never changes the others' states.

    A subclass with a table of words calls it `words`.
    """

    config_class = BodyConfig
    before_rows: Callable[[Tensor], None] | None = None
    """Told of the tokens before their rows are read."""
    sparse = False
    """Whether the table's gradient has only the rows that were read."""

    @abstractmethod
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor]:
        """Return (states [B, L, H],) of ids [B, L]; mask [B, L] is 1 at tokens, 0 behind them."""

    def pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return one vector a text, [B, width], of its states: their mean."""
        return masked_mean(states, mask)

    @property
    def width(self) -> int:
        """Width of a text's vector."""
        return int(self.config.hidden_size)

    @property
    def table(self) -> nn.Parameter | None:
        """The words' table, [V, D]; None where there is none."""
        words = getattr(self, "words", None)
        table: nn.Parameter | None = None if words is None else words.weight
        return table

    def read(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the words' rows [B, L, D] of ids [B, L] in a precision."""
        table = self.get_input_embeddings().weight
        if self.before_rows is not None:
            self.before_rows(ids)
        flat = lookup(table, ids.reshape(-1), -1, self.sparse, dtype)
        found: Tensor = flat.view(*ids.shape, -1)
        return found

    def get_input_embeddings(self) -> nn.Embedding:
        words: nn.Embedding = self.words
        return words

    def _init_weights(self, module: nn.Module) -> None:
        """Leave what the body has drawn; a checkpoint that lacks weights is refused elsewhere."""


def register(config: type[BodyConfig], body: type[Body]) -> None:
    """Let transformers' AutoConfig and AutoModel open a body."""
    body.config_class = config
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModel.register(config, body, exist_ok=True)


def text_vectors(body: Body, tensors: dict[str, Tensor], pair: bool) -> Tensor:
    """Return one vector a row: [B, width] of a text, [B, 4 * width] of two.

    Args:
        body: makes and pools the states.
        tensors: what it reads; of two texts with `token_type_ids`.
        pair: whether a row holds two texts.

    Raises:
        ModelError: nothing tells the two texts apart.
    """
    ids, mask = tensors["input_ids"], tensors["attention_mask"]
    if not pair:
        return body.pooled(body(ids, mask)[0], mask)
    if "token_type_ids" not in tensors:
        raise ModelError(
            "tokenizer: its rows do not say which token is of which text, and each text is read for"
            " itself; take a tokenizer that is learnt here, or model encoder"
        )
    ids, mask = parted(ids, mask, tensors["token_type_ids"])
    first, second = body.pooled(body(ids, mask)[0], mask).chunk(2)
    return torch.cat([first, second, (first - second).abs(), first * second], 1)


def parted(ids: Tensor, mask: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """Part rows of two texts: [B, L] to ids and mask [2B, L], first texts, then second ones.

    Both begin with the row's first token, so that a text has the same tokens in either place.
    """
    places = torch.arange(ids.shape[1], device=ids.device)[None]  # [1, L]
    sizes = (mask * (1 - kinds)).sum(1, keepdim=True)  # [B, 1], of the first texts
    whole = mask.sum(1, keepdim=True)
    source = (places + sizes - 1).clamp(max=ids.shape[1] - 1)
    second = ids.gather(1, torch.where(places == 0, 0, source))
    kept = torch.cat([places < sizes, places < whole - sizes + 1]).to(mask.dtype)
    width = int(kept.sum(1).max())
    return torch.cat([ids, second])[:, :width], kept[:, :width]


class TokenHead(nn.Module):
    """A body, dropout, and a linear layer for each token, as "ForTokenClassification" has them.

    Args:
        body: makes the states.
        outputs: scores a token.
    """

    def __init__(self, body: Body, outputs: int) -> None:
        super().__init__()
        self.body = body
        self.dropout = nn.Dropout(float(body.config.dropout))
        self.classifier = head(int(body.config.hidden_size), outputs)

    @property
    def base_model(self) -> Body:
        return self.body

    @property
    def config(self) -> Any:
        return self.body.config

    def forward(self, **tensors: Tensor) -> Any:
        """Return `logits` [B, L, outputs]."""
        states = self.body(**tensors)[0]
        return SimpleNamespace(logits=self.classifier(self.dropout(states)))


def head(width: int, outputs: int, spread: float = 0.02) -> nn.Linear:
    """Return a linear layer whose weights are small and whose bias is zero."""
    made = nn.Linear(width, outputs)
    nn.init.normal_(made.weight, std=spread)
    nn.init.zeros_(made.bias)
    return made

"""A recurrent network as a language model: each token from those before it, read forwards only.

Chosen: a module that transformers' own `generate` continues, so that drawing, beams and listening
are those of every decoder (`_decoding`); what it carries from token to token is a `State`, and no
token is read twice. Its words and layers bear the names of a `RecurrentBody`, which opens them for
other tasks. It costs a vocabulary layer beside the table of words, for they differ in width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import AutoModelForCausalLM, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from mulgil.models._bodies import head, register
from mulgil.models._recurrent import RecurrentBody, RecurrentConfig


class State:
    """What has been read so far.

    Attributes:
        layers: what each layer remembers of B rows: [..., B, H], of an LSTM two of them.
        keys: [B, S, A], what is looked for in a text beside which this one is written; None where
            there is none.
    """

    def __init__(self, layers: list[Any], keys: Tensor | None = None) -> None:
        self.layers = layers
        self.keys = keys

    def reorder_cache(self, rows: Tensor) -> None:
        """Keep these rows [B], as beams do; those of one text have the same keys."""
        self.layers = [
            tuple(part.index_select(-2, rows) for part in layer)
            if isinstance(layer, tuple)
            else layer.index_select(-2, rows)
            for layer in self.layers
        ]


class RecurrentLmConfig(RecurrentConfig):
    """Sizes; it reads one way, and says how a text's states are pooled where they are wanted."""

    model_type = "mulgil-recurrent-lm"
    directions: int = 1
    pooling: str = "max"
    tie_word_embeddings: bool = False


class RecurrentLm(RecurrentBody, GenerationMixin):  # type: ignore[misc]
    """Words, layers that read them forwards, the vocabulary."""

    def __init__(self, config: RecurrentLmConfig) -> None:
        super().__init__(config)
        self.vocabulary = head(config.hidden_size, config.vocab_size)
        self.post_init()

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: State | None = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Return `logits` [B, L, V] of ids [B, L], whose rows are filled up at their end if at all.

        With `use_cache`, `past_key_values` has the state that the next tokens go on from.
        """
        states = self.read(input_ids, next(self.layers.parameters()).dtype)
        kept = []
        for number, layer in enumerate(self.layers):
            (onward,) = layer.children()
            before = None if past_key_values is None else past_key_values.layers[number]
            states, after = onward(self.dropped(states), before)
            kept.append(after)
        logits = self.vocabulary(self.dropped(states))
        state = State(kept) if use_cache else None
        return CausalLMOutputWithPast(logits=logits, past_key_values=state)

    def get_output_embeddings(self) -> Any:
        return self.vocabulary

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # there are no keys and values

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        past_key_values: State | None = None,
        attention_mask: Tensor | None = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """Return what `forward` reads next: what is new, and the state of what stands before."""
        new = input_ids if past_key_values is None else input_ids[:, -1:]
        return {"input_ids": new, "past_key_values": past_key_values, "use_cache": use_cache}


register(RecurrentLmConfig, RecurrentLm)
AutoModelForCausalLM.register(RecurrentLmConfig, RecurrentLm, exist_ok=True)

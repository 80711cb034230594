"""A classifier of pairs as a network that chooses: does the sentence with a label's word follow?

Chosen: questions know by themselves which two texts they are (`pair`), so that premise and
hypothesis stand between the special tokens that the checkpoint was taught with, whatever lines a
row's text has. It costs that only a tokenizer of the checkpoint's own kind will do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mulgil.contracts import Tokenizer
from mulgil.errors import ModelError
from mulgil.flow import Array, Segment
from mulgil.models import _together
from mulgil.models._choosing import tokens
from mulgil.models._network import EncoderNetwork
from mulgil.networks import PromptedNetwork

Pair = tuple[list[int], list[int]]


@dataclasses.dataclass(frozen=True, slots=True)
class _Rows:
    """What the classifier reads; `kinds` says to which of two texts a token belongs."""

    ids: Array
    lengths: Array
    kinds: Array


class EntailingNetwork(PromptedNetwork):
    """Says how surely sentences follow from texts.

    Args:
        network: gives labels to pairs.
        place: number of its label "entailment".
        tokenizer: of the checkpoint.

    Raises:
        ModelError: the tokenizer has no template for two texts.
    """

    def __init__(self, network: EncoderNetwork, place: int, tokenizer: Tokenizer) -> None:
        self.network = network
        self._entailment = place
        self._template = tokenizer.around(2)
        self._opening = tokenizer.opening()

    def choose(
        self, prefix: Segment, queries: Sequence[Segment], choices: Sequence[Segment]
    ) -> Array:
        """Return float64 [queries, choices], ln p of "entailment"; see `PromptedNetwork.choose`.

        Raises:
            ModelError: something stands before a question, or it has no last line behind its text.
        """
        pairs = self._pairs(tokens(prefix), queries)
        words = [tokens(choice) for choice in choices]
        made = [self._template.row(a, [*b, *word]) for a, b in pairs for word in words]
        found = np.empty(len(made))
        for part in _together.batches([ids for ids, _ in made], len(made)):
            ids, lengths = _together.padded([made[i][0] for i in part])
            kinds, _ = _together.padded([made[i][1] for i in part])
            scores = self.network.scores(_Rows(ids, lengths, kinds)).astype(np.float64)  # [B, L]
            powers = scores - scores.max(1, keepdims=True)
            chances = powers - np.log(np.exp(powers).sum(1, keepdims=True))
            found[part] = chances[:, self._entailment]
        return found.reshape(len(pairs), len(words))

    def _pairs(self, prefix: list[int], queries: Sequence[Segment]) -> list[Pair]:
        """Return premise and hypothesis, without a label's word, of each question."""
        if any(getattr(query, "pair", ()) is None for query in queries):
            raise ModelError(
                'task.prompt: model "entailment" takes the last line of a prompt as a sentence, but'
                " no line break stands behind the place of the row's text; write one, such as"
                ' "{text}\\n이 글의 분류는"'
            )
        found: list[Pair | None] = [getattr(query, "pair", None) for query in queries]
        if prefix != self._opening or None in found:
            raise ModelError(
                'task.instruction, method.name: model "entailment" reads a text and one sentence,'
                " nothing before them; leave the instruction out and take method zero-shot, which"
                " shows no examples"
            )
        return [pair for pair in found if pair is not None]

    @property
    def outputs(self) -> int:
        return self.network.outputs

    @property
    def parameters_total(self) -> int:
        return self.network.parameters_total

    def features(self, inputs: Any) -> Array:
        return self.network.features(inputs)

    def set_head(self, weight: Array, bias: Array) -> None:
        raise ModelError("the head of a checkpoint of natural-language inference is its own")

    def scores(self, inputs: Any) -> Array:
        return self.network.scores(inputs)

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        raise ModelError(
            "what is asked is not saved again; a run keeps its prompts and the checkpoint's name"
        )

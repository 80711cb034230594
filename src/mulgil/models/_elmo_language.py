"""ELMo as a language model: the next token from the left, the one before it from the right.

Between each two neighbours of a row stands a guess from either side: the left part guesses the
right neighbour, the right part the left one. Chosen: what is measured of such a place is the mean
of both guesses, so that its nats, over all places of a text, are the mean of what both models say
of the text, and bits a byte compare with those of causal-lm. Both share one vocabulary layer, which
lies in a file beside the body, so that the body opens downstream without it. It costs half tokens
among the right ones, where one side alone was right.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Blanks
from mulgil.models._bodies import head
from mulgil.models._elmo import ElmoBody
from mulgil.models._elmo_lstm import steps
from mulgil.models._language import Asked, VocabularyNetwork

FILE = "vocabulary.safetensors"
"""Where the vocabulary layer lies, beside the body's own files."""


class Guessing(nn.Module):
    """A body and the vocabulary layer that both directions share.

    Args:
        body: makes the states.
    """

    def __init__(self, body: ElmoBody) -> None:
        super().__init__()
        self.body = body
        self.vocabulary = head(int(body.config.projection), int(body.config.vocab_size))


class ElmoLanguage(VocabularyNetwork):
    """Says how likely each token is, from what stands before it and from what stands behind it.

    Args:
        body: makes the states; all of it learns.
        precision: "fp32" or "bf16"; training keeps fp32 masters either way.
        device: "cpu" or "cuda".
    """

    def __init__(self, body: ElmoBody, precision: str, device: str) -> None:
        super().__init__(Guessing(body), body, precision, device)

    @property
    def part(self) -> ElmoBody:
        """The body: the vocabulary layer lies beside it."""
        body: ElmoBody = self.body
        return body

    @property
    def outputs(self) -> int:
        return int(self.body.config.vocab_size)

    def _words(self) -> tuple[Tensor, Tensor | None] | None:
        layer = self.module.vocabulary
        return layer.weight, layer.bias

    def _asked(self, inputs: Blanks) -> Asked:
        """Yield the guesses from the left, and those from the right, of the same places."""
        tensors = self._tensors(inputs)
        there = tensors["attention_mask"].bool()
        ids = tensors["input_ids"][there]  # [T]
        targets = torch.from_numpy(inputs.targets).to(self.device)[there]
        places = (targets != UNASKED).nonzero()[:, 0]  # of the token before each place
        by = steps(tensors["attention_mask"].sum(1))
        left, right = self.body.read_layers(ids, by)[-1]
        yield left[places], targets[places]
        yield right[places + 1], ids[places]

    def loss(self, inputs: Blanks) -> Tensor:
        """Return the sum over all places of the mean of both guesses' -ln p."""
        return super().loss(inputs) / 2

    def nats(self, inputs: Blanks) -> tuple[Array, Array]:
        """Return (mean of both guesses' -ln p, share of them that is right), float64 [asked]."""
        with self._answering():
            (left, told), (right, said) = [self._judged(*each) for each in self._asked(inputs)]
        return (left + right) / 2, (told.astype(float) + said) / 2

    def distributions(self, inputs: Blanks) -> Array:
        raise ModelError(
            "the guesses from both sides are of different tokens and have no distribution together;"
            ' to fill blanks take model "encoder" with task "masked-lm"'
        )

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        """Write the body as every body is, and the vocabulary layer beside it."""
        import safetensors.torch

        self._release()
        self._write(self.body, folder)
        layer = self.module.vocabulary
        held = {"weight": layer.weight.data, "bias": layer.bias.data}
        safetensors.torch.save_file({k: v.contiguous() for k, v in held.items()}, folder / FILE)

    def read_head(self, folder: Path) -> None:
        """Take the vocabulary layer that lies in a folder.

        Raises:
            ModelError: there is none, or not one of this size.
        """
        import safetensors.torch

        try:
            held = safetensors.torch.load_file(folder / FILE)
            self.module.vocabulary.load_state_dict(held)
        except (OSError, RuntimeError, safetensors.SafetensorError) as error:
            reason = " ".join(str(error).split())[:120]
            raise ModelError(
                f"{folder}: its {FILE} is no vocabulary layer of this model: {reason}; train the"
                " run again"
            ) from error

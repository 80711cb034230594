"""Which of a few words an encoder-decoder would write: ln p of choices behind what was read.

Chosen: the encoder reads a question once, whatever the number of choices; the decoder then reads
each choice as it would have written it. All choices of one token share one step of the decoder.
Rows of like length are read together. It costs a short pass of the decoder for each choice of
several tokens, and that a prefix is read with every question, since an encoder reads both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mulgil.flow import Array
from mulgil.models import _together

_SCORES = 1 << 26
"""Scores of a batch: rows times the tokens of a choice times vocabulary."""


def choose(
    module: Any, begins: int, read: Sequence[Sequence[int]], choices: Sequence[Sequence[int]]
) -> Array:
    """Return float64 [rows, choices]: ln p of each choice where these rows were read.

    Args:
        module: an encoder-decoder of transformers, evaluating, without gradients.
        begins: the token that the decoder begins with.
        read: token ids that the encoder reads, at least one each.
        choices: token ids, at least one each.
    """
    found = np.empty((len(read), len(choices)))
    words = int(module.get_output_embeddings().weight.shape[0]) * max(map(len, choices))
    for rows in _together.batches(read, _SCORES // words):
        ids, lengths = map(torch.from_numpy, _together.padded([read[i] for i in rows]))
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long().to(module.device)
        states = module.get_encoder()(input_ids=ids.to(module.device), attention_mask=mask)
        found[rows] = _score(module, states, mask, begins, choices)
    return found


def _score(
    module: Any, states: Any, mask: Tensor, begins: int, choices: Sequence[Sequence[int]]
) -> Array:
    """Return ln p [B, C] of choices.

    Args:
        module: the model.
        states: what its encoder made of the rows.
        mask: int64 [B, S], what of them counts.
        begins: as in `choose`.
        choices: as in `choose`.
    """
    found: dict[int, Tensor] = {}
    single = [number for number, choice in enumerate(choices) if len(choice) == 1]
    if single:
        first = _chances(module, states, mask, [begins])[:, 0]  # [B, V]
        found |= {number: first[:, choices[number][0]].double() for number in single}
    for number, choice in enumerate(choices):
        if len(choice) > 1:
            chances = _chances(module, states, mask, [begins, *choice[:-1]])  # [B, n, V]
            wanted = torch.tensor(choice, device=mask.device).expand(len(mask), -1)
            found[number] = chances.gather(2, wanted[..., None])[..., 0].double().sum(1)
    return torch.stack([found[i] for i in range(len(choices))], 1).cpu().numpy()


def _chances(module: Any, states: Any, mask: Tensor, read: list[int]) -> Tensor:
    """Return ln p [B, n, V] behind each token that the decoder reads."""
    ids = torch.tensor(read, device=mask.device).expand(len(mask), -1)
    out = module(
        encoder_outputs=states,
        attention_mask=mask,
        decoder_input_ids=ids,
        decoder_attention_mask=torch.ones_like(ids),  # else some guess it from the padding token
        use_cache=False,
    )
    return torch.log_softmax(out.logits.float(), 2)

"""Which of a few words fills a blank best: an encoder that is asked (Schick & Schuetze 2021, PET).

Chosen: behind the question stand as many masks as a choice has tokens, then what closes a text; the
sum of ln p of the choice's tokens there is its score. Choices of one length share a pass. The
checkpoint's own masked-LM head answers: without one it is refused, since a fresh head knows
nothing. It costs that the tokens of a choice are judged without each other, so words of one token
serve best, and that nothing can stand behind the blank but the closing token.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Blanks, Segment
from mulgil.models import _checkpoints, _together
from mulgil.models._choosing import tokens
from mulgil.models._language import MaskedNetwork

_SCORES = 1 << 25
"""Scores of a batch: rows times masks times vocabulary."""


class AskedNetwork(MaskedNetwork):
    """Fills blanks at the end of questions.

    Args:
        module: of transformers' "ForMaskedLM" sort, its head learnt.
        tokenizer: of the module.
        most: tokens that the module reads.
        precision: "fp32" or "bf16".
        device: "cpu" or "cuda".

    Raises:
        ModelError: the tokenizer has no mask.
    """

    def __init__(self, module: Any, tokenizer: Any, most: int, precision: str, device: str) -> None:
        super().__init__(module, precision, device)
        mask = tokenizer.special_ids.get("mask")
        if mask is None:
            raise ModelError(
                "tokenizer: has no mask token, so an encoder cannot be asked with it; take a"
                " checkpoint that has one, or train one by method full"
            )
        around = tokenizer.around(1)
        self._mask = int(mask)
        self._before, self._closing = len(around.slots[0]), [*around.slots[1]]
        self._most = most

    def choose(
        self, prefix: Segment, queries: Sequence[Segment], choices: Sequence[Segment]
    ) -> Array:
        """Return float64 [queries, choices]; see `PromptedNetwork.choose`.

        Where blank and closing token leave too little room, the prompt loses the first tokens
        behind what opens it: never what stands before the blank.

        Raises:
            ModelError: prefix and queries are no tokens.
        """
        before, asked = tokens(prefix), [tokens(query) for query in queries]
        words = [tokens(choice) for choice in choices]
        found = np.empty((len(asked), len(words)))
        for masks in sorted({len(word) for word in words}):
            same = [number for number, word in enumerate(words) if len(word) == masks]
            wanted = np.array([words[number] for number in same])  # [C, n]
            rows = [self._row([*before, *query], masks) for query in asked]
            for part in _together.batches(rows, _SCORES // (self.outputs * masks)):
                chances = self._chances([rows[i] for i in part], masks)  # [B, n, V]
                each = chances[:, np.arange(masks), wanted]  # [B, C, n]
                found[np.ix_(part, same)] = each.sum(2, dtype=np.float64)
        return found

    def _row(self, prompt: list[int], masks: int) -> list[int]:
        behind = [self._mask] * masks + self._closing
        over = max(len(prompt) + len(behind) - self._most, 0)
        return [*prompt[: self._before], *prompt[self._before + over :], *behind]

    def _chances(self, rows: list[list[int]], masks: int) -> Array:
        """Return ln p float32 [B, n, V] at the masks of rows."""
        ids, lengths = _together.padded(rows)
        end = lengths[:, None] - len(self._closing)
        places = np.arange(ids.shape[1])
        asked = (places >= end - masks) & (places < end)
        targets = np.where(asked, self._mask, UNASKED)  # which token is asked for is no matter
        blanks = Blanks(ids, lengths, targets, np.zeros(len(rows)))
        return self.distributions(blanks).reshape(len(rows), masks, -1)


def opened(
    folder: Path | None, tokenizer: Any, most: int, precision: str, device: str
) -> AskedNetwork:
    """Open a checkpoint with its masked-LM head.

    Raises:
        ModelError: there is no checkpoint, it is not whole, or it has no such head.
    """
    from transformers import AutoModelForMaskedLM

    remedy = "take one that was trained on task masked-lm, or teach this one by method full"
    if folder is None:
        raise ModelError(
            f"model.pretrained: a fresh encoder has learnt nothing that it could be asked; {remedy}"
        )
    module, info = _checkpoints.opened(AutoModelForMaskedLM, folder)
    body = f"{module.base_model_prefix}."
    _checkpoints.whole(info, folder, body)
    lost = {*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}
    head = sorted(name for name in lost if not name.startswith(body))
    if head:
        raise ModelError(
            f"model.pretrained: {folder.name} has no masked-LM head ({head[0]} is missing), so what"
            f" it said of a blank would be chance; {remedy}"
        )
    return AskedNetwork(module, tokenizer, most, precision, device)

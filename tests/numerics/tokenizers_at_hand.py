"""Tokenizers made in the tests: learnt ones, and checkpoints of other making."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers
from transformers import PreTrainedTokenizerFast

from mulgil.tokenizers._learning import SPECIALS
from mulgil.tokenizers.subword import Subword, SubwordSettings

ALGORITHMS = ("wordpiece", "bpe", "unigram")


def made(
    texts: list[str], algorithm: str = "wordpiece", size: int = 2500, length: int = 256
) -> Subword:
    chosen: Any = {"algorithm": algorithm, "vocab_size": size, "max_length": length}
    return Subword.make(SubwordSettings(**chosen), None, texts, 7)


def checkpoint(backend: tokenizers.Tokenizer, folder: Path, **roles: str) -> Subword:
    """Save a tokenizer as a checkpoint has it, and open it."""
    roles = roles or dict(
        zip(
            ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"),
            SPECIALS,
            strict=True,
        )
    )
    PreTrainedTokenizerFast(tokenizer_object=backend, **roles).save_pretrained(folder)
    return Subword.make(SubwordSettings(max_length=64), folder, [], 1)

"""Single characters: a token each Hangul syllable, letter, digit or sign.

Chosen for what it cannot get wrong: no rules, no unknown words, an alphabet that fits in a small
model. It costs length, about 2 tokens where a subword has 1. Plain transformers opens the saved
folder and gives the same ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import tokenizers

from mulgil import settings
from mulgil.tokenizers import _characters
from mulgil.tokenizers.subword import Subword


class SyllableSettings(_characters.CharacterSettings):
    """Settings of the syllable tokenizer."""


class Syllable(Subword):
    """Characters as they are, in NFC."""

    Settings: ClassVar[type[settings.Settings]] = SyllableSettings
    name: ClassVar[str] = "syllable"
    fills: ClassVar[bool] = False

    @classmethod
    def _learn(cls, settings: Any, texts: Iterable[str]) -> tokenizers.Tokenizer:
        return _characters.learn(texts, settings.vocab_size, settings.byte_fallback, jamo=False)

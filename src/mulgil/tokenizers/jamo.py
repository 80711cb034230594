"""Single letters of Hangul: each syllable is taken apart into its conjoining jamo.

Here alone Hangul is decomposed (NFD), because it was asked for: the 67 jamo are always in the
vocabulary, so no syllable is ever rare. Decoding composes again, exactly. It costs length: 2 or 3
tokens a syllable. Plain transformers opens the saved folder and gives the same ids; what it decodes
stays decomposed, because the library has no step back that composes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import pydantic
import tokenizers

from mulgil import hangul, settings
from mulgil.tokenizers import _characters
from mulgil.tokenizers.subword import Subword


class JamoSettings(_characters.CharacterSettings):
    """Settings of the jamo tokenizer."""

    max_length: int = pydantic.Field(512, ge=4, le=1 << 20)
    """Longest row in tokens, special tokens included; the rest is cut off and counted."""
    vocab_size: int = pydantic.Field(1000, ge=128, le=1 << 20)
    """Size of the vocabulary at most: jamo, then the most frequent other characters."""


class Jamo(Subword):
    """Jamo of Hangul, and other characters decomposed alike."""

    Settings: ClassVar[type[settings.Settings]] = JamoSettings
    name: ClassVar[str] = "jamo"
    fills: ClassVar[bool] = False

    def __init__(self, backend: tokenizers.Tokenizer, files: Any, max_length: int) -> None:
        super().__init__(backend, files, max_length)
        self.notes = ()  # that Hangul is taken apart is no news here

    @classmethod
    def _learn(cls, settings: Any, texts: Iterable[str]) -> tokenizers.Tokenizer:
        return _characters.learn(texts, settings.vocab_size, settings.byte_fallback, jamo=True)

    def decode(self, ids: Sequence[int]) -> str:
        return hangul.normalise(super().decode(ids))

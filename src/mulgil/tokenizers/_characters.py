"""A vocabulary of single characters: the most frequent ones, the others in bytes or unknown.

Chosen: a BPE without merges, because then the library's own parts do everything (composing or
decomposing, bytes of unknown characters, offsets) and plain transformers opens the folder with the
same ids. A space is the piece "▁"; none is put in front of a text. It costs rows: 1 token a
character, so a row of a given length holds less text.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Annotated

import pydantic
import tokenizers
from tokenizers import models, normalizers

from mulgil import hangul, settings
from mulgil.errors import ModelError
from mulgil.tokenizers._learning import BAR, BYTES, SPECIALS, STANDS_FOR, WORD, decoder, framed

JAMO = tuple(map(chr, (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3))))
"""The 67 conjoining jamo that modern syllables are made of."""


class CharacterSettings(settings.Settings):
    """Settings of a tokenizer of single characters."""

    max_length: int = pydantic.Field(256, ge=4, le=1 << 20)
    """Longest row in tokens, special tokens included; the rest is cut off and counted."""
    vocab_size: int = pydantic.Field(4000, ge=64, le=1 << 20)
    """Size of the vocabulary at most: the most frequent characters of the training rows."""
    byte_fallback: bool = True
    """Spell other characters in bytes, so that none is unknown; else they are [UNK]."""
    pretrained: Annotated[str | None, settings.PATH_OR_NAME] = None
    """Folder of a tokenizer made by `mulgil tokenizer train`; the model's own comes first."""

    @pydantic.model_validator(mode="after")
    def _spells(self) -> CharacterSettings:
        if self.byte_fallback and self.vocab_size < 512:
            raise ValueError(f"byte_fallback needs vocab_size 512 or more, not {self.vocab_size}")
        return self


def learn(
    texts: Iterable[str], vocab_size: int, byte_fallback: bool, jamo: bool
) -> tokenizers.Tokenizer:
    """Return a pipeline whose pieces are single characters, the most frequent ones first.

    Args:
        texts: read once; only the counts of characters are kept.
        vocab_size: pieces at most, special ones and bytes included.
        byte_fallback: spell other characters in bytes; else they are [UNK].
        jamo: decompose texts (NFD), so that the jamo of a syllable are pieces, not the syllable.

    Raises:
        ModelError: the texts hold no character.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        clean = hangul.normalise(text)
        counts.update(unicodedata.normalize("NFD", clean) if jamo else clean)
    if not counts:
        raise ModelError("tokenizer: the training rows hold no character; give rows with text")
    always = (WORD, *JAMO) if jamo else (WORD,)
    frequent = sorted(counts, key=lambda letter: (-counts[letter], letter))
    letters = dict.fromkeys(letter.translate(STANDS_FOR) for letter in frequent)
    rest = [letter for letter in letters if letter not in always]
    first = [*SPECIALS, *(BYTES if byte_fallback else ()), *always]
    pieces = [*first, *rest[: vocab_size - len(first)]]
    backend = tokenizers.Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=[],
            unk_token="[UNK]",
            byte_fallback=byte_fallback,
        )
    )
    backend.add_special_tokens(list(SPECIALS))
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.NFD() if jamo else normalizers.NFC(),
            normalizers.Replace(WORD, BAR),
            normalizers.Replace(" ", WORD),
        ]
    )
    backend.decoder = decoder(front=False)
    return framed(backend)

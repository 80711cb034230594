"""Subwords that never reach across a Korean morpheme: "학교에서" is "학교" and "에서".

Chosen: kiwipiepy finds the morphemes, and only the places where they begin and end are taken from
it, as cuts in the text as it stands; its own normalised forms ("갔다" as 가, 었, 다) are never
used, so decoding gives the text back. Within a cut BPE or Unigram look for pieces as `subword`
does. It costs time (about 2,000 reviews a second and core, 0.5 GB of memory, 2.6 s to load), the
extra "korean", and plain transformers, which opens the saved folder but does not know the cuts.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic
import tokenizers

from mulgil import hangul, kiwi, settings
from mulgil.tokenizers import _folders, _learning
from mulgil.tokenizers.subword import Subword, SubwordSettings

_WANTS = ('tokenizer "morpheme"', "tokenizer.name=subword")
_CHUNK = 1000  # texts that are parted at a time while a vocabulary is learnt


class MorphemeSettings(SubwordSettings):
    """Settings of the morpheme tokenizer."""

    algorithm: Literal["bpe", "unigram"] = "bpe"
    """What is learnt within morphemes."""
    byte_fallback: bool = True
    """Spell characters that a learnt vocabulary lacks in bytes, so that none is unknown."""
    vocab_size: int = pydantic.Field(8000, ge=64, le=1 << 20)
    """Size of the vocabulary that is learnt."""

    @property
    def packages(self) -> tuple[str, ...]:
        return ("kiwipiepy",)


class Morpheme(Subword):
    """A learnt vocabulary behind cuts between morphemes."""

    Settings: ClassVar[type[settings.Settings]] = MorphemeSettings
    name: ClassVar[str] = "morpheme"

    @classmethod
    def _learn(cls, settings: Any, texts: Iterable[str]) -> tokenizers.Tokenizer:
        clean = (hangul.normalise(text) for text in texts)
        chunks = iter(lambda: list(itertools.islice(clean, _CHUNK)), [])
        parted = itertools.chain.from_iterable(map(parted_at_morphemes, chunks))
        return _learning.learn(
            parted, settings.algorithm, settings.vocab_size, settings.byte_fallback, parted=True
        )

    @classmethod
    def _open(cls, folder: Path, max_length: int) -> Morpheme:
        made = super()._open(folder, max_length)
        assert isinstance(made, cls)
        then, now = (_folders.rules(folder) or {}).get("kiwipiepy"), kiwi.versions(*_WANTS)
        if then != now:
            made.notes += (
                f"{folder.name}: learnt with kiwipiepy {then}, but this is {now}; morphemes may be"
                " cut elsewhere, install that version to encode as it did",
            )
        return made

    def fingerprint(self) -> str:
        return hashlib.sha256(
            f"{super().fingerprint()} {kiwi.versions(*_WANTS)}".encode()
        ).hexdigest()

    def _parted(self, texts: Sequence[str]) -> Sequence[str]:
        return parted_at_morphemes(texts)

    def _traced(self, text: str) -> Iterator[tuple[int, int, tuple[int, int]]]:
        (parted,) = parted_at_morphemes([text])
        cuts = [place for place, letter in enumerate(parted) if letter == _learning.CUT]
        for number, mask, (start, end) in super()._traced(parted):
            # A place in the parted text lies as much further as there are cuts before it.
            yield (
                number,
                mask,
                (start - bisect.bisect_left(cuts, start), end - bisect.bisect_left(cuts, end)),
            )

    def _more(self) -> dict[str, Any]:
        return {"kiwipiepy": kiwi.versions(*_WANTS)}


def parted_at_morphemes(texts: Sequence[str]) -> list[str]:
    """Return the texts with a `CUT` wherever a word goes on after the end of a morpheme.

    Args:
        texts: in NFC, so that none of them holds a `CUT`.

    Raises:
        ModelError: kiwipiepy is not installed.
    """
    return [
        _parted(text, found)
        for text, found in zip(texts, kiwi.analyser(*_WANTS).tokenize(texts), strict=True)
    ]


def _parted(text: str, morphemes: Iterable[Any]) -> str:
    places = {place for token in morphemes for place in (token.start, token.start + token.len)}
    cuts = [
        place
        for place in sorted(places)
        if 0 < place < len(text) and not text[place - 1].isspace() and not text[place].isspace()
    ]
    return _learning.CUT.join(text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)]))

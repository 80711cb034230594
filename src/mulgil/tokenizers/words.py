"""Words at white space, in NFC: what the classic models count.

Nothing is cut and nothing is unknown at this step; which n-grams of words and characters are
counted is the model's own setting. The unit of length is the character. Two texts of a row stay
two, so that a model can compare them.

Chosen: `morphemes` writes the text's morphemes behind it, in kiwipiepy's dictionary form ("갔다" is
가, 었, 다), on a line of its own; the text has no line break any more, so its first line is what
characters are counted in and its last what words are. On 10,000 reviews of NSMC (5,000 validation
rows) 1-2-grams of these forms beside the characters gave 0.838, with parts of speech behind them
0.836, characters alone 0.827; by themselves forms gave 0.832, the pieces of the text as it stands
0.819, words at white space 0.707. It costs kiwipiepy (the extra "korean", 0.5 GB of memory, some
2,000 reviews a second and core), and a run whose answers change with the version of its dictionary.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from mulgil import hangul, kiwi, settings
from mulgil.contracts import Encoded, Tokenizer
from mulgil.errors import ModelError
from mulgil.flow import Array, Text, each_of
from mulgil.tokenizers._rows import Rows

_WANTS = ("tokenizer.morphemes", "tokenizer.morphemes=false")


class WordSettings(settings.Settings):
    """Settings of the word tokenizer."""

    lowercase: bool = False
    """Fold case, for languages that have it."""
    morphemes: bool = False
    """Give Korean morphemes for words to a model that counts n-grams of words."""

    @property
    def packages(self) -> tuple[str, ...]:
        return ("kiwipiepy",) if self.morphemes else ()


class Strings(Rows):
    """Rows that stay strings; takes the place of token ids for models that count n-grams."""

    width: Literal["longest", "sum", "none"] = "none"

    def __init__(self, rows: list[Text], lengths: list[int]) -> None:
        super().__init__(lengths)
        self._rows = rows

    def take(self, rows: Array, multiple: int) -> Any:
        return [self._rows[i] for i in rows]


class Words(Tokenizer):
    """White-space words."""

    Settings: ClassVar[type[settings.Settings]] = WordSettings

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self._versions = kiwi.versions(*_WANTS) if settings.morphemes else None

    @classmethod
    def make(cls, settings: Any, source: Path | None, texts: Any, seed: int) -> Words:
        return cls(settings)

    @classmethod
    def load(cls, folder: Path) -> Words:
        """Open what `save` wrote.

        Raises:
            ModelError: the file is missing or broken, or kiwipiepy is needed and not installed.
        """
        try:
            values = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
            folded, parted = values["lowercase"], values.get("morphemes", False)
            chosen = WordSettings(lowercase=folded, morphemes=parted)
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise ModelError(
                f"{folder.name}/tokenizer.json: cannot be read ({type(error).__name__}); use a"
                " whole copy of the run"
            ) from error
        made = cls(chosen)
        then = values.get("kiwipiepy")
        if then != made._versions:
            made.notes += (
                f"{folder.name}: learnt with kiwipiepy {then}, but this is {made._versions};"
                " morphemes may be others, install that version to answer as it did",
            )
        return made

    def encode(self, texts: Sequence[Text]) -> Encoded:
        """Return rows that are strings, or pairs of them; see the module on morphemes.

        Raises:
            ModelError: `morphemes` is set and kiwipiepy is not installed.
        """
        rows = [tuple(map(self._plain, each_of(text))) for text in texts]
        lengths = [sum(map(len, row)) for row in rows]
        if self.settings.morphemes:
            parted = iter(_parted([text for row in rows for text in row]))
            rows = [tuple(f"{text}\n{next(parted)}" for text in row) for row in rows]
        return Strings([_as_given(row) for row in rows], lengths)

    def _plain(self, text: str) -> str:
        clean = hangul.key(text)
        return clean.lower() if self.settings.lowercase else clean

    def fingerprint(self) -> str:
        return hashlib.sha256(self._json().encode()).hexdigest()

    def save(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text(self._json(), encoding="utf-8")

    def _json(self) -> str:
        values = {"tokenizer": "words", "lowercase": self.settings.lowercase}
        if self.settings.morphemes:  # else as it always was, so that fingerprints stay
            values |= {"morphemes": True, "kiwipiepy": self._versions}
        return json.dumps(values) + "\n"


def _as_given(row: tuple[str, ...]) -> Text:
    return row[0] if len(row) == 1 else (row[0], row[1])


def _parted(texts: list[str]) -> list[str]:
    """Return the morphemes of each text, a blank between two."""
    found = kiwi.analyser(*_WANTS).tokenize(texts)
    # A form may hold white space; a word of the model's must not.
    return [" ".join("_".join(token.form.split()) for token in tokens) for tokens in found]

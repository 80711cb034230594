"""Words at white space, in NFC: what the classic models count.

Nothing is cut and nothing is unknown at this step; which n-grams of words and characters are
counted is the model's own setting. The unit of length is the character.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from mulgil import hangul, settings
from mulgil.contracts import Encoded, Tokenizer
from mulgil.flow import Array, Text


class WordSettings(settings.Settings):
    """Settings of the word tokenizer."""

    lowercase: bool = False
    """Fold case, for languages that have it."""


class Strings:
    """Rows that stay strings; takes the place of token ids for models that count n-grams."""

    width: Literal["longest", "sum", "none"] = "none"
    owners: Array | None = None

    def __init__(self, texts: list[str]) -> None:
        self._rows = texts
        self.texts = len(texts)
        self.lengths: Array = np.array([len(text) for text in texts], np.int64)
        self.truncated = 0
        self.unknown = 0.0

    def take(self, rows: Array, multiple: int) -> Any:
        return [self._rows[i] for i in rows]

    def arrays(self) -> None:
        return None

    def __len__(self) -> int:
        return self.texts


class Words(Tokenizer):
    """White-space words."""

    Settings: ClassVar[type[settings.Settings]] = WordSettings

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @classmethod
    def make(cls, settings: Any, source: Path | None, texts: Any, seed: int) -> Words:
        return cls(settings)

    @classmethod
    def load(cls, folder: Path) -> Words:
        values = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        return cls(WordSettings(lowercase=values["lowercase"]))

    def encode(self, texts: Sequence[Text]) -> Encoded:
        plain = [hangul.key(text) for text in texts]
        return Strings([text.lower() for text in plain] if self.settings.lowercase else plain)

    def fingerprint(self) -> str:
        return hashlib.sha256(self._json().encode()).hexdigest()

    def save(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text(self._json(), encoding="utf-8")

    def _json(self) -> str:
        return json.dumps({"tokenizer": "words", "lowercase": self.settings.lowercase}) + "\n"

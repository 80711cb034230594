"""Texts as they are, in NFC: for a model that is served elsewhere and brings its own tokenizer.

Chosen: a segment of a prompt is a string and lengths are in characters, since nobody here knows
the server's tokens. The user's text is cut, what stands around it never is. It costs that a limit
in tokens can only be guessed: 4,000 characters of Korean are some 2,000 to 4,000 tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic

from mulgil import hangul, settings
from mulgil.contracts import Encoded, Tokenizer
from mulgil.errors import ModelError
from mulgil.flow import Text, each_of
from mulgil.tokenizers import _folders
from mulgil.tokenizers._asked import AskedRows

NAME = "text"


class TextSettings(settings.Settings):
    """Settings of texts that stay texts."""

    max_length: int = pydantic.Field(4000, ge=1, le=1 << 24)
    """Most characters of a user's text; a longer one is cut at its end."""


class Prompts(AskedRows):
    """Rows that are strings; `take` gives a list of them.

    Args:
        segments: of all rows; `prompts` is another name of them.
        truncated: of how many the user's text was cut.
    """

    width: Literal["longest", "sum", "none"] = "none"

    def __init__(self, segments: list[str], truncated: int) -> None:
        super().__init__(segments, truncated, 0.0)
        self.prompts = segments


class Plain(Tokenizer):
    """Strings, whole or cut."""

    Settings: ClassVar[type[settings.Settings]] = TextSettings

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @classmethod
    def make(cls, settings: Any, source: Path | None, texts: Any, seed: int) -> Plain:
        return cls(settings)

    @classmethod
    def load(cls, folder: Path) -> Plain:
        """Open what `save` wrote.

        Raises:
            ModelError: the folder is another tokenizer's, or its file is damaged.
        """
        _folders.refuse_other(folder, NAME)
        values = _folders.rules(folder) or {}
        try:
            return cls(TextSettings(max_length=values["max_length"]))
        except (KeyError, ValueError) as error:
            raise ModelError(
                f"{folder / _folders.RULES}: max_length is missing or wrong; use another copy"
            ) from error

    def encode(self, texts: Sequence[Text]) -> Encoded:
        return self.asked([("\n".join(map(hangul.normalise, each_of(t))), "") for t in texts])

    def segment(self, text: str) -> str:
        return hangul.normalise(text)

    def opening(self) -> str:
        return ""

    def asked(self, texts: Sequence[tuple[str, str]]) -> Encoded:
        return self._put_together([("", text, behind) for text, behind in texts])

    def written(
        self, rows: Sequence[tuple[str, str | None]], prompt: tuple[str, str], two: bool, most: int
    ) -> Encoded:
        """Put the texts into their prompts; targets are not needed, `two` and `most` say nothing.

        Returns:
            Rows; `prompts` has the whole strings.
        """
        before, after = prompt
        return self._put_together([(before, text, after) for text, _ in rows])

    def decode(self, text: str) -> str:
        """Return what a served model wrote, as it is."""
        return text

    def ends(self) -> tuple[str, str]:
        """Return what a text begins and ends with: nothing, the server sees to that."""
        return "", ""

    def fingerprint(self) -> str:
        return hashlib.sha256(self._json().encode()).hexdigest()

    def save(self, folder: Path) -> None:
        (folder / _folders.RULES).write_text(self._json(), encoding="utf-8")

    def _put_together(self, rows: Sequence[tuple[str, str, str]]) -> Prompts:
        """Return before + text + behind of each row, the text cut."""
        most: int = self.settings.max_length
        segments, cut = [], 0
        for before, text, behind in rows:
            clean = hangul.normalise(text)
            cut += len(clean) > most
            # Once more as a whole: jamo may meet where the parts do.
            segments.append(
                hangul.normalise(
                    f"{hangul.normalise(before)}{clean[:most]}{hangul.normalise(behind)}"
                )
            )
        return Prompts(segments, cut)

    def _json(self) -> str:
        return json.dumps({"tokenizer": NAME, "max_length": self.settings.max_length}) + "\n"

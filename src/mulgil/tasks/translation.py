"""A text in another language.

Chosen: BLEU (Papineni et al. 2002) and chrF++ (Popović 2017) as sacrebleu computes them; chrF++ is
the one to read for Korean, whose words change their ends. One run learns one direction: which one
is the data set's setting. It costs a run more for the way back.
"""

from __future__ import annotations

from typing import ClassVar

import pydantic

from mulgil import settings
from mulgil.tasks._writing import WritingSettings, _WritingTask


class TranslationSettings(WritingSettings):
    """Settings of translation."""

    prompt: str = "{text}\n번역: "
    """What the model reads; {text} stands for the row's text, and stands once."""
    max_new: int = pydantic.Field(128, ge=2, le=4096)
    """Tokens that are written at most, the end of the text included; longer targets are cut."""


class Translation(_WritingTask):
    """Translation."""

    Settings: ClassVar[type[settings.Settings]] = TranslationSettings
    metrics: ClassVar[tuple[str, ...]] = ("perplexity", "chrf", "bleu")

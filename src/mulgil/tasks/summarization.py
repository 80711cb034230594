"""A short text that says what a long one says: summaries, headlines, titles.

Chosen: ROUGE by eojeol and by character (Lin 2004), since a Korean eojeol is right or wrong as a
whole; the unit is in the figure's name. It costs that a good summary in other words scores low.
"""

from __future__ import annotations

from typing import ClassVar

from mulgil import settings
from mulgil.tasks._writing import WritingSettings, _WritingTask


class SummarizationSettings(WritingSettings):
    """Settings of summarization."""

    prompt: str = "{text}\n요약: "
    """What the model reads; {text} stands for the row's text, and stands once."""


class Summarization(_WritingTask):
    """Summarization."""

    Settings: ClassVar[type[settings.Settings]] = SummarizationSettings
    metrics: ClassVar[tuple[str, ...]] = (
        "perplexity",
        "rouge-l",
        "rouge-l-character",
        "exact-match",
    )

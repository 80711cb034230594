"""A text that answers another one: replies, sentences from given words, anything from a prompt.

Chosen: perplexity of the right answer first, because there are many right answers and a figure that
compares with one of them says little; how varied the answers are stands beside it. It costs that
neither figure sees whether an answer makes sense: read the report's examples.
"""

from __future__ import annotations

from typing import ClassVar

from mulgil.tasks._writing import _WritingTask


class Generation(_WritingTask):
    """Text generation."""

    metrics: ClassVar[tuple[str, ...]] = (
        "perplexity",
        "bits-per-byte",
        "rouge-l",
        "rouge-l-character",
        "distinct",
    )

"""Rows as questions of a prompt: a template with places for the row's texts.

Chosen: plain text with `{text}`, or `{first}` and `{second}`, in the recipe, so that whoever writes
Korean prompts or English ones needs no code. What stands behind the last place is never cut. It
costs braces: a template holds none but those of its places.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pydantic

from mulgil import settings

_PLACE = re.compile(r"\{([^{}]*)\}")


class ShownSettings(settings.Settings):
    """Settings of in-context methods for whatever task; the others never look at them."""

    instruction: str = ""
    """In context: what every prompt begins with, before any example."""
    separator: str = "\n\n"
    """In context: what stands behind the instruction and behind every example."""


class PromptSettings(ShownSettings):
    """Settings of in-context methods where a row gets a label."""

    words: dict[str, str] = pydantic.Field({})
    """In context: what a label is called, by its name; its own name by default."""


def held(prompt: str, names: Sequence[str]) -> str:
    """Return a template that holds each place once.

    Raises:
        ValueError: it does not.
    """
    found, rest = _PLACE.findall(prompt), _PLACE.sub("", prompt)
    if sorted(found) != sorted(names) or "{" in rest or "}" in rest:
        wanted = " and ".join(f"{{{name}}}" for name in names)
        raise ValueError(f"must hold {wanted}, each once, and no other braces")
    return prompt


def question(prompt: str, texts: Mapping[str, str]) -> tuple[str, str]:
    """Return the template filled up to its last place, and what stands behind that."""
    end = [*_PLACE.finditer(prompt)][-1].end()
    return _PLACE.sub(lambda place: texts[place[1]], prompt[:end]), prompt[end:]


def spoken(prompt: str, word: str) -> str:
    """Return an answer as it goes on from a prompt: behind a space, unless one stands there."""
    return word if not prompt or prompt[-1].isspace() else f" {word}"

"""`mulgil predict` on a masked-lm run: what stands in the blanks of a text, with probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mulgil import hangul
from mulgil.flow import UNASKED, Array, Blanks
from mulgil.networks import LanguageNetwork

BLANK = "[MASK]"
"""What people write for a blank, whatever the tokenizer's own mask token looks like."""


def fill(
    texts: Sequence[str], network: LanguageNetwork, tokenizer: Any, top: int
) -> list[dict[str, Any]]:
    """Return for each text its likeliest version and, for each blank, the likeliest pieces.

    Each blank is one piece of the vocabulary; several in a text are filled each by itself, as the
    model was taught. An answer has `filled` (every blank filled with its likeliest piece),
    `probability` (the product over the blanks) and `blanks`, a list of `{piece: probability}`.

    Args:
        texts: with "[MASK]" where something is missing.
        network: knows the vocabulary.
        tokenizer: of the network.
        top: fillings for each blank.
    """
    answers: list[dict[str, Any]] = [{} for _ in texts]
    framed = [_framed(text, tokenizer) for text in texts]
    for i, (text, ids) in enumerate(zip(texts, framed, strict=True)):
        if BLANK not in text:
            answers[i] = {"error": f"has no {BLANK} to fill"}
        elif len(ids) > tokenizer.max_length:
            answers[i] = {
                "error": f"{len(ids)} tokens; the model reads {tokenizer.max_length} at most"
            }
    good = [i for i, answer in enumerate(answers) if not answer]
    mask = tokenizer.special_ids["mask"]
    for i in sorted(good, key=lambda i: len(framed[i])):
        blanks = _blanks(framed[i], mask)
        chances = np.exp(network.distributions(blanks).astype(np.float64))  # [blanks, V]
        chances[:, sorted(tokenizer.special_ids.values())] = 0.0
        answers[i] = _answer(framed[i], chances, mask, tokenizer, top)
    return answers


def _framed(text: str, tokenizer: Any) -> list[int]:
    """Return the ids of a text, its blanks as the mask token, in its frame.

    The space before a blank is the blank's: pieces that begin a word hold it. What stands right
    behind a blank goes on with its word, as it would behind a comma.
    """
    left, right = tokenizer.ends()
    mask = tokenizer.special_ids["mask"]
    first, *others = hangul.normalise(text).split(BLANK)
    ids = [left, *tokenizer.ids(_before(first) if others else first)]
    for number, part in enumerate(others, start=1):
        part = _before(part) if number < len(others) else part
        ids.append(mask)
        if part.startswith(" "):
            ids += tokenizer.ids(part[1:])
        elif part:
            ids += tokenizer.ids("," + part)[len(tokenizer.ids(",")) :]
    return [*ids, right]


def _before(part: str) -> str:
    return part.removesuffix(" ")


def _blanks(ids: list[int], mask: int) -> Blanks:
    row: Array = np.array([ids], np.int64)
    targets = np.where(row == mask, row, UNASKED)
    return Blanks(row, np.array([len(ids)]), targets, np.zeros(1))


def _answer(ids: list[int], chances: Array, mask: int, tokenizer: Any, top: int) -> dict[str, Any]:
    best = np.argsort(-chances, axis=1, kind="stable")[:, :top]  # [blanks, top]
    fillings = iter(best[:, 0])
    filled = [int(next(fillings)) if number == mask else number for number in ids]
    return {
        "filled": tokenizer.decode(filled),
        "probability": round(float(np.prod(chances[np.arange(len(best)), best[:, 0]])), 6),
        "blanks": [
            _named(numbers, chance, tokenizer)
            for numbers, chance in zip(best, chances, strict=True)
        ],
    }


def _named(numbers: Array, chance: Array, tokenizer: Any) -> dict[str, float]:
    """Return `{piece: probability}`; of pieces that look alike the later ones get "##" in front."""
    found: dict[str, float] = {}
    for number in numbers:
        name = tokenizer.decode([int(number)]).strip() or tokenizer.pieces()[number]
        while name in found:
            name = f"##{name}"
        found[name] = round(float(chance[number]), 6)
    return found

"""`mulgil predict` on a causal-lm run: each text goes on, with the probability of what is added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mulgil import hangul
from mulgil.flow import Sampling
from mulgil.networks import LanguageNetwork


def go_on(
    texts: Sequence[str], network: LanguageNetwork, tokenizer: Any, sampling: Sampling
) -> list[dict[str, Any]]:
    """Return for each text its `continuation`, how many `tokens` that is, and `log_probability`.

    That is ln p of the continuation, its end included, under the model itself, whatever the
    sampling.

    Args:
        texts: beginnings; the longest are cut at their front where the model reads less.
        network: knows the vocabulary.
        tokenizer: of the network.
        sampling: how to draw.
    """
    prompts = [beginning(text, tokenizer) for text in texts]
    _, right = tokenizer.ends()
    answers = []
    for prompt, (added, chances) in zip(
        prompts, network.generate(prompts, sampling, [right]), strict=True
    ):
        whole = tokenizer.decode([*prompt, *added])
        known = tokenizer.decode(prompt)
        answers.append(
            {
                "continuation": whole[len(known) :],
                "tokens": len(added),
                "log_probability": round(float(sum(chances)), 4),
            }
        )
    return answers


def beginning(text: str, tokenizer: Any) -> list[int]:
    """Return the tokens of a text that goes on."""
    left, _ = tokenizer.ends()
    return [left, *tokenizer.ids(hangul.normalise(text))]

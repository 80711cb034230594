"""The network that is asked which of a few words goes on best: labels, by their words.

Chosen: what prompts share is handed on as one segment, so that a model reads it once; the words'
ln p are the scores, calibrated. It costs that labels whose words are the same to the tokenizer
cannot be told apart: they are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mulgil.errors import SettingError
from mulgil.flow import Array, Segment
from mulgil.methods._prompting import Plan, Prompting
from mulgil.methods._shots import Shot


class Asking(Prompting):
    """A network that is asked in prompts: its scores are the words' ln p, calibrated.

    Args:
        network: chooses among words.
        tokenizer: of the network.
        plan: what is asked.

    Raises:
        SettingError: two labels are called the same, or one like nothing.
    """

    def __init__(self, network: Any, tokenizer: Any, plan: Plan) -> None:
        super().__init__(network, tokenizer, plan)
        self._choices: list[Segment] = [tokenizer.segment(word) for word in plan.words]
        _distinct(plan.words, self._choices, getattr(tokenizer, "unknown", None))

    def check_room(self) -> None:
        limit, taken = self.plan.limit, len(self._base) + self._longest()
        if limit is None:
            return
        if limit - taken < 4:
            raise SettingError(
                f"task.instruction: of the {limit} tokens that the model reads the instruction and"
                f" a label's word take {taken}; make it shorter"
            )
        longest = self._tokenizer.max_length
        if longest + taken > limit:
            raise SettingError(
                f"tokenizer.max_length is {longest}, but of the {limit} tokens that the model reads"
                f" the instruction and a label's word take {taken}; set it to {limit - taken} or"
                " less"
            )

    def scores(self, inputs: Any, like: Sequence[Segment] = ()) -> Array:
        """Return float32 [B, labels] of questions.

        Args:
            inputs: questions.
            like: questions whose own examples are shown instead; empty shows each its own.
        """
        draw = self.plan.draws[self.draw]
        found = np.empty((len(inputs), len(self._choices)))
        for prefix, rows, queries in self._grouped(inputs, self._longest(), like):
            asked = [query or self._begun(prefix) for query in queries]
            found[rows] = self.network.choose(prefix, asked, self._choices)
        if self.plan.normalise == "tokens":
            found = found / [len(choice) for choice in self._choices]
        offsets = draw.offsets or [0.0] * len(self._choices)
        return (found * draw.slope + offsets).astype(np.float32)

    def _encoded(self, shots: Sequence[Shot]) -> tuple[list[Any], list[Any]]:
        asked = self._tokenizer.asked([(shot.text, shot.behind) for shot in shots]).segments
        behind = self.plan.separator
        whole = (shot.text + shot.behind + shot.answer + behind for shot in shots)
        return list(asked), [self._tokenizer.segment(text) for text in whole]

    def _longest(self) -> int:
        """Return the tokens of the longest word."""
        return max(map(len, self._choices))

    def _begun(self, prefix: Segment) -> Segment:
        """Return what an empty question is asked with: where nothing stands before it, a start."""
        empty: Segment = prefix[:0]
        return empty if prefix or isinstance(prefix, str) else [self._tokenizer.ends()[0]]

    @property
    def outputs(self) -> int:
        return len(self._choices)


def _distinct(words: Sequence[str], choices: Sequence[Segment], unknown: int | None) -> None:
    """Refuse words that the tokenizer cannot tell from one another, or makes nothing of."""
    seen: dict[Any, str] = {}
    for word, choice in zip(words, choices, strict=True):
        key, called = choice if isinstance(choice, str) else tuple(choice), word.strip()
        if not key:
            raise SettingError(
                f'task.words: the tokenizer makes nothing of "{called}"; give another word'
            )
        if key in seen:
            raise SettingError(
                f'task.words: "{seen[key]}" and "{called}" are the same to the tokenizer; give one'
                " of the labels another word"
            )
        if unknown is not None and unknown in key:
            raise SettingError(
                f'task.words: the tokenizer does not know all of "{called}"; give another word'
            )
        seen[key] = called

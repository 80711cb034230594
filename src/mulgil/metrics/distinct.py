"""How varied what was written is: different units, and pairs of them, for each unit written.

distinct-n (Li et al. 2016, "A Diversity-Promoting Objective Function"): the number of different
runs of n units in all predictions together / the number of units in them, 0 to 1; the paper divides
pairs by units too, later code often by pairs, which gives a little more. Units are eojeol
(`distinct-1`, `distinct-2`) and characters without white space (`-character`), in NFC, otherwise as
they stand. No right text is looked at: babble is varied too. Repetition grows with the number of
rows, so compare equal numbers of rows only; an interval that draws rows again sees it too.
"""

from __future__ import annotations

import itertools
from collections import Counter

from mulgil import hangul
from mulgil.judged import Written
from mulgil.objectives import Metric


class Distinct(Metric):
    """`distinct-1` and `distinct-2` over eojeol, then over characters."""

    single = False

    def compute(self, scored: Written) -> dict[str, float]:
        texts = Counter(scored.predicted)  # a text that was drawn again adds nothing new
        words = {text: hangul.normalise(text).split() for text in texts}
        letters = {text: "".join(found) for text, found in words.items()}
        return _shares("", texts, words) | _shares("-character", texts, letters)


def _shares(
    suffix: str, texts: Counter[str], units: dict[str, list[str]] | dict[str, str]
) -> dict[str, float]:
    written = sum(len(units[text]) * times for text, times in texts.items())
    single = set(itertools.chain.from_iterable(units.values()))
    pairs = set(itertools.chain.from_iterable(map(itertools.pairwise, units.values())))
    return {
        f"distinct-{size}{suffix}": len(found) / written if written else 0.0
        for size, found in ((1, single), (2, pairs))
    }

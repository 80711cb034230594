"""Rows for sacrebleu and figures from it: the counts of each row once, then only sums.

Chosen: sacrebleu (Post 2018, Apache-2.0) counts and scores, so a figure is what everybody's is.
Its two methods that part counting from scoring are not public; without them an interval would
cost a thousand passes over the texts. A test holds them against the public `corpus_score`. Texts
are put in NFC first: decomposed Hangul would be other characters. Figures run from 0 to 1.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from mulgil import hangul
from mulgil.errors import ModelError
from mulgil.flow import Array
from mulgil.judged import Written
from mulgil.metrics import _written


def load(metric: str) -> Any:
    """Return sacrebleu's module of metrics.

    Args:
        metric: who asks, for the message.

    Raises:
        ModelError: sacrebleu is not installed.
    """
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise ModelError(
            f'metric "{metric}" needs sacrebleu; pip install "mulgil[writing]", or take the metric'
            ' "rouge-l"'
        ) from error
    return metrics


def counts(scorer: Any, scored: Written, width: int) -> Array:
    """Return float64 [N, width], what each row adds to the scorer's counts."""
    texts, references = prepared(scored)
    if not texts:
        return np.zeros((0, width))
    return np.array(scorer._extract_corpus_statistics(texts, references), np.float64)


def prepared(scored: Written) -> tuple[list[str], list[tuple[str | None, ...]]]:
    """Return the predicted texts, and the first right text of every row, the second, and so on."""
    right = [[hangul.normalise(text) for text in row] for row in _written.golds(scored)]
    return list(map(hangul.normalise, scored.predicted)), list(itertools.zip_longest(*right))


def figure(scorer: Any, total: Array) -> float:
    """Return the scorer's figure of summed counts, 0 to 1."""
    found = scorer._compute_score_from_stats([round(part) for part in total.tolist()])
    return min(float(found.score) / 100, 1.0)  # exp(log(100)) is a little more than 100

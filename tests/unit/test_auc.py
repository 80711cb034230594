"""The area under the curve: scikit-learn's figure, a naive count of pairs, and empty classes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from judged_rows import cases, several, single
from sklearn.metrics import roc_auc_score

from mulgil import registry, statistics
from mulgil.judged import Scored
from mulgil.metrics.auc import Auc


def area(scored: Scored) -> float:
    (found,) = Auc().compute(scored).values()
    return found


def two(gold: list[int], shares: list[float]) -> Scored:
    """Return rows of two labels, with the second one's probability."""
    second = np.array(shares)
    both = np.stack([1 - second, second], 1)
    return Scored(np.array(gold, np.int64), both.argmax(1), both, ("부정", "긍정"))


def test_it_is_what_scikit_learn_says() -> None:
    """EV-01: one label a row and several, ties, labels that never occur or always."""
    compared = 0
    for make in (single, several):
        for scored in cases(make):
            shares = scored.probabilities.round(1)  # many ties
            rows = Scored(scored.gold, scored.predicted, shares, scored.labels)
            hot = rows.gold if make is several else np.eye(len(rows.labels))[rows.gold]
            names = [1] if make is single and len(rows.labels) == 2 else range(len(rows.labels))
            each = [
                roc_auc_score(hot[:, i], shares[:, i]) for i in names if 0 < hot[:, i].mean() < 1
            ]
            assert area(rows) == pytest.approx(np.mean(each) if each else 0.5, abs=1e-12)
            compared += bool(each)
    assert compared > 200


def test_it_counts_pairs() -> None:
    """A pair is right, wrong, or half right where both are as likely."""
    assert area(two([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])) == 0.75
    assert area(two([0, 1], [0.3, 0.3])) == 0.5
    assert area(two([1, 0], [0.1, 0.9])) == 0.0
    rows = two([0, 1, 0, 1, 1], [0.2, 0.2, 0.1, 0.9, 0.1])
    pairs = [
        (b > a) + (a == b) / 2
        for a in rows.probabilities[rows.gold == 0, 1]
        for b in rows.probabilities[rows.gold == 1, 1]
    ]
    assert area(rows) == pytest.approx(np.mean(pairs), abs=1e-15)


def test_both_labels_of_two_have_the_same_figure() -> None:
    draw = np.random.default_rng(1)
    rows = two(draw.integers(0, 2, 300).tolist(), draw.random(300).round(2).tolist())
    turned = Scored(1 - rows.gold, rows.predicted, rows.probabilities[:, ::-1], rows.labels)
    assert area(rows) == pytest.approx(area(turned), abs=1e-12)


@pytest.mark.parametrize("gold", [[], [0, 0], [1, 1, 1]])
def test_where_nothing_can_be_told_apart_it_is_chance(gold: list[int]) -> None:
    """EV-04: a defined value, never NaN."""
    assert area(two(gold, [0.7] * len(gold))) == 0.5


def test_it_asks_for_no_threshold() -> None:
    """What it is wanted for: a model that always says one label may still rank rows well."""
    assert area(two([0, 0, 1, 1], [0.51, 0.52, 0.53, 0.54])) == 1.0


def test_it_is_a_plug_in_and_fast() -> None:
    assert registry.load("metrics", "auc") is Auc
    assert Auc.single
    assert Auc.higher_is_better
    draw = np.random.default_rng(3)
    gold = draw.integers(0, 2, 50_000)
    rows = two(gold.tolist(), np.clip(draw.normal(0.4 + 0.2 * gold, 0.3), 0, 1).tolist())
    area(rows)
    started = time.process_time()
    whole = area(rows)
    assert time.process_time() - started < 0.2  # a thousand resamples in a few minutes at worst
    found = statistics.bootstrap(
        lambda picked: Auc().compute(rows.take(picked)), len(rows), seed=1, resamples=20
    )["auc"]
    assert found.low <= whole <= found.high
    assert found.high - found.low < 0.02

"""Random rows of every sort that a metric reads, and which metric reads which."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mulgil.judged import Judged, Likelihood, Rated, Scored, Tagged
from mulgil.metrics.accuracy import Accuracy
from mulgil.metrics.bits_per_byte import BitsPerByte
from mulgil.metrics.character_f1 import CharacterF1
from mulgil.metrics.confusion import Confusion
from mulgil.metrics.ece import Ece
from mulgil.metrics.entity_f1 import EntityF1
from mulgil.metrics.loss import Loss
from mulgil.metrics.macro_f1 import MacroF1
from mulgil.metrics.matthews import Matthews
from mulgil.metrics.pearson import Pearson
from mulgil.metrics.per_class import PerClass
from mulgil.metrics.per_entity import PerEntity
from mulgil.metrics.perplexity import Perplexity
from mulgil.metrics.rmse import Rmse
from mulgil.metrics.spearman import Spearman
from mulgil.metrics.token_accuracy import TokenAccuracy
from mulgil.objectives import Metric
from mulgil.tagging import spans

ALL: list[type[Metric]] = [Accuracy, MacroF1, Ece, Matthews, PerClass, Confusion]
RATINGS: list[type[Metric]] = [Pearson, Spearman, Rmse]
ENTITIES: list[type[Metric]] = [EntityF1, PerEntity, CharacterF1]
LANGUAGE: list[type[Metric]] = [Loss, Perplexity, BitsPerByte, TokenAccuracy]
Maker = Callable[[np.random.Generator], Judged]
KINDS = ("사람", "장소", "때")
CASES = 150


def single(draw: np.random.Generator) -> Scored:
    """Return rows with one label each; often some labels never occur."""
    n, labels = int(draw.integers(1, 60)), int(draw.integers(2, 8))
    weights = draw.dirichlet(np.full(labels, 0.5))
    probabilities = draw.dirichlet(np.full(labels, draw.choice([0.2, 1.0, 5.0])), n)
    return Scored(
        gold=draw.choice(labels, n, p=weights),
        predicted=probabilities.argmax(1),
        probabilities=probabilities,
        labels=tuple(f"라벨{i}" for i in range(labels)),
    )


def several(draw: np.random.Generator) -> Scored:
    """Return rows with any number of labels."""
    n, labels = int(draw.integers(1, 60)), int(draw.integers(1, 6))
    probabilities = draw.random((n, labels))
    return Scored(
        gold=draw.random((n, labels)) < draw.random(labels),
        predicted=probabilities >= 0.5,
        probabilities=probabilities,
        labels=tuple("가나다라마바"[:labels]),
    )


def ratings(draw: np.random.Generator) -> Rated:
    """Return ratings of few values, so that many are alike, and predictions near them."""
    gold = draw.integers(0, 6, int(draw.integers(1, 60))).astype(float)
    noise = draw.normal(0, draw.choice([0.1, 1, 10]), len(gold))
    return Rated(
        gold, draw.choice([-1, 1]) * gold + (noise.round() if draw.random() < 0.5 else noise)
    )


def entities(draw: np.random.Generator) -> Tagged:
    """Return entities read from random tags, predicted ones mostly like the gold ones."""
    known = ["O", *(f"{mark}-{kind}" for kind in KINDS[: draw.integers(1, 4)] for mark in "BI")]
    rows = [draw.choice(known, draw.integers(0, 12)) for _ in range(int(draw.integers(1, 20)))]
    noise = [
        np.where(draw.random(len(row)) < 0.2, draw.choice(known, len(row)), row) for row in rows
    ]
    gold, predicted = (tuple(spans(row.tolist(), False) for row in of) for of in (rows, noise))
    return Tagged(gold, predicted, np.array([len(row) for row in rows]), KINDS)


def likelihoods(draw: np.random.Generator) -> Likelihood:
    tokens = draw.integers(0, 20, int(draw.integers(1, 60))).astype(float)
    correct = np.floor(tokens * draw.random(len(tokens)))
    return Likelihood(tokens * draw.random(len(tokens)), tokens, correct, 3 * tokens)


READ: list[tuple[type[Metric], Maker]] = [
    *((metric, make) for make in (single, several) for metric in ALL),
    *((metric, ratings) for metric in RATINGS),
    *((metric, entities) for metric in ENTITIES),
    *((metric, likelihoods) for metric in LANGUAGE),
]
"""Every metric beside what makes rows for it."""


def cases(make: Maker) -> Iterator[Judged]:
    for seed in range(CASES):
        yield make(np.random.default_rng(seed))

"""A solved head on characters: places, what is drawn of the commonest tag, edges of answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mulgil.errors import DataError
from mulgil.flow import UNASKED, Array, Batch, Located
from mulgil.methods._drawing import drawn
from mulgil.methods.linear_probe import LinearProbeSettings, ProbeLearner, Problem
from mulgil.networks import Network

WIDTH = 5


class Characters(Network):
    """A network that keeps what each unit's token is like in `ids`: a row of the table."""

    def __init__(self, table: Array, outputs: int, places: int) -> None:
        self.table = table
        self._outputs = outputs
        self.places = places
        self.weight: Array = np.zeros((outputs * places, WIDTH))
        self.bias: Array = np.zeros(outputs * places)

    def features(self, inputs: Any) -> Array:
        found: Array = self.table[inputs.ids.ravel()[inputs.tokens]]
        return found

    def set_head(self, weight: Array, bias: Array) -> None:
        self.weight, self.bias = weight, bias

    def scores(self, inputs: Any) -> Array:
        each = self.features(inputs) @ self.weight.T + self.bias
        each = each.reshape(-1, self.places, self._outputs)
        found: Array = each[np.arange(len(each)), inputs.places.clip(max=self.places - 1)]
        return found

    def save(self, folder: Path, labels: Sequence[str]) -> None:
        raise NotImplementedError

    outputs = property(lambda self: self._outputs)
    parameters_total = property(lambda self: int(self.weight.size))


def windows(
    seed: int, tag: Any, tables: Array, count: int = 30, longest: int = 12, places: int = 3
) -> list[Batch]:
    """Return batches of three windows; `tag(features, place)` says each character's tag."""
    draw = np.random.default_rng(seed)
    found = []
    for start in range(0, count, 3):
        lengths = draw.integers(3, longest, 3)
        ids = draw.integers(0, len(tables), (3, longest))
        tokens = [row * longest + place for row, n in enumerate(lengths) for place in range(n)]
        held = draw.integers(0, places, len(tokens))
        begins = np.cumsum(lengths) - lengths
        held[begins] = 0
        targets = np.array(
            [tag(tables[ids.ravel()[t]], p) for t, p in zip(tokens, held, strict=True)]
        )
        targets[begins] = UNASKED
        inputs = Located(ids, lengths, None, np.array(tokens), held, lengths, targets)
        found.append(Batch(np.arange(start, start + 3), inputs, None))
    return found


@pytest.fixture
def table() -> Array:
    return np.random.default_rng(8).normal(size=(400, WIDTH)).astype(np.float32)


def two_ways(features: Array, place: int) -> int:
    """Read another feature at each place, so that one head for all places cannot be right."""
    return int(features[place] > 0) + int(features[place] > 1.2)


def solved(
    network: Characters, train: list[Batch], valid: list[Batch], **settings: Any
) -> dict[str, float]:
    problem = Problem(network.outputs, places=network.places, seed=7)
    return ProbeLearner(network, LinearProbeSettings(**settings), problem).solve(train, valid)


def test_each_place_in_a_token_has_its_own_regression(table: Array) -> None:
    """The heads lie one below the other, as `set_head` wants them; parity with scikit-learn."""
    network = Characters(table, 3, 3)
    train = windows(1, two_ways, table, 300)
    figures = solved(network, train, [], strengths=[1.0])
    assert network.weight.shape == (9, WIDTH)
    held = drawn(train, lambda each: map(network.features, each), 3, 3, 10**6, [7], fair=True)
    assert figures["rows"] == len(held.targets)
    mean, deviation = held.features.mean(0), held.features.std(0) + 1e-6
    for place in range(3):
        mine = held.places == place
        one = (held.features[mine] - mean) / deviation
        model = LogisticRegression(C=1.0, max_iter=2000).fit(one, held.targets[mine])
        scores = held.features[mine] @ network.weight[3 * place : 3 * place + 3].T
        scores = scores + network.bias[3 * place : 3 * place + 3]
        shares = np.exp(scores - scores.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        assert np.abs(shares - model.predict_proba(one)).max() < 5e-3


def test_characters_that_nobody_asks_for_are_not_learnt(table: Array) -> None:
    """The token that begins a window has no tag."""
    train = windows(1, two_ways, table)
    network = Characters(table, 3, 3)
    figures = solved(network, train, [])
    asked = sum(int((batch.inputs.targets != UNASKED).sum()) for batch in train)
    assert figures["rows"] == asked < sum(len(batch.inputs.targets) for batch in train)


def rarely(features: Array, place: int) -> int:
    """One character in twenty or so is a name; which is a matter of chance, and of a feature."""
    return int(features[0] > 1.4 and features[1] > -1)


def test_drawing_from_the_commonest_tag_leaves_the_probabilities(table: Array) -> None:
    """All of the rarer tags stay, and the bias is corrected for the share that was drawn."""
    train, test = windows(1, rarely, table, 900), windows(2, rarely, table, 300)
    whole, part = Characters(table, 2, 1), Characters(table, 2, 1)
    solved(whole, train, [], strengths=[0.01])
    figures = solved(part, train, [], strengths=[0.01], units=1200)
    assert figures["rows"] == 1200
    held = drawn(train, lambda each: map(part.features, each), 2, 1, 1200, [7, 1], fair=False)
    names = sum(int((batch.inputs.targets == 1).sum()) for batch in train)
    assert int((held.targets == 1).sum()) == names < 600
    assert held.correction[0] > 0.5
    assert held.correction[1] == 0

    def share(network: Characters) -> float:
        scores = np.concatenate([network.scores(batch.inputs) for batch in test])
        return float((1 / (1 + np.exp(scores[:, 0] - scores[:, 1]))).mean())

    assert share(part) == pytest.approx(share(whole), abs=0.03)
    part.bias = part.bias - held.correction
    assert share(part) > share(whole) + 0.05, "without the correction names would be everywhere"


def test_the_draw_is_that_of_the_seed(table: Array) -> None:
    """TR-07."""
    train = windows(1, rarely, table, 200)
    heads = []
    for seed in (7, 7, 8):
        network = Characters(table, 2, 1)
        problem = Problem(2, places=1, seed=seed)
        ProbeLearner(network, LinearProbeSettings(units=300), problem).solve(train, [])
        heads.append(network.weight.tolist())
    assert heads[0] == heads[1] != heads[2]


def test_where_names_are_common_all_characters_are_drawn_alike(table: Array) -> None:
    train = windows(1, lambda features, place: int(features[0] > 0) + 1, table, 200)
    held = drawn(
        train,
        lambda each: map(Characters(table, 3, 1).features, each),
        3,
        1,
        300,
        [7],
        fair=False,
    )
    assert len(held.targets) == 300
    assert held.correction.tolist() == [0, 0, 0]


def test_a_place_that_no_training_row_has_takes_the_head_before_it(table: Array) -> None:
    network = Characters(table, 3, 4)
    solved(network, windows(1, two_ways, table, 60, places=2), [])
    heads = network.weight.reshape(4, 3, WIDTH)
    assert heads[1].tolist() == heads[2].tolist() == heads[3].tolist() != heads[0].tolist()


def test_edges_of_answers_are_told_from_all_other_characters(table: Array) -> None:
    """Two numbers a window are two yes-or-no problems; the right places come out on top."""
    marks = np.random.default_rng(3).permutation(400)[:40]
    table[marks[:20]] += [4, 0, 0, 0, 0]
    table[marks[20:]] += [0, 4, 0, 0, 0]
    plain = np.setdiff1d(np.arange(400), marks)
    draw = np.random.default_rng(5)

    def made(count: int) -> list[Batch]:
        found = []
        for start in range(count):
            ids = draw.choice(plain, (1, 20))
            places = np.sort(draw.choice(np.arange(1, 20), 2, replace=False))
            ids[0, places] = draw.choice(marks[:20]), draw.choice(marks[20:])
            inputs = Located(
                *(ids, np.array([20]), None, np.arange(20), np.zeros(20, np.int64)),
                *(np.array([20]), places[None]),
            )
            found.append(Batch(np.array([start]), inputs, None))
        return found

    network, test = Characters(table, 2, 1), made(50)
    solved(network, made(200), made(50), units=1000)
    right = [
        (network.scores(batch.inputs).argmax(0) == batch.inputs.targets[0]).all() for batch in test
    ]
    assert np.mean(right) > 0.9


def test_rows_without_answers_are_refused(table: Array) -> None:
    (batch, *_) = windows(1, two_ways, table)
    bare = Located(*(getattr(batch.inputs, name) for name in Located.__slots__[:6]))
    with pytest.raises(DataError, match="needs rows with answers"):
        solved(Characters(table, 3, 3), [Batch(batch.rows, bare, None)], [])

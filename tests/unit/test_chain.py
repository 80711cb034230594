"""Entities of a chain of tags, against a look at every sequence of tags there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mulgil.flow import Array
from mulgil.tasks import _chain

ONE = ("O", "B-X", "I-X")
TWO = ("O", "B-곳", "I-곳", "B-사람", "I-사람")
MIXED = ("B-a", "O", "I-b", "I-a", "B-b")


def whole(path: tuple[int, ...], tags: tuple[str, ...]) -> bool:
    """Say whether every I-X follows B-X or I-X."""
    before = "O"
    for number in path:
        tag = tags[number]
        if tag.startswith("I-") and before not in {tag, f"B-{tag[2:]}"}:
            return False
        before = tag
    return True


def found_in(path: tuple[int, ...], tags: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """Return the entities of a whole sequence."""
    found: list[tuple[int, int, str]] = []
    for place, number in enumerate(path):
        tag = tags[number]
        if tag.startswith("B-"):
            found.append((place, place + 1, tag[2:]))
        elif tag.startswith("I-"):
            found[-1] = (found[-1][0], place + 1, tag[2:])
    return found


Found = list[tuple[int, int, str, float]]


def by_hand(chances: Array, tags: tuple[str, ...]) -> tuple[Found, float]:
    """Return the likeliest sequence's entities, the sum over all that hold each, and over all."""
    every = itertools.product(range(len(tags)), repeat=len(chances))
    paths = [path for path in every if whole(path, tags)]
    shares = np.exp([chances[np.arange(len(chances)), path].sum() for path in paths])
    best = paths[int(shares.argmax())]
    holding = [{*found_in(path, tags)} for path in paths]
    return [
        (*entity, float(sum(s for s, held in zip(shares, holding, strict=True) if entity in held)))
        for entity in found_in(best, tags)
    ], float(shares.sum())


def chances(length: int, tags: tuple[str, ...], seed: int, sharpness: float = 2.0) -> Array:
    scores = np.random.default_rng(seed).normal(size=(length, len(tags))) * sharpness
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


@pytest.mark.parametrize("tags", [ONE, TWO, MIXED])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_entities_are_those_of_the_likeliest_whole_sequence(
    tags: tuple[str, ...], length: int
) -> None:
    """Each with the share of all whole sequences in which it stands so, to 1e-9."""
    seen = 0
    for seed in range(20):
        table = chances(length, tags, seed)
        expected, total = by_hand(table, tags)
        found = _chain.entities(table, tags)
        assert [each[:3] for each in found] == [each[:3] for each in expected]
        for one, other in zip(found, expected, strict=True):
            assert abs(one[3] - other[3] / total) < 1e-9
        seen += len(found)
    assert seen > 5


def test_an_inside_tag_never_begins_an_entity() -> None:
    """TK-10: what is likeliest character by character may be no sequence at all."""
    table = np.log(np.array([[0.1, 0.2, 0.7], [0.05, 0.05, 0.9], [0.9, 0.05, 0.05]]))
    assert table.argmax(1).tolist() == [2, 2, 0], "I I O"
    ((start, end, kind, share),) = _chain.entities(table, ONE)
    assert (start, end, kind) == (0, 2, "X")
    assert 0.5 < share < 1


def test_entities_that_touch_are_two() -> None:
    table = np.log(np.full((4, 3), 0.01) + 0.97 * np.eye(3)[[1, 2, 1, 2]])
    assert [each[:3] for each in _chain.entities(table, ONE)] == [(0, 2, "X"), (2, 4, "X")]
    names = np.log(np.full((3, 5), 0.01) + 0.95 * np.eye(5)[[1, 3, 4]])
    assert [each[:3] for each in _chain.entities(names, TWO)] == [(0, 1, "곳"), (1, 3, "사람")]


def test_texts_without_characters_and_without_doubt() -> None:
    assert _chain.entities(np.zeros((0, 3)), ONE) == []
    sure = 1e4 * (np.eye(3)[[0, 1, 2, 2, 0]] - 1)
    ((*span, share),) = _chain.entities(sure, ONE)
    assert (span, share) == ([1, 4, "X"], 1.0)
    assert _chain.entities(1e4 * (np.eye(3)[[0, 0]] - 1), ONE) == []


def test_a_long_text_keeps_its_figures() -> None:
    """30,000 characters: sums of logarithms neither overflow nor run out."""
    table = chances(30_000, ONE, 1)
    found = _chain.entities(table, ONE)
    shares = np.array([share for *_, share in found])
    assert len(found) > 1000
    assert np.isfinite(shares).all()
    assert 0 < shares.min() <= shares.max() <= 1
    middle = [each for each in found if each[0] > 100 and each[1] < 200]
    near = _chain.entities(table[:300], ONE)
    for each in middle:
        (same,) = [other for other in near if other[:3] == each[:3]]
        assert same[3] == pytest.approx(each[3], abs=1e-9)


def test_the_scores_are_not_changed() -> None:
    table = chances(6, TWO, 4)
    before = table.copy()
    assert _chain.entities(table, TWO) == _chain.entities(table, TWO)
    assert (table == before).all()

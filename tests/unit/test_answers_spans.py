"""Answers out of the scores of starts and ends, against a look at every span there is."""

from __future__ import annotations

import numpy as np
import pytest

from mulgil.examples import Span
from mulgil.flow import Array, Marked
from mulgil.objectives import Window
from mulgil.tasks import _answers, _spans

Key = tuple[int, int]


def window(characters: list[int], seed: int, sharpness: float = 1.5) -> Window:
    """Return a window of these characters with scores drawn at random."""
    scores = np.random.default_rng(seed).normal(size=(len(characters) + 1, 2)) * sharpness
    return np.array([-1, *characters]), scores.astype(np.float32)


def cases() -> list[list[Window]]:
    """Return windows of texts: one window, several that overlap, gaps of white space."""
    gaps = [0, 1, 3, 4, 5, 8, 9, 11, 12, 13, 15, 17, 18, 19]
    return [
        [window([0], 1)],
        [window([0, 1, 2], 2)],
        [window(gaps, 3)],
        [window(gaps[:8], 4), window(gaps[4:], 5)],
        [window(gaps[:7], 6), window(gaps[7:], 7)],
        [window(gaps[:6], 8), window(gaps[3:9], 9), window(gaps[6:12], 10), window(gaps[9:], 11)],
        [window(gaps[:6], 12), window([], 13), window(gaps[6:], 14)],
    ]


def by_hand(windows: list[Window], longest: int) -> dict[Key, float]:
    """Return the odds of every span, each once, of the window in which it stands best."""
    best: dict[Key, tuple[float, float]] = {}
    for number, (characters, scores) in enumerate(windows):
        count = len(characters) - 1
        for i in range(count):
            for j in range(i, min(i + longest, count)):
                left = i if number else np.inf
                right = count - 1 - j if number < len(windows) - 1 else np.inf
                key = (int(characters[i + 1]), int(characters[j + 1]) + 1)
                wide = scores.astype(np.float64)
                odds = np.exp(wide[i + 1, 0] - wide[0, 0] + wide[j + 1, 1] - wide[0, 1])
                if key not in best or min(left, right) > best[key][0]:
                    best[key] = (min(left, right), float(odds))
    return {key: odds for key, (_, odds) in best.items()}


@pytest.mark.parametrize("no_answer", [False, True])
@pytest.mark.parametrize("longest", [1, 3, 7, 80])
def test_probabilities_are_shares_of_all_spans(no_answer: bool, longest: int) -> None:
    """Every span once, though windows overlap; all of them together are 1."""
    for windows in cases():
        odds = by_hand(windows, longest)
        if no_answer:
            odds[0, 0] = 1.0
        whole = sum(odds.values())
        expected = sorted(odds, key=lambda key: -odds[key])
        found = _answers.ranked(windows, longest, no_answer, len(odds) + 5)
        assert [(each.start, each.end) for each in found] == expected
        for each in found:
            assert each.probability == pytest.approx(odds[each.start, each.end] / whole, abs=1e-12)
        assert sum(each.probability for each in found) == pytest.approx(1, abs=1e-9)
        few = _answers.ranked(windows, longest, no_answer, 3)
        assert few == found[:3]


@pytest.mark.parametrize("no_answer", [False, True])
@pytest.mark.parametrize("longest", [1, 3, 7, 80])
def test_every_character_has_its_shares(no_answer: bool, longest: int) -> None:
    """To be the start, inside, and the end: sums over the spans, and nothing is counted twice."""
    for windows in cases():
        odds = by_hand(windows, longest)
        whole = sum(odds.values()) + no_answer
        found = _answers.shares(windows, longest, no_answer)
        units = sorted({int(c) for characters, _ in windows for c in characters if c >= 0})
        assert found[:, 0].tolist() == units
        for character, start, inside, end in found:
            spans = [(key, share / whole) for key, share in odds.items()]
            assert start == pytest.approx(sum(s for (a, _), s in spans if a == character))
            assert end == pytest.approx(sum(s for (_, b), s in spans if b == character + 1))
            assert inside == pytest.approx(
                sum(s for (a, b), s in spans if a <= character < b), abs=1e-9
            )
        none = no_answer / whole
        assert found[:, 1].sum() == pytest.approx(1 - none, abs=1e-9)
        assert found[:, 3].sum() == pytest.approx(1 - none, abs=1e-9)
        assert (found[:, 1:] >= 0).all()
        assert (found[:, 2] >= found[:, [1, 3]].max(1) - 1e-9).all(), "both ends are inside"


def test_an_answer_longer_than_the_limit_is_never_given() -> None:
    scores = np.full((7, 2), -5.0, np.float32)
    scores[1, 0] = scores[6, 1] = 20
    windows = [(np.arange(-1, 6), scores)]
    (best, *_) = _answers.ranked(windows, 6, False, 5)
    assert (best.start, best.end) == (0, 6)
    for each in _answers.ranked(windows, 5, False, 100):
        assert each.end - each.start <= 5
    limited = _answers.shares(windows, 2, False)
    assert limited[2, 2] < 0.01, "nothing that is given reaches so far"


def test_the_limit_counts_characters_without_white_space() -> None:
    scores = np.zeros((4, 2), np.float32)
    scores[1, 0] = scores[3, 1] = 9
    windows = [(np.array([-1, 0, 5, 9]), scores)]
    (best,) = _answers.ranked(windows, 3, False, 1)
    assert (best.start, best.end) == (0, 10)
    assert all(each.end <= 6 or each.start for each in _answers.ranked(windows, 2, False, 9))


def test_a_text_without_characters_has_no_answer() -> None:
    windows = [window([], 1)]
    for no_answer in (False, True):
        assert _answers.ranked(windows, 80, no_answer, 5) == [_answers.Candidate(0, 0, 1.0)]
        assert _answers.shares(windows, 80, no_answer).shape == (0, 4)


def test_scores_that_are_all_alike() -> None:
    """A network that knows nothing: every span is as likely, the first of them comes first."""
    windows = [(np.arange(-1, 4), np.zeros((5, 2), np.float32))]
    found = _answers.ranked(windows, 80, False, 100)
    assert len(found) == 10
    assert {round(each.probability, 12) for each in found} == {0.1}
    assert (found[0].start, found[0].end) == (0, 1)


def test_no_answer_is_weighed_against_all_spans() -> None:
    low = np.zeros((4, 2), np.float32)
    low[0] = 12
    windows = [(np.arange(-1, 3), low)]
    assert _answers.ranked(windows, 80, True, 5)[0] == _answers.Candidate(
        0, 0, pytest.approx(1, abs=1e-6)
    )
    assert _answers.ranked(windows, 80, False, 5)[0].end > 0, "where there always is one"


def test_very_sure_scores_stay_numbers() -> None:
    scores = np.zeros((4, 2), np.float32)
    scores[2] = 3e4
    windows: list[Window] = [(np.arange(-1, 3), scores), (np.arange(-1, 0), scores[:1])]
    (best, *others) = _answers.ranked(windows, 80, True, 5)
    assert (best.start, best.end, best.probability) == (1, 2, 1.0)
    assert all(each.probability == 0 for each in others)
    assert np.isfinite(_answers.shares(windows, 80, True)).all()


# ---------------------------------------------------------------- gold spans and windows


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 1), (1, 1)),  # M22: character 0 is a place like any other
        ((0, 2), (1, 2)),
        ((3, 6), (3, 5)),
        ((8, 9), (6, 6)),
        ((5, 10), (0, 0)),  # its end is in the next window
        ((10, 11), (0, 0)),
        ((3, 7), (0, 0)),  # ends with white space: no unit is there
    ],
)
def test_where_an_answer_stands_in_a_window(span: Key, expected: Key) -> None:
    """TK-09: whole, or not at all."""
    characters = np.array([-1, 0, 1, 3, 4, 5, 8])
    assert _answers.places(characters, Marked("가" * 12, (Span(*span),))) == expected


def test_the_first_of_several_answers_is_learnt() -> None:
    characters = np.array([-1, 0, 1, 2, 3])
    both = Marked("가나다라", (Span(2, 4), Span(0, 1)))
    assert _answers.places(characters, both) == (3, 4)
    assert _answers.places(characters, Marked("가나다라", ())) == (0, 0)
    assert _answers.places(np.array([-1]), Marked("가", (Span(0, 1),))) == (0, 0)


# ---------------------------------------------------------------- windows put together


def test_a_character_is_judged_where_it_stands_farther_from_the_edges() -> None:
    """Edges that are the text's own count for nothing."""
    windows = [window([0, 1, 2, 3, 4, 5], 1), window([3, 4, 5, 6, 7, 8], 2)]
    one, two = _spans.owned(windows)
    assert one.tolist() == [False, True, True, True, True, False, False]
    assert two.tolist() == [False, False, True, True, True, True, True]
    characters, scores = _spans.merged(windows)
    assert characters.tolist() == list(range(9))
    assert (scores[:4] == windows[0][1][1:5]).all()
    assert (scores[4:] == windows[1][1][2:]).all()
    alone = _spans.merged([windows[0]])
    assert (alone[1] == windows[0][1][1:]).all()


def test_merged_scores_are_in_the_order_of_the_text() -> None:
    windows = [window([0, 2], 1), window([], 2), window([5, 7], 3)]
    characters, scores = _spans.merged(windows)
    assert characters.tolist() == [0, 2, 5, 7]
    assert (scores == np.concatenate([windows[0][1][1:], windows[2][1][1:]])).all()


def test_the_softmax_is_one() -> None:
    scores: Array = np.array([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]], np.float32)
    found = _spans.log_softmax(scores)
    assert found.dtype == np.float64
    assert np.exp(found).sum(-1).tolist() == [1.0, pytest.approx(1)]

"""Task skip-gram: which pairs are asked, what words are near to, and the learner that it gets."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from mulgil.errors import SettingError
from mulgil.flow import UNASKED, Array, Batch
from mulgil.methods._itself import ItselfLearner, LearnsItself
from mulgil.methods.full import Full
from mulgil.metrics.pair_accuracy import PairAccuracy
from mulgil.networks import Solved
from mulgil.objectives import Lesson
from mulgil.recipe import TrainerSettings
from mulgil.tasks.skip_gram import SkipGram, SkipGramSettings, terms

WORDS = ["[PAD]", "[CLS]", "[SEP]", "영화", " 배우", "감독", "노래", "가수", "<byte>", "드문"]


class Tokenizer:
    """Knows the words above, cut at white space; "가수왕" is two of them, "궳" half a character."""

    special_ids: ClassVar = {"pad": 0, "cls": 1, "sep": 2}

    def ids(self, text: str) -> list[int]:
        known = {word.strip(): [number] for number, word in enumerate(WORDS)}
        known |= {"가수왕": [7, 3], "궳": [8]}
        return [number for word in text.split() for number in known.get(word, [9])]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join("\ufffd" if number == 8 else WORDS[number] for number in ids)


def network() -> Any:
    vectors = np.random.default_rng(5).normal(size=(len(WORDS), 4)).astype(np.float32)
    vectors[9] = 0.0
    return SimpleNamespace(vectors=vectors)


def ask(text: str, top: int = 10) -> dict[str, Any]:
    (answer,) = SkipGram(SkipGramSettings(top=top)).respond([text], network(), Tokenizer())
    return answer


def expected(total: Array, without: set[int]) -> dict[str, float]:
    """Return the cosines of all ordinary words to a vector, the nearest first."""
    vectors = network().vectors.astype(np.float64)
    found = {
        WORDS[i].strip(): float(vectors[i] @ total / np.linalg.norm(vectors[i]))
        for i in range(3, 8)
        if i not in without
    }
    length = np.linalg.norm(total)
    return dict(sorted(((w, c / length) for w, c in found.items()), key=lambda one: -one[1]))


def unit(number: int) -> Array:
    vector = network().vectors[number].astype(np.float64)
    return np.asarray(vector / np.linalg.norm(vector))


def test_neighbours_are_those_by_cosine() -> None:
    answer, wanted = ask("영화"), expected(unit(3), {3})
    assert list(answer["neighbours"]) == list(wanted)
    assert answer["neighbours"] == pytest.approx(wanted, abs=1e-4)
    assert answer["nearest"] == next(iter(wanted))
    assert answer["cosine"] == pytest.approx(wanted[answer["nearest"]], abs=1e-4)
    assert list(ask("영화", top=2)["neighbours"]) == list(wanted)[:2]
    assert ask(unicodedata.normalize("NFD", "영화")) == answer


def test_an_analogy_adds_and_takes_away_words_of_length_one() -> None:
    answer = ask("배우 - 영화 + 노래")
    wanted = expected(unit(4) - unit(3) + unit(6), {3, 4, 6})
    assert list(answer["neighbours"]) == list(wanted)
    assert answer["neighbours"] == pytest.approx(wanted, abs=1e-4)


def test_a_word_of_several_tokens_is_their_mean() -> None:
    answer, wanted = ask("가수왕"), expected(unit(7) + unit(3), {3, 7})
    assert answer["neighbours"] == pytest.approx(wanted, abs=1e-4)
    assert (
        ask("영화 드문")["neighbours"] == ask("영화")["neighbours"]
    )  # what has no vector is left out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("드문", 'no vector for "드문"'),
        ("궳", 'no vector for "궳"'),
        ("영화 - 없다", 'no vector for "없다"'),
        ("감독관", 'the nearest known in spelling is "감독"'),
        ("영화 - 영화", "cancel each other out"),
        ("영화 -  + 배우", 'no vector for ""'),
    ],
)
def test_what_cannot_be_answered_says_so(text: str, said: str) -> None:
    """PR-01, PR-02: in its own place, in one line."""
    error = ask(text)["error"]
    assert said in error
    assert "\n" not in error


def test_signs_within_words_stay() -> None:
    assert terms("e-mail + C++ - a+b") == [(1, "e-mail"), (1, "C++"), (-1, "a+b")]
    assert terms("- 가 + 나") == [(-1, "가"), (1, "나")]
    assert terms("가\t-\n나") == [(1, "가"), (-1, "나")]


@pytest.mark.parametrize("window", [1, 2, 7, 30])
def test_pairs_are_all_that_stand_near(window: int) -> None:
    """EV-02: what fills a row up is in no pair, nor is a special token."""
    rows = [[1, 3, 4, 5, 0, 6, 7, 2], [1, 5, 2], [1, 2], [1, 4, 4, 2]]
    ids = np.zeros((4, 11), np.int64)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = tokens
    lengths = np.array([len(tokens) for tokens in rows])
    inputs = SimpleNamespace(ids=ids, lengths=lengths, bytes=np.arange(4.0))
    asked = SkipGram(SkipGramSettings(window=window)).asker(Tokenizer())
    blanks = asked(inputs, np.arange(4), None)
    assert blanks.targets.shape == (4, 11 * 2 * window)
    for tokens, row, targets in zip(rows, ids, blanks.targets, strict=True):
        found = sorted(
            (int(row[place // (2 * window)]), int(near))
            for place, near in enumerate(targets)
            if near != UNASKED
        )
        wanted = sorted(
            (a, b)
            for i, a in enumerate(tokens)
            for j, b in enumerate(tokens)
            if i != j and abs(i - j) <= window and a > 2 and b > 2
        )
        assert found == wanted


# ---------------------------------------------------------------- the learner


class Pupil:
    """Keeps what it is taught."""

    parameters_total = 12
    course = (0, 0)

    def learn(self, tokens: Array, starts: Array, *rest: Any) -> dict[str, float]:
        self.sequences = [tokens[a:b].tolist() for a, b in itertools.pairwise(starts)]
        self.rest = rest
        return {"seconds": 0.0}


def lesson(**trainer: Any) -> Lesson:
    return Lesson(SkipGram(SkipGramSettings(window=3)), TrainerSettings(**trainer))


def batches() -> Iterator[Batch]:
    ids = np.array([[1, 9, 8, 2], [1, 5, 2, 0]])
    blanks = SimpleNamespace(ids=ids, lengths=np.array([4, 3]))
    yield Batch(np.array([2, 0]), blanks, None)
    yield Batch(np.array([1]), SimpleNamespace(ids=ids[1:], lengths=np.array([2])), None)


def test_a_network_that_learns_itself_gets_all_rows_in_their_order() -> None:
    pupil = Pupil()
    assert isinstance(pupil, LearnsItself)
    learner = Full(None).learner(pupil, lesson(epochs=4, seed=9))  # type: ignore[arg-type]
    assert isinstance(learner, Solved)
    assert (learner.trainable, pupil.course) == (12, (3, 4))
    learner.solve(batches(), [])
    assert pupil.sequences == [[1, 5, 2], [1, 5], [1, 9, 8, 2]]
    assert pupil.rest == (3, 4, None, 9, None)
    learner.solve([], [])
    assert pupil.sequences == []


def test_the_learning_rate_of_the_recipe_counts() -> None:
    """CF-04: a run's own recipe has every default written out, and must learn the same."""
    for rate in (5e-5, 0.05):
        pupil = Pupil()
        ItselfLearner(pupil, lesson(learning_rate=rate)).solve(batches(), [])
        assert pupil.rest[2] == rate


def test_half_a_pass_is_refused() -> None:
    with pytest.raises(
        SettingError, match=r"trainer\.epochs is 2\.5, .* whole passes; set it to 2"
    ):
        ItselfLearner(Pupil(), lesson(epochs=2.5))


def test_pair_accuracy() -> None:
    metric = PairAccuracy()
    scored: Any = SimpleNamespace(correct=np.array([3.0, 0.0]), tokens=np.array([4.0, 4.0]))
    total = metric.rows(scored).sum(0)
    assert metric.figures(total, 2) == {"pair-accuracy": 0.375}
    assert metric.figures(np.zeros(2), 0) == {"pair-accuracy": 0.0}

"""Asking in context: which examples are shown to whom, and what fits into a prompt.

Ids such as EV-06 name the faults that a test guards against.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from questions_at_hand import (
    LABELS,
    ROWS,
    TEST,
    TEXTS,
    Arithmetic,
    Letters,
    few,
    lesson,
    prompts,
    questions,
    shown,
    taught,
)

from mulgil.errors import DataError, SettingError
from mulgil.examples import TextExample
from mulgil.methods import _asking, _prompting, _shots
from mulgil.methods.few_shot import FewShotSettings
from mulgil.methods.one_shot import OneShot, OneShotSettings
from mulgil.methods.zero_shot import ZeroShot

# ---------------------------------------------------------------- which rows are shown


def test_a_prompt_is_instruction_examples_and_question() -> None:
    given = lesson(instruction="느낌을 말하라.", separator="\n---\n", words={"긍정": "좋음"})
    learner = taught(few(shots=2), given)
    (prompt,) = prompts(learner, TEST[:1])
    first, *examples, question = prompt.split("\n---\n")
    assert (first, question) == ("느낌을 말하라.", "글: 처음 듣는 말 0\n느낌:")
    gold = {row.text: {"긍정": "좋음"}.get(row.label, row.label) for row in ROWS}
    for example in examples:
        text, _, word = example.removeprefix("글: ").partition("\n느낌: ")
        assert gold[text] == word
    assert len(examples) == 2


@pytest.mark.parametrize("pick", ["random", "nearest"])
def test_no_text_of_another_part_is_ever_shown(pick: str) -> None:
    """EV-08: nor one that differs by white space or by its form of Hangul, nor one twice."""
    twins = ["강에서  0번째로 본 것 ", unicodedata.normalize("NFD", TEXTS[1]), TEXTS[7]]
    held = [TextExample(f"valid:{i}", text, "긍정") for i, text in enumerate(twins)]
    left = {*TEXTS} - {TEXTS[0], TEXTS[1], TEXTS[7]}
    rows = [*ROWS, *ROWS[10:14]]
    learner = taught(few(shots=len(left), pick=pick, balanced=False), lesson(rows, held))
    for prompt in prompts(learner, held):
        assert sorted(text for text, _ in shown(prompt)) == sorted(left)
    with pytest.raises(DataError, match=f"method.shots is 28, but only {len(left)} training rows"):
        few(shots=28).learner(Arithmetic(), lesson(rows, held))


@pytest.mark.parametrize("pick", ["random", "nearest"])
def test_a_question_that_is_an_example_is_not_told_its_answer(pick: str) -> None:
    """lm-eval #4145 at the time of answering; also where the question is cut, or spaced."""
    words = "가나다라마바사" * 12
    long = [TextExample(f"long:{i}", f"{i}{words}", LABELS[i % 2]) for i in range(4)]
    learner = taught(few(shots=4, pick=pick), lesson(long))
    given = learner._lesson.tokenizer
    asked = given.asked([(f"글: {row.text}", "\n느낌:") for row in long]).segments
    network: Any = learner.network.network
    for row, question in zip(long, asked, strict=True):
        assert len(question) == 60 < len(row.text)
        network.prompts.clear()
        learner.network.scores([question])
        texts = [text for text, _ in shown(network.prompts[0])]
        assert row.text not in texts
        assert len(texts) == 3
    learner.network.shortened = 0
    spaced = given.segment("글:   처음  듣는 말 0\n느낌:")
    again = taught(few(shots=1, pick=pick), lesson(TEST[:1], []))
    again.network.scores([spaced])
    assert "느낌: " not in again.network.network.prompts[0]  # type: ignore[attr-defined]
    assert again.network.shortened == 0  # left out for honesty, not for room


def test_draws_are_balanced_seeded_and_differ() -> None:
    """EV-11: the same seed the same prompt, another draw another choice and another order."""
    rows = _shots.Showable(lesson())
    one, two = rows.shots(8, True, 7, 0), rows.shots(8, True, 7, 1)
    assert one == _shots.Showable(lesson()).shots(8, True, 7, 0)
    assert one != two
    assert rows.shots(8, True, 8, 0) != one
    assert Counter(shot.label for shot in one) == {0: 4, 1: 4}
    assert abs(sum(2 * s.label - 1 for s in rows.shots(7, True, 7, 0))) == 1
    orders = {tuple(s.label for s in rows.shots(6, True, 7, n)) for n in range(30)}
    assert len(orders) > 8  # not one label after the other
    some = [sum(s.label for s in rows.shots(8, False, 7, n)) for n in range(30)]
    assert len({*some}) > 2


def test_few_rows_of_a_label_are_made_up_for() -> None:
    rows = [*(r for r in ROWS if r.label == "긍정"), next(r for r in ROWS if r.label == "부정")]
    found = _shots.Showable(lesson(rows)).shots(6, True, 1, 0)
    assert Counter(shot.label for shot in found) == {0: 5, 1: 1}


def test_one_shot_shows_one_and_zero_shot_none() -> None:
    one = OneShot(OneShotSettings(calibration="none", draws=12))
    learner = taught(one)
    assert {len(draw.shots) for draw in learner.network.plan.draws} == {1}
    assert {draw.shots[0].label for draw in learner.network.plan.draws} == {0, 1}
    zero = taught(ZeroShot(ZeroShot.Settings(calibration="none")))
    assert prompts(zero, TEST[:1]) == ["글: 처음 듣는 말 0\n느낌:"]


# ---------------------------------------------------------------- the nearest


@pytest.mark.parametrize("balanced", [True, False])
def test_the_nearest_are_shown_the_most_alike_last(balanced: bool) -> None:
    """Against a sort of all cosines, made here."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    learner = taught(few(shots=4, pick="nearest", balanced=balanced))
    pool = learner.network.plan.draws[0].shots
    counts = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    keys = [" ".join((shot.text + shot.behind).split()) for shot in pool]
    table = counts.fit_transform(keys).toarray()
    asked = [TextExample("q", f"{place}에서 {n}번째로 볼 것") for place in "강산섬" for n in (3, 8)]
    for row, prompt in zip(asked, prompts(learner, asked), strict=True):
        alike = table @ counts.transform([f"글: {row.text} 느낌:"]).toarray()[0]
        order = np.argsort(-alike, kind="stable").tolist()
        halves = [[i for i in order if pool[i].label == label][:2] for label in (0, 1)]
        wanted = sorted(halves[0] + halves[1], key=order.index) if balanced else order[:4]
        place = {shot.text.removeprefix("글: "): i for i, shot in enumerate(pool)}
        found = [place[text] for text, _ in shown(prompt)]
        assert np.allclose(alike[found], alike[wanted[::-1]], atol=1e-9)  # as alike, ties or not
        if balanced:
            assert sum(pool[i].label for i in found) == 2


def test_the_pool_is_drawn_kept_and_no_larger_than_wanted(tmp_path: Path) -> None:
    learner = taught(few(shots=2, pick="nearest", pool=10, draws=2))
    one, two = learner.network.plan.draws
    assert len(one.shots) == 10
    assert one.shots != two.shots
    assert Counter(shot.label for shot in one.shots) == {0: 5, 1: 5}
    learner.network.save(tmp_path, LABELS)
    again = _asking.Asking(Arithmetic(), Letters(), _prompting.read(tmp_path / _prompting.FILE))
    asked = questions(TEST)
    assert (again.scores(asked) == learner.network.scores(asked)).all()


def test_batches_do_not_change_what_is_shown() -> None:
    """EV-05, EV-07."""
    for pick in ("random", "nearest"):
        asking = taught(few(shots=3, pick=pick, calibration="content-free")).network
        asked = questions([*TEST, *ROWS[:9]])
        whole = asking.scores(asked)
        assert (whole == np.concatenate([asking.scores([one]) for one in asked])).all()
        assert (whole[::-1] == asking.scores(asked[::-1])).all()


def test_a_pool_smaller_than_the_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="pool must be 8"):
        FewShotSettings(pick="nearest", pool=7)


# ---------------------------------------------------------------- room


@pytest.mark.parametrize("pick", ["random", "nearest"])
@pytest.mark.parametrize("limit", range(70, 400, 13))
def test_whole_examples_go_from_the_front_and_never_the_question(pick: str, limit: int) -> None:
    """EV-06: at every limit the instruction and question stay, and what is left fits."""
    given = lesson(limit=limit, instruction="말하라.", separator="\n\n=========\n\n")
    given.tokenizer.max_length = 50
    learner = taught(few(shots=8, pick=pick), given)
    asked = [TextExample("q", "가" * n) for n in (1, 10, 40)]
    mark = "\n\n=========\n\n"
    whole = taught(few(shots=8, pick=pick), lesson(instruction="말하라.", separator=mark))
    dropped = 0
    pairs = zip(prompts(learner, asked), prompts(whole, asked), strict=True)
    for row, (prompt, full) in zip(asked, pairs, strict=True):
        kept, every = prompt.split(mark), full.split(mark)
        assert kept[0] == "말하라."
        assert kept[-1] == f"글: {row.text}\n느낌:"
        assert kept[1:] == every[len(every) - len(kept) + 1 :]  # the last ones, whole
        assert len(prompt) + len(" 긍정") <= limit
        if len(kept) < len(every):
            dropped += 1
            more = mark.join([kept[0], *every[len(every) - len(kept) :]])
            assert len(more) + len(" 긍정") > limit  # none is left out in vain
    assert learner.network.shortened == dropped
    assert whole.network.shortened == 0
    assert learner.network.told == {"shortened": dropped}


@pytest.mark.parametrize(
    ("limit", "instruction", "told"),
    [
        (60, "", "tokenizer.max_length is 60, but of the 60 tokens .* set it to 57 or less"),
        (20, "말" * 30, "task.instruction: of the 20 tokens .* take 35; make it shorter"),
    ],
)
def test_questions_that_could_not_be_read_are_refused(
    limit: int, instruction: str, told: str
) -> None:
    with pytest.raises(SettingError, match=told) as caught:
        few().learner(Arithmetic(), lesson(limit=limit, instruction=instruction))
    assert "\n" not in str(caught.value)


def test_a_question_of_nothing_is_asked_behind_a_beginning() -> None:
    """No prompt is empty: a template of its text alone, and a text that gives no token."""
    learner = taught(ZeroShot(ZeroShot.Settings()), lesson(prompt="{text}"))
    assert np.isfinite(learner.network.scores([[]])).all()
    assert learner.network.network.prompts[-1] == "\x01"  # type: ignore[attr-defined]

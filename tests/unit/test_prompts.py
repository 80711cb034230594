"""Templates and words: what may stand in a recipe, and what a wrong one is told in one line."""

from __future__ import annotations

from typing import Any

import pytest

from mulgil import recipe
from mulgil.errors import SettingError
from mulgil.examples import PairExample, TextExample
from mulgil.flow import Schema
from mulgil.tasks import _prompts
from mulgil.tasks.classification import Classification, ClassificationSettings
from mulgil.tasks.nli import Nli, NliSettings

LABELS = Schema("text", ("긍정", "부정"))


def test_a_question_is_filled_up_to_its_last_place() -> None:
    task = Classification(ClassificationSettings(prompt="리뷰: {text}\n감정:"))
    assert task.question(TextExample("1", "좋다")) == ("리뷰: 좋다", "\n감정:")
    pair = Nli(NliSettings(prompt="{second} / {first}\n관계:"))
    assert pair.question(PairExample("1", "가", "나")) == ("나 / 가", "\n관계:")


@pytest.mark.parametrize("text", ["{text}", "{first} {}", "}{", "{{text}}", "\\1 \\g<0>"])
def test_braces_of_a_row_are_text(text: str) -> None:
    """A row that looks like a template is not filled once more."""
    task = Classification(ClassificationSettings(prompt="리뷰: {text}\n감정:"))
    assert "".join(task.question(TextExample("1", text))) == f"리뷰: {text}\n감정:"
    pair = Nli(NliSettings())
    assert pair.question(PairExample("1", text, "나"))[0] == f"{text}\n나"


@pytest.mark.parametrize(
    "prompt",
    ["리뷰:", "", "{text} {text}", "{text} {label}", "{txt}", '{{"a": "{text}"}}', "{text} }", "{"],
)
def test_a_wrong_template_is_refused_in_one_line(prompt: str) -> None:
    """CF-03: without its place, with it twice, with other braces, paired or not."""
    with pytest.raises(SettingError) as caught:
        chosen(f"task.prompt={quoted(prompt)}")
    line = str(caught.value)
    assert "task.prompt must hold {text}, each once, and no other braces" in line
    assert "\n" not in line


@pytest.mark.parametrize("prompt", ["{first}", "{text}", "{first} {first} {second}"])
def test_a_pair_needs_both_places(prompt: str) -> None:
    with pytest.raises(SettingError, match=r"must hold \{first\} and \{second\}, each once"):
        chosen(f"task.prompt={quoted(prompt)}", "task.name=nli")


def quoted(text: str) -> str:
    return "'''" + text + "'''"


def chosen(*words: str) -> Any:
    return recipe.read("sample-tfidf", [*words])


@pytest.mark.parametrize(
    ("prompt", "word", "found"),
    [
        ("리뷰: {text}\n감정:", "긍정", " 긍정"),
        ("리뷰: {text}\n감정: ", "긍정", "긍정"),
        ("{text}\n", "긍정", "긍정"),
        ("{text}", "긍정", " 긍정"),
    ],
)
def test_a_word_goes_on_behind_one_space(prompt: str, word: str, found: str) -> None:
    assert _prompts.spoken(prompt, word) == found


def test_words_are_called_as_the_recipe_says() -> None:
    task = Classification(ClassificationSettings(words={"부정": "나쁨"}))
    assert task.replies(LABELS) == (" 긍정", " 나쁨")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"부점": "나쁨"}, 'task.words: no label "부점"; known: 긍정, 부정'),
        ({"부정": " "}, 'task.words: the word of "부정" is empty; give one'),
        ({"부정": ""}, 'task.words: the word of "부정" is empty; give one'),
    ],
)
def test_wrong_words_are_refused_in_one_line(words: dict[str, str], told: str) -> None:
    with pytest.raises(SettingError) as caught:
        Classification(ClassificationSettings(words=words)).replies(LABELS)
    assert str(caught.value) == told

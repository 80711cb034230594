"""Asking in context: what calibration makes of answers, what is kept of a run, what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from questions_at_hand import (
    LABELS,
    ROWS,
    TEST,
    Arithmetic,
    Letters,
    few,
    lesson,
    questions,
    taught,
)
from scipy.special import log_softmax

from mulgil import registry
from mulgil.contracts import refusal
from mulgil.errors import DataError, ModelError, SettingError
from mulgil.examples import TextExample
from mulgil.flow import Array, Head
from mulgil.methods import _base, _prompting, _shots
from mulgil.methods._in_context import EMPTY, InContextLearner

# ---------------------------------------------------------------- calibration


def raw(learner: InContextLearner, asked: Any) -> Array:
    plan = learner.network.plan
    network, choices = Arithmetic(), [Letters().segment(word) for word in plan.words]
    return network.choose(learner.network.prefix(plan.draws[0].shots), asked, choices)


def test_without_calibration_scores_are_sums_of_ln_p() -> None:
    learner = taught(few(calibration="none"))
    asked = questions(TEST)
    assert (learner.network.scores(asked) == raw(learner, asked).astype(np.float32)).all()
    assert learner.network.plan.draws[0].offsets == []
    by_tokens = taught(few(calibration="none", normalise="tokens"))
    assert np.allclose(by_tokens.network.scores(asked), raw(by_tokens, asked) / [3, 3])


def test_content_free_calibration_is_the_formula() -> None:
    """Zhao et al. 2021: p over the mean of p behind texts without content, made one again."""
    learner = taught(few(calibration="content-free"))
    free = questions([TextExample("", text) for text in EMPTY])
    mean = np.exp(log_softmax(raw(learner, free), 1)).mean(0)
    asked = questions(TEST)
    wanted = np.exp(log_softmax(raw(learner, asked), 1)) / mean
    wanted /= wanted.sum(1, keepdims=True)
    found = np.exp(log_softmax(learner.network.scores(asked).astype(float), 1))
    assert np.abs(found - wanted).max() < 1e-6
    assert np.abs(np.exp(log_softmax(raw(learner, asked), 1)) - found).max() > 0.01


@pytest.mark.parametrize("pick", ["random", "nearest"])
def test_labelled_calibration_fits_rows_that_nobody_is_shown(pick: str) -> None:
    """EV-08: none shown, none of another part; the log loss on them falls."""
    method = few(shots=4, calibration="labelled", calibration_rows=12, pick=pick)
    learner = method.learner(Arithmetic(), lesson(held=[*TEST, *ROWS[:3]]))
    learner.solve((), ())
    asking: Any = learner.network
    draw = asking.plan.draws[0]
    asked = {prompt.split("\n\n")[-1] for prompt in asking.network.prompts}
    assert len(asked) == 12
    assert not asked & {shot.text + shot.behind for shot in draw.shots}
    assert not asked & {f"글: {row.text}\n느낌:" for row in (*TEST, *ROWS[:3])}
    rows, gold = learner._rows.asked(12, 7, 0, draw.shots)
    assert min(Counter(gold.tolist()).values()) >= 5
    after = asking.scores(questions(rows)).astype(float)
    slope, offsets = draw.slope, draw.offsets
    draw.slope, draw.offsets = 1.0, []
    before = asking.scores(questions(rows)).astype(float)
    assert np.allclose(before * slope + offsets, after, atol=1e-5)
    losses = [-log_softmax(s, 1)[np.arange(12), gold].mean() for s in (before, after)]
    assert losses[1] < losses[0] - 1e-3


def test_a_fit_finds_what_was_put_in() -> None:
    draw = np.random.default_rng(0)
    scores = draw.normal(0, 2, (20_000, 3))
    chances = np.exp(log_softmax(scores * 0.5 + [0.7, 0.0, -0.7], 1))
    gold = (chances.cumsum(1) < draw.random((20_000, 1))).sum(1)
    slope, offsets = _shots.fitted(scores, gold)
    assert slope == pytest.approx(0.5, abs=0.03)
    assert np.allclose(np.array(offsets) - np.mean(offsets), [0.7, 0, -0.7], atol=0.06)


def test_labelled_calibration_without_rows_is_refused() -> None:
    method = few(shots=30, balanced=False, calibration="labelled")
    with pytest.raises(DataError, match=r'method\.calibration "labelled" needs training rows'):
        taught(method)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"긍정": "같음", "부정": "같음"}, '"같음" and "같음" are the same to the tokenizer'),
        ({"긍정": "\u200b"}, 'the tokenizer makes nothing of "\u200b"'),
        ({"긍정": "뷁"}, 'the tokenizer does not know all of "뷁"'),
    ],
)
def test_words_that_cannot_be_told_apart(words: dict[str, str], told: str) -> None:
    given = lesson(words=words)
    given.tokenizer.unknown = ord("뷁")
    real = given.tokenizer.segment
    given.tokenizer.segment = lambda text: [] if "\u200b" in text else real(text)
    with pytest.raises(SettingError) as caught:
        few().learner(Arithmetic(), given)
    line = str(caught.value)
    assert line.startswith("task.words: ")
    assert told in line
    assert "\n" not in line


def test_several_labels_a_row_are_refused() -> None:
    with pytest.raises(SettingError, match=r"task\.multi_label: in context a row gets one label"):
        few().learner(Arithmetic(), lesson(multi_label=True))


@pytest.mark.parametrize("method", ["zero-shot", "one-shot", "few-shot"])
@pytest.mark.parametrize("task", ["sts", "ner", "qa", "causal-lm"])
def test_tasks_without_labels_are_refused_with_the_reason(method: str, task: str) -> None:
    names = {"data": "sample", "model": "decoder", "task": task, "method": method}
    plugins = [registry.load(f"{wing}s", names[wing]) for wing in ("model", "task", "method")]
    told = refusal(registry.load("datasets", "sample"), *plugins, names)
    assert told is not None
    assert f'task "{task}" needs' in told


class Folder:
    """A model that lies in a folder."""

    def __init__(self, source: Path) -> None:
        self.settings = type("S", (), {"pretrained": str(source)})
        self._source = source

    def source(self) -> Path:
        return self._source

    def build(self, *given: Any) -> Any:
        return Arithmetic()


def test_another_model_of_the_same_name_is_refused(tmp_path: Path) -> None:
    """The examples are kept, the weights are not: answers must come from the same ones."""
    base, kept = tmp_path / "base", tmp_path / "kept"
    base.mkdir()
    kept.mkdir()
    (base / "model.safetensors").write_bytes(b"one")
    model: Any = Folder(base)
    method, learner = few(), taught(few())
    method.keep(model, learner.network, kept, LABELS)
    assert {path.name for path in kept.iterdir()} == {"prompts.json", "base.json"}
    opened = method.opened(model, Letters(), Head("choose", 2), kept, "fp32", "cpu")
    asked = questions(TEST)
    assert (opened.scores(asked) == learner.network.scores(asked)).all()
    (base / "model.safetensors").write_bytes(b"two")
    with pytest.raises(ModelError, match="under that name; bring that version back"):
        method.opened(model, Letters(), Head("choose", 2), kept, "fp32", "cpu")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"draws": 3}', '{"draws": [{"shots": [1]}]}'])
def test_a_damaged_file_is_told_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / _prompting.FILE).write_text(text)
    with pytest.raises(ModelError, match=r"prompts\.json: cannot be read") as caught:
        _prompting.read(tmp_path / _prompting.FILE)
    assert "\n" not in str(caught.value)
    (tmp_path / _base.FILE).write_text(text)
    with pytest.raises(ModelError, match=r"base\.json: cannot be read"):
        _base.stood_on(Folder(tmp_path), tmp_path)  # type: ignore[arg-type]


def test_what_is_kept_is_plain_and_whole(tmp_path: Path) -> None:
    learner = taught(few(draws=2, calibration="content-free"))
    learner.network.save(tmp_path, LABELS)
    told = json.loads((tmp_path / "prompts.json").read_text("utf-8"))
    assert len(told["draws"]) == 2
    assert told["words"] == [" 긍정", " 부정"]
    assert _prompting.read(tmp_path / "prompts.json") == learner.network.plan

"""Asking in context: which examples are shown to whom, what fits, and what calibration makes of it.

A network of arithmetic stands for the model and writes down every prompt; a letter is a token.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from mulgil import registry
from mulgil.contracts import refusal
from mulgil.errors import DataError, ModelError, SettingError
from mulgil.examples import TextExample
from mulgil.flow import Array, Head, Schema
from mulgil.methods import _asking, _base, _prompting, _shots
from mulgil.methods._in_context import EMPTY, InContextLearner
from mulgil.methods.few_shot import FewShot, FewShotSettings
from mulgil.methods.one_shot import OneShot, OneShotSettings
from mulgil.methods.zero_shot import ZeroShot
from mulgil.networks import PromptedNetwork
from mulgil.objectives import Lesson
from mulgil.tasks.classification import Classification, ClassificationSettings
from mulgil.tokenizers._asked import AskedRows

LABELS = ("긍정", "부정")
TEXTS = [f"{place}에서 {n}번째로 본 것" for n in range(10) for place in ("강", "산", "섬")]
ROWS = [TextExample(f"train:{i}", text, LABELS[i % 2]) for i, text in enumerate(TEXTS)]
TEST = [TextExample(f"test:{i}", f"처음 듣는 말 {i}", LABELS[i % 2]) for i in range(6)]


class Letters:
    """A tokenizer to which each letter is a token."""

    unknown = None

    def __init__(self, max_length: int = 60) -> None:
        self.max_length = max_length

    def segment(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def opening(self) -> list[int]:
        return []

    def ends(self) -> tuple[int, int]:
        return 1, 2

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))

    def asked(self, texts: Any) -> AskedRows:
        rows = [self.segment(a[: self.max_length - len(b)] + b) for a, b in texts]
        return AskedRows(rows, 0, 0.0)


class Arithmetic(PromptedNetwork):
    """ln p of a word follows from the prompt's letters; every prompt is written down."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def choose(self, prefix: Any, queries: Any, choices: Any) -> Array:
        found = []
        for query in queries:
            ids = [*prefix, *query]
            assert ids
            self.prompts.append("".join(map(chr, ids)))
            sums = [sum(ids) * (sum(c) % 13 + 1) % 101 / 30 + len(c) / 3 for c in choices]
            found.append([-one for one in sums])
        return np.array(found)

    def features(self, inputs: Any) -> Any: ...
    def set_head(self, weight: Array, bias: Array) -> None: ...
    def scores(self, inputs: Any) -> Array: ...  # type: ignore[empty-body]
    def save(self, folder: Path, labels: Any) -> None: ...

    outputs = 2
    parameters_total = 10


def lesson(rows: Any = ROWS, held: Any = TEST, limit: int | None = None, **task: Any) -> Lesson:
    asked = Classification(ClassificationSettings(**{"prompt": "글: {text}\n느낌:"} | task))
    several = asked.several
    return Lesson(
        asked,
        None,
        schema=Schema("text", LABELS, several),
        tokenizer=Letters(),
        rows=rows,
        held=held,
        limit=limit,
    )


def taught(method: Any, given: Lesson | None = None, solve: bool = True) -> InContextLearner:
    learner = method.learner(Arithmetic(), given or lesson())
    if solve:
        learner.solve((), ())
        learner.network.network.prompts.clear()
    return learner  # type: ignore[no-any-return]


def few(**more: Any) -> FewShot:
    return FewShot(FewShotSettings(**{"shots": 4, "calibration": "none"} | more))


def questions(rows: Any) -> list[list[int]]:
    return [Letters().segment(f"글: {row.text}\n느낌:") for row in rows]


def shown(prompt: str) -> list[tuple[str, str]]:
    """Return text and word of each example of a prompt."""
    found = []
    for block in prompt.split("\n\n")[:-1]:
        text, _, word = block.removeprefix("글: ").partition("\n느낌: ")
        found.append((text, word))
    return found


def prompts(learner: InContextLearner, rows: Any) -> list[str]:
    network: Any = learner.network.network
    network.prompts.clear()
    asked = questions(rows)
    learner.network.scores(asked)
    endings = ["".join(map(chr, one)) for one in asked]
    return [next(p for p in network.prompts if p.endswith(end)) for end in endings]


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

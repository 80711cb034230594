"""Writing in context: what a prompt says, where a text ends, and what a target is measured by.

A tiny GPT-2 and a tiny T5 over bytes write; plain transformers on the whole prompt, with nothing
kept between rows, is what they are held against.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from writers_at_hand import STOP, checkpoints

from mulgil import evaluation, registry
from mulgil.contracts import refusal
from mulgil.encoding import batches
from mulgil.errors import SettingError
from mulgil.examples import WritingExample
from mulgil.flow import Head, Schema
from mulgil.loader import BatchLoader
from mulgil.methods import _prompting
from mulgil.methods._composing import Composing
from mulgil.methods._in_context import WritingLearner
from mulgil.methods.few_shot import FewShot, FewShotSettings
from mulgil.methods.zero_shot import ZeroShot
from mulgil.models._sizes import SizedSettings
from mulgil.models.decoder import Decoder
from mulgil.models.seq2seq import Seq2Seq, Seq2SeqSettings
from mulgil.objectives import Lesson
from mulgil.predictor import _pieces
from mulgil.recipe import LoaderSettings
from mulgil.tasks.summarization import Summarization, SummarizationSettings
from mulgil.tokenizers.subword import Subword, SubwordSettings

SCHEMA = Schema("writing", ())
TRAIN = [
    WritingExample(f"train:{i}", f"{place} 다리 {i}", f"{place} 제목")
    for i, place in enumerate(("강가", "산속", "섬", "들판", "골목", "바다"))
]
TEST = [WritingExample(f"test:{i}", "처음 듣는 말 " * (i + 1), f"말 {i}") for i in range(3)]
PROMPT = {"prompt": "글: {text}\n제목: ", "separator": "\n\n", "instruction": "제목을 붙이라."}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a checkpoint of each family, its tokens bytes: nothing joins where segments meet."""
    return checkpoints(tmp_path_factory.mktemp("composing"))


@dataclasses.dataclass
class Asked:
    """What a method makes of rows, and the rows as they are read."""

    learner: WritingLearner
    tokenizer: Subword
    task: Summarization
    loader: BatchLoader
    module: Any

    @property
    def network(self) -> Composing:
        return self.learner.network

    def whole(self, row: int) -> list[int]:
        """Return the ids of a row's whole prompt, put together from what is handed on."""
        encoded: Any = self.loader.encoded
        network = self.network
        question = network._question(encoded.prompts[row])
        taken = network._taken(network.plan.most)
        ((prefix, _, (asked,)),) = network._grouped([question], taken)
        return [*prefix, *asked, *network._closing]

    def written(self) -> list[tuple[str, float, int]]:
        return evaluation.write(self.network, self.loader, self.task, self.tokenizer)


def asked(
    home: Path,
    family: str = "decoder",
    method: Any = None,
    rows: Any = TEST,
    train: Any = TRAIN,
    limit: int | None = 900,
    length: int = 200,
    **task: Any,
) -> Asked:
    tokenizer = Subword.make(SubwordSettings(max_length=length), home / family, [], 1)
    made = Summarization(SummarizationSettings(**{**PROMPT, "max_new": 12, **task}))
    model: Any
    if family == "decoder":
        model = Decoder(SizedSettings(pretrained=str(home / family)))
    else:
        model = Seq2Seq(Seq2SeqSettings(pretrained=str(home / family)))
    method = method or few()
    network = model.build(tokenizer, method.head(Head("write", 0)), "fp32", "cpu", 1)
    lesson = Lesson(
        made, None, schema=SCHEMA, tokenizer=tokenizer, rows=train, held=rows, limit=limit
    )
    learner = method.learner(network, lesson)
    learner.solve((), ())
    loader = batches(
        rows, made, SCHEMA, tokenizer, LoaderSettings(), model.kind, scored=True, prompts=True
    )
    return Asked(learner, tokenizer, made, loader, network.module)


def few(**more: Any) -> FewShot:
    return FewShot(FewShotSettings(**{"shots": 2} | more))


def zero() -> ZeroShot:
    return ZeroShot(ZeroShot.Settings())


def blocks(found: Asked, row: int) -> list[str]:
    return found.tokenizer.decode(found.whole(row)).split("\n\n")


def likelihood(found: Asked, prompt: list[int], target: list[int]) -> float:
    """Return ln p of a target by a plain reading of everything, nothing kept."""
    if found.network._two:
        start = [found.module.config.decoder_start_token_id, *target[:-1]]
        given = {"input_ids": [prompt], "decoder_input_ids": [start]}
    else:
        given = {"input_ids": [[*prompt, *target[:-1]]]}
    with torch.no_grad():
        tensors = {name: torch.tensor(ids) for name, ids in given.items()}
        logits = found.module(**tensors).logits[0, -len(target) :]
    chances = torch.log_softmax(logits.double(), 1)
    return float(chances[range(len(target)), target].sum())


# ---------------------------------------------------------------- what a prompt says


@pytest.mark.parametrize("family", ["decoder", "seq2seq"])
@pytest.mark.parametrize("pick", ["random", "nearest"])
def test_a_prompt_is_instruction_examples_and_question(family: str, pick: str, home: Path) -> None:
    found = asked(home, family, few(pick=pick))
    titles = {row.source: row.target for row in TRAIN}
    for row, example in enumerate(TEST):
        first, *shown, question = blocks(found, row)
        assert (first, question) == ("제목을 붙이라.", f"글: {example.source}\n제목: ")
        assert len(shown) == 2
        for block in shown:
            text, _, title = block.removeprefix("글: ").partition("\n제목: ")
            assert titles[text] == title
        assert (found.whole(row)[-1] == STOP) == (family == "seq2seq")  # what T5 reads ends so
    bare = asked(home, family, zero(), instruction="")
    assert blocks(bare, 0) == [f"글: {TEST[0].source}\n제목: "]


def test_draws_are_seeded_and_differ(home: Path) -> None:
    """EV-11: the same seed the same prompts, another draw other examples."""
    plans = [asked(home, method=few(draws=3)).network.plan for _ in range(2)]
    assert plans[0] == plans[1]
    assert len({tuple(shot.text for shot in draw.shots) for draw in plans[0].draws}) == 3
    assert asked(home, method=few(seed=8)).network.plan.draws[0] != plans[0].draws[0]


@pytest.mark.parametrize("pick", ["random", "nearest"])
def test_a_row_is_never_shown_its_own_target(pick: str, home: Path) -> None:
    """EV-08: no row of another part, nor an example that equals the question, cut or spaced."""
    long = [WritingExample(f"long:{i}", f"{i} " + "긴 글 " * 60, f"제목 {i}") for i in range(3)]
    twin = WritingExample("twin", TEST[0].source.replace(" ", "  "), "답")
    found = asked(home, method=few(pick=pick, shots=6), train=[*TRAIN, *TEST[1:], twin])
    for row in range(3):
        shown = "\n\n".join(blocks(found, row)[1:-1])
        assert shown.count("글: ") == 6
        assert not any(example.source in shown for example in TEST)
    found = asked(home, method=few(pick=pick, shots=3), train=long, rows=TEST)
    found.loader = batches(
        long, found.task, SCHEMA, found.tokenizer, LoaderSettings(), "decoder", prompts=True
    )
    for row, example in enumerate(long):
        shown = "\n\n".join(blocks(found, row)[1:-1])
        assert shown.count("글: ") == 2
        assert str(example.target) not in shown


@pytest.mark.parametrize("pick", ["random", "nearest"])
@pytest.mark.parametrize("family", ["decoder", "seq2seq"])
def test_whole_examples_go_from_the_front(family: str, pick: str, home: Path) -> None:
    """EV-06: the question and the room for the text stay; what is left is the last examples."""
    found = asked(home, family, few(shots=6, pick=pick), limit=None)
    whole = [blocks(found, row) for row in range(3)]
    room, counts = 0 if family == "seq2seq" else 12, []
    for limit in range(230, 600, 41):
        found.network.plan.limit, found.network.shortened = limit, 0
        counts.append(0)
        for row, every in enumerate(whole):
            ids = found.whole(row)
            kept = found.tokenizer.decode(ids).split("\n\n")
            assert (kept[0], kept[-1]) == (every[0], every[-1])
            assert kept[1:] == every[len(every) - len(kept) + 1 :]
            assert len(ids) + room <= limit
            counts[-1] += len(kept) < len(every)
        assert found.network.shortened == counts[-1]
    assert (counts[0], counts[-1]) == (3, 0)
    found.network.plan.limit, found.network.shortened = 230, 0
    measured = evaluation.measure(
        found.network, found.loader, found.task, SCHEMA, tokenizer=found.tokenizer
    )
    assert len(measured) == 3
    assert found.network.told == {"shortened": 3}  # each question once, though it is read twice


# ---------------------------------------------------------------- what is written


@pytest.mark.parametrize("way", ["random", "nearest", "zero"])
@pytest.mark.parametrize("family", ["decoder", "seq2seq"])
def test_what_is_written_is_what_plain_transformers_writes(
    family: str, way: str, home: Path
) -> None:
    """SV-05: greedy, and with beams, on the whole prompt with nothing kept; ln p with it."""
    for beams in (1, 3):
        method = zero() if way == "zero" else few(pick=way)
        found = asked(home, family, method, separator=" ### ", beams=beams)
        longest = 0 if found.network._two else None
        for row, (text, chance, count) in enumerate(found.written()):
            prompt = found.whole(row)
            plain = found.module.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
                max_new_tokens=12,
                num_beams=beams,
                do_sample=False,
                eos_token_id=STOP,
                pad_token_id=STOP,
                suppress_tokens=[0] if found.network._two else None,
            )[0, 1 if longest == 0 else len(prompt) :].tolist()
            plain = plain[: plain.index(STOP) + 1] if STOP in plain else plain
            assert (text, count) == (found.tokenizer.decode(plain).strip(), len(plain))
            assert chance == pytest.approx(likelihood(found, prompt, plain), abs=1e-4)


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("family", ["decoder", "seq2seq"])
def test_a_target_is_measured_by_a_plain_reading(family: str, shots: int, home: Path) -> None:
    """EV-07: in one batch or alone; a decoder's target ends as the examples shown do."""
    found = asked(home, family, few(draws=2) if shots else zero())
    figures = evaluation.measure(found.network, found.loader, found.task, SCHEMA).figures
    for row, example in enumerate(TEST):
        target = found.tokenizer.ids(str(example.target))
        end = found.tokenizer.ids("\n\n")[0] if shots and family == "decoder" else STOP
        wanted = likelihood(found, found.whole(row), [*target, end])
        assert figures[row, 0] == pytest.approx(-wanted, abs=1e-4)
        assert figures[row, 1] == len(target) + 1
        assert figures[row, 3] == len(str(example.target).encode())
    if shots:
        found.network.draw = 1
        other = evaluation.measure(found.network, found.loader, found.task, SCHEMA).figures
        assert np.abs(other[:, 0] - figures[:, 0]).min() > 1e-3  # other examples, other figures


# ---------------------------------------------------------------- where a text ends


def ended(home: Path, family: str, start: int, size: int) -> tuple[Asked, str, str]:
    """Return a network that writes until a part of what it writes anyway, and the text so far."""
    free = asked(home, family, zero(), TEST[:1], instruction="", separator="\0", max_new=40)
    ((_, _, _),) = free.written()
    prompt = free.loader.encoded.prompts[0]  # type: ignore[attr-defined]
    ((tokens, _),) = free.network.generate([prompt], free.task.sampling, [STOP])
    text = free.tokenizer.decode(tokens)
    mark = text[start : start + size]
    found = asked(home, family, zero(), TEST[:1], instruction="", separator=mark, max_new=40)
    return found, mark, text


@pytest.mark.parametrize("family", ["decoder", "seq2seq"])
@pytest.mark.parametrize("size", [1, 3])
def test_a_text_is_over_where_the_separator_begins(
    family: str, size: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut in the text, its ln p and its tokens; and no token is made behind it."""
    found, mark, text = ended(home, family, 5, size)
    steps: list[int] = []
    forward = found.module.forward

    def counted(*given: Any, **named: Any) -> Any:
        steps.append(1)
        return forward(*given, **named)

    monkeypatch.setattr(found.module, "forward", counted)
    ((written, chance, count),) = found.written()
    assert written == text[: text.index(mark)].strip()
    assert mark not in written
    assert count < 40
    assert len(steps) <= count + 2  # one for what is shared, one for ln p
    prompt = found.whole(0)
    ((tokens, _),) = found.network.generate(
        [found.loader.encoded.prompts[0]],  # type: ignore[attr-defined]
        found.task.sampling,
        [STOP],
    )
    assert mark in found.tokenizer.decode(tokens)
    assert mark not in found.tokenizer.decode(tokens[:-1])  # the token that ended it is the last
    monkeypatch.undo()
    assert chance == pytest.approx(likelihood(found, prompt, tokens), abs=1e-4)


@pytest.mark.parametrize("family", ["decoder", "seq2seq"])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_what_is_heard_is_what_is_written(family: str, size: int, home: Path) -> None:
    """SV-06: no beginning of a separator is let out before it is known to be none."""
    for start in (1, 4, 9):
        found, _, _ = ended(home, family, start, size)
        ((written, _, _),) = found.written()
        prompt = found.loader.encoded.prompts[0]  # type: ignore[attr-defined]
        heard = found.network.stream(prompt, found.task.sampling, [STOP])
        pieces = _pieces(heard, None, found.network, len(found.network.until))
        assert "".join(pieces) == written


@pytest.mark.parametrize(
    ("separator", "until"), [("\n\n", "\n"), ("\n###\n", "\n"), ("###\n", "###\n"), ("", "")]
)
def test_what_begins_with_a_line_break_ends_at_the_first(
    separator: str, until: str, home: Path
) -> None:
    network = asked(home, separator=separator).network
    assert network.until == until
    ids = network._tokenizer.segment("가나 \n다###\n라")
    wanted = {"\n": "가나 ", "###\n": "가나 \n다", "": "가나 \n다###\n라"}[until]
    assert network.decode(ids) == wanted


def test_white_space_before_a_separator_is_not_let_out() -> None:
    class Bytes:
        def decode(self, ids: list[int]) -> str:
            return bytes(ids).decode().partition("##")[0]

    for text in ("ab   ##c", "ab   #", "a  b## ", "##", "  a b  "):
        pieces = list(_pieces(iter(text.encode()), None, Bytes(), 2))
        assert "".join(pieces) == text.partition("##")[0].strip()


# ---------------------------------------------------------------- kept, and refused


@pytest.mark.parametrize("family", ["decoder", "seq2seq"])
def test_what_is_kept_asks_the_same(family: str, home: Path, tmp_path: Path) -> None:
    found = asked(home, family, few(draws=2))
    found.network.save(tmp_path, [])
    plan = _prompting.read(tmp_path / _prompting.FILE)
    assert plan == found.network.plan
    again = Composing(found.network.network, found.tokenizer, plan)
    prompts = found.loader.encoded.prompts  # type: ignore[attr-defined]
    sampling = found.task.sampling
    assert again.generate(prompts, sampling, [STOP]) == found.network.generate(
        prompts, sampling, [STOP]
    )


@pytest.mark.parametrize(
    ("method", "more", "told"),
    [
        ({"calibration": "labelled"}, {}, 'method.calibration is "labelled", but a task that'),
        ({"normalise": "tokens"}, {}, 'method.normalise is "tokens", but a task that writes has'),
        ({}, {"limit": 210}, "tokenizer.max_length is 200, but of the 210 .* set it to 188 or"),
        ({}, {"limit": 21}, "tokenizer.max_length is 200, but .* task.instruction takes 22; short"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    method: Any, more: Any, told: str, home: Path
) -> None:
    with pytest.raises(SettingError, match=told) as caught:
        asked(home, method=few(**method), **more)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(";") == 1  # a remedy


@pytest.mark.parametrize("method", ["zero-shot", "one-shot", "few-shot"])
def test_models_that_cannot_write_in_context_are_refused(method: str) -> None:
    for model in ("endpoint", "encoder"):
        names = {"data": "sample", "model": model, "task": "translation", "method": method}
        plugins = [registry.load(f"{wing}s", names[wing]) for wing in ("model", "task", "method")]
        told = refusal(registry.load("datasets", "sample"), *plugins, names)
        assert told is not None
        assert told.startswith('task "translation" needs a model with the skill write;')

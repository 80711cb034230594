"""What language tasks ask of a text, and what becomes of the answers: counted, never assumed."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mulgil import cache, evaluation, registry
from mulgil.examples import PassageExample
from mulgil.flow import UNASKED, Array, Blanks, Frame, Schema
from mulgil.judged import Likelihood
from mulgil.loader import BatchLoader
from mulgil.networks import LanguageNetwork
from mulgil.recipe import LoaderSettings
from mulgil.tasks.causal_lm import CausalLm, CausalLmSettings
from mulgil.tasks.masked_lm import MaskedLm, MaskedLmSettings
from mulgil.tokenizers._ragged import Windows
from mulgil.tokenizers.subword import Subword, SubwordSettings

SCHEMA = Schema("passage", ())

SENTENCES = [
    "비가 그치자, 골목마다 물웅덩이가 생겼고 아이들은 장화를 신고 뛰어나왔다.",
    "할머니는 마당에서 고추를 말리며 라디오를 들으셨다.",
    "기차는 새벽 네 시에 강을 건너 남쪽으로 달렸다.",
    "도서관 창가 자리는 늘 같은 사람이 먼저 앉아 있었다.",
    "우리는 시장에서 귤 한 봉지와 국수를 사서 집으로 돌아왔다.",
]
TEXTS = [
    " ".join(SENTENCES),
    "짧다",
    "",
    unicodedata.normalize("NFD", " ".join(SENTENCES[::-1])),
    "이모지 😀👨\u200d👩 와 [SEP] 그리고 </s> 라는 글자",
    " ".join(SENTENCES * 3),
]


def learnt(algorithm: str) -> Subword:
    chosen: Any = {"algorithm": algorithm, "vocab_size": 300, "max_length": 16}
    return Subword.make(SubwordSettings(**chosen), None, SENTENCES * 4, 1)


LEARNT = {algorithm: learnt(algorithm) for algorithm in ("wordpiece", "bpe")}


def windows(tokenizer: Subword, frame: Frame, chunk: int = 2) -> Windows:
    """Return the windows of the texts, encoded some texts at a time."""
    parts = [TEXTS[at : at + chunk] for at in range(0, len(TEXTS), chunk)]
    made = cache._joined(list(cache._counted(tokenizer.windows(parts, frame))))
    found = tokenizer.framed(made)
    assert isinstance(found, Windows)
    return found


@pytest.mark.parametrize("algorithm", LEARNT)
@pytest.mark.parametrize("frame", ["sentence", "document"])
def test_windows_of_a_text_make_the_whole_text_again(algorithm: str, frame: Frame) -> None:
    """No token is lost, doubled or moved; each window is framed as its sort wants it."""
    tokenizer = LEARNT[algorithm]
    left, right = tokenizer.ends()
    rows = windows(tokenizer, frame)
    assert rows.owners is not None
    assert rows.texts == len(TEXTS)
    assert rows.lengths.max() == tokenizer.max_length - (frame == "document")
    found: dict[int, list[int]] = {owner: [] for owner in range(len(TEXTS))}
    taken = rows.take(np.arange(len(rows)), 8)
    assert taken.first is not None
    for number, (ids, length) in enumerate(zip(taken.ids, taken.lengths, strict=True)):
        owner = int(rows.owners[number])
        last = number + 1 == len(rows) or rows.owners[number + 1] != owner
        assert taken.first[number] == (not found[owner])
        assert ids[0] == left
        ends = frame == "sentence" or last
        assert (ids[length - 1] == right) == ends
        found[owner] += ids[1 : length - ends].tolist()
        assert (ids[length:] == tokenizer.pad).all()
    for owner, text in enumerate(TEXTS):
        assert found[owner] == tokenizer.ids(unicodedata.normalize("NFC", text))
        assert not {left, right} & {*found[owner]}
    assert not found[2], "an empty text has no window"


@pytest.mark.parametrize("algorithm", LEARNT)
@pytest.mark.parametrize("frame", ["sentence", "document"])
def test_bytes_of_windows_are_those_of_their_texts(algorithm: str, frame: Frame) -> None:
    """DA-03: of the text in NFC, to the byte, however many windows it has and chunks there are."""
    for chunk in (1, 4, 100):
        rows = windows(LEARNT[algorithm], frame, chunk)
        given = np.array(rows.bytes, float)[:, None]
        sums = evaluation.gather(given, rows)[:, 0]
        assert sums.tolist() == [len(unicodedata.normalize("NFC", t).encode()) for t in TEXTS]


@pytest.mark.parametrize("algorithm", LEARNT)
def test_causal_lm_asks_for_each_next_token_and_for_the_end_once(algorithm: str) -> None:
    tokenizer = LEARNT[algorithm]
    _, right = tokenizer.ends()
    task = CausalLm(CausalLmSettings())
    rows = windows(tokenizer, task.frame)
    taken = rows.take(np.arange(len(rows)), 8)
    blanks = task.asker(tokenizer)(taken, np.arange(len(rows)), None)
    assert (blanks.ids == taken.ids).all()
    for ids, length, targets in zip(taken.ids, taken.lengths, blanks.targets, strict=True):
        assert targets[: length - 1].tolist() == ids[1:length].tolist()
        assert (targets[length - 1 :] == UNASKED).all()
    written = [text for text in TEXTS if text]
    assert (blanks.targets == right).sum() == len(written)
    tokens = sum(len(tokenizer.ids(unicodedata.normalize("NFC", text))) + 1 for text in written)
    assert (blanks.targets != UNASKED).sum() == tokens
    size = sum(len(unicodedata.normalize("NFC", text).encode()) for text in TEXTS)
    assert blanks.bytes.sum() == size


# ---------------------------------------------------------------- figures


class Uniform(LanguageNetwork):
    """Finds every token as likely as any other, and its first guess is always token 7."""

    outputs = property(lambda self: 300)
    parameters_total = property(lambda self: 0)

    def nats(self, inputs: Blanks) -> tuple[Array, Array]:
        targets = inputs.targets[inputs.targets != UNASKED]
        return np.full(len(targets), np.log(self.outputs)), targets == 7

    def loss(self, *_: Any) -> Any:
        raise NotImplementedError

    features = set_head = scores = save = loss


@pytest.mark.parametrize("name", ["masked-lm", "causal-lm"])
@pytest.mark.parametrize("tokens", [16, 50, 4096])
def test_texts_are_measured_whole_whatever_the_batches(name: str, tokens: int) -> None:
    """EV-05: a text's figures are the sums over its windows; perplexity of a guess is its size."""
    plugin = registry.load("tasks", name)
    task, tokenizer = plugin(plugin.Settings()), LEARNT["bpe"]
    rows = windows(tokenizer, task.frame)
    loader = BatchLoader(rows, None, LoaderSettings(tokens=tokens), 0, task.asker(tokenizer))
    found = evaluation.measure(Uniform(), loader, task, SCHEMA)
    assert found.shape == (len(TEXTS), 4)
    assert found[2].tolist() == [0, 0, 0, 0]
    nats, counted, _, size = found.T
    assert nats == pytest.approx(counted * np.log(300))
    if name == "causal-lm":
        assert counted.tolist() == [
            len(tokenizer.ids(unicodedata.normalize("NFC", text))) + bool(text) for text in TEXTS
        ]
        assert size.tolist() == [len(unicodedata.normalize("NFC", t).encode()) for t in TEXTS]
    figures = evaluation.headlines(task, task.judge(None, found, SCHEMA))
    assert figures["perplexity"] == pytest.approx(300)
    assert figures["loss"] == pytest.approx(np.log(300)) == task.loss_of(None, found, SCHEMA)
    again = BatchLoader(rows, None, LoaderSettings(tokens=333), 0, task.asker(tokenizer))
    assert evaluation.measure(Uniform(), again, task, SCHEMA).tolist() == found.tolist()


def figure(name: str, *columns: Any) -> float:
    likelihood = Likelihood(*(np.array(column, float) for column in columns))
    found = registry.load("metrics", name)().compute(likelihood)
    assert list(found) == [name]
    return float(found[name])


def test_known_answers() -> None:
    """Figures are over all tokens and bytes, not means of texts' means."""
    columns = [np.log(2) * 5, np.log(2) * 3], [1, 7], [1, 3], [2, 2]
    assert figure("loss", *columns) == pytest.approx(np.log(2))
    assert figure("perplexity", *columns) == pytest.approx(2.0)
    assert figure("bits-per-byte", *columns) == pytest.approx(2.0)
    assert figure("token-accuracy", *columns) == pytest.approx(0.5)


def test_nothing_has_defined_figures() -> None:
    for columns in ([[], [], [], []], [[0.0], [0.0], [0.0], [0.0]]):
        assert figure("loss", *columns) == 0.0
        assert figure("perplexity", *columns) == 1.0
        assert figure("bits-per-byte", *columns) == 0.0
        assert figure("token-accuracy", *columns) == 0.0
    assert CausalLm(CausalLmSettings()).loss_of(None, np.zeros((0, 4)), SCHEMA) == 0.0


def test_likelihoods_are_taken_with_repeats() -> None:
    made = Likelihood(*np.arange(12.0).reshape(4, 3))
    again = made.take(np.array([2, 0, 0]))
    assert (len(made), len(again)) == (3, 3)
    assert again.nats.tolist() == [2, 0, 0]
    assert again.bytes.tolist() == [11, 9, 9]


def test_gather_sums_windows_into_their_texts() -> None:
    arrays = {
        "tokens": np.arange(6),
        "lengths": np.array([2, 3, 1]),
        "owners": np.array([0, 0, 2]),
        "bytes": np.array([4, 5, 6]),
        "lost": np.array([0]),
        "texts": np.array([2, 2]),
    }
    found = evaluation.gather(np.array([[1.0, 2], [10, 20], [5, 6]]), Windows(arrays, 0))
    assert found.tolist() == [[11, 22], [0, 0], [5, 6], [0, 0]]


# ---------------------------------------------------------------- answers


class Favourite(Uniform):
    """Finds one piece three times as likely as the next, and special tokens likelier than all."""

    def __init__(self, favourites: Sequence[int]) -> None:
        self.favourites = favourites

    def distributions(self, inputs: Blanks) -> Array:
        count = int((inputs.targets != UNASKED).sum())
        chances = np.full((count, self.outputs), 1e-9)
        chances[:, :5] = 0.1
        for place in range(count):
            chances[place, self.favourites[place % len(self.favourites)]] = 0.3
            chances[place, self.favourites[(place + 1) % len(self.favourites)]] += 0.1
        found: Array = np.log(chances).astype(np.float32)
        return found


def test_blanks_are_filled_each_with_its_likeliest_pieces() -> None:
    """PR-01, PR-05: errors in their place; special tokens are no filling."""
    tokenizer = LEARNT["bpe"]
    one, other = (tokenizer.ids(word)[0] for word in ("기차는", "우리는"))
    task = MaskedLm(MaskedLmSettings(top=2))
    texts = ["[MASK] 강을 건너", "빈칸이 없다", "시장에서 [MASK] 한 [MASK]", "[MASK] " + TEXTS[0]]
    found = task.respond(texts, Favourite([one, other]), tokenizer)
    assert found[0]["probability"] == pytest.approx(0.3, abs=1e-4)
    assert [len(blank) for blank in found[0]["blanks"]] == [2]
    assert list(found[0]["blanks"][0].values()) == pytest.approx([0.3, 0.1], abs=1e-4)
    first = tokenizer.decode([one]).strip()
    assert found[0]["filled"].split() == [first, "강을", "건너"]
    assert "[MASK]" in found[1]["error"]
    assert len(found[2]["blanks"]) == 2
    assert found[2]["probability"] == pytest.approx(0.09, abs=1e-4)
    assert "16" in found[3]["error"], "the limit is said"
    assert all(tuple(answer) == task.fields(SCHEMA) for answer in (found[0], found[2]))


@pytest.mark.parametrize("algorithm", LEARNT)
def test_pieces_that_look_alike_are_told_apart(algorithm: str) -> None:
    """A piece that begins a word and one that goes on: two answers, each with its own share."""
    tokenizer = LEARNT[algorithm]
    shown: dict[str, list[int]] = {}
    for number in range(5, tokenizer.size):
        shown.setdefault(tokenizer.decode([number]).strip().removeprefix("##"), []).append(number)
    alike = next(numbers for name, numbers in shown.items() if name and len(numbers) == 2)
    for favourites in (alike, alike[::-1]):
        task = MaskedLm(MaskedLmSettings(top=3))
        (found,) = task.respond(["[MASK] 강을"], Favourite(favourites), tokenizer)
        (blank,) = found["blanks"]
        assert list(blank.values())[:2] == pytest.approx([0.3, 0.1], abs=1e-4)
        assert len(blank) == 3


@pytest.mark.parametrize("algorithm", LEARNT)
@pytest.mark.parametrize(
    "text",
    [
        "[MASK] 강을 건너",
        "시장에서 [MASK] 강을",
        "시장에서 [MASK]",
        "시장에서 [MASK].",
        "우리는 [MASK]을 건너",
    ],
)
def test_the_rest_of_a_filled_text_stays(algorithm: str, text: str) -> None:
    """What stands right behind a blank goes on with its word; no sign comes in between."""
    tokenizer = LEARNT[algorithm]
    shown = [tokenizer.decode([number]).strip() for number in range(tokenizer.size)]
    starts = np.flatnonzero(tokenizer.begins())
    word = max(starts.tolist(), key=lambda number: len(shown[number]))
    assert len(shown[word]) > 2
    (found,) = MaskedLm(MaskedLmSettings()).respond([text], Favourite([word]), tokenizer)
    wanted = text.replace("[MASK]", shown[word])
    if algorithm == "wordpiece":  # whose words cannot go on behind another piece's end
        assert found["filled"].replace(" ", "") == wanted.replace(" ", "")
    else:
        assert found["filled"] == wanted


def test_a_row_of_another_shape_is_refused() -> None:
    from mulgil.errors import DataError
    from mulgil.examples import TextExample

    task = CausalLm(CausalLmSettings())
    assert task.text(PassageExample("a", "글")) == "글"
    with pytest.raises(DataError, match="passage"):
        task.text(TextExample("b", "글", "좋음"))

"""What bidirectional language modelling asks of a text, and its figures: counted, never assumed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mulgil import evaluation
from mulgil.contracts import refusal
from mulgil.datasets.corpus import Corpus
from mulgil.flow import UNASKED, Array, Blanks, Schema
from mulgil.judged import Likelihood
from mulgil.loader import BatchLoader
from mulgil.methods.full import Full
from mulgil.metrics.bits_per_byte import BitsPerByte
from mulgil.metrics.perplexity import Perplexity
from mulgil.models.elmo import Elmo
from mulgil.models.encoder import Encoder
from mulgil.networks import LanguageNetwork
from mulgil.recipe import LoaderSettings
from mulgil.tasks.bidirectional_lm import BidirectionalLm, BidirectionalLmSettings
from mulgil.tokenizers.subword import Subword, SubwordSettings

SCHEMA = Schema("passage", ())
TEXTS = [
    "비가 그친 골목에 아이들이 장화를 신고 나왔다. 물웅덩이마다 하늘이 비쳤다.",
    "짧다",
    "",
    "할머니는 마당에서 고추를 말리며 라디오를 들으셨다.",
]
TOKENIZER = Subword.make(SubwordSettings(vocab_size=150, max_length=12), None, TEXTS * 4, 1)
TASK = BidirectionalLm(BidirectionalLmSettings())


class Uneven(LanguageNetwork):
    """Finds every token worth 2 nats, and every other guess half right."""

    outputs = property(lambda self: 150)
    parameters_total = property(lambda self: 0)

    def nats(self, inputs: Blanks) -> tuple[Array, Array]:
        count = int((inputs.targets != UNASKED).sum())
        return np.full(count, 2.0), np.arange(count) % 2 / 2

    def loss(self, *_: Any) -> Any:
        raise NotImplementedError

    features = set_head = scores = save = loss


def windows() -> Any:
    (arrays,) = TOKENIZER.windows([TEXTS], TASK.frame)
    return TOKENIZER.framed(arrays)


def places(text: str) -> int:
    """Return how many neighbours a text has in its windows: its tokens, and one more a window."""
    tokens = len(TOKENIZER.ids(text))
    return tokens + math.ceil(tokens / 10)


def test_each_two_neighbours_are_asked_for_once() -> None:
    """Of the whole window, its beginning and its end; nothing at what fills a row up."""
    rows = windows()
    taken = rows.take(np.arange(len(rows)), 8)
    asked = TASK.asker(TOKENIZER)(taken, np.arange(len(rows)), None)
    for ids, length, targets in zip(taken.ids, taken.lengths, asked.targets, strict=True):
        assert targets[: length - 1].tolist() == ids[1:length].tolist()
        assert (targets[length - 1 :] == UNASKED).all()
        assert (ids[0], targets[length - 2]) == TOKENIZER.ends()
    assert (asked.ids == taken.ids).all()


@pytest.mark.parametrize("tokens", [16, 4096])
def test_figures_are_those_of_both_models_together(tokens: int) -> None:
    """EV-05: perplexity by the places, bits a byte by the bytes of the text, each counted once."""
    rows = windows()
    loader = BatchLoader(rows, None, LoaderSettings(tokens=tokens), 0, TASK.asker(TOKENIZER))
    measured = evaluation.measure(Uneven(), loader, TASK, SCHEMA)
    assert measured[:, 1].tolist() == [places(text) for text in TEXTS]
    assert measured[:, 3].tolist() == [len(text.encode()) for text in TEXTS]
    judged: Any = TASK.judge(None, measured, SCHEMA)
    assert isinstance(judged, Likelihood)
    count, size = sum(map(places, TEXTS)), sum(len(text.encode()) for text in TEXTS)
    assert Perplexity().compute(judged)["perplexity"] == pytest.approx(math.exp(2))
    bits = 2 * count / size / math.log(2)
    assert BitsPerByte().compute(judged)["bits-per-byte"] == pytest.approx(bits)


def test_half_a_right_token_is_kept_as_half_a_one() -> None:
    measured = np.array([[3.0, 4.0, 2.5, 9.0], [1.0, 1.0, 1.0, 3.0]])
    found = [record["right"] for record in TASK.records(None, measured, SCHEMA)]
    assert found == [2.5, 1.0]


def test_people_are_told_how_likely_a_text_is() -> None:
    """In the order of the texts, whatever their lengths; an empty one has no likelihood."""
    answers = TASK.respond(TEXTS, Uneven(), TOKENIZER)
    for text, answer in zip(TEXTS, answers, strict=True):
        if not text:
            assert answer == {"error": "has no token to judge"}
            continue
        assert tuple(answer) == TASK.fields(SCHEMA)
        assert answer["tokens"] == places(text)
        assert answer["log_probability"] == pytest.approx(-2 * places(text))
        assert answer["perplexity"] == pytest.approx(math.exp(2), abs=1e-4)
    assert TASK.respond(["", ""], Uneven(), TOKENIZER)[1] == {"error": "has no token to judge"}


def test_a_model_that_sees_the_token_itself_is_refused() -> None:
    """An encoder reads what it would be asked for."""
    names = {"data": "corpus", "model": "encoder", "task": "bidirectional-lm", "method": "full"}
    wrong = refusal(Corpus, Encoder, BidirectionalLm, Full, names)
    assert wrong is not None
    assert "needs a model with the skill both" in wrong
    assert refusal(Corpus, Elmo, BidirectionalLm, Full, names | {"model": "elmo"}) is None

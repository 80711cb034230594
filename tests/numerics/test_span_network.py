"""Scores of characters and of pairs, against plain transformers reading the saved folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from mulgil.errors import ModelError
from mulgil.flow import Array, Head, Located
from mulgil.models._network import EncoderNetwork
from mulgil.models._spans import SpanNetwork
from mulgil.models.encoder import Encoder, EncoderSettings
from mulgil.tokenizers._ragged import TokenInputs
from mulgil.tokenizers.subword import Subword, SubwordSettings

WORDS, PAD, OUTPUTS, PLACES = 120, 1, 3, 4
LENGTHS = (23, 5, 17, 3, 30)
HEAD = Head("tokens", OUTPUTS, places=PLACES)
FAST, PLAIN = ("Bert", "Roberta", "XLMRoberta"), ("Electra", "DistilBert")
TEXTS = ["서울에서 김민수가 왔다", "돈이 아깝다", "그저 그렇다. 한 번은 볼 만하다"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def module(kind: str, sort: str = "TokenClassification", **changes: Any) -> Any:
    """Return a tiny network of transformers, weights far from zero."""
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    if kind == "DistilBert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48}
        sizes |= {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    if kind == "Electra":
        sizes["embedding_size"] = 16
    shared = {"vocab_size": WORDS, "max_position_embeddings": 40, "pad_token_id": PAD}
    labels = OUTPUTS * PLACES if sort == "TokenClassification" else OUTPUTS
    config = getattr(transformers, f"{kind}Config")(**shared | sizes | changes, num_labels=labels)
    torch.manual_seed(4)
    made = getattr(transformers, f"{kind}For{sort}")(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.15)
    return made


def located(kinds: bool = False, seed: int = 2) -> Located:
    """Return windows of random tokens, and units that stand at any of them in any place."""
    draw = np.random.default_rng(seed)
    lengths, width = np.array(LENGTHS), 32
    ids = draw.integers(5, WORDS, (len(lengths), width))
    inside = np.arange(width) < lengths[:, None]
    ids[~inside] = PAD
    tokens, places, counts = [], [], []
    for row, length in enumerate(LENGTHS):
        units = [0, *sorted(draw.integers(1, length, 2 * length))]
        tokens += [row * width + int(unit) for unit in units]
        places += [0, *draw.integers(0, PLACES + 3, 2 * length)]
        counts.append(len(units))
    second = np.where(inside & (np.arange(width) >= lengths[:, None] // 2), 1, 0)
    return Located(
        ids,
        lengths,
        second if kinds else None,
        np.array(tokens),
        np.array(places),
        np.array(counts),
    )


def theirs(made: Any, inputs: Located) -> Tensor:
    """Return the scores of all units, a token's places read off its own logits one by one."""
    ids = torch.from_numpy(inputs.ids)
    mask = (torch.arange(ids.shape[1]) < torch.from_numpy(inputs.lengths)[:, None]).long()
    more = {}
    if inputs.kinds is not None and getattr(made.config, "type_vocab_size", 0) > 1:
        more["token_type_ids"] = torch.from_numpy(inputs.kinds)
    logits = made(input_ids=ids, attention_mask=mask, **more).logits
    rows = []
    for token, place in zip(inputs.tokens.tolist(), inputs.places.tolist(), strict=True):
        row, column = divmod(token, ids.shape[1])
        head = min(place, PLACES - 1)
        rows.append(logits[row, column, head * OUTPUTS : (head + 1) * OUTPUTS])
    return torch.stack(rows)


def gradients(made: Any) -> dict[str, Tensor]:
    return {n: p.grad.to_dense() for n, p in made.named_parameters() if p.grad is not None}


# ---------------------------------------------------------------- characters


@pytest.mark.parametrize("kind", [*FAST, *PLAIN])
@pytest.mark.parametrize("kinds", [False, True])
def test_scores_are_those_of_plain_transformers(kind: str, kinds: bool, tmp_path: Path) -> None:
    """TK-10: of the saved folder, units past the last place included (they share its head)."""
    inputs = located(kinds)
    network = SpanNetwork(module(kind), HEAD, "fp32", "cpu")
    assert (network._fast is not None) == (kind in FAST)
    ours = network.scores(inputs)
    assert ours.shape == (len(inputs.tokens), OUTPUTS)
    network.save(tmp_path, ["O", "B-곳", "I-곳"])
    opened = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = theirs(opened, inputs).numpy()
    assert np.abs(ours - expected).max() < 1e-4
    assert ours.std() > 0.05, "scores that are all alike would prove nothing"
    names = list(opened.config.id2label.values())
    assert names[:4] == ["0:O", "0:B-곳", "0:I-곳", "1:O"]
    assert len(names) == OUTPUTS * PLACES
    if kinds and kind in {"Bert", "Electra"}:
        other = network.scores(dataclasses.replace(inputs, kinds=None))
        assert np.abs(ours - other).max() > 1e-3, "the kinds reached the network"


@pytest.mark.parametrize("kind", FAST)
def test_the_fast_path_learns_as_the_plain_one(kind: str) -> None:
    """TR-01: the same scores and, for a loss over all of them, the same gradients."""
    inputs = located(kinds=True)
    ours, plain = module(kind), module(kind)
    network = SpanNetwork(ours, HEAD, "fp32", "cpu")
    slow = SpanNetwork(plain, HEAD, "fp32", "cpu")
    slow._fast = None
    weights = torch.randn(len(inputs.tokens), OUTPUTS, generator=torch.Generator().manual_seed(1))
    found = []
    for each in (network, slow):
        each.module.train()
        scores = each.forward(inputs)
        (scores * weights).sum().backward()
        found.append(scores.detach())
    assert (found[0] - found[1]).abs().max() < 1e-4
    a, b = gradients(ours), gradients(plain)
    assert a.keys() == b.keys()
    for name, gradient in a.items():
        assert (gradient - b[name]).abs().max() < 1e-3 * (1 + b[name].abs().max()), name


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "Electra"])
def test_a_window_does_not_depend_on_its_batch(kind: str) -> None:
    """EV-05: alone, with others, and in another order."""
    whole = located(kinds=True)
    assert whole.kinds is not None
    network = SpanNetwork(module(kind), HEAD, "fp32", "cpu")
    together = np.split(network.scores(whole), np.cumsum(whole.counts)[:-1])
    edges = np.concatenate([[0], np.cumsum(whole.counts)])
    width = whole.ids.shape[1]

    def some(rows: list[int], wide: int) -> list[Array]:
        parts = [slice(edges[row], edges[row + 1]) for row in rows]
        tokens = [
            whole.tokens[part] - row * width + i * wide
            for i, (row, part) in enumerate(zip(rows, parts, strict=True))
        ]
        assert whole.kinds is not None
        batch = Located(
            whole.ids[rows][:, :wide],
            whole.lengths[rows],
            whole.kinds[rows][:, :wide],
            np.concatenate(tokens),
            np.concatenate([whole.places[part] for part in parts]),
            whole.counts[rows],
        )
        return np.split(network.scores(batch), np.cumsum(batch.counts)[:-1])

    for rows, wide in (([3], 3), ([1], 8), ([4, 0], 32), ([2, 3, 1], 24), ([0, 0, 0], 23)):
        for row, scores in zip(rows, some(rows, wide), strict=True):
            assert np.abs(scores - together[row]).max() < 1e-5, (rows, row)


def test_later_characters_of_a_token_share_the_last_place() -> None:
    inputs = located()
    network = SpanNetwork(module("Bert"), HEAD, "fp32", "cpu")
    far = dataclasses.replace(inputs, places=np.full(len(inputs.places), 500))
    last = dataclasses.replace(inputs, places=np.full(len(inputs.places), PLACES - 1))
    first = dataclasses.replace(inputs, places=np.zeros(len(inputs.places), np.int64))
    assert (network.scores(far) == network.scores(last)).all()
    assert np.abs(network.scores(first) - network.scores(last)).max() > 1e-2


def test_answers_in_bfloat16_stay_near_and_the_weights_whole(tmp_path: Path) -> None:
    inputs = located()
    exact = SpanNetwork(module("Bert"), HEAD, "fp32", "cpu").scores(inputs)
    network = SpanNetwork(module("Bert"), HEAD, "bf16", "cpu")
    assert np.abs(network.scores(inputs) - exact).max() < 0.3
    network.save(tmp_path, ["O", "B-곳", "I-곳"])
    opened = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert np.abs(theirs(opened, inputs).numpy() - exact).max() < 1e-4


# ---------------------------------------------------------------- files


def built(folder: Path | None, **more: Any) -> tuple[Subword, SpanNetwork]:
    """Build a network for characters as a run does, from a checkpoint or fresh."""
    sizes = {"hidden": 32, "layers": 2, "heads": 2, "positions": 40}
    chosen = {"pretrained": str(folder)} if folder else sizes
    model = Encoder(EncoderSettings(**chosen, **more))
    small = SubwordSettings(max_length=32, vocab_size=400)
    tokenizer = Subword.make(small, model.source(), TEXTS * 9, 1)
    network = model.build(tokenizer, HEAD, "fp32", "cpu", 5)
    assert isinstance(network, SpanNetwork)
    return tokenizer, network


@pytest.mark.parametrize("name", ["bert", "bert-no-pooler", "roberta", "electra", "distilbert", ""])
def test_what_is_saved_is_opened_again_the_same(
    name: str, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """CK-06: from checkpoints of every sort and from sizes alone: windows of real text."""
    tokenizer, network = built(tiny_encoder[name] if name else None)
    inputs: Any = tokenizer.located([("누가?", text) for text in TEXTS], 4).take(np.arange(3), 8)
    ours = network.scores(inputs)
    network.save(tmp_path, ["O", "B-곳", "I-곳"])
    again = Encoder.load(tmp_path, HEAD, "fp32", "cpu")
    assert np.abs(again.scores(inputs) - ours).max() < 1e-5
    assert again.outputs == OUTPUTS
    with pytest.raises(ModelError, match="not saved again"):
        again.save(tmp_path, ["O"])
    opened = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert np.abs(theirs(opened, inputs).numpy() - ours).max() < 1e-4


def test_a_head_of_another_size_is_refused(tmp_path: Path) -> None:
    """A head that transformers would fill with random weights is no answer."""
    SpanNetwork(module("Bert"), HEAD, "fp32", "cpu").save(tmp_path, ["a", "b", "c"])
    with pytest.raises(ModelError, match=r"do not fit.*classifier") as caught:
        Encoder.load(tmp_path, dataclasses.replace(HEAD, outputs=5), "fp32", "cpu")
    assert "\n" not in str(caught.value)


def test_random_weights_are_not_those_of_the_checkpoint(tiny_encoder: dict[str, Path]) -> None:
    known, other = (
        built(tiny_encoder["bert"], weights=weights)[1] for weights in ("pretrained", "random")
    )
    name = "bert.encoder.layer.0.attention.self.query.weight"
    a, b = known.module.get_parameter(name), other.module.get_parameter(name)
    assert a.shape == b.shape
    assert not torch.equal(a, b)


# ---------------------------------------------------------------- pairs


def pairs(seed: int = 3) -> TokenInputs:
    """Return rows of random tokens, the second half of each of the second text."""
    inputs = located(kinds=True, seed=seed)
    return TokenInputs(inputs.ids, inputs.lengths, kinds=inputs.kinds)


def of_pairs(made: Any, inputs: TokenInputs) -> Array:
    """Return the logits of plain transformers, told the kinds where it knows any."""
    assert inputs.kinds is not None
    ids = torch.from_numpy(inputs.ids)
    mask = (torch.arange(ids.shape[1]) < torch.from_numpy(inputs.lengths)[:, None]).long()
    more = {}
    if getattr(made.config, "type_vocab_size", 0) > 1:
        more["token_type_ids"] = torch.from_numpy(inputs.kinds)
    with torch.no_grad():
        found: Array = made(input_ids=ids, attention_mask=mask, **more).logits.numpy()
    return found


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Bert", {"type_vocab_size": 2}),
        ("Bert", {"type_vocab_size": 1}),
        ("Roberta", {"type_vocab_size": 1}),
        ("Roberta", {"type_vocab_size": 2}),
        ("XLMRoberta", {"type_vocab_size": 1}),
        ("Electra", {"type_vocab_size": 2}),
        ("DistilBert", {}),
    ],
)
def test_scores_of_pairs_are_those_of_plain_transformers(
    kind: str, changes: dict[str, int], tmp_path: Path
) -> None:
    """TK-07: a model that knows two kinds of tokens is told them, one that does not is not."""
    inputs = pairs()
    network = EncoderNetwork(module(kind, "SequenceClassification", **changes), "fp32", "cpu")
    assert (network._fast is not None) == (kind in FAST)
    ours = network.scores(inputs)
    network.save(tmp_path, ["모순", "중립", "함의"])
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert np.abs(ours - of_pairs(opened, inputs)).max() < 1e-4
    without = network.scores(dataclasses.replace(inputs, kinds=None))
    told = changes.get("type_vocab_size", 0) > 1
    assert (np.abs(ours - without).max() > 1e-4) == told


def test_a_pair_does_not_depend_on_its_batch() -> None:
    """EV-05."""
    inputs = pairs()
    assert inputs.kinds is not None
    network = EncoderNetwork(module("Bert", "SequenceClassification"), "fp32", "cpu")
    together = network.scores(inputs)
    for row, length in enumerate(LENGTHS):
        one = TokenInputs(
            inputs.ids[row : row + 1, :length],
            inputs.lengths[row : row + 1],
            kinds=inputs.kinds[row : row + 1, :length],
        )
        assert np.abs(network.scores(one) - together[row]).max() < 1e-5


def test_real_pairs_of_text(tiny_encoder: dict[str, Path], tmp_path: Path) -> None:
    """TK-07: from strings to scores, against transformers' own tokenizer and model."""
    model = Encoder(EncoderSettings(pretrained=str(tiny_encoder["bert"])))
    tokenizer = Subword.make(SubwordSettings(max_length=20), model.source(), [], 1)
    network = model.build(tokenizer, Head("pool", OUTPUTS), "fp32", "cpu", 5)
    assert isinstance(network, EncoderNetwork)
    first, second = TEXTS, [*TEXTS[1:], TEXTS[0] * 3]
    encoded: Any = tokenizer.encode(list(zip(first, second, strict=True)))
    ours = network.scores(encoded.take(np.arange(3), 8))
    network.save(tmp_path, ["모순", "중립", "함의"])
    tokenizer.save(tmp_path)
    theirs_too = transformers.AutoTokenizer.from_pretrained(tmp_path)
    batch = theirs_too(
        first,
        second,
        padding=True,
        truncation="longest_first",
        max_length=20,
        return_tensors="pt",
        return_token_type_ids=True,
    )
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = opened(**batch).logits.numpy()
    assert batch["token_type_ids"].sum() > 0
    assert np.abs(ours - expected).max() < 1e-5

"""Encoders with decoders: likelihoods as plain transformers has them, saved and opened again."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import tokenizers_at_hand
import torch
import transformers
from seq2seq_at_hand import (
    ALL,
    GREEDY,
    HEAD,
    READS,
    STOP,
    WORDS,
    WRITES,
    blanks,
    checkpoints,
    opened,
    prompts,
    theirs,
    tokenizer,
)

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Batch, Blanks, Given
from mulgil.methods._gradient import GradientLearner
from mulgil.models import _seq2seq
from mulgil.models._language import parts
from mulgil.models._seq2seq import Seq2SeqNetwork
from mulgil.models.seq2seq import Seq2Seq, Seq2SeqSettings


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return checkpoints(tmp_path_factory.mktemp("checkpoints"))


def take(inputs: Blanks, row: int) -> Blanks:
    """Return one row, with more padding than it had."""
    assert inputs.given is not None
    rows, grown = [row], ((0, 0), (0, 3))
    return Blanks(
        np.pad(inputs.ids[rows], grown),
        inputs.lengths[rows],
        np.pad(inputs.targets[rows], grown, constant_values=UNASKED),
        inputs.bytes[rows],
        Given(np.pad(inputs.given.ids[rows], grown), inputs.given.lengths[rows]),
    )


def wanted(module: Any, inputs: Blanks) -> tuple[Array, Array]:
    """Return ln p [asked, words] by plain transformers, a row at a time, and the targets."""
    found = []
    for read, length, targets in zip(prompts(), WRITES, inputs.targets, strict=True):
        labels = torch.from_numpy(targets[None, :length])
        with torch.no_grad():
            logits = module(
                input_ids=torch.tensor([read]),
                decoder_input_ids=module.prepare_decoder_input_ids_from_labels(labels),
            ).logits[0]
        found.append(torch.log_softmax(logits, 1).numpy())
    return np.concatenate(found), inputs.targets[inputs.targets != UNASKED]


# ---------------------------------------------------------------- likelihoods


@pytest.mark.parametrize("name", ALL)
def test_likelihoods_are_those_of_plain_transformers(name: str, folders: dict[str, Path]) -> None:
    """EV-07: T5's scale, Marian's bias and a soft cap are not forgotten, and padding is nothing."""
    network = opened(folders[name])
    assert network._straight == (name != "t5gemma")
    inputs = blanks()
    chances, targets = wanted(theirs(folders[name]), inputs)
    assert chances.std() > 0.05
    assert np.abs(network.distributions(inputs) - chances).max() < 1e-4
    nats, correct = network.nats(inputs)
    assert nats.dtype == np.float64
    assert np.abs(nats + chances[np.arange(len(targets)), targets]).max() < 1e-4
    assert correct.tolist() == (chances.argmax(1) == targets).tolist()
    parts = np.split(nats, np.cumsum(WRITES)[:-1])
    for row, expected in enumerate(parts):
        assert network.nats(take(inputs, row))[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.filterwarnings("ignore:Version v4.12.0:FutureWarning")
def test_loss_and_gradient_are_those_of_plain_transformers(
    name: str, folders: dict[str, Path]
) -> None:
    """Every weight of both sides learns, the attention between them included."""
    network = opened(folders[name])
    network.module.eval()
    inputs = blanks()
    assert inputs.given is not None
    loss = network.loss(inputs)
    loss.backward()  # type: ignore[no-untyped-call]
    module = theirs(folders[name])
    mask = np.arange(inputs.given.ids.shape[1]) < inputs.given.lengths[:, None]
    expected = module(
        input_ids=torch.from_numpy(inputs.given.ids),
        attention_mask=torch.from_numpy(mask).long(),
        labels=torch.from_numpy(inputs.targets),
    ).loss * sum(WRITES)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert loss.dtype is torch.float32
    expected.backward()
    other = dict(module.named_parameters())
    for key, parameter in network.module.named_parameters():
        if name == "marian" and "embed_positions" in key:
            assert parameter.grad is other[key].grad is None, "its sines are fixed"
            continue
        assert parameter.grad is not None, key
        own, gap = other[key].grad.norm(), (parameter.grad - other[key].grad).norm()
        assert float(own) > 1e-3 or "bias" in key, key
        assert float(gap) < 1e-4 * float(own) + 1e-4, key


@pytest.mark.parametrize("name", ["bart", "t5gemma"])
def test_a_batch_is_run_in_parts(
    name: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, inputs = opened(folders[name]), blanks()
    whole, loss = network.nats(inputs)[0], float(network.loss(inputs).detach())
    monkeypatch.setattr(_seq2seq, "PART", 30)
    monkeypatch.setattr(_seq2seq, "_SCORES", 30 * WORDS)
    widths = [(len(part.ids), part.ids.shape[1]) for part in parts(inputs, 30)]
    assert widths == [(2, 11), (1, 1), (1, 7), (1, 15), (1, 2)]
    assert network.nats(inputs)[0] == pytest.approx(whole, abs=1e-5)
    assert float(network.loss(inputs).detach()) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("name", ["t5", "both-sides"])
def test_weights_are_counted_once(name: str, folders: dict[str, Path]) -> None:
    network = opened(folders[name])
    stored = safetensors.torch.load_file(folders[name] / "model.safetensors")
    assert network.parameters_total == sum(weight.numel() for weight in stored.values())
    assert network.outputs == WORDS
    inputs = blanks().given
    states = network._states(**network._tensors(inputs))
    assert network.features(inputs).shape == (len(READS), states.shape[2])


def test_random_weights_keep_the_architecture_alone(folders: dict[str, Path]) -> None:
    """TR-07: and come from the seed."""
    for name in ("t5", "both-sides"):
        one, two, learnt = (
            dict(network.module.named_parameters())
            for network in (
                opened(folders[name], weights="random"),
                opened(folders[name], weights="random"),
                opened(folders[name]),
            )
        )
        assert one.keys() == two.keys() == learnt.keys()
        assert all(torch.equal(weight, two[key]) for key, weight in one.items())
        query = next(key for key in one if "query" in key or ".q." in key)
        assert not torch.equal(one[query], learnt[query])


# ---------------------------------------------------------------- learning and files


def learner(network: Seq2SeqNetwork) -> GradientLearner:
    made = GradientLearner(None, network, None, SimpleNamespace(weight_decay=0.01))
    made.seed(11)
    return made


def step(made: GradientLearner, inputs: Blanks) -> float:
    loss, weight = made.backward(Batch(np.arange(len(inputs.ids)), inputs, None))
    assert weight == sum(WRITES)
    assert math.isfinite(made.update(3e-3, 1.0, weight))
    return loss / weight


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["t5", "t5-unscaled", "marian", "both-sides", "t5gemma"])
def test_a_trained_network_is_opened_again_the_same(
    name: str, precision: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """TK-07, PR-04: by us, and by plain transformers; Marian's sines are kept whole."""
    network = opened(folders[name], precision)
    made, inputs = learner(network), blanks()
    losses = [step(made, inputs) for _ in range(6)]
    assert losses[-1] < losses[0]
    nats, _ = network.nats(inputs)
    before = network.generate(prompts(), GREEDY, [STOP])
    network.save(tmp_path, [])
    again = Seq2Seq.load(tmp_path, HEAD, precision, "cpu")
    assert isinstance(again, Seq2SeqNetwork)
    assert np.abs(again.nats(inputs)[0] - nats).max() < 1e-6
    assert again.generate(prompts(), GREEDY, [STOP]) == before
    with pytest.raises(ModelError, match="opened for answering"):
        again.save(tmp_path, [])
    chances, targets = wanted(theirs(tmp_path), inputs)
    gap = np.abs(nats + chances[np.arange(len(targets)), targets])
    assert gap.mean() < (1e-4 if precision == "fp32" else 0.3)
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    flat = torch.cat([w.flatten() for w in weights.values() if w.ndim == 2])
    assert float((flat.bfloat16().float() == flat).float().mean()) < 0.05, "masters are kept"


@pytest.mark.parametrize("name", ["t5", "both-sides"])
def test_the_same_seed_gives_the_same_steps(name: str, folders: dict[str, Path]) -> None:
    """TR-07: dropout included; RS-01: a state that is put back goes on bit for bit."""
    runs = []
    for _ in range(2):
        made = learner(opened(folders[name]))
        runs.append([step(made, blanks()) for _ in range(3)])
    assert runs[0] == runs[1]
    first = learner(opened(folders[name]))
    assert step(first, blanks()) == runs[0][0]
    state = {key: value.copy() for key, value in first.state().items()}
    expected = [step(first, blanks()) for _ in range(2)]
    second = learner(opened(folders[name]))
    second.restore(state)
    assert [step(second, blanks()) for _ in range(2)] == expected == runs[0][1:]


@pytest.mark.parametrize("name", ["t5", "marian", "both-sides"])
def test_bf16_answers_are_close(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """And what has answered in bf16 is saved whole."""
    inputs = blanks()
    exact, _ = opened(folders[name]).nats(inputs)
    network = opened(folders[name], "bf16")
    found, _ = network.nats(inputs)
    assert {p.dtype for p in network.module.parameters()} == {torch.bfloat16}
    assert np.abs(found - exact).mean() < 0.3
    for tokens, chances in network.generate(prompts(), GREEDY, [STOP]):
        assert 0 < len(tokens) == len(chances) <= 8
    network.save(tmp_path, [])
    before = safetensors.torch.load_file(folders[name] / "model.safetensors")
    after = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(weight, after[key]) for key, weight in before.items())


def test_weights_that_never_learn_work_in_bf16(folders: dict[str, Path], tmp_path: Path) -> None:
    """TR-07: Marian's sines do not learn; they are rounded while others do, and saved whole."""
    network = opened(folders["marian"], "bf16", weights="random")
    fixed = [n for n, p in network.module.named_parameters() if not p.requires_grad]
    assert len(fixed) == 2
    step(learner(network), blanks())
    assert {p.dtype for p in network.module.parameters()} == {torch.bfloat16}
    network.save(tmp_path, [])
    before = dict(theirs(folders["marian"]).named_parameters())
    after = dict(theirs(tmp_path).named_parameters())
    assert all(torch.equal(after[name], before[name]) for name in fixed)


def test_a_fresh_network_learns_to_copy_and_plain_transformers_writes_the_same(
    korean_texts: list[str], tmp_path: Path
) -> None:
    """TK-07, PR-04: with a tokenizer of its own, saved beside it."""
    made = tokenizers_at_hand.made(korean_texts, size=300, length=16)
    ends = made.special_ids["sep"]
    chosen = Seq2SeqSettings(hidden=32, layers=1, heads=2, positions=16)
    network = Seq2Seq(chosen).build(made, HEAD, "fp32", "cpu", 5)
    assert isinstance(network, Seq2SeqNetwork)
    rows = made.encode([text[:8] for text in korean_texts[:12]])
    read = rows.take(np.arange(12), 1)
    ids = np.pad(read.ids[:, 1:], ((0, 0), (0, 1)))  # a text's pieces and what ends it
    lengths = read.lengths - 1
    targets = np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, UNASKED)
    inputs = Blanks(ids, lengths, targets, np.zeros(12), Given(read.ids, read.lengths))
    learning, losses = learner(network), []
    for _ in range(60):
        loss, weight = learning.backward(Batch(np.arange(12), inputs, None))
        learning.update(1e-2, 1.0, weight)
        losses.append(loss / weight)
    assert losses[-1] < 0.5 * losses[0]
    begun = [row[:length].tolist() for row, length in zip(read.ids, read.lengths, strict=True)]
    found = network.generate(begun, dataclasses.replace(GREEDY, max_new=12), [ends])
    network.save(tmp_path, [])
    made.save(tmp_path)
    module, files = theirs(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    module.generation_config.suppress_tokens = [made.special_ids["pad"]]
    for text, (tokens, _) in zip(korean_texts, found, strict=False):
        asked = files(text[:8], return_tensors="pt")
        written = module.generate(asked.input_ids, max_new_tokens=12)[0, 1:].tolist()
        assert written == tokens
    assert sum(tokens[-1] == ends for tokens, _ in found) > 6, "it has learnt where a text ends"


# ---------------------------------------------------------------- both sides from one encoder


def test_both_sides_start_from_the_encoder(folders: dict[str, Path], tmp_path: Path) -> None:
    """Rothe et al. 2020: what the encoder knew stands on both sides, cross-attention is new."""
    chosen = Seq2SeqSettings(encoder=str(folders["bert"]))
    network: Any = Seq2Seq(chosen).build(tokenizer(), HEAD, "fp32", "cpu", 5)
    known = safetensors.torch.load_file(folders["bert"] / "model.safetensors")
    module, body = network.module, "bert.encoder.layer.1.attention.self.query.weight"
    for side in (module.encoder, module.decoder.bert):
        own = side.state_dict()[body.removeprefix("bert.")]
        assert torch.equal(own, known[body])
    head = module.decoder.cls.predictions
    assert torch.equal(head.transform.dense.weight, known["cls.predictions.transform.dense.weight"])
    assert head.decoder.weight is module.decoder.bert.embeddings.word_embeddings.weight
    crossing = module.decoder.bert.encoder.layer[0].crossattention.self.query.weight
    assert not torch.equal(crossing, known[body.replace(".1.", ".0.")])
    other: Any = Seq2Seq(chosen).build(tokenizer(), HEAD, "fp32", "cpu", 6)
    again = other.module.decoder.bert.encoder.layer[0].crossattention.self.query.weight
    assert not torch.equal(crossing, again), "the seed decides"
    config = module.config
    assert (config.decoder_start_token_id, config.pad_token_id, config.eos_token_id) == (1, 0, STOP)
    plain = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(
        folders["bert"], folders["bert"]
    )
    plain.load_state_dict(module.state_dict(), strict=False)
    plain.config.decoder_start_token_id, plain.config.pad_token_id = 1, 0
    inputs = blanks()
    chances, _ = wanted(plain.eval(), inputs)
    assert np.abs(network.distributions(inputs) - chances).max() < 1e-4
    network.save(tmp_path, [])
    assert str(folders["bert"]) not in (tmp_path / "config.json").read_text("utf-8")
    forgot: Any = Seq2Seq(Seq2SeqSettings(encoder=str(folders["bert"]), weights="random")).build(
        tokenizer(), HEAD, "fp32", "cpu", 5
    )
    own = forgot.module.encoder.state_dict()[body.removeprefix("bert.")]
    assert not torch.equal(own, known[body])


def test_both_sides_start_from_a_bundled_encoder(tmp_path: Path) -> None:
    from mulgil.tokenizers.subword import Subword, SubwordSettings

    model = Seq2Seq(Seq2SeqSettings(encoder="mulgil/mini"))
    made = Subword.make(SubwordSettings(max_length=32), model.source(), [], 1)
    assert model.longest() == 128
    network: Any = model.build(made, HEAD, "fp32", "cpu", 5)
    read = made.encode(["오늘은 날씨가 좋다"]).take(np.arange(1), 1)
    begun = read.ids[0].tolist()
    ((tokens, chances),) = network.generate([begun], GREEDY, [made.special_ids["sep"]])
    network.save(tmp_path, [])
    module = theirs(tmp_path)
    assert module.config.decoder_start_token_id == made.special_ids["cls"]
    written = module.generate(torch.from_numpy(read.ids), max_new_tokens=8, suppress_tokens=[0])
    assert written[0, 1:].tolist() == tokens
    assert all(chance < 0 for chance in chances)

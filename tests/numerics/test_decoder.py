"""Decoders: likelihoods as plain transformers has them, in any batch, saved and opened again."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from decoders_at_hand import (
    KINDS,
    LENGTHS,
    POSITIONS,
    STOP,
    WORDS,
    blanks,
    checkpoints,
    opened,
    take,
    theirs,
    wanted,
)

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Batch, Blanks, Head
from mulgil.methods._gradient import GradientLearner
from mulgil.models._decoding import DecoderNetwork
from mulgil.models._sizes import SizedSettings
from mulgil.models.decoder import Decoder


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return checkpoints(tmp_path_factory.mktemp("checkpoints"))


# ---------------------------------------------------------------- likelihoods


@pytest.mark.parametrize("name", KINDS)
def test_likelihoods_are_those_of_plain_transformers(name: str, folders: dict[str, Path]) -> None:
    """A soft cap (Gemma 2) or a scale (Cohere) between body and vocabulary is not forgotten."""
    network = opened(folders[name])
    assert (network._fast is not None) == (name == "gpt2")
    assert network._straight == (name not in {"gemma2", "cohere"})
    inputs = blanks()
    chances, targets = wanted(theirs(folders[name]), inputs)
    assert np.abs(network.distributions(inputs) - chances).max() < 1e-4
    nats, correct = network.nats(inputs)
    assert nats.dtype == np.float64
    assert np.abs(nats + chances[np.arange(len(targets)), targets]).max() < 1e-4
    assert correct.tolist() == (chances.argmax(1) == targets).tolist()
    assert nats.std() > 0.1, "likelihoods that are all alike would prove nothing"
    network.module.eval()
    assert float(network.loss(inputs).detach()) == pytest.approx(nats.sum(), rel=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_neither_padding_nor_neighbours_change_a_likelihood(
    name: str, folders: dict[str, Path]
) -> None:
    """EV-02, EV-05, PR-05: alone, in a batch, in a wider batch, and twice: the same."""
    network = opened(folders[name])
    inputs = blanks()
    together, _ = network.nats(inputs)
    assert network.nats(inputs)[0].tolist() == together.tolist()
    asked = (inputs.targets != UNASKED).sum(1)
    parts = np.split(together, np.cumsum(asked)[:-1])
    for row, expected in enumerate(parts):
        alone, _ = network.nats(take(inputs, [row], extra=5))
        assert alone.shape == expected.shape
        assert np.abs(alone - expected).max(initial=0.0) < 1e-5


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_a_batch_that_asks_nothing(name: str, folders: dict[str, Path]) -> None:
    """EV-04."""
    network = opened(folders[name])
    inputs = dataclasses.replace(blanks(), targets=np.full((len(LENGTHS), 24), UNASKED))
    assert [len(part) for part in network.nats(inputs)] == [0, 0]
    assert network.distributions(inputs).shape == (0, WORDS)
    loss = network.loss(inputs)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0.0


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_features_are_the_mean_of_the_last_hidden_states(
    name: str, folders: dict[str, Path]
) -> None:
    inputs = blanks()
    found = opened(folders[name]).features(inputs)
    body = theirs(folders[name]).base_model
    for row, length in enumerate(LENGTHS):
        with torch.no_grad():
            states = body(torch.from_numpy(inputs.ids[row : row + 1, :length]))[0][0]
        assert np.abs(found[row] - states.mean(0).numpy()).max() < 1e-5


@pytest.mark.parametrize("name", KINDS)
def test_the_gradient_is_that_of_plain_transformers(name: str, folders: dict[str, Path]) -> None:
    network = opened(folders[name])
    network.module.eval()
    inputs = blanks()
    network.loss(inputs).backward()  # type: ignore[no-untyped-call]
    module = theirs(folders[name])
    mask = np.arange(inputs.ids.shape[1]) < inputs.lengths[:, None]
    logits = module(
        input_ids=torch.from_numpy(inputs.ids), attention_mask=torch.from_numpy(mask).long()
    ).logits
    torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.from_numpy(inputs.targets).flatten(), reduction="sum"
    ).backward()
    expected = dict(module.named_parameters())
    for key, parameter in network.module.named_parameters():
        assert parameter.grad is not None, key
        gap = (parameter.grad - expected[key].grad).norm() / expected[key].grad.norm()
        assert float(gap) < 1e-4, key


# ---------------------------------------------------------------- learning and files


def learner(network: DecoderNetwork) -> GradientLearner:
    made = GradientLearner(None, network, None, SimpleNamespace(weight_decay=0.01))
    made.seed(11)
    return made


def step(made: GradientLearner, inputs: Blanks) -> float:
    loss, weight = made.backward(Batch(np.arange(len(inputs.ids)), inputs, None))
    assert math.isfinite(made.update(3e-3, 1.0, weight))
    return loss / weight


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_a_trained_network_is_opened_again_the_same(
    name: str, precision: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """TK-07, PR-04: by us, and by plain transformers."""
    network = opened(folders[name], precision)
    made, inputs = learner(network), blanks()
    losses = [step(made, inputs) for _ in range(6)]
    assert losses[-1] < losses[0]
    nats, _ = network.nats(inputs)
    network.save(tmp_path, [])
    again = Decoder.load(tmp_path, Head("score", 0), precision, "cpu")
    assert isinstance(again, DecoderNetwork)
    assert np.abs(again.nats(inputs)[0] - nats).max() < 1e-6
    with pytest.raises(ModelError, match="opened for answering"):
        again.save(tmp_path, [])
    chances, targets = wanted(theirs(tmp_path), inputs)
    gap = np.abs(nats + chances[np.arange(len(targets)), targets])
    assert gap.max() < (1e-4 if precision == "fp32" else 0.5)
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    flat = torch.cat([w.flatten() for w in weights.values() if w.ndim == 2])
    assert float((flat.bfloat16().float() == flat).float().mean()) < 0.05, "masters are kept"


def test_a_fresh_network_learns_and_is_opened_by_plain_transformers(tmp_path: Path) -> None:
    settings = SizedSettings(hidden=32, layers=2, heads=2, positions=POSITIONS, dropout=0.1)
    tokenizer: Any = SimpleNamespace(size=WORDS, special_ids={"pad": 0, "cls": 1, "sep": STOP})
    network = Decoder(settings).build(tokenizer, Head("score", 0), "fp32", "cpu", 5)
    assert isinstance(network, DecoderNetwork)
    made, inputs = learner(network), blanks()
    losses = [step(made, inputs) for _ in range(30)]
    assert losses[0] == pytest.approx(math.log(WORDS), rel=0.05)
    assert losses[-1] < 0.8 * losses[0]
    nats, _ = network.nats(inputs)
    network.save(tmp_path, [])
    chances, targets = wanted(theirs(tmp_path), inputs)
    assert np.abs(nats + chances[np.arange(len(targets)), targets]).max() < 1e-4


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_the_same_seed_gives_the_same_steps(name: str, folders: dict[str, Path]) -> None:
    """TR-07: dropout included; RS: a state that is put back goes on bit for bit."""
    runs = []
    for _ in range(2):
        made = learner(opened(folders[name]))
        runs.append([step(made, blanks()) for _ in range(3)])
    assert runs[0] == runs[1]
    first = learner(opened(folders[name]))
    step(first, blanks())
    state = {key: value.copy() for key, value in first.state().items()}
    expected = [step(first, blanks()) for _ in range(2)]
    second = learner(opened(folders[name]))
    second.restore(state)
    assert [step(second, blanks()) for _ in range(2)] == expected


@pytest.mark.parametrize("name", ["gpt2", "llama", "cohere"])
def test_bf16_answers_are_close(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """And what has answered in bf16 is saved whole; rotary frequencies are never rounded."""
    inputs = blanks()
    exact, _ = opened(folders[name]).nats(inputs)
    network = opened(folders[name], "bf16")
    held = {key: buffer.clone() for key, buffer in network.module.named_buffers()}
    found, _ = network.nats(inputs)
    assert {p.dtype for p in network.module.parameters()} == {torch.bfloat16}
    assert 0 < np.abs(found - exact).max() < 0.5
    assert abs(found.mean() - exact.mean()) < 0.02
    for key, buffer in network.module.named_buffers():
        assert torch.equal(buffer, held[key]), key
    network.save(tmp_path, [])
    before = safetensors.torch.load_file(folders[name] / "model.safetensors")
    after = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(weight, after[key]) for key, weight in before.items())

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
import transformers

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Batch, Blanks, Head, Sampling
from mulgil.methods._gradient import GradientLearner
from mulgil.models._decoding import DecoderNetwork
from mulgil.models._sizes import SizedSettings
from mulgil.models.decoder import Decoder

WORDS, POSITIONS, STOP = 90, 40, 2
LENGTHS = (9, 2, 17, 1, 24, 6)
GREEDY = Sampling(max_new=8, temperature=0)
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.3,
}
GROUPED = SMALL | {"num_key_value_heads": 1}
GPT2 = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": POSITIONS,
    "initializer_range": 0.3,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", GPT2),
    "gpt2-odd": ("GPT2", GPT2 | {"scale_attn_by_inverse_layer_idx": True}),
    "llama": ("Llama", GROUPED),
    "llama-tied": ("Llama", GROUPED | {"tie_word_embeddings": True}),
    "gemma2": ("Gemma2", GROUPED | {"head_dim": 16, "final_logit_softcapping": 2.0}),
    "cohere": ("Cohere", GROUPED),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a folder of each kind of tiny checkpoint."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    made = {}
    for seed, (name, (family, sizes)) in enumerate(KINDS.items()):
        torch.manual_seed(seed)
        config = getattr(transformers, f"{family}Config")(
            **sizes, vocab_size=WORDS, bos_token_id=1, eos_token_id=STOP, pad_token_id=0
        )
        made[name] = tmp_path_factory.mktemp("checkpoints") / name
        module = getattr(transformers, f"{family}ForCausalLM", None)
        module = module or getattr(transformers, f"{family}LMHeadModel")
        module(config).save_pretrained(made[name])
    return made


def opened(folder: Path, precision: str = "fp32") -> DecoderNetwork:
    model = Decoder(SizedSettings(pretrained=str(folder)))
    tokenizer: Any = SimpleNamespace(size=WORDS)
    network = model.build(tokenizer, Head("score", 0), precision, "cpu", 5)
    assert isinstance(network, DecoderNetwork)
    return network


def theirs(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def blanks(lengths: tuple[int, ...] = LENGTHS, seed: int = 3) -> Blanks:
    """Return rows of which the next token is asked for, but for a few places."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(3, WORDS, (len(lengths), max(lengths)))
    targets = np.roll(ids, -1, 1)
    for row, length in enumerate(lengths):
        ids[row, length:] = 0
        targets[row, length - 1 :] = UNASKED
    targets[0, 3:5] = UNASKED
    return Blanks(ids, np.array(lengths), targets, np.array(lengths, np.float64))


def take(inputs: Blanks, rows: list[int], extra: int = 0) -> Blanks:
    """Return these rows, padded no wider than they need, plus `extra` columns."""
    width = int(inputs.lengths[rows].max())
    grown = ((0, 0), (0, extra))
    return Blanks(
        np.pad(inputs.ids[rows, :width], grown),
        inputs.lengths[rows],
        np.pad(inputs.targets[rows, :width], grown, constant_values=UNASKED),
        inputs.bytes[rows],
    )


def wanted(module: Any, inputs: Blanks) -> tuple[Array, Array]:
    """Return ln p [asked, words] by plain transformers, a row at a time, and the targets."""
    found = []
    for ids, length, targets in zip(inputs.ids, inputs.lengths, inputs.targets, strict=True):
        with torch.no_grad():
            logits = module(input_ids=torch.from_numpy(ids[None, :length])).logits[0]
        found.append(torch.log_softmax(logits, 1).numpy()[targets[:length] != UNASKED])
    return np.concatenate(found), inputs.targets[inputs.targets != UNASKED]


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


# ---------------------------------------------------------------- new text


def prompts() -> list[list[int]]:
    inputs = blanks()
    rows = zip(inputs.ids, inputs.lengths, strict=True)
    return [ids[:length].tolist() for ids, length in rows]


@pytest.mark.parametrize("name", KINDS)
def test_the_likeliest_text_is_the_same_in_every_batch(name: str, folders: dict[str, Path]) -> None:
    """EV-07: token by token by plain transformers, alone, and in a padded batch."""
    network, module = opened(folders[name]), theirs(folders[name])
    found = network.generate(prompts(), GREEDY, [STOP])
    for prompt, (tokens, chances) in zip(prompts(), found, strict=True):
        (alone,) = network.generate([prompt], GREEDY, [STOP])
        assert alone[0] == tokens
        assert alone[1] == pytest.approx(chances, abs=1e-4)
        ids, expected = list(prompt), []
        for token in tokens:
            with torch.no_grad():
                logits = module(input_ids=torch.tensor([ids])).logits[0, -1]
            assert int(logits.argmax()) == token
            expected.append(float(torch.log_softmax(logits, 0)[token]))
            ids.append(token)
        assert chances == pytest.approx(expected, abs=1e-4)
        assert len(tokens) == 8 or tokens[-1] == STOP


def test_text_ends_with_the_token_that_stops_it(folders: dict[str, Path]) -> None:
    network = opened(folders["gpt2"])
    free = network.generate(prompts(), GREEDY, [])
    assert {len(tokens) for tokens, _ in free} == {8}
    stops = [free[0][0][3], free[4][0][5]]
    for (whole, chances), (tokens, some) in zip(
        free, network.generate(prompts(), GREEDY, stops), strict=True
    ):
        ends = [i for i, token in enumerate(whole) if token in stops]
        assert tokens == whole[: ends[0] + 1 if ends else None]
        assert some == pytest.approx(chances[: len(tokens)], abs=1e-4)


def test_draws_come_from_the_seed_alone(folders: dict[str, Path]) -> None:
    network = opened(folders["gpt2"])
    hot = Sampling(max_new=8, temperature=1.5, seed=4)
    before = torch.get_rng_state()
    first = network.generate(prompts(), hot, [])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert network.generate(prompts(), hot, []) == first
    assert network.generate(prompts(), dataclasses.replace(hot, seed=5), []) != first
    same = network.generate([prompts()[0]] * 20, hot, [])
    assert len({tuple(tokens) for tokens, _ in same}) > 1, "one text drawn twenty times"
    narrow = dataclasses.replace(hot, top_k=1)
    likeliest = [tokens for tokens, _ in network.generate(prompts(), GREEDY, [])]
    assert [tokens for tokens, _ in network.generate(prompts(), narrow, [])] == likeliest
    tight = dataclasses.replace(hot, top_p=1e-6)
    assert [tokens for tokens, _ in network.generate(prompts(), tight, [])] == likeliest


def test_all_tokens_can_be_drawn(folders: dict[str, Path]) -> None:
    """The library would draw among fifty, and a checkpoint's own settings would creep in."""
    network = opened(folders["gpt2"])
    network.module.generation_config.top_k = 2
    network.module.generation_config.eos_token_id = list(range(WORDS))
    hot = Sampling(max_new=POSITIONS - 2, temperature=50.0)
    found = network.generate([[5]] * 60, hot, [])
    assert {len(tokens) for tokens, _ in found} == {POSITIONS - 2}
    assert {token for tokens, _ in found for token in tokens} == set(range(WORDS))
    assert network.module.generation_config.top_k == 2


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_penalty_for_repetition_counts_no_padding(name: str, folders: dict[str, Path]) -> None:
    network = opened(folders[name])
    strict = dataclasses.replace(GREEDY, repetition_penalty=1e6)
    found = network.generate(prompts(), strict, [])
    assert found != network.generate(prompts(), GREEDY, [])
    for prompt, (tokens, chances) in zip(prompts(), found, strict=True):
        (alone,) = network.generate([prompt], strict, [])
        assert alone[0] == tokens
        assert alone[1] == pytest.approx(chances, abs=1e-4)
        assert sum(math.exp(chance) for chance in chances) <= len(tokens)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_long_prompt_loses_its_beginning(name: str, folders: dict[str, Path]) -> None:
    """EV-06: what does not fit is cut at the left, and nothing crashes."""
    network = opened(folders[name])
    long = np.random.default_rng(1).integers(3, WORDS, 200).tolist()
    cut, whole = network.generate([long[-(POSITIONS - 8) :], long], GREEDY, [])
    assert cut == whole
    most = dataclasses.replace(GREEDY, max_new=1000)
    ((tokens, chances),) = network.generate([long], most, [])
    assert len(tokens) == len(chances) == POSITIONS - 1
    none = dataclasses.replace(GREEDY, max_new=0)
    assert network.generate([long], none, []) == [([], [])]
    assert network.generate([], GREEDY, []) == []
    with pytest.raises(ModelError, match="a prompt has no tokens"):
        network.generate([[]], GREEDY, [])


def test_generating_in_bf16(folders: dict[str, Path]) -> None:
    network = opened(folders["gpt2"], "bf16")
    for tokens, chances in network.generate(prompts(), GREEDY, [STOP]):
        assert 0 < len(tokens) == len(chances) <= 8
        assert all(chance <= 0 for chance in chances)

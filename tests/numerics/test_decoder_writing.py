"""Decoders: new text as plain transformers writes it, in any batch, from the seed alone."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from decoders_at_hand import KINDS, POSITIONS, STOP, WORDS, blanks, checkpoints, opened, theirs

from mulgil.errors import ModelError
from mulgil.flow import Sampling

GREEDY = Sampling(max_new=8, temperature=0)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return checkpoints(tmp_path_factory.mktemp("checkpoints"))


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

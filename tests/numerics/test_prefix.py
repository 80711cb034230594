"""What is written and measured behind a shared prefix, against the whole prompt read anew.

The families are those of `test_choosing`: learnt and turned positions, and layers that see a window
which the prompts overrun.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from test_choosing import FAMILIES, made, some

from mulgil.flow import Sampling
from mulgil.models._decoding import DecoderNetwork

GREEDY = Sampling(max_new=7, temperature=0)
QUERIES = [some(n, 30 + n) for n in (17, 1, 4, 4)] + [[]]
TARGETS = [some(n, 60 + n) for n in (3, 9, 1, 5, 2)]


@pytest.fixture(scope="module", params=list(FAMILIES))
def network(request: pytest.FixtureRequest) -> DecoderNetwork:
    torch.set_num_threads(1)
    return DecoderNetwork(made(request.param), "fp32", "cpu")


def plain(module: Any, ids: list[int], start: int) -> list[float]:
    """Return ln p of each token from `start` on, by one reading of the row alone."""
    with torch.no_grad():
        logits = module(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double()
    chances = torch.log_softmax(logits, 1)
    return [float(chances[i - 1, ids[i]]) for i in range(start, len(ids))]


@pytest.mark.parametrize("size", [2, 25])
def test_targets_are_as_likely_as_in_a_plain_reading(network: DecoderNetwork, size: int) -> None:
    """EV-07: rows of one batch, of any length, on a prefix that was read once."""
    prefix = some(size, 9)
    nats, right = network.follow(prefix, QUERIES, TARGETS)
    wanted: list[float] = []
    for query, target in zip(QUERIES, TARGETS, strict=True):
        whole = [*prefix, *query, *target]
        wanted += plain(network.module, whole, len(whole) - len(target))
    assert np.abs(nats + np.array(wanted)).max() < 1e-4
    assert len(right) == sum(map(len, TARGETS))
    assert network.follow(prefix, [[5]], [[]])[0].size == 0


@pytest.mark.parametrize("beams", [1, 3])
def test_the_likeliest_text_is_that_of_the_whole_prompt(
    network: DecoderNetwork, beams: int
) -> None:
    """No text changes for what is shared, nor for the rows beside it."""
    prefix, sampling = some(12, 4), dataclasses.replace(GREEDY, beams=beams)
    found = network.generate(QUERIES, sampling, [], prefix)
    whole = network.generate([[*prefix, *query] for query in QUERIES], sampling, [])
    for (tokens, chances), (others, wanted) in zip(found, whole, strict=True):
        assert tokens == others
        assert chances == pytest.approx(wanted, abs=1e-4)
    assert len({tuple(tokens) for tokens, _ in found}) > 1


def test_a_text_that_is_over_is_left(network: DecoderNetwork) -> None:
    prefix = some(12, 4)
    free = network.generate(QUERIES, GREEDY, [], prefix)
    stopped = network.generate(QUERIES, GREEDY, [2], prefix, lambda new: len(new) > 3)
    for (tokens, chances), (whole, wanted) in zip(stopped, free, strict=True):
        assert len(tokens) == 4 or tokens[-1] == 2
        assert tokens == whole[: len(tokens)]
        assert chances == pytest.approx(wanted[: len(tokens)], abs=1e-4)


def test_a_prefix_is_read_once_until_a_weight_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    network, widths = DecoderNetwork(made("llama"), "fp32", "cpu"), []
    real = network.module.forward

    def forward(*given: Any, **named: Any) -> Any:
        widths.append(named["input_ids"].shape[1])
        return real(*given, **named)

    monkeypatch.setattr(network.module, "forward", forward)
    prefix = some(30, 2)
    for _ in range(2):
        network.generate([[5], [6, 7]], GREEDY, [], prefix)
        network.follow(prefix, [[5]], [[8, 9]])
        network.choose(prefix, [[5]], [[8]])
    assert [width for width in widths if width > 10] == [29]
    before = network.follow(prefix, [[5]], [[8, 9]])[0]
    with torch.no_grad():
        network.module.get_input_embeddings().weight[prefix[3]] += 1.0
    assert np.abs(network.follow(prefix, [[5]], [[8, 9]])[0] - before).max() > 1e-3


def test_the_vocabulary_sees_its_input_in_one_piece(
    network: DecoderNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch copies the vocabulary for each row of a slice: 21 GB for a large one."""
    layer: Any = network.module.get_output_embeddings()
    whole, run = [], layer.forward

    def forward(states: torch.Tensor) -> Any:
        whole.append(states.is_contiguous())
        return run(states)

    monkeypatch.setattr(layer, "forward", forward)
    network.generate([some(5, 1), some(7, 2)], GREEDY, [])
    assert len(whole) >= GREEDY.max_new
    assert all(whole)

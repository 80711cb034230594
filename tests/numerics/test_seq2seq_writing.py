"""Encoders with decoders write: the texts of plain transformers, alone and in any batch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from seq2seq_at_hand import (
    ALL,
    BEAMS,
    GREEDY,
    PAD,
    POSITIONS,
    STOP,
    WORDS,
    checkpoints,
    opened,
    prompts,
    theirs,
)

from mulgil.errors import ModelError
from mulgil.flow import Sampling


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.mark.parametrize("sampling", [GREEDY, BEAMS], ids=["greedy", "beams"])
@pytest.mark.parametrize("name", ALL)
def test_the_likeliest_text_is_that_of_plain_transformers_in_every_batch(
    name: str, sampling: Sampling, folders: dict[str, Path]
) -> None:
    """EV-07: a prompt alone, in a padded batch, and by plain transformers; so is ln p."""
    network, module = opened(folders[name]), theirs(folders[name])
    start = module.config.decoder_start_token_id
    module.generation_config = transformers.GenerationConfig(decoder_start_token_id=start)
    found = network.generate(prompts(), sampling, [STOP])
    for prompt, (tokens, chances) in zip(prompts(), found, strict=True):
        (alone,) = network.generate([prompt], sampling, [STOP])
        assert alone[0] == tokens
        assert alone[1] == pytest.approx(chances, abs=1e-4)
        written = module.generate(
            torch.tensor([prompt]),
            max_new_tokens=8,
            num_beams=sampling.beams,
            eos_token_id=STOP,
            pad_token_id=STOP,
            suppress_tokens=[PAD],
        )[0, 1:].tolist()
        assert written == tokens
        labels = torch.tensor([tokens])
        with torch.no_grad():
            logits = module(
                input_ids=torch.tensor([prompt]),
                decoder_input_ids=module.prepare_decoder_input_ids_from_labels(labels),
            ).logits[0]
        expected = torch.log_softmax(logits, 1)[range(len(tokens)), tokens]
        assert chances == pytest.approx(expected.tolist(), abs=1e-4)
        assert len(tokens) == 8 or tokens[-1] == STOP


def test_beams_find_likelier_texts(folders: dict[str, Path]) -> None:
    """A text of the same length is never less likely with beams than without, but by chance."""
    network = opened(folders["bart"])
    sums = [
        sum(sum(chances) for _, chances in network.generate(prompts(), sampling, []))
        for sampling in (GREEDY, BEAMS)
    ]
    assert sums[1] > sums[0]
    drawn = dataclasses.replace(BEAMS, temperature=1.0)
    plain = dataclasses.replace(drawn, beams=1)
    assert network.generate(prompts(), drawn, []) == network.generate(prompts(), plain, [])


def test_draws_come_from_the_seed_alone(folders: dict[str, Path]) -> None:
    network = opened(folders["t5"])
    network.module.generation_config.top_k = 2
    hot = Sampling(max_new=8, temperature=1.5, seed=4)
    before = torch.get_rng_state()
    first = network.generate(prompts(), hot, [])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert network.generate(prompts(), hot, []) == first
    assert network.generate(prompts(), dataclasses.replace(hot, seed=5), []) != first
    same = network.generate([prompts()[0]] * 20, hot, [])
    assert len({tuple(tokens) for tokens, _ in same}) > 1, "one text drawn twenty times"
    likeliest = [tokens for tokens, _ in network.generate(prompts(), GREEDY, [])]
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}):
        found = network.generate(prompts(), dataclasses.replace(hot, **narrow), [])
        assert [tokens for tokens, _ in found] == likeliest
    wild = Sampling(max_new=60, temperature=50.0)
    tokens = {token for text, _ in network.generate([[5]] * 40, wild, []) for token in text}
    assert tokens == set(range(WORDS)) - {PAD}, "the checkpoint's own settings stay out"


def test_a_penalty_for_repetition(folders: dict[str, Path]) -> None:
    network = opened(folders["t5"])
    strict = dataclasses.replace(GREEDY, repetition_penalty=1e6)
    found = network.generate(prompts(), strict, [])
    assert any(len({*tokens}) < 8 for tokens, _ in network.generate(prompts(), GREEDY, []))
    for prompt, (tokens, chances) in zip(prompts(), found, strict=True):
        assert len({*tokens}) == 8
        (alone,) = network.generate([prompt], strict, [])
        assert alone[0] == tokens
        assert alone[1] == pytest.approx(chances, abs=1e-4)


def test_what_is_too_long_loses_its_end(folders: dict[str, Path]) -> None:
    """EV-06: positions bound both sides where there are any, and nothing crashes."""
    network = opened(folders["bart"])
    long = np.random.default_rng(1).integers(3, WORDS, 200).tolist()
    cut, whole = network.generate([long[:POSITIONS], long], GREEDY, [])
    assert cut == whole
    most = dataclasses.replace(GREEDY, max_new=1000)
    ((tokens, chances),) = network.generate([long], most, [])
    assert len(tokens) == len(chances) == POSITIONS
    assert network.generate([long], dataclasses.replace(GREEDY, max_new=0), []) == [([], [])]
    assert network.generate([], GREEDY, []) == []
    with pytest.raises(ModelError, match="a prompt has no tokens"):
        network.generate([[]], GREEDY, [])
    ((tokens, _),) = opened(folders["t5"]).generate(
        [long], dataclasses.replace(most, max_new=40), []
    )
    assert len(tokens) == 40, "T5 has no table of positions"

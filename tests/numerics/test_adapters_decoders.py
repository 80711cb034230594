"""Decoders and encoder-decoders with something added: plain peft finds texts as likely as we do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapters_at_hand import METHODS, batch, checkpoint, each_row, nats, theirs, trained

from mulgil.flow import Sampling
from mulgil.predictor import Predictor

GREEDY = Sampling(max_new=10, temperature=0)
PROMPTS = [[2, 40, 50, 60], [2, 90], [2, 41, 300, 77, 12, 9], [2, 40, 50, 61]]

Made = Callable[[str, str, str], tuple[Path, Path]]


@pytest.fixture(scope="module")
def made(tiny_encoder: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return what gives base and run of a kind, a task and a method; each is made once.

    The checkpoints bring generation settings of their own, which no text may follow.
    """
    home = tmp_path_factory.mktemp("runs")
    own: dict[str, Any] = {"no_repeat_ngram_size": 1, "repetition_penalty": 5.0, "num_beams": 3}
    known: dict[str, Path] = {}

    def make(kind: str, task: str, name: str) -> tuple[Path, Path]:
        base, key = home / kind, f"{kind}-{task}-{name}"
        if not base.exists():
            checkpoint(kind, tiny_encoder["bert"], base, **own)
        if key not in known:
            model = "decoder" if kind in {"gpt2", "llama"} else "seq2seq"
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                known[key] = trained(home / key, base, task, model, name)
        return base, known[key]

    return make


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_plain_peft_gives_the_scores_of_a_decoder(kind: str, name: str, made: Made) -> None:
    """Row by row without padding, which with vectors in front plain peft would score."""
    base, run = made(kind, "classification", name)
    predictor = Predictor(run)
    inputs = batch(predictor)
    scores = predictor.network.scores(inputs)
    module = theirs("AutoModelForSequenceClassification", base, run, num_labels=scores.shape[1])
    with torch.inference_mode():
        wanted = torch.cat([module(**row).logits for row in each_row(module, inputs)])
    assert np.abs(wanted.numpy() - scores).max() < 1e-5
    assert np.ptp(scores, axis=0).max() > 1e-3


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_plain_peft_finds_texts_as_likely(kind: str, name: str, made: Made) -> None:
    base, run = made(kind, "generation", name)
    predictor = Predictor(run)
    inputs: Any = batch(predictor)
    network: Any = predictor.network
    module = theirs("AutoModelForCausalLM", base, run)
    with torch.inference_mode():
        wanted = nats(module, inputs)
        plain = None if name != "lora" else nats(module.merge_and_unload(), inputs)
    found = network.nats(inputs)[0]
    assert np.abs(wanted - found).max() < 1e-5 * np.abs(wanted).max()
    assert plain is None or np.abs(plain - found).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_plain_peft_finds_what_is_written_from_another_as_likely(
    kind: str, name: str, made: Made
) -> None:
    base, run = made(kind, "generation", name)
    predictor = Predictor(run)
    inputs: Any = batch(predictor)
    network: Any = predictor.network
    module = theirs("AutoModelForSeq2SeqLM", base, run)
    with torch.inference_mode():
        wanted = nats(module, inputs, network.begins)
    found = network.nats(inputs)[0]
    assert np.abs(wanted - found).max() < 1e-5 * np.abs(wanted).max()


def greedy(module: Any, prompt: list[int], begins: int | None) -> list[int]:
    """Return the likeliest next token, again and again, without a cache."""
    new: list[int] = []
    never = module.config.pad_token_id
    with torch.inference_mode():
        for _ in range(GREEDY.max_new):
            if begins is None:
                ids = torch.tensor([prompt + new])
                logits = module(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            else:
                ids, read = torch.tensor([prompt]), torch.tensor([[begins, *new]])
                logits = module(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    decoder_input_ids=read,
                    decoder_attention_mask=torch.ones_like(read),
                ).logits
                logits[..., never] = -torch.inf
            new.append(int(logits[0, -1].argmax()))
    return new


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5", "bart"])
def test_text_is_what_plain_peft_finds_likeliest_token_by_token(
    kind: str, name: str, made: Made, recwarn: pytest.WarningsRecorder
) -> None:
    """Prompts of several lengths as one by one, heard as written, whatever the checkpoint wants."""
    base, run = made(kind, "generation", name)
    predictor = Predictor(run)
    network: Any = predictor.network
    together = [tokens for tokens, _ in network.generate(PROMPTS, GREEDY, [])]
    alone = [network.generate([prompt], GREEDY, [])[0][0] for prompt in PROMPTS]
    assert together == alone
    assert [list(network.stream(prompt, GREEDY, [])) for prompt in PROMPTS] == alone
    seen = [str(warning.message) for warning in recwarn if warning.category is UserWarning]
    assert seen == []
    written = "AutoModelForCausalLM" if network.begins is None else "AutoModelForSeq2SeqLM"
    module = theirs(written, base, run)
    assert [greedy(module, prompt, network.begins) for prompt in PROMPTS] == alone


@pytest.mark.parametrize("name", METHODS)
def test_a_long_prompt_leaves_room_for_what_stands_before_it(name: str, made: Made) -> None:
    """The first prompt fills all positions: nothing runs over their end."""
    _, run = made("gpt2", "generation", name)
    network: Any = Predictor(run).network
    many = Sampling(max_new=100, temperature=0)
    ((new, chances),) = network.generate([PROMPTS[0] * 30], many, [])
    assert len(new) == len(chances) > 50


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["llama", "bart"])
def test_it_learns_and_writes_in_bf16(kind: str, name: str, made: Made, tmp_path: Path) -> None:
    """What is added is rounded with the rest; a text is near as likely as in whole numbers."""
    base, run = made(kind, "generation", name)
    model = "decoder" if kind == "llama" else "seq2seq"
    rounded = trained(tmp_path, base, "generation", model, name, "trainer.precision=bf16")
    inputs: Any = batch(Predictor(run))
    networks: list[Any] = [Predictor(folder).network for folder in (run, rounded)]
    assert networks[1].dtype is torch.bfloat16
    whole, found = (network.nats(inputs)[0] for network in networks)
    assert np.abs(whole - found).mean() < 0.05 * whole.mean()

"""The decoder family: its settings, what it refuses, and how prompts are put together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mulgil import pipeline, recipe, registry
from mulgil.errors import ModelError
from mulgil.flow import Head, Sampling
from mulgil.models._continuing import Way, batches, continued
from mulgil.models._sizes import SizedSettings
from mulgil.models.decoder import Decoder

SIZES = {"hidden": 16, "layers": 1, "heads": 2, "positions": 24}
HEAD = Head("score", 0)


def tokenizer(**special: int) -> Any:
    return SimpleNamespace(size=50, special_ids={"pad": 0, **special})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny GPT-2."""
    folder = tmp_path_factory.mktemp("checkpoint")
    network = Decoder(SizedSettings(**SIZES)).build(tokenizer(), HEAD, "fp32", "cpu", 1)
    network.save(folder, [])
    return folder


def copied(folder: Path, to: Path, **changes: Any) -> Path:
    """Copy a checkpoint and change its config; None takes a key away."""
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text("utf-8")) | changes
    config = {key: value for key, value in config.items() if value is not None}
    (to / "config.json").write_text(json.dumps(config))
    return to


def test_it_is_found_by_its_name() -> None:
    assert registry.load("models", "decoder") is Decoder
    assert Decoder.kind == "decoder"
    assert Decoder.skills == {"pool", "pair", "rate", "score", "write", "choose"}


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="hidden 30 must be a multiple of heads 4"):
        SizedSettings(hidden=30, heads=4)


@pytest.mark.parametrize(
    ("special", "begin", "end"),
    [
        ({"cls": 2, "sep": 3}, 2, 3),
        ({"cls": 2, "sep": 3, "bos": 4, "eos": 5}, 4, 5),
        ({}, None, None),
    ],
)
def test_a_fresh_model_has_the_sizes_and_marks_that_were_asked_for(
    special: dict[str, int], begin: int | None, end: int | None
) -> None:
    model = Decoder(SizedSettings(**SIZES, intermediate=20, dropout=0.25))
    assert (model.source(), model.longest()) == (None, 24)
    network: Any = model.build(tokenizer(**special), HEAD, "fp32", "cpu", 1)
    config = network.module.config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (begin, end, 0)
    assert (config.vocab_size, config.n_embd, config.n_inner, config.n_positions) == (
        50,
        16,
        20,
        24,
    )
    assert {config.embd_pdrop, config.attn_pdrop, config.resid_pdrop} == {0.25}
    assert config._attn_implementation == "sdpa"
    layer = 2 * 2 * 16 + 16 * 48 + 48 + 16 * 16 + 16 + 2 * 16 * 20 + 20 + 16
    assert network.parameters_total == (50 + 24) * 16 + layer + 2 * 16, "tied weights come once"


def test_the_seed_decides_the_weights() -> None:
    """TR-07."""
    tables = []
    for seed in (1, 1, 2):
        network: Any = Decoder(SizedSettings(**SIZES)).build(tokenizer(), HEAD, "fp32", "cpu", seed)
        tables.append(network.module.transformer.wte.weight.detach().numpy().copy())
    assert np.array_equal(tables[0], tables[1])
    assert not np.array_equal(tables[0], tables[2])


@pytest.mark.parametrize(
    ("changes", "longest"),
    [
        ({}, 24),
        ({"n_positions": None, "max_seq_len": 99}, 99),
        ({"n_positions": None}, None),
        ({"max_position_embeddings": 12, "n_positions": None}, 12),
    ],
)
def test_lengths_that_the_config_allows(
    changes: dict[str, Any], longest: int | None, checkpoint: Path, tmp_path: Path
) -> None:
    folder = copied(checkpoint, tmp_path / "other", **changes)
    assert Decoder(SizedSettings(pretrained=str(folder))).longest() == longest


# ---------------------------------------------------------------- what is refused

Damage = Callable[[Path], Any]


def lose_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


REFUSED: dict[str, tuple[dict[str, Any], Damage | None, str]] = {
    "code of its own": ({"auto_map": {}}, None, r"code of its own \(auto_map"),
    "a .bin that torch never wrote": ({}, lose_weights, "not written by torch.save"),
    "no config": ({}, lambda f: (f / "config.json").unlink(), "has no config.json"),
    "a damaged config": ({}, lambda f: (f / "config.json").write_text("{"), "cannot be read"),
    "an encoder": ({"model_type": "distilbert"}, None, r'distilbert.*model\.name = "encoder"'),
    "an encoder that could be a decoder": (
        {"model_type": "bert"},
        None,
        r'bert, which is no causal.*model\.name = "encoder"',
    ),
    "both halves": ({"model_type": "t5"}, None, "t5, an encoder with a decoder"),
    "a model of speech": (
        {"model_type": "whisper", "is_encoder_decoder": True},
        None,
        "whisper, an encoder with a decoder",
    ),
    "an unknown architecture": ({"model_type": "nothing"}, None, "cannot be opened"),
    "a smaller table": ({"vocab_size": 40}, None, "has 50 tokens, its embedding table 40 rows"),
    "a larger table": ({"vocab_size": 60}, None, "do not fit its config.json"),
    "more layers than weights": ({"n_layer": 2}, None, "do not fit its config.json"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_checkpoints_that_are_refused(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    """CF-06, CK-11, TK-06: nothing is run, unpickled or filled up with random weights."""
    changes, damage, said = REFUSED[kind]
    folder = copied(checkpoint, tmp_path / "checkpoint", **changes)
    if damage is not None:
        damage(folder)
    with pytest.raises(ModelError, match=said) as caught:
        Decoder(SizedSettings(pretrained=str(folder))).build(tokenizer(), HEAD, "fp32", "cpu", 1)
    assert "\n" not in str(caught.value)
    assert "checkpoint" in str(caught.value)


def test_a_model_that_reads_ahead_is_refused() -> None:
    """A likelihood that has seen the answer is none; the network looks for itself."""
    from transformers import BertConfig, BertLMHeadModel

    from mulgil.models._decoding import DecoderNetwork

    sizes = {
        "vocab_size": 50,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "initializer_range": 0.5,
    }
    with pytest.raises(ModelError, match=r'reads ahead.*model\.name = "encoder"'):
        DecoderNetwork(BertLMHeadModel(BertConfig(**sizes)), "fp32", "cpu")
    DecoderNetwork(BertLMHeadModel(BertConfig(**sizes, is_decoder=True)), "fp32", "cpu")


def test_what_a_language_network_has_not() -> None:
    network = Decoder(SizedSettings(**SIZES)).build(tokenizer(), HEAD, "fp32", "cpu", 1)
    with pytest.raises(ModelError, match="no scores of whole rows"):
        network.scores(None)
    with pytest.raises(ModelError, match="not solved"):
        network.set_head(np.zeros((2, 16)), np.zeros(2))
    assert network.outputs == 50


# ---------------------------------------------------------------- prompts


WAY = Way(Sampling(), 10)


class Placed:
    def forward(self, input_ids: Any, position_ids: Any) -> None: ...


class Unplaced:
    def forward(self, input_ids: Any) -> None: ...


def test_prompts_of_like_length_go_together() -> None:
    lengths = [5, 900, 3, 5, 3, 900, *[4] * 70]
    prompts = [[1] * length for length in lengths]
    found = list(batches(Placed(), prompts, WAY))
    assert sorted(i for rows in found for i in rows) == list(range(len(prompts)))
    assert [lengths[i] for rows in found for i in rows] == sorted(lengths)
    assert max(map(len, found)) == 64
    assert [len(rows) for rows in batches(Placed(), [[1] * 9000] * 3, WAY)] == [1, 1, 1]
    assert [len(rows) for rows in batches(Placed(), [[1] * 7000] * 3, WAY)] == [2, 1]
    assert list(batches(Placed(), [], WAY)) == []


def test_nothing_is_padded_where_padding_would_count() -> None:
    """EV-07: a model without positions would take the padding for text."""
    lengths = [5, 9, 3, 5, 3, 9, 9]
    found = list(batches(Unplaced(), [[1] * length for length in lengths], WAY))
    assert [[lengths[i] for i in rows] for rows in found] == [[3, 3], [5, 5], [9, 9, 9]]


class Recorder:
    """Stands for a module: keeps what it is given, and answers 6 7 8 9."""

    device = "cpu"
    generation_config: Any = "its own"

    def can_generate(self) -> bool:
        return True

    def get_output_embeddings(self) -> None:
        return None

    def generate(
        self, input_ids: Any, attention_mask: Any, generation_config: Any, **_: Any
    ) -> Any:
        import torch

        self.given = input_ids.tolist(), attention_mask.tolist(), generation_config
        return torch.cat([input_ids, torch.tensor([[6, 7, 8, 9]] * len(input_ids))], 1)


def test_padding_is_hidden_from_the_mask_and_from_the_penalty() -> None:
    """EV-07: the penalty reads the padding too, and would shun the token that it is made of."""
    module = Recorder()
    way = Way(Sampling(max_new=4, repetition_penalty=2.0), 4, [8])
    found = continued(module, [[5], [3, 4, 5]], way)
    assert found == [[6, 7, 8], [6, 7, 8]]
    ids, mask, chosen = module.given
    assert ids == [[5, 5, 5], [3, 4, 5]]
    assert mask == [[0, 0, 1], [1, 1, 1]]
    assert (chosen.max_new_tokens, chosen.repetition_penalty, chosen.top_k) == (4, 2.0, 0)
    assert (chosen.do_sample, chosen.eos_token_id) == (True, [8])
    assert module.generation_config == "its own"


def test_an_architecture_that_cannot_generate_is_refused() -> None:
    module = Recorder()
    module.can_generate = lambda: False  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="Recorder cannot generate"):
        continued(module, [[5]], Way(Sampling(), 4))


def test_every_position_can_be_used(tmp_path: Path) -> None:
    """20 positions and rows of 20 tokens: the batch is not rounded up to 24, which it has not."""
    sizes = ["hidden=16", "layers=1", "heads=2", "positions=20"]
    chosen = ["model.name=decoder", *(f"model.{size}" for size in sizes), "method.name=full"]
    chosen += ["tokenizer.vocab_size=600", "tokenizer.max_length=20", "data.train_rows=30"]
    chosen += ["name=run", "data.name=sample", "trainer.epochs=1", "trainer.precision=fp32"]
    assert (pipeline.run(recipe.read("sample-tfidf", chosen), tmp_path) / "result.json").exists()

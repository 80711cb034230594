"""Choices against a plain reading: token by token, one row at a time, nothing kept between steps.

The families differ in what could go wrong: GPT-2 has learnt positions, Llama and Qwen turned ones,
Qwen shares its table with the output, Gemma-3, Mistral and GPT-Neo have layers that see a window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from mulgil.errors import ModelError
from mulgil.flow import Array
from mulgil.models import _choosing, _together
from mulgil.models._choosing import choose
from mulgil.models._decoding import DecoderNetwork

WORDS = 97
SIZES: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GEMMA = SIZES | {"head_dim": 8, "layer_types": ["sliding_attention", "full_attention"] * 2}
GEMMA |= {"num_hidden_layers": 4}
GPT2 = {"vocab_size": WORDS, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 256}
GPT2 |= {"initializer_range": 0.3, "bos_token_id": 1, "eos_token_id": 2}
OPT = {"word_embed_proj_dim": 32, "ffn_dim": 48, "init_std": 0.3}
NEO = {"vocab_size": WORDS, "hidden_size": 32, "num_heads": 4, "max_position_embeddings": 256}
NEO |= {"num_layers": 2, "attention_types": [[["global", "local"], 1]], "window_size": 8}
NEO |= {"bos_token_id": 1, "eos_token_id": 2}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", GPT2),
    "llama": ("Llama", SIZES),
    "qwen-tied": ("Qwen2", SIZES | {"tie_word_embeddings": True}),
    "gemma3-short-window": ("Gemma3Text", GEMMA | {"sliding_window": 7}),
    "gemma3-long-window": ("Gemma3Text", GEMMA | {"sliding_window": 200}),
    "mistral-window": ("Mistral", SIZES | {"sliding_window": 9}),
    "neo-window": ("GPTNeo", NEO),
    "neox": ("GPTNeoX", {k: v for k, v in SIZES.items() if k != "num_key_value_heads"}),
    "opt": ("OPT", {k: v for k, v in SIZES.items() if "key_value" not in k} | OPT),
}
CLASSES = {"Gemma3Text": "Gemma3ForCausalLM", "GPT2": "GPT2LMHeadModel"}
CHOICES = [[5], [6, 7], [5, 8, 9], [40, 41, 42, 43], [88]]
PREFIXES = {"none": 0, "one": 1, "few": 5, "many": 60}


def made(family: str) -> Any:
    """Return a random module of a family."""
    name, values = FAMILIES[family]
    torch.manual_seed(11)
    config = getattr(transformers, f"{name}Config")(**values)
    module = getattr(transformers, CLASSES.get(name, f"{name}ForCausalLM"))(config)
    return module.eval()


@pytest.fixture(scope="module", params=list(FAMILIES))
def module(request: pytest.FixtureRequest) -> Any:
    return made(request.param)


def some(count: int, seed: int) -> list[int]:
    """Return random token ids."""
    found: list[int] = np.random.default_rng(seed).integers(3, WORDS, count).tolist()
    return found


def plain(module: Any, prefix: list[int], queries: list[list[int]]) -> Array:
    """Return ln p [queries, choices], each token from a reading of all before it."""
    found = np.zeros((len(queries), len(CHOICES)))
    for i, query in enumerate(queries):
        for j, choice in enumerate(CHOICES):
            read = [*prefix, *query]
            for token in choice:
                with torch.no_grad():
                    logits = module(input_ids=torch.tensor([read]), use_cache=False).logits
                found[i, j] += float(torch.log_softmax(logits[0, -1].double(), 0)[token])
                read = [*read, token]
    return found


def chosen(module: Any, prefix: list[int], queries: list[list[int]]) -> Array:
    with torch.no_grad():
        return choose(module, prefix, queries, CHOICES)


@pytest.mark.parametrize("name", list(PREFIXES))
def test_choices_are_those_of_a_plain_reading(module: Any, name: str) -> None:
    """EV-07: a prefix of none, one or many tokens; rows of 1 to 50 tokens in one batch."""
    prefix = some(PREFIXES[name], 1)
    queries = [some(n, 10 + n) for n in (50, 1, 3, 19, 2, 7)]
    found = chosen(module, prefix, queries)
    assert found.dtype == np.float64
    assert np.abs(found - plain(module, prefix, queries)).max() < 2e-5
    assert found.std(0).min() > 0.01  # rows differ: the check can fail


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_an_empty_query_goes_on_from_the_prefix(module: Any, rows: int) -> None:
    prefix, queries = some(12, 3), [[], *(some(9 * n, n) for n in range(1, rows))]
    found = chosen(module, prefix, queries)
    assert np.abs(found - plain(module, prefix, queries)).max() < 2e-5


def test_no_batch_changes_a_number(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """EV-07: alone, in twos, all together, and in another order."""
    prefix = some(20, 5)
    queries = [some(n, n) for n in (30, 2, 2, 11, 1, 6, 17, 30)]
    whole = chosen(module, prefix, queries)
    alone = np.concatenate([chosen(module, prefix, [query]) for query in queries])
    assert np.abs(whole - alone).max() < 2e-5
    order = np.random.default_rng(2).permutation(len(queries))
    shuffled = chosen(module, prefix, [queries[i] for i in order])
    assert np.abs(whole[order] - shuffled).max() < 2e-5
    monkeypatch.setattr(_together, "TOKENS", 100)
    assert np.abs(whole - chosen(module, prefix, queries)).max() < 2e-5
    monkeypatch.setattr(_choosing, "_SCORES", 1)
    assert np.abs(whole - chosen(module, prefix, queries)).max() < 2e-5


def test_the_cut_between_prefix_and_query_does_not_matter(module: Any) -> None:
    text = some(40, 8)
    found = [chosen(module, text[:cut], [text[cut:]]) for cut in (0, 1, 2, 20, 39, 40)]
    assert max(np.abs(one - found[0]).max() for one in found) < 2e-5


def test_the_prefix_is_read_once_however_many_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sharing is for: no batch reads the shared part again."""
    module = made("gpt2")
    monkeypatch.setattr(_together, "TOKENS", 200)
    widths: list[int] = []
    real = module.forward

    def forward(*, input_ids: Any, **more: Any) -> Any:
        widths.append(input_ids.shape[1])
        return real(input_ids=input_ids, **more)

    monkeypatch.setattr(module, "forward", forward)
    chosen(module, some(60, 1), [some(4, n) for n in range(9)])
    assert widths.count(59) == 1
    assert max(width for width in widths if width != 59) <= 5
    assert len(widths) > 4


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3-short-window"])
def test_bf16_is_near(family: str) -> None:
    """The precision of 8 bits: ln p of some 5 to 20 nats within a few per cent, order kept."""
    prefix, queries = some(30, 1), [some(n, n) for n in (4, 12, 25)]
    exact = plain(made(family), prefix, queries)
    network = DecoderNetwork(made(family), "bf16", "cpu")
    network.answers_only()
    found = network.choose(prefix, queries, CHOICES)
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
    assert np.abs(found - exact).max() > 0  # it was bf16
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.998


def test_nothing_to_ask_is_no_mistake() -> None:
    assert chosen(made("gpt2"), [4, 5], []).shape == (0, len(CHOICES))


def test_a_model_that_keeps_a_state_is_refused() -> None:
    """No mask takes padding out of a state: better no figure than a wrong one."""
    torch.manual_seed(1)
    config = transformers.Lfm2Config(**SIZES | {"layer_types": ["conv", "full_attention", "conv"]})
    module = transformers.Lfm2ForCausalLM(config).eval()
    with pytest.raises(ModelError, match="Lfm2ForCausalLM keeps a state") as caught:
        chosen(module, [4, 5, 6], [[7], [8, 9]])
    assert "\n" not in str(caught.value)


def test_text_is_no_tokens() -> None:
    with pytest.raises(ModelError, match='tokenizer "subword"'):
        _choosing.tokens("글")

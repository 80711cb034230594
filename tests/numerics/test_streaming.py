"""Text that is heard while it is written: the same tokens, and nothing goes on unheard."""

from __future__ import annotations

import dataclasses
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from seq2seq_at_hand import BEAMS, GREEDY, STOP, WORDS, checkpoints, opened, prompts

from mulgil.errors import ModelError
from mulgil.flow import Head, Sampling
from mulgil.models._sizes import SizedSettings
from mulgil.models._writing import WritingNetwork
from mulgil.models.decoder import Decoder
from mulgil.predictor import _pieces

HOT = Sampling(max_new=12, temperature=1.5, seed=4)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, WritingNetwork]:
    home = tmp_path_factory.mktemp("checkpoints")
    folders = checkpoints(home)
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 40, "initializer_range": 0.3}
    config = transformers.GPT2Config(**sizes, vocab_size=WORDS, bos_token_id=1, eos_token_id=STOP)
    transformers.GPT2LMHeadModel(config).save_pretrained(home / "gpt2")
    chosen = SizedSettings(pretrained=str(home / "gpt2"))
    tokenizer: Any = SimpleNamespace(size=WORDS)
    decoder = Decoder(chosen).build(tokenizer, Head("write", 0), "fp32", "cpu", 5)
    assert isinstance(decoder, WritingNetwork)
    return {"gpt2": decoder, "t5": opened(folders["t5"]), "bart": opened(folders["bart"])}


NAMES = ["gpt2", "t5", "bart"]


@pytest.mark.parametrize("sampling", [GREEDY, HOT, BEAMS], ids=["greedy", "drawn", "beams"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_heard_is_what_is_written(
    name: str, sampling: Sampling, networks: dict[str, WritingNetwork]
) -> None:
    network = networks[name]
    before = torch.get_rng_state()
    for prompt in prompts():
        ((tokens, _),) = network.generate([prompt], sampling, [STOP])
        assert list(network.stream(prompt, sampling, [STOP])) == tokens
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_who_leaves_early_ends_the_writing(
    name: str, networks: dict[str, WritingNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first token is heard before the last one is made, and then no more are made."""
    network, made = networks[name], []
    forward = network.module.forward

    def counted(*given: Any, **named: Any) -> Any:
        made.append(threading.current_thread().name)
        return forward(*given, **named)

    monkeypatch.setattr(network.module, "forward", counted)
    heard = network.stream(prompts()[0], dataclasses.replace(HOT, max_new=20), [])
    next(heard)
    heard.close()  # type: ignore[attr-defined]
    assert set(made) == {"mulgil-stream"}
    assert len(made) < 20
    assert all(thread.name != "mulgil-stream" for thread in threading.enumerate())


def test_what_goes_wrong_is_raised_where_somebody_listens(
    networks: dict[str, WritingNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="no tokens"):
        next(networks["gpt2"].stream([], GREEDY, []))
    monkeypatch.setattr(networks["t5"].module, "can_generate", lambda: False)
    with pytest.raises(ModelError, match="cannot generate"):
        list(networks["t5"].stream([5], GREEDY, []))


class Bytes:
    """Tokens are bytes of UTF-8; a broken character is U+FFFD."""

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")


@pytest.mark.parametrize("known", [None, list("봄에 ".encode())])
def test_characters_of_several_tokens_come_whole(known: list[int] | None) -> None:
    text = " 꽃이 핀다 🌸\n" if known is None else "꽃이 핀다 🌸"
    tokens = list(text.encode())
    pieces = list(_pieces(iter(tokens), known, Bytes()))
    assert "".join(pieces) == (text.strip() if known is None else text)
    assert len(pieces) > 4
    assert all(pieces), "a piece says something"
    assert "\ufffd" not in "".join(pieces)
    broken = tokens[:-2]
    assert "".join(_pieces(iter(broken), None, Bytes())) == Bytes().decode(broken).strip()

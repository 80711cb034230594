"""Tiny decoders, rows for them, and what plain transformers says of these."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers

from mulgil.flow import UNASKED, Array, Blanks, Head
from mulgil.models._decoding import DecoderNetwork
from mulgil.models._sizes import SizedSettings
from mulgil.models.decoder import Decoder

WORDS, POSITIONS, STOP = 90, 40, 2
LENGTHS = (9, 2, 17, 1, 24, 6)
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


def checkpoints(folder: Path) -> dict[str, Path]:
    """Return a folder of each kind of tiny checkpoint."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    made = {}
    for seed, (name, (family, sizes)) in enumerate(KINDS.items()):
        torch.manual_seed(seed)
        config = getattr(transformers, f"{family}Config")(
            **sizes, vocab_size=WORDS, bos_token_id=1, eos_token_id=STOP, pad_token_id=0
        )
        made[name] = folder / name
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

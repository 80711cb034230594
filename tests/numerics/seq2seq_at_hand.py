"""Tiny checkpoints of encoders with decoders, and rows for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers

from mulgil.flow import UNASKED, Array, Blanks, Given, Head, Sampling
from mulgil.models._seq2seq import Seq2SeqNetwork
from mulgil.models.seq2seq import Seq2Seq, Seq2SeqSettings

WORDS, POSITIONS, PAD, STOP = 90, 24, 0, 2
READS, WRITES = (9, 2, 17, 1, 20, 6), (4, 11, 1, 7, 15, 2)
GREEDY = Sampling(max_new=8, temperature=0)
BEAMS = dataclasses.replace(GREEDY, beams=3)
HEAD = Head("write", 0)
MARKS = {"vocab_size": WORDS, "bos_token_id": 1, "eos_token_id": STOP, "pad_token_id": PAD}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": POSITIONS,
    "init_std": 0.3,
}
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.3,
}
SIDE = BERT | {"num_key_value_heads": 1, "head_dim": 16} | MARKS
GEMMA = {side: SIDE | {"final_logit_softcapping": 2.0} for side in ("encoder", "decoder")}
KINDS: dict[str, tuple[str, str, int, dict[str, Any]]] = {
    "t5": ("T5Config", "T5ForConditionalGeneration", PAD, T5),
    "t5-unscaled": (
        "T5Config",
        "T5ForConditionalGeneration",
        PAD,
        T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "bart": ("BartConfig", "BartForConditionalGeneration", STOP, BART),
    "marian": ("MarianConfig", "MarianMTModel", PAD, BART | {"scale_embedding": True}),
    "t5gemma": ("T5GemmaConfig", "T5GemmaForConditionalGeneration", 1, GEMMA),
}
ALL = (*KINDS, "both-sides")


def checkpoints(home: Path) -> dict[str, Path]:
    """Make a folder of each kind of tiny checkpoint; "bert" is an encoder alone."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for seed, (name, (config, family, start, sizes)) in enumerate(KINDS.items()):
        torch.manual_seed(seed)
        made = getattr(transformers, config)(**sizes, **MARKS, decoder_start_token_id=start)
        module = getattr(transformers, family)(made)
        if name == "marian":  # what other checkpoints have as zeros, Marian's have learnt
            torch.nn.init.normal_(module.final_logits_bias)
        module.save_pretrained(home / name)
    bert = transformers.BertForMaskedLM(transformers.BertConfig(**BERT, vocab_size=WORDS))
    bert.save_pretrained(home / "bert")
    made_here = Seq2Seq(Seq2SeqSettings(encoder=str(home / "bert")))
    made_here.build(tokenizer(), HEAD, "fp32", "cpu", 9).save(home / "both-sides", [])
    return {name: home / name for name in (*ALL, "bert")}


def tokenizer() -> Any:
    return SimpleNamespace(size=WORDS, special_ids={"pad": PAD, "cls": 1, "sep": STOP})


def opened(folder: Path, precision: str = "fp32", **more: Any) -> Seq2SeqNetwork:
    chosen = Seq2SeqSettings(pretrained=str(folder), **more)
    network = Seq2Seq(chosen).build(tokenizer(), HEAD, precision, "cpu", 5)
    assert isinstance(network, Seq2SeqNetwork)
    return network


def theirs(folder: Path) -> Any:
    return transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()


def padded(lengths: tuple[int, ...], draw: Any) -> tuple[Array, Array]:
    ids = draw.integers(3, WORDS, (len(lengths), max(lengths)))
    ids[np.arange(max(lengths)) >= np.array(lengths)[:, None]] = PAD
    return ids, np.array(lengths)


def blanks() -> Blanks:
    draw = np.random.default_rng(3)
    given, (ids, lengths) = Given(*padded(READS, draw)), padded(WRITES, draw)
    targets = np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, UNASKED)
    return Blanks(ids, lengths, targets, lengths.astype(np.float64), given)


def prompts() -> list[list[int]]:
    given = blanks().given
    assert given is not None
    rows = zip(given.ids, given.lengths, strict=True)
    return [ids[:length].tolist() for ids, length in rows]

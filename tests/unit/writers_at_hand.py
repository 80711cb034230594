"""Tiny checkpoints that write over bytes: a GPT-2 and a T5, each with its tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, processors

STOP = 1


def checkpoints(folder: Path) -> Path:
    """Make `decoder` and `seq2seq` in a folder, and return it."""
    torch.set_num_threads(1)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = {token: i for i, token in enumerate(["<pad>", "</s>", "<s>", *letters])}
    marks: dict[str, Any] = {"bos_token_id": 2, "eos_token_id": STOP, "pad_token_id": 0}
    torch.manual_seed(3)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 900, "initializer_range": 0.4}
    gpt2 = transformers.GPT2Config(**sizes, **marks, vocab_size=len(known))
    transformers.GPT2LMHeadModel(gpt2).save_pretrained(folder / "decoder")
    parts = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    t5 = transformers.T5Config(**parts, **marks, decoder_start_token_id=0, vocab_size=len(known))
    module = transformers.T5ForConditionalGeneration(t5)
    with torch.no_grad():  # T5 starts small: without this all it writes is one token
        for weight in module.parameters():
            weight += 0.3 * torch.randn_like(weight)
    module.save_pretrained(folder / "seq2seq")
    for name in ("decoder", "seq2seq"):
        backend = tokenizers.Tokenizer(models.BPE(known, []))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        if name == "seq2seq":
            ends = [("</s>", STOP)]
            backend.post_processor = processors.TemplateProcessing("$A </s>", "$A $B </s>", ends)
        roles = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>"}
        made = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **roles)
        made.save_pretrained(folder / name)
    return folder

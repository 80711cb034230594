"""Tiny runs of methods that add to a checkpoint, and the same runs as plain peft opens them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers

from mulgil import pipeline, recipe
from mulgil.flow import UNASKED, Array, Blanks
from mulgil.predictor import Predictor

VARIANTS = ("prefix", "prompt", "p-tuning")
METHODS = ("lora", *VARIANTS)
TOKENS = 5

SIZES = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "llama": {
        **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64},
    },
    "t5": {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2},
    "bart": {
        **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 2},
        **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "init_std": 0.2},
        **{"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64},
    },
}
CLASSES = {
    "gpt2": ("GPT2Config", "GPT2LMHeadModel"),
    "llama": ("LlamaConfig", "LlamaForCausalLM"),
    "t5": ("T5Config", "T5ForConditionalGeneration"),
    "bart": ("BartConfig", "BartForConditionalGeneration"),
}


def checkpoint(kind: str, tokenizer: Path, folder: Path, **more: Any) -> Path:
    """Make a tiny checkpoint that writes, with the tokenizer of another folder."""
    for path in tokenizer.glob("*token*"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    files = transformers.AutoTokenizer.from_pretrained(tokenizer)
    marks = {
        "vocab_size": len(files),
        "pad_token_id": files.pad_token_id,
        "bos_token_id": files.cls_token_id,
        "eos_token_id": files.sep_token_id,
    }
    start = {"decoder_start_token_id": files.cls_token_id} if kind in {"t5", "bart"} else {}
    config, family = CLASSES[kind]
    torch.manual_seed(len(kind))
    made = getattr(transformers, config)(
        **({"initializer_range": 0.2} if kind != "bart" else {}), **SIZES[kind], **marks, **start
    )
    module = getattr(transformers, family)(made)
    for name, value in more.items():
        setattr(module.generation_config, name, value)
    module.save_pretrained(folder)
    return folder


def method(name: str) -> list[str]:
    """Return what a recipe says of `lora`, or of a variant of prompt tuning."""
    if name == "lora":
        return ["method.name=lora"]
    return ["method.name=prompt-tuning", f"method.variant={name}", f"method.tokens={TOKENS}"]


def chosen(base: Path, task: str, model: str, name: str, *more: str) -> recipe.Recipe:
    """Return the recipe of a run of seconds, on rows of the sample."""
    write = ["task.max_new=8"] if task in {"generation", "summarization", "translation"} else []
    return recipe.read(
        "sample-tfidf",
        [
            *("name=run", f"task.name={task}", f"model.name={model}", f"model.pretrained={base}"),
            *("data.train_rows=40", "data.test_rows=12", "data.valid_share=0.03"),
            *("data.test_share=0.25", "tokenizer.max_length=40", "trainer.epochs=2"),
            *("trainer.precision=fp32", "trainer.learning_rate=1e-3"),
            *method(name),
            *write,
            *more,
        ],
    )


def trained(home: Path, base: Path, task: str, model: str, name: str, *more: str) -> Path:
    return pipeline.run(chosen(base, task, model, name, *more), home)


def batch(predictor: Predictor) -> Any:
    """Return the test rows of a run as its network reads them, of several lengths."""
    made = pipeline.prepare(recipe.read(str(predictor.path / "recipe.toml")))
    (found, *_) = list(made.loaders.test.in_order())
    lengths = getattr(found.inputs, "given", None) or found.inputs
    assert len(set(lengths.lengths.tolist())) > 1
    return found.inputs


def theirs(family: str, base: Path, run: Path, **more: Any) -> Any:
    """Open a run with plain transformers and plain peft."""
    opened = getattr(transformers, family).from_pretrained(base, dtype=torch.float32, **more)
    return peft.PeftModel.from_pretrained(opened, run / "model").eval()


@torch.inference_mode()
def each_row(module: Any, inputs: Any) -> list[dict[str, torch.Tensor]]:
    """Return what plain modules read, row by row and without padding."""
    rows = []
    for i, length in enumerate(inputs.lengths.tolist()):
        ids = torch.from_numpy(inputs.ids[i : i + 1, :length])
        row = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        kinds = getattr(inputs, "kinds", None)
        if kinds is not None and (getattr(module.config, "type_vocab_size", 0) or 0) > 1:
            row["token_type_ids"] = torch.from_numpy(kinds[i : i + 1, :length])
        rows.append(row)
    return rows


@torch.inference_mode()
def nats(module: Any, inputs: Blanks, begins: int | None = None) -> Array:
    """Return -ln p of the tokens asked for under a plain module, row by row."""
    found = []
    for i, length in enumerate(inputs.lengths.tolist()):
        ids = torch.from_numpy(inputs.ids[i : i + 1, :length])
        targets = torch.from_numpy(inputs.targets[i, :length])
        if begins is None:
            logits = module(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        else:
            assert inputs.given is not None
            size = int(inputs.given.lengths[i])
            given = torch.from_numpy(inputs.given.ids[i : i + 1, :size])
            read = torch.cat([torch.tensor([[begins]]), ids[:, :-1]], 1)
            logits = module(
                input_ids=given,
                attention_mask=torch.ones_like(given),
                decoder_input_ids=read,
                decoder_attention_mask=torch.ones_like(read),
            ).logits
        chances = torch.log_softmax(logits[0, -length:].double(), -1)
        asked = targets != UNASKED
        found.append(-chances[asked].gather(1, targets[asked][:, None])[:, 0])
    return np.asarray(torch.cat(found).numpy())

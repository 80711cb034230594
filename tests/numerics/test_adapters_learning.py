"""Steps of `lora` and `prompt-tuning`: gradients that are peft's, bits that come again."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapters_at_hand import batch, checkpoint, chosen, method, trained

from mulgil import pipeline
from mulgil.predictor import Predictor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flow"))
from _cli import Warm
from _tiny import OFTEN, Tiny, essence, warm

__all__ = ["warm"]

RECIPE = """\
name = "tiny"

[data]
name = "sample"
train_rows = 90
test_rows = 20
valid_share = 0.05

[model]
name = "encoder"
pretrained = "base"
dropout = 0.1

[tokenizer]
max_length = 24

[method]
{method}

[loader]
rows = 8

[trainer]
epochs = 2
accumulate = 2
learning_rate = 1e-3
log_every = 1
evaluate_every = 0.4
metric = "loss"
"""
METHODS = {
    "lora": 'name = "lora"',
    "lora with dropout": 'name = "lora"\ndropout = 0.2',
    "prefix": 'name = "prompt-tuning"\ntokens = 4',
    "p-tuning": 'name = "prompt-tuning"\nvariant = "p-tuning"\ntokens = 4\nwidth = 16',
}


def learner(base: Path, task: str, model: str, precision: str = "fp32") -> tuple[Any, Any]:
    """Return a learner of LoRA whose products are not zero, and a batch for it."""
    recipe = chosen(base, task, model, "lora", "model.dropout=0", f"trainer.precision={precision}")
    made = pipeline.prepare(recipe)
    found: Any = pipeline.teach(made, pipeline.build(made))
    torch.manual_seed(4)
    for name, weight in found.network.module.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.2)
    return found, next(iter(made.loaders.train.in_order()))


def gradients(made: Any, rows: Any) -> tuple[float, dict[str, torch.Tensor]]:
    made.network.module.zero_grad()
    loss, _ = made.backward(rows)
    learning = {n: p for n, p in made.network.module.named_parameters() if p.requires_grad}
    return loss, {name: p.grad.float().clone() for name, p in learning.items()}


@pytest.mark.parametrize("kind", ["bert", "bert-no-pooler", "roberta", "gpt2"])
def test_the_fast_body_composes_what_peft_adds(
    kind: str, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """W + B A gives peft's own loss and its gradients of A, B and head; bf16 is near them."""
    base, task, model = tiny_encoder.get(kind), "classification", "encoder"
    if base is None:
        base, task, model = (
            checkpoint(kind, tiny_encoder["bert"], tmp_path),
            "generation",
            "decoder",
        )
    made, rows = learner(base, task, model)
    assert made.network._fast is not None
    loss, fast = gradients(made, rows)
    made.network._fast = None
    plain_loss, plain = gradients(made, rows)
    assert abs(loss - plain_loss) < 1e-5 * plain_loss
    assert fast.keys() == plain.keys()
    assert {"lora_A", "lora_B"} <= {step for name in fast for step in name.split(".")}
    largest = max(float(each.abs().max()) for each in plain.values())
    for name, each in plain.items():
        assert float(each.abs().max()) > 0, name
        assert float((fast[name] - each).abs().max()) < 1e-5 * largest, name

    rounded, rows = learner(base, task, model, "bf16")
    assert rounded.network._fast is not None
    near_loss, near = gradients(rounded, rows)
    assert abs(near_loss - plain_loss) < 0.05 * plain_loss
    ours, wanted = (torch.cat([each[n].flatten() for n in plain]) for each in (near, plain))
    assert float(torch.nn.functional.cosine_similarity(ours, wanted, dim=0)) > 0.98


@pytest.mark.parametrize("name", ["lora", "prefix", "prompt"])
def test_the_seed_decides_every_bit(
    name: str, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """TR-07."""
    runs = [
        trained(tmp_path / str(i), tiny_encoder["bert"], "classification", "encoder", name, seed)
        for i, seed in enumerate(["trainer.seed=7", "trainer.seed=7", "trainer.seed=8"])
    ]
    files = [run / "model" / "adapter_model.safetensors" for run in runs]
    one, same, other = (hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    assert one == same != other


def test_what_is_new_learns_and_the_rest_rests(
    tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """A run answers otherwise than one whose rate is next to nothing, by what moved alone."""
    rates = ["method.rate=1e-6", "method.rate=50.0"]
    base = tiny_encoder["bert"]
    runs = [
        trained(tmp_path / str(i), base, "classification", "encoder", "prefix", rate)
        for i, rate in enumerate(rates)
    ]
    inputs = batch(Predictor(runs[0]))
    still, moved = (Predictor(run).network.scores(inputs) for run in runs)
    assert np.abs(still - moved).max() > 1e-2
    made = pipeline.prepare(chosen(base, "classification", "encoder", "lora"))
    found: Any = pipeline.teach(made, pipeline.build(made))
    learning = [n for n, p in found.network.module.named_parameters() if p.requires_grad]
    assert [n for n in learning if "lora_" not in n and "classifier" not in n] == []
    assert method("lora") == ["method.name=lora"]


@pytest.mark.parametrize("name", METHODS)
def test_killed_and_resumed_it_ends_with_the_same_bits(
    name: str, warm: Warm, tmp_path: Path, tiny_encoder: dict[str, Path]
) -> None:
    """RS-01, RS-02, RS-05: weights, optimizer, random numbers of dropout, journal, score."""
    undisturbed, disturbed = (
        Tiny(warm, tmp_path / place, RECIPE.format(method=METHODS[name]))
        for place in ("undisturbed", "disturbed")
    )
    for tiny in (undisturbed, disturbed):
        shutil.copytree(tiny_encoder["bert-no-pooler"], tiny.folder / "base")
    done = undisturbed.train()
    assert done.code == 0, done.err
    assert done.err == ""
    steps = json.loads((undisturbed.run / "result.json").read_text())["training"]["steps"]
    draw = random.Random(name)
    kills = sorted(draw.sample(range(2, steps), 3))
    for number, step in enumerate(kills):
        again = ["--resume"] if number else []
        settings = [OFTEN] if number % 2 == 0 else []
        where = ["updated", "journal", "backward"][number]
        killed = disturbed.train(*again, *settings, hooks=[["at", where, step, "SIGKILL"]])
        assert killed.code == -9, (step, killed.err)
    assert disturbed.resume().code == 0
    found, wanted = essence(disturbed.run), essence(undisturbed.run)
    for each in (found, wanted):  # which tell where the base lies
        del each["model/base.json"], each["model/adapter_config.json"], each["model/MANIFEST.json"]
    assert found == wanted

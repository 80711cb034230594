"""Speed and accuracy of a full fine-tuning step, against the ways people do it today.

Five ways to train the same classifier (encoder, mean over tokens, dropout, linear layer) on the
same NSMC rows in batches of 32, interleaved in one process so that a noisy machine is noisy to
all of them alike:

    trainer  transformers Trainer as it comes: float32, dynamic padding, rows in random order
    tuned    the same with bf16=True, lengths grouped, padding to a multiple of 8
    book     the same as `trainer`, every row padded to 128 tokens
    loop     a bare loop: weights in bfloat16, torch's fused AdamW on them, lengths sorted in
             windows, padding to a multiple of 8; no float32 masters
    ours     FastBody and MasterAdamW: bfloat16 work, float32 masters and moments, the batches of
             `loop`

Every round runs each way once; the figure of a way is the median of its rounds, and of the
rounds' ratios to `ours`. The first steps of a round are not timed. `--accuracy` trains `trainer`
and `ours` for the same steps over the same rows, then scores both on test rows in float32.

    MULGIL_DATA=/data python benchmarks/training.py --model .cache/me5-small --rounds 3
    MULGIL_DATA=/data python benchmarks/training.py --model fresh-6x384 --accuracy --steps 600
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import math
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from _compare import interleaved, ratios, shown, train
from mulgil.models._fastbert import FastBody
from mulgil.optimizer import MasterAdamW

ROWS = 32
LONGEST = 128
RATE = 2e-5
FRESH = "fresh-6x384"
Row = tuple[list[int], int]
Batch = dict[str, Tensor]


class Classifier(nn.Module):
    """An encoder, the mean over its tokens, dropout, a linear layer."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(body.config.hidden_size, 2)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask)[0]  # [B, L, H]
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return self.answer((hidden * mask).sum(1) / mask.sum(1), labels)

    def answer(self, pooled: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        """[B, H] to logits, and the loss where there are labels."""
        out = {"logits": self.classifier(self.dropout(pooled)).float()}
        if labels is not None:
            out["loss"] = functional.cross_entropy(out["logits"], labels)
        return out


@dataclass
class Job:
    """What all ways share."""

    model: str
    rows: list[Row]
    pad: int
    seed: int = 0

    def build(self) -> Classifier:
        """The same weights every time."""
        torch.manual_seed(self.seed)
        if self.model == FRESH:
            config = BertConfig(
                vocab_size=32000,
                hidden_size=384,
                num_hidden_layers=6,
                num_attention_heads=6,
                intermediate_size=1536,
                pad_token_id=1,
            )
            return Classifier(BertModel(config, add_pooling_layer=False))
        return Classifier(
            BertModel.from_pretrained(self.model, add_pooling_layer=False, dtype=torch.float32)
        )

    def collate(self, rows: list[Any], multiple: int = 1, length: int = 0) -> Batch:
        """Pad to the longest row, a multiple, or a fixed length."""
        pairs = [(r["input_ids"], r["labels"]) if isinstance(r, dict) else r for r in rows]
        width = max(length, multiple * math.ceil(max(len(ids) for ids, _ in pairs) / multiple))
        ids = np.full((len(pairs), width), self.pad)
        mask = np.zeros_like(ids)
        for number, (row, _) in enumerate(pairs):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "labels": torch.tensor([label for _, label in pairs]),
        }

    def batches(self, steps: int, windows: bool, seed: int) -> Iterator[list[Row]]:
        """Batches of 32 over as many passes as it takes; sorted by length within windows."""
        generator = random.Random(seed)
        found: list[list[int]] = []
        while len(found) < steps:
            order = list(range(len(self.rows)))
            generator.shuffle(order)
            part: list[list[int]] = []
            for at in range(0, len(order), 50 * ROWS):
                window = order[at : at + 50 * ROWS]
                if windows:
                    window.sort(key=lambda row: len(self.rows[row][0]))
                part += [window[k : k + ROWS] for k in range(0, len(window), ROWS)]
            if windows:
                generator.shuffle(part)
            found += [batch for batch in part if len(batch) == ROWS]
        return ([self.rows[row] for row in batch] for batch in found[:steps])


def run_trainer(
    job: Job,
    model: Classifier,
    steps: int,
    warm: int,
    seed: int,
    multiple: int = 1,
    length: int = 0,
    **settings: Any,
) -> float:
    """Seconds that Trainer takes for `steps` steps after `warm` steps."""
    return train(
        model,
        [{"input_ids": ids, "labels": label} for ids, label in job.rows],
        lambda rows: job.collate(rows, multiple, length),
        steps,
        warm,
        per_device_train_batch_size=ROWS,
        learning_rate=RATE,
        seed=seed,
        **settings,
    ).seconds


def run_loop(job: Job, model: Classifier, steps: int, warm: int, seed: int) -> float:
    """The bare loop: bfloat16 weights and their moments."""
    model.to(torch.bfloat16).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
    begin = 0.0
    for step, rows in enumerate(job.batches(warm + steps, True, seed)):
        if step == warm:
            begin = time.perf_counter()
        loss = model(**job.collate(rows, 8))["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    return time.perf_counter() - begin


class Ours:
    """The fast step; swap this class for the toolkit's trainer to measure that."""

    def __init__(self, job: Job, model: Classifier) -> None:
        self.job, self.model = job, model.train()
        self.fast = FastBody(model.body, seed=job.seed, sparse=True)
        self.optimizer = MasterAdamW(
            model,
            weight_decay=0.0,
            dtype=torch.bfloat16,
            sparse=["body.embeddings.word_embeddings.weight"],
            transposed=[f"body.{name}" for name in self.fast.transposed()],
        )
        self.fast.before_rows = self.optimizer.touch

    def step(self, rows: list[Row], rate: float = RATE) -> float:
        """One update; returns the loss."""
        batch = self.job.collate(rows)
        self.fast.masks.seek(self.optimizer.steps)
        hidden, packing = self.fast(batch["input_ids"], batch["attention_mask"])
        loss = self.model.answer(packing.mean(hidden), batch["labels"])["loss"]
        loss.backward()
        self.optimizer.step(rate, 1.0)
        self.optimizer.zero()
        return loss.item()


def run_ours(job: Job, model: Classifier, steps: int, warm: int, seed: int) -> float:
    """The fast step in a loop."""
    ours = Ours(job, model)
    begin = 0.0
    for step, rows in enumerate(job.batches(warm + steps, True, seed)):
        if step == warm:
            begin = time.perf_counter()
        ours.step(rows)
    return time.perf_counter() - begin


TUNED = {"multiple": 8, "bf16": True, "train_sampling_strategy": "group_by_length"}
RUNS: dict[str, Callable[..., float]] = {
    "trainer": run_trainer,
    "tuned": functools.partial(run_trainer, **TUNED),
    "book": functools.partial(run_trainer, length=LONGEST),
    "loop": run_loop,
    "ours": run_ours,
}


def read(path: Path, split: str, count: int, tokenizer: Tokenizer, vocabulary: int) -> list[Row]:
    """The first rows of an NSMC file, tokenized; ids folded into a small vocabulary if need be."""
    found: list[tuple[str, int]] = []
    with gzip.open(path / f"ratings_{split}.txt.gz", "rt", encoding="utf8", newline="\n") as file:
        next(file)
        for line in file:
            _, text, label = line.rstrip("\n").split("\t")
            found.append((text, int(label)))
            if len(found) == count:
                break
    encoded = tokenizer.encode_batch([text for text, _ in found])
    return [
        ([i % vocabulary for i in e.ids], label)
        for e, (_, label) in zip(encoded, found, strict=True)
    ]


def speed(job: Job, args: argparse.Namespace) -> dict[str, Any]:
    """Samples/s of every way, round by round."""
    chosen = args.ways.split(",")

    def timed(name: str) -> Callable[[int], float]:
        steps = args.steps if name in ("loop", "ours") else max(4, args.steps // 3)
        run = RUNS[name]
        return lambda number: steps * ROWS / run(job, job.build(), steps, args.warm, number)

    say = functools.partial(print, flush=True)
    rounds = interleaved({name: timed(name) for name in chosen}, args.rounds, "samples/s", say)
    out: dict[str, Any] = {"samples_per_second": rounds}
    for name, found in rounds.items():
        line = f"{name:8} {statistics.median(found):8.1f} samples/s"
        if "ours" in rounds:
            ratio = ratios(rounds["ours"], found)
            line += f"   ours is {shown(ratio)}"
            out.setdefault("ratio_of_ours", {})[name] = ratio["median"]
        print(line)
    return out


def shares(job: Job, steps: int) -> dict[str, float]:
    """Where the time of our step goes, from torch's profiler, in percent."""
    ours = Ours(job, job.build())
    rows = list(job.batches(2 * steps, True, 0))
    for batch in rows[:steps]:
        ours.step(batch)
    inner = ours.optimizer.step
    kinds = ("mm", "bmm", "addmm", "addmm_", "baddbmm", "baddbmm_")
    names = {f"aten::{kind}" for kind in kinds} | {"mkldnn::_linear_pointwise"}

    def marked(*args: Any) -> float:
        with torch.profiler.record_function("optimizer"):
            return inner(*args)

    ours.optimizer.step = marked  # type: ignore[method-assign]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        begin = time.perf_counter()
        for batch in rows[steps:]:
            ours.step(batch)
        total = (time.perf_counter() - begin) * 1e6
    events = profile.key_averages()
    optimizer = sum(e.cpu_time_total for e in events if e.key == "optimizer")
    embedding = sum(e.cpu_time_total for e in events if e.key in ("_Rows", "_RowsBackward"))
    products = sum(e.self_cpu_time_total for e in events if e.key in names)
    found = {"optimizer": optimizer, "embedding": embedding, "matrix products": products}
    found = {name: 100 * value / total for name, value in found.items()}
    found["the rest"] = 100 - sum(found.values())
    tokens = sum(len(ids) for batch in rows[steps:] for ids, _ in batch)
    layers = [p for n, p in ours.model.body.named_parameters() if "encoder" in n and p.ndim == 2]
    size = torch.randn(2048, 2048, dtype=torch.bfloat16)
    best = math.inf
    for _ in range(10):
        begin = time.perf_counter()
        size @ size
        best = min(best, time.perf_counter() - begin)
    ideal = 6 * tokens * sum(p.numel() for p in layers) / (2 * 2048**3 / best) * 1e6
    found["matrix products at this machine's peak"] = 100 * ideal / total
    for name, value in found.items():
        print(f"{value:5.1f} %  {name}")
    return found


def accuracy(job: Job, test: list[Row], args: argparse.Namespace) -> dict[str, Any]:
    """Test accuracy of `trainer` and `ours` after equal steps, with 95% intervals."""
    out: dict[str, Any] = {}
    for name in args.ways.split(","):
        begin = time.perf_counter()
        model = job.build()
        if name == "trainer":
            run_trainer(job, model, args.steps, 0, 0)
        elif name == "ours":
            ours = Ours(job, model)
            for step, rows in enumerate(job.batches(args.steps, True, 0)):
                ours.step(rows, RATE * (1 - step / args.steps))
            ours.optimizer.release()
        else:
            continue
        seconds = time.perf_counter() - begin
        model.eval()
        right = 0
        order = sorted(test, key=lambda row: len(row[0]))
        with torch.no_grad():
            for at in range(0, len(order), 100):
                batch = job.collate(order[at : at + 100])
                right += int((model(**batch)["logits"].argmax(1) == batch["labels"]).sum())
        share, n, z = right / len(test), len(test), 1.96
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        print(
            f"{name:8} {100 * share:.2f} %  (95%: {100 * (middle - half):.2f} to "
            f"{100 * (middle + half):.2f})  {seconds:.0f} s",
            flush=True,
        )
        out[name] = {
            "accuracy": share,
            "low": middle - half,
            "high": middle + half,
            "seconds": seconds,
            "steps": args.steps,
            "rows": n,
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=".cache/me5-small", help=f"a folder, or {FRESH}")
    parser.add_argument("--tokenizer", default=".cache/me5-small/tokenizer.json")
    data = os.environ.get("MULGIL_DATA")
    parser.add_argument("--data", default=f"{data}/nsmc" if data else None, required=not data)
    parser.add_argument("--ways", default="trainer,tuned,book,loop,ours")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--warm", type=int, default=4)
    parser.add_argument("--rows", type=int, default=19200)
    parser.add_argument("--test-rows", type=int, default=5000)
    parser.add_argument("--shares", action="store_true", help="profile our step as well")
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--out", help="a JSON file for all figures")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = Tokenizer.from_file(args.tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    vocabulary = 32000 if args.model == FRESH else tokenizer.get_vocab_size()
    path = Path(args.data)
    job = Job(args.model, read(path, "train", args.rows, tokenizer, vocabulary), pad=1)
    found: dict[str, Any] = {
        "model": args.model,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
    }
    if args.accuracy:
        test = read(path, "test", args.test_rows, tokenizer, vocabulary)
        found["accuracy"] = accuracy(job, test, args)
    else:
        found |= speed(job, args)
        if args.shares:
            found["shares"] = shares(job, 12)
    if args.out:
        Path(args.out).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

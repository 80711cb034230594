"""Speed of pretraining, in tokens a second, against transformers as its own examples use it.

The same fresh model (masked-lm: the encoder of recipes/pretrain/mini.toml; causal-lm: a GPT-2 of 4
layers of 256 with 8,000 pieces; dropout off) learns from the same passages by the same tokenizer,
about 4,096 tokens a step, in one process:

    ours     Mulgil's own step: loader with its thread, the fast path, MasterAdamW
    tuned    Trainer with bf16=True, texts joined and cut into blocks of 128 (run_mlm and run_clm's
             group_texts: no padding at all), fused AdamW, as many loader workers as are quickest
    loop     a bare loop over the same blocks, weights and moments in bfloat16: no float32 masters
    comes    Trainer as it comes: float32, a passage a row, padded to the longest of the batch

Every round runs each way once, on fresh weights; the first steps of a run are not timed. Counted
are the tokens that are really fed, special ones included, padding left out; bytes of text a second
follow from the bytes that a token of each way stands for, and are fair between ways to frame a
text. The figure is the median of the rounds; "the best peer" is the quickest of the others.

A passage more of context is not the same work: blocks let a token look at whatever stands before
it in the block, rows of `ours` only at their own passage. `comes` makes fewer steps, because they
take seconds. Passages are those that the recipe's training part would begin with (least hashes
first); without the corpus, words made up by chance, whose figures differ by their lengths.

    MULGIL_DATA=/data python benchmarks/pretraining.py --task both --shares
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else it warns of forked workers

import numpy as np
import torch
import transformers
from torch import nn
from transformers import AutoTokenizer, DataCollatorForLanguageModeling

from _compare import Seen, interleaved, ratios, shown, train
from mulgil import cache, hardware, recipe
from mulgil.errors import UserError
from mulgil.examples import PassageExample
from mulgil.flow import UNASKED, Batch, Schema
from mulgil.loader import BatchLoader
from mulgil.objectives import Lesson

RECIPES = {
    "masked-lm": ("mini.toml", ("model.dropout=0.0",)),
    "causal-lm": ("mini-gpt.toml", ("model.dropout=0.0", "model.layers=4")),
}
FOLDER = Path(__file__).resolve().parents[1] / "recipes" / "pretrain"
BLOCK = 128


def texts(chosen: recipe.Recipe, count: int) -> tuple[list[PassageExample], str]:
    """Return passages of the recipe's training part, or made up ones, and which they are."""
    try:
        rows = chosen.data.make().read({}).rows["train"]
        return list(itertools.islice(rows, count)), "of the recipe's corpus"
    except UserError as error:
        draw = np.random.default_rng(7)
        letters = [chr(0xAC00 + 28 * number) for number in range(399)]
        words = ["".join(draw.choice(letters, 1 + draw.poisson(1.5))) for _ in range(20_000)]
        likely = 1 / np.arange(1, len(words) + 1)
        lengths = np.clip(draw.lognormal(2.4, 0.8, count), 1, 200).astype(int)
        drawn = draw.choice(words, lengths.sum(), p=likely / likely.sum())
        made = np.split(drawn, np.cumsum(lengths)[:-1])
        rows = [PassageExample(f"made:{i}", " ".join(part)) for i, part in enumerate(made)]
        return rows, f"made up by chance ({error})"


@dataclass
class Job:
    """What all ways share."""

    name: str
    chosen: recipe.Recipe
    rows: list[PassageExample]
    origin: str
    workers: int = 0
    bytes_a_token: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        part, seed = self.chosen.tokenizer, self.chosen.trainer.seed
        passages = [row.text for row in self.rows]
        self.task, self.model = self.chosen.task.make(), self.chosen.model.make()
        self.tokenizer = part.plugin.make(part.settings, None, passages, seed)
        self.device, self.precision = hardware.resolve(
            self.chosen.trainer.model_copy(update={"device": "cpu"}), self.model.kind
        )
        self.encoded: Any = cache.windows(self.rows, self.task, self.tokenizer, None)
        with tempfile.TemporaryDirectory(prefix="mulgil-tokenizer-") as folder:
            self.tokenizer.save(Path(folder))
            self.files = AutoTokenizer.from_pretrained(folder)
        found = self.files(passages, return_special_tokens_mask=True, verbose=False)
        ids, special = found["input_ids"], found["special_tokens_mask"]
        self.lines = [
            {"input_ids": i[:BLOCK], "special_tokens_mask": s[:BLOCK], "attention_mask": [1] * n}
            for i, s, n in zip(ids, special, (min(len(i), BLOCK) for i in ids), strict=True)
        ]
        self.blocks, self.special = (
            torch.tensor(
                [*itertools.chain.from_iterable(part)][: sum(map(len, ids)) // 128 * 128]
            ).view(-1, BLOCK)
            for part in (ids, special)
        )
        size = [len(text.encode()) for text in passages]
        kept = sum(s * min(len(i), BLOCK) / len(i) for s, i in zip(size, ids, strict=True))
        joined = sum(size) / sum(map(len, ids))
        self.bytes_a_token = {
            "ours": float(self.encoded.bytes.sum() / self.encoded.lengths.sum()),
            "tuned": joined,
            "loop": joined,
            "comes": kept / sum(len(row["input_ids"]) for row in self.lines),
        }

    @property
    def tokens(self) -> int:
        return int(self.chosen.loader.tokens)

    def network(self) -> Any:
        """The same weights every time, in float32."""
        head = self.task.head(Schema("passage", ()))
        seed = self.chosen.trainer.seed
        return self.model.build(self.tokenizer, head, self.precision, self.device, seed)

    def module(self) -> Any:
        """What `network` holds, as transformers made it."""
        module = self.network().module
        module.config.use_cache = False
        return module

    def collator(self) -> Any:
        if self.name == "causal-lm":
            return DataCollatorForLanguageModeling(self.files, mlm=False)
        rate = self.chosen.task.settings.rate
        return DataCollatorForLanguageModeling(self.files, mlm=True, mlm_probability=rate)


def batches(job: Job, seed: int) -> Iterator[Batch]:
    """Yield batches of our loader, epoch after epoch."""
    asker = job.task.asker(job.tokenizer)
    loader = BatchLoader(job.encoded, None, job.chosen.loader, seed, asker)
    for epoch in itertools.count():
        yield from loader.epoch(epoch)


def run_ours(job: Job, steps: int, warm: int, number: int) -> Seen:
    """The step as the training loop makes it."""
    trainer = job.chosen.trainer
    learner = job.chosen.method.make().learner(job.network(), Lesson(job.task, trainer))
    learner.seed(number)
    seen, begin = Seen(0.0), 0.0
    with contextlib.closing(batches(job, number)) as stream:  # type: ignore[type-var]
        for step, batch in enumerate(itertools.islice(stream, warm + steps)):
            if step == warm:
                seen, begin = Seen(0.0), time.perf_counter()
            _, weight = learner.backward(batch)
            learner.update(trainer.learning_rate, trainer.clip, weight)
            seen.tokens += int(batch.inputs.lengths.sum())
            seen.asked += int(weight)
        seen.seconds = time.perf_counter() - begin
    return seen


def run_trainer(
    job: Job, steps: int, warm: int, number: int, tuned: bool, workers: int | None = None
) -> Seen:
    """Trainer, tuned or as it comes."""
    trainer, more = job.chosen.trainer, dict[str, Any]()
    if tuned:
        names = ("input_ids", "special_tokens_mask", "attention_mask")
        columns = (job.blocks, job.special, torch.ones_like(job.blocks))
        pairs = zip(*(column.tolist() for column in columns), strict=True)
        rows = [dict(zip(names, values, strict=True)) for values in pairs]
        more = {"bf16": True, "optim": "adamw_torch_fused"}
        more["dataloader_num_workers"] = job.workers if workers is None else workers
        size = job.tokens // BLOCK
    else:
        rows = job.lines
        mean = statistics.mean(len(row["input_ids"]) for row in rows)
        size = round(job.tokens / mean)
    return train(
        job.module(),
        rows,
        job.collator(),
        steps,
        warm,
        per_device_train_batch_size=size,
        learning_rate=trainer.learning_rate,
        weight_decay=trainer.weight_decay,
        max_grad_norm=trainer.clip,
        seed=number,
        **more,
    )


def run_loop(job: Job, steps: int, warm: int, number: int) -> Seen:
    """The bare loop: everything in bfloat16, nothing but what a step needs."""
    trainer, collator = job.chosen.trainer, job.collator()
    torch.manual_seed(number)
    model = job.module().to(torch.bfloat16).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=trainer.learning_rate, weight_decay=trainer.weight_decay, fused=True
    )
    size = job.tokens // BLOCK
    draws = (torch.randperm(len(job.blocks)).split(size) for _ in itertools.count())
    full = (rows for epoch in draws for rows in epoch if len(rows) == min(size, len(job.blocks)))
    seen, begin = Seen(0.0), 0.0
    for step, rows in enumerate(itertools.islice(full, warm + steps)):
        if step == warm:
            seen, begin = Seen(0.0), time.perf_counter()
        ids = labels = job.blocks[rows]
        if job.name == "masked-lm":
            ids, labels = collator.torch_mask_tokens(ids.clone(), job.special[rows])
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), trainer.clip)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        seen.tokens += ids.numel()
        seen.asked += int((labels >= 0).sum())
    seen.seconds = time.perf_counter() - begin
    return seen


def speed(job: Job, args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Tokens a second of every way, round by round."""
    probes = {
        count: run_trainer(job, max(3, args.steps // 4), 2, 0, True, count)
        for count in map(int, args.workers.split(","))
    }
    job.workers = max(probes, key=lambda count: probes[count].tokens / probes[count].seconds)
    say(f"tuned: {job.workers} loader workers are the quickest of {args.workers}")
    few = max(3, args.steps // 8)
    runs: dict[str, Callable[[int], Seen]] = {
        "ours": functools.partial(run_ours, job, args.steps, args.warm),
        "tuned": lambda number: run_trainer(job, args.steps, args.warm, number, True),
        "loop": functools.partial(run_loop, job, args.steps, args.warm),
        "comes": lambda number: run_trainer(job, few, 1, number, False),
    }
    asked: dict[str, float] = {}

    def timed(name: str, number: int) -> float:
        seen = runs[name](number)
        asked[name] = seen.asked / seen.tokens
        return seen.tokens / seen.seconds

    ways = {name: functools.partial(timed, name) for name in args.ways.split(",")}
    found = interleaved(ways, args.rounds, "tokens/s", say)
    median = {name: statistics.median(values) for name, values in found.items()}
    out = {"tokens_per_second": found, "workers": job.workers, "asked": asked}
    out["bytes_a_token"] = {name: job.bytes_a_token[name] for name in found}
    out["ratio_of_ours"] = {}
    for name, values in found.items():
        text = job.bytes_a_token[name]
        line = f"{name:6} {median[name]:10,.0f} tokens/s {median[name] * text:12,.0f} bytes/s"
        line += f"   asked {100 * asked[name]:4.1f} %"
        if "ours" in found and name != "ours":
            ratio = ratios(found["ours"], values)
            by_bytes = ratio["median"] * job.bytes_a_token["ours"] / text
            out["ratio_of_ours"][name] = ratio | {"bytes": by_bytes}
            line += f"   ours is {shown(ratio)}, in bytes {by_bytes:.2f} x"
        say(line)
    if out["ratio_of_ours"]:
        out["best_peer"] = max((n for n in median if n != "ours"), key=lambda n: median[n])
        ratio = out["ratio_of_ours"][out["best_peer"]]
        say(f"against the best peer ({out['best_peer']}): {shown(ratio)}")
    return out


def shares(job: Job, steps: int, warm: int, say: Callable[[str], None]) -> dict[str, float]:
    """Where the time of our step goes, by the wall clock, in percent."""
    trainer, network = job.chosen.trainer, job.network()
    learner = job.chosen.method.make().learner(network, Lesson(job.task, trainer))
    inner, body = network._fast, [0.0]

    def fast(*inputs: Any) -> Any:
        begin = time.perf_counter()
        found = inner(*inputs)
        body[0] += time.perf_counter() - begin
        return found

    network._fast = fast
    network.module.train()
    total = np.zeros(5)
    with contextlib.closing(batches(job, 0)) as stream:  # type: ignore[type-var]
        for step in range(warm + steps):
            if step == warm:
                total[:] = 0
            begin, body[0] = time.perf_counter(), 0.0
            batch = next(stream)
            got = time.perf_counter()
            loss = network.loss(batch.inputs)
            lost = time.perf_counter()
            loss.backward()
            back = time.perf_counter()
            asked = float((batch.inputs.targets != UNASKED).sum())
            learner.update(trainer.learning_rate, trainer.clip, asked)
            end = time.perf_counter()
            parts = (got - begin, body[0], lost - got - body[0], back - lost, end - back)
            total += parts
    names = ("batch", "body, forward", "head with its gradient", "body, backward", "optimizer")
    found = dict(zip(names, (100 * total / total.sum()).tolist(), strict=True))
    for name, value in found.items():
        say(f"{value:5.1f} %  {name}")
    say(f"{1000 * total.sum() / steps:5.0f} ms a step")
    return found | {"milliseconds": 1000 * float(total.sum()) / steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--task", choices=[*RECIPES, "both"], default="both")
    parser.add_argument("--ways", default="ours,tuned,loop,comes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warm", type=int, default=6, help="steps before those that are timed")
    parser.add_argument("--passages", type=int, default=20_000)
    parser.add_argument("--workers", default="0,1", help="loader workers to try for `tuned`")
    parser.add_argument("--threads", type=int, help="of torch; as many as it takes by itself")
    parser.add_argument("--shares", action="store_true", help="where the time of our step goes")
    parser.add_argument("--json", action="store_true", help="print one line of JSON alone")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if args.threads:
        torch.set_num_threads(args.threads)
    say = (lambda line: None) if args.json else functools.partial(print, flush=True)
    out: dict[str, Any] = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "machine": hardware.describe(),
    }
    for name in RECIPES if args.task == "both" else [args.task]:
        file, overrides = RECIPES[name]
        more = (*overrides, f"data.train_rows={args.passages}")
        chosen = recipe.read(str(FOLDER / file), more)
        job = Job(name, chosen, *texts(chosen, args.passages))
        network = job.network()
        what = type(network.module).__name__
        say(
            f"{name}: {what}, {network.parameters_total:,} weights, {job.tokenizer.size:,} pieces;"
            f" {len(job.rows):,} passages {job.origin}, {len(job.encoded):,} windows of"
            f" {job.encoded.lengths.mean():.1f} tokens; ours in {job.precision},"
            f" {torch.get_num_threads()} threads"
        )
        out[name] = {"model": what, "text": job.origin, "precision": job.precision}
        out[name] |= speed(job, args, say)
        if args.shares:
            out[name]["shares"] = shares(job, args.steps, args.warm, say)
    if args.json:
        print(json.dumps(out, ensure_ascii=False))


if __name__ == "__main__":
    main()

"""In context: rows a second and equal answers, beside lm-evaluation-harness on the same prompts.

    pip install lm_eval==0.4.13
    python benchmarks/in_context.py nsmc-few-shot model.pretrained=DIR --shots 8 --rows 200

Both sides get the very same token ids and one copy of the weights each, in the same precision; both
score the words of every label, and neither is charged for its tokenizer. The harness is called at
`loglikelihood` below its tokenization, with the batch sizes named, the fastest of which counts, and
with its cache of one-token answers, as it comes. The sides take turns on the same slices of test
rows, so that what else the machine does falls on both; the ratio is told with its spread over the
slices. Answers are compared on all rows, uncalibrated, and so are ln p.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mulgil import pipeline, recipe
from mulgil.flow import Array


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--batches", default="1,8,32", help="batch sizes the harness may choose of")
    chosen = parser.parse_args()
    more = [f"data.test_rows={chosen.rows}", "method.name=few-shot", "method.draws=1"]
    more += [f"method.shots={chosen.shots}", "method.calibration=none"]
    made = pipeline.prepare(recipe.read(chosen.recipe, [*chosen.settings, *more]))
    network = pipeline.build(made)
    learner: Any = pipeline.teach(made, network)
    asking, encoded = learner.network, made.loaders.test.encoded
    prefix = asking.prefix(asking.plan.draws[0].shots)
    prompts = [prefix + segment for segment in encoded.segments]
    words = [made.tokenizer.segment(word) for word in asking.plan.words]
    harness = Harness(Path(str(made.model.source())), network.dtype, words)
    sizes = {int(size) for size in chosen.batches.split(",")}
    speeds = {size: timed(lambda s=size: harness.score(prompts[:32], s))[1] for size in sizes}
    best = min(speeds, key=lambda size: speeds[size])
    timed(lambda: asking.scores(encoded.segments[:32]))  # both sides have run once
    tokens = round(float(np.mean([len(prompt) for prompt in prompts])))
    print(f"{len(prompts)} rows, prompts of {tokens} tokens on average, {network.dtype}")
    print("harness, 32 rows, by batch size:", {k: round(32 / v, 2) for k, v in speeds.items()})
    ours, theirs, ratios = [], [], []
    for part in np.array_split(np.arange(len(prompts)), chosen.slices):
        mine, fast = timed(lambda p=part: asking.scores([encoded.segments[i] for i in p]))
        their, slow = timed(lambda p=part: harness.score([prompts[i] for i in p], best))
        ours.append(mine)
        theirs.append(their)
        ratios.append(slow / fast)
        print(
            f"{len(part)} rows: ours {len(part) / fast:.2f}, harness {len(part) / slow:.2f}"
            f" rows a second, {slow / fast:.2f} x",
            flush=True,
        )
    if asking.shortened:
        raise SystemExit("examples were left out of some prompts; set tokenizer.max_length lower")
    tell(np.concatenate(ours), np.concatenate(theirs), ratios)


class Harness:
    """lm-evaluation-harness around its own copy of the weights.

    Args:
        folder: the checkpoint.
        dtype: of the weights.
        choices: token ids of each label's word.
    """

    def __init__(self, folder: Path, dtype: Any, choices: list[list[int]]) -> None:
        from lm_eval.models.huggingface import HFLM

        self._choices = choices
        name = str(dtype).removeprefix("torch.")
        self._model = HFLM(pretrained=str(folder), dtype=name, device="cpu", batch_size=1)

    def score(self, prompts: list[list[int]], size: int) -> Array:
        """Return float64 [prompts, labels], ln p of each label's word."""
        asked = [
            ((str(row), str(label)), prompt, choice)
            for row, prompt in enumerate(prompts)
            for label, choice in enumerate(self._choices)
        ]
        found = self._model._loglikelihood_tokens(asked, disable_tqdm=True, override_bs=size)
        return np.array([value for value, _ in found]).reshape(len(prompts), -1)


def timed(work: Callable[[], Array]) -> tuple[Array, float]:
    """Return what a piece of work gives, and its seconds."""
    started = time.perf_counter()
    found = work()
    return found, time.perf_counter() - started


def tell(ours: Array, theirs: Array, ratios: list[float]) -> None:
    equal = ours.argmax(1) == theirs.argmax(1)
    apart = np.abs(ours - theirs).max(1)
    print(
        f"ratio of rows a second: median {np.median(ratios):.2f} x"
        f" ({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} slices)"
    )
    print(f"same answer: {equal.sum():,} of {len(equal):,} rows ({equal.mean():.2%})")
    print(f"ln p apart: median {np.median(apart):.2g}, most {apart.max():.2g}")
    for row in np.flatnonzero(~equal):
        lead = np.ptp(np.sort(ours[row])[-2:])
        print(f"  row {row}: ours leads by {lead:.2g} nats, ln p apart by {apart[row]:.2g}")


if __name__ == "__main__":
    main()

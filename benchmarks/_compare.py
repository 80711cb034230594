"""What comparisons with transformers share: its Trainer by the clock, and interleaved rounds.

Chosen: every round runs each way once, so that a noisy machine is noisy to all of them alike, and
ratios are taken within a round. It costs a fresh model for every run.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

Say = Callable[[str], None]


@dataclass
class Seen:
    """What was learnt from in the timed steps."""

    seconds: float
    tokens: int = 0
    asked: int = 0


class _Clock(TrainerCallback):  # type: ignore[misc]
    """Seconds between the end of step `warm` and the end of training."""

    def __init__(self, warm: int) -> None:
        self.warm, self.begin, self.end = warm, 0.0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.warm:
            self.begin = time.perf_counter()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.end = time.perf_counter()


class _Counted(Trainer):  # type: ignore[misc]
    """Counts what it is fed: (tokens without padding, labels that are asked for) a step."""

    def training_step(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        asked = int((inputs["labels"] >= 0).sum())
        self.fed.append((int(inputs["attention_mask"].sum()), asked))
        return super().training_step(model, inputs, *rest, **more)


def train(
    model: nn.Module,
    rows: list[dict[str, Any]],
    collate: Callable[[list[Any]], dict[str, Any]],
    steps: int,
    warm: int,
    **settings: Any,
) -> Seen:
    """Let Trainer make `steps` steps after `warm` that are not timed.

    Args:
        model: learns in place.
        rows: what `collate` makes batches of.
        collate: gives `attention_mask` and `labels` at least.
        steps: that are timed.
        warm: steps before them.
        settings: of `TrainingArguments`.
    """
    clock = _Clock(warm)
    with tempfile.TemporaryDirectory(prefix="mulgil-training-") as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=warm + steps,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            **settings,
        )
        trainer = _Counted(
            model=model,
            args=arguments,
            train_dataset=rows,
            callbacks=[clock],
            data_collator=collate,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.fed = []
        trainer.train()
    timed = trainer.fed[warm:]
    return Seen(clock.end - clock.begin, sum(t for t, _ in timed), sum(a for _, a in timed))


def interleaved(
    ways: Mapping[str, Callable[[int], float]], rounds: int, unit: str, say: Say
) -> dict[str, list[float]]:
    """Return what each way gives in each round; a way is called with the round's number."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, run in ways.items():
            found[name].append(run(number))
            say(f"round {number + 1} {name:8} {found[name][-1]:10,.1f} {unit}")
    return found


def ratios(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Return median, least and most of the rounds' ratios."""
    found = [one / other for one, other in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(found), "low": min(found), "high": max(found)}


def shown(ratio: Mapping[str, float]) -> str:
    """Return `1.62 x  (1.58 to 1.70)`."""
    return f"{ratio['median']:5.2f} x  ({ratio['low']:.2f} to {ratio['high']:.2f})"

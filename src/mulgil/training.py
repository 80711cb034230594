"""Step 7, trainer: one small loop for every learner that learns by steps.

Chosen: the loop owns the order of things (batches, accumulation, schedule, looks at the
validation rows, checkpoints, signals) and knows no torch; numbers and their state belong to the
learner. The learning rate is a function of progress, from 0 to 1 over all epochs, so that
resuming, partial accumulation and a fraction of an epoch need no count of steps. A group of
batches that makes one step is divided by its real rows, so that 8x1 = 4x2 = 1x8 and the last,
smaller group weighs right; one that asks for nothing (a text of unknown tokens has none to hide) is
a step that changes nothing. Resuming starts from the newest whole checkpoint and repeats what
came after it, so a run that was killed anywhere ends with the same bits. It costs the work
since the last checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from mulgil.contracts import Loader
from mulgil.errors import DivergedError, ModelError, RunError, StoppedError
from mulgil.flow import Batch, Outcome
from mulgil.networks import Stepped

Look = Callable[[Callable[[], None]], dict[str, float]]
"""Scores the validation rows; calls its argument between batches, which may raise."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


@dataclasses.dataclass(slots=True)
class Position:
    """Where a run stands; all of it is in every checkpoint.

    Attributes:
        step: groups of batches done, each an update.
        epoch: full passes made.
        batch: batches done within the epoch.
        looks: looks at the validation rows made.
        looked: step of the last look, -1 before the first.
        waiting: looks since the best one.
        best: best validation figure, None before the first look.
        seconds: time spent in the loop, over all resumptions.
        journal: length of the journal in bytes.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    looks: int = 0
    looked: int = -1
    waiting: int = 0
    best: float | None = None
    seconds: float = 0.0
    journal: int = 0


def learning_rate(progress: float, settings: Any) -> float:
    """Return the learning rate at `progress` (0 to 1): warm-up in a line, then the schedule."""
    peak = float(settings.learning_rate)
    if progress < settings.warmup:
        return peak * progress / float(settings.warmup)
    left = (1 - progress) / (1 - float(settings.warmup))
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * (1 - left)))
    return peak * max(left, 0.0)


class Trainer:
    """The loop over one learner.

    Args:
        learner: learns by steps.
        train: batches to learn from.
        look: scores the validation rows, or None when there are none.
        settings: the recipe's trainer settings.
        run: gives `journal`, `checkpoints`, `say` and `row_ids`.
        metric: the validation figure that picks the best weights.
        higher: whether a higher figure is better.
    """

    def __init__(
        self,
        learner: Stepped,
        train: Loader,
        look: Look | None,
        settings: Any,
        run: Any,
        metric: str,
        higher: bool,
    ) -> None:
        self.learner = learner
        self.train = train
        self.look = look
        self.settings = settings
        self.run = run
        self.metric = metric
        self.higher = higher
        self.at = Position()
        self._signal: int | None = None
        self._started = 0.0
        self._saved_at = 0.0
        self._saved_step = -1
        self._told = 0

    def fit(self) -> Outcome:
        """Train from the newest checkpoint, or from the start, and leave the best weights in place.

        Raises:
            StoppedError: a signal came; the state is saved.
            DivergedError: the loss or the gradient is no number; nothing was updated.
        """
        self._resume()
        self._started = time.monotonic() - self.at.seconds
        self._saved_at = time.monotonic()
        with signals(self._note), self.run.progress(self.settings.epochs, self._passed()) as bar:
            reason = self._loop(bar)
        if self.look is not None:
            self._keep_best()
        return Outcome(
            steps=self.at.step,
            epochs=round(self._passed(), 6),
            seconds=self.at.seconds,
            best=self.at.best,
            stopped=reason,
        )

    # ------------------------------------------------------------ the loop

    def _loop(self, bar: Any) -> str:
        """Run until a reason to end, and return it."""
        while True:
            self._check_stop()
            if self._look_due():
                self._look()
                continue
            if self.settings.patience and self.at.waiting >= self.settings.patience:
                return "early stopping"  # asked here, so that a resumed run stops there as well
            if self._passed() >= self.settings.epochs:
                return "finished"
            if self._out_of_time():
                if self.at.looked == self.at.step:
                    return "time limit"
                self._look()
                continue
            self._part(bar)

    def _part(self, bar: Any) -> None:
        """Run steps up to the next point at which something other than a step is due."""
        total = self.train.batches(self.at.epoch)
        batches = self.train.epoch(self.at.epoch, self.at.batch)
        with contextlib.closing(batches):  # type: ignore[type-var]
            for group in _groups(batches, self.settings.accumulate):
                self._step(group, total, bar)
                if self.at.batch >= total:
                    self.at.epoch, self.at.batch = self.at.epoch + 1, 0
                    return
                if self._interrupted():
                    return
                if time.monotonic() - self._saved_at > self.settings.save_minutes * 60:
                    self._save(None)

    def _interrupted(self) -> bool:
        """Say whether the loop must look up from its steps."""
        return (
            self._signal is not None
            or self._look_due()
            or self._passed() >= self.settings.epochs
            or self._out_of_time()
        )

    def _step(self, group: list[Batch], total: int, bar: Any) -> None:
        middle = self.at.epoch + (self.at.batch + len(group) / 2) / total
        rate = learning_rate(min(middle / self.settings.epochs, 1.0), self.settings)
        started = time.monotonic()
        loss = weight = 0.0
        for batch in group:
            with _memory(batch):
                part, rows = self.learner.backward(batch)
            loss, weight = loss + part, weight + rows
        if not math.isfinite(loss):
            self._diverged(group, f"loss {loss:g}")
        norm = self.learner.update(rate, self.settings.clip, weight)
        if not math.isfinite(norm):
            self._diverged(group, f"gradient norm {norm:g} at loss {loss:g}")
        self.at.step += 1
        self.at.batch += len(group)
        rows_done = sum(len(batch.rows) for batch in group)
        if not weight:
            return
        bar.step(self._passed(), rows_done, loss / weight)
        if self.at.step % self.settings.log_every == 0:
            speed = rows_done / max(time.monotonic() - started, 1e-9)
            self.run.journal.write(
                "step",
                step=self.at.step,
                epoch=round(self._passed(), 4),
                loss=loss / weight,
                learning_rate=rate,
                norm=norm,
                rows_per_second=round(speed, 1),
                seconds=round(self._seconds(), 3),
            )

    def _diverged(self, group: list[Batch], seen: str) -> NoReturn:
        ids = [self.run.row_id(int(row)) for batch in group for row in batch.rows]
        self.run.write("diverged.json", json.dumps({"step": self.at.step + 1, "rows": ids}))
        shown = ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
        raise DivergedError(
            f"step {self.at.step + 1}: {seen} is no finite number; nothing was updated. Rows of the"
            f" step: {shown} (all in diverged.json). Lower trainer.learning_rate or look at these"
            " rows, and train under another name"
        )

    # ------------------------------------------------------------ looks and checkpoints

    def _look_due(self) -> bool:
        if self.at.step == 0:
            return False
        ended = self._passed() >= self.settings.epochs
        return self._looks() > self.at.looks or (ended and self.at.looked != self.at.step)

    def _looks(self) -> int:
        """Return how many looks there are until here."""
        return int(self._passed() / self.settings.evaluate_every + 1e-9)

    def _look(self) -> None:
        """Score the validation rows, where there are any, remember the best, save."""
        figures = self.look(self._check_stop) if self.look is not None else {}
        self.at.looks, self.at.looked = self._looks(), self.at.step
        if not figures:
            return self._save(None)
        value = figures[self.metric]
        better = math.isfinite(value) and (
            self.at.best is None or (value > self.at.best if self.higher else value < self.at.best)
        )
        self.at.waiting = 0 if better else self.at.waiting + 1
        if better:
            self.at.best = value
        self.run.journal.write(
            "valid", step=self.at.step, epoch=round(self._passed(), 4), best=better, **figures
        )
        shown = "  ".join(f"{name} {figure:.4f}" for name, figure in figures.items())
        star = "  (best)" if better else ""
        self.run.say(f"     epoch {self._passed():.2f}  step {self.at.step}  {shown}{star}")
        self._save(value if math.isfinite(value) else None)

    def _save(self, value: float | None) -> None:
        self.at.seconds = self._seconds()
        self.at.journal = self.run.journal.flush()
        self.run.checkpoints.save(
            self.at.step,
            self.learner.state(),
            {"position": dataclasses.asdict(self.at)},
            value,
            self.higher,
        )
        self._saved_at = time.monotonic()
        self._saved_step = self.at.step

    def _resume(self) -> None:
        newest = self.run.checkpoints.newest()
        self._tell_notes()
        if newest is None:
            self.run.journal.cut(0)
            return
        self.learner.restore(newest.arrays)
        self.at = _position(newest)
        self.run.journal.cut(self.at.journal)
        self._saved_step = self.at.step
        self.run.say(f"     resumed at step {self.at.step}, epoch {self._passed():.2f}")

    def _keep_best(self) -> None:
        """Put the best weights back when the last ones are not the best."""
        best = self.run.checkpoints.best()
        self._tell_notes()
        self.at.best = None if best is None else best.metric  # a better one may be damaged
        if best is not None and best.step != self.at.step:
            self.learner.restore(best.arrays)
            self.run.say(f"     weights of step {best.step} kept: best {self.metric} on valid")

    def _tell_notes(self) -> None:
        """Say which checkpoints were passed over, each once."""
        notes: list[str] = self.run.checkpoints.notes
        while self._told < len(notes):
            self.run.say(f"     {notes[self._told]}")
            self._told += 1

    # ------------------------------------------------------------ time and signals

    def _passed(self) -> float:
        """Return the epochs passed, with a fraction."""
        if self.at.batch == 0:
            return float(self.at.epoch)
        return self.at.epoch + self.at.batch / self.train.batches(self.at.epoch)

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _out_of_time(self) -> bool:
        limit = self.settings.time_limit
        return limit is not None and self._seconds() >= limit * 60

    def _check_stop(self) -> None:
        """Save and leave when a signal has come."""
        if self._signal is None:
            return
        if self._saved_step != self.at.step:
            self._save(None)
        name = signal.Signals(self._signal).name
        raise StoppedError(
            f"stopped by {name} at step {self.at.step}; the state is saved, go on with --resume",
            self._signal,
        )

    def _note(self, number: int, frame: Any) -> None:
        """Turn a signal into a flag; a second one ends the process at once."""
        if self._signal is not None:
            raise StoppedError(f"stopped by a second {signal.Signals(number).name}", number)
        self._signal = number


@contextlib.contextmanager
def signals(note: Callable[[int, Any], None]) -> Iterator[None]:
    """Call `note` when a signal asks the run to stop, with its number and the frame."""
    before = {}
    with contextlib.suppress(ValueError):  # not the main thread: no handlers can be set
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup shall have its way
                before[number] = signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _position(saved: Any) -> Position:
    """Return where a checkpoint stands.

    Raises:
        RunError: something is missing or unknown there, as in one of another release.
    """
    found = saved.state.get("position")
    known = {field.name for field in dataclasses.fields(Position)}
    if not isinstance(found, dict) or found.keys() != known:
        names = sorted(known ^ found.keys()) if isinstance(found, dict) else ["position"]
        raise RunError(
            f"{saved.path}: missing or unknown in its state: {', '.join(names)}; resume with the"
            " release that wrote it, or train under another name"
        )
    return Position(**found)


def _groups(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Yield lists of `size` batches; the last may be shorter."""
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


@contextlib.contextmanager
def _memory(batch: Batch) -> Iterator[None]:
    """Say which batch did not fit; the batch is never changed silently."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and "memory" not in text and "alloc" not in text:
            raise
        ids = getattr(batch.inputs, "ids", None)
        width = f" of {ids.shape[1]} tokens" if ids is not None else ""
        raise ModelError(
            f"out of memory on a batch of {len(batch.rows)} rows{width}; lower loader.tokens or"
            " loader.rows and raise trainer.accumulate. The last checkpoint is whole"
        ) from error

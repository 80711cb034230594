"""A run that takes seconds: a tiny encoder on sample rows, and what must be the same of two runs.

23 batches an epoch, two a step: 12 steps an epoch, the last of one batch; 5 epochs are 60 steps.
It overfits within them, so that the best weights are not the last ones.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from _cli import Done, Hook, Warm, warm_parent

STEPS = 60
BATCHES = 23
RECIPE = """\
name = "tiny"

[data]
name = "sample"
train_rows = 180
test_rows = 40
valid_share = 0.05

[model]
name = "encoder"
hidden = 32
layers = 1
heads = 2
positions = 32
pooling = "mean"
dropout = 0.1

[tokenizer]
vocab_size = 400
max_length = 24

[loader]
rows = 8

[trainer]
epochs = 5
accumulate = 2
learning_rate = 1e-2
log_every = 1
evaluate_every = 0.4
metric = "loss"
"""
OFTEN = "trainer.save_minutes=1e-9"
"""A checkpoint after every step, instead of at the looks only."""

_TIMES = {"seconds", "feature_seconds", "rows_per_second", "peak_memory_gb", "finished"}


LANGUAGE = """\
name = "tiny"

[data]
name = "corpus"
paths = ["texts.txt"]
valid_share = 0.15
test_share = 0.1

[model]
name = "{model}"
hidden = 16
layers = 1
heads = 2
positions = 24
dropout = 0.1

[tokenizer]
vocab_size = 300
max_length = 24

[loader]
tokens = 48

[task]
name = "{task}"

[trainer]
epochs = 10
accumulate = 2
learning_rate = 1e-2
log_every = 1
evaluate_every = 0.4
"""
MASKED = LANGUAGE.format(model="encoder", task="masked-lm")
CAUSAL = LANGUAGE.format(model="decoder", task="causal-lm")

_WHEN = ("새벽에", "점심때", "저녁마다", "비 오는 날", "주말이면")
_WHO = ("할머니는", "우리 반 아이들은", "옆집 고양이는", "버스 기사님은")
_WHAT = ("강가를 천천히 걸었다", "시장에서 귤을 골랐다", "창문을 활짝 열어 두었다")
SENTENCES = [f"{when} {who} {what}." for when in _WHEN for who in _WHO for what in _WHAT]
"""Sixty sentences to learn a language from."""


class Tiny:
    """A folder in which a tiny recipe is trained."""

    def __init__(self, warm: Warm, folder: Path, recipe: str = RECIPE) -> None:
        self.warm = warm
        self.folder = folder
        self.run = folder / "runs" / "tiny"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tiny.toml").write_text(recipe)
        (folder / "texts.txt").write_text("".join(f"{line}\n" for line in SENTENCES))

    @staticmethod
    def words(*settings: str) -> list[str]:
        return ["train", "tiny.toml", *settings]

    def train(self, *settings: str, hooks: list[Hook] | None = None) -> Done:
        return self.warm.run(*self.words(*settings), cwd=self.folder, hooks=hooks or [])

    def resume(self, *settings: str, hooks: list[Hook] | None = None) -> Done:
        return self.train("--resume", *settings, hooks=hooks)

    def steps(self) -> list[int]:
        """Steps of the checkpoints."""
        return sorted(int(p.name.split("-")[1]) for p in self.run.glob("checkpoints/step-*"))


def lines(run: Path) -> list[dict[str, Any]]:
    """The journal without what depends on the clock."""
    text = (run / "journal.jsonl").read_text()
    found = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in line.items() if k not in _TIMES} for line in found]


def timeless(value: Any) -> Any:
    """A record without what depends on the clock, at any depth."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in _TIMES}
    return value


def essence(run: Path) -> dict[str, Any]:
    """Everything of a finished run that must be bit-identical, however often it was killed."""
    found: dict[str, Any] = {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.glob("model/*"))
    }
    for folder in sorted(run.glob("checkpoints/step-*")):
        state = json.loads((folder / "state.json").read_text())
        for name in ("seconds", "journal"):  # the journal's length depends on the clock's digits
            del state["state"]["position"][name]
        arrays = (folder / "arrays.safetensors").read_bytes()
        name = "-".join(folder.name.split("-")[:2])  # one that was saved again has a number behind
        assert name not in found, "the same step twice"
        found[name] = state, hashlib.sha256(arrays).hexdigest()
    found["journal"] = lines(run)
    found["predictions"] = (run / "predictions.jsonl").read_text()
    found["result"] = timeless(json.loads((run / "result.json").read_text()))
    return found


def snapshot(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of every file; the lock's file says who holds it, and is left out."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@functools.cache
def _parent() -> Warm:
    """One parent for all modules of this worker: an imported fixture is made anew in each."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(warm_parent())


@functools.cache
def _whole() -> Tiny:
    tiny = Tiny(_parent(), _parent().folder / "whole")
    done = tiny.train()
    assert done.code == 0, done.err
    return tiny


@pytest.fixture(scope="session")
def warm() -> Warm:
    """The warm parent of this worker."""
    return _parent()


@pytest.fixture(scope="session")
def whole() -> Tiny:
    """The run that nothing befell."""
    return _whole()


@pytest.fixture
def tiny(warm: Warm, tmp_path: Path) -> Tiny:
    """A fresh folder for the same run."""
    return Tiny(warm, tmp_path)

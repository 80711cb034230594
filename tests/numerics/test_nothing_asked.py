"""Batches that ask for nothing: texts of unknown tokens have none that could be hidden."""

from __future__ import annotations

import sys
from pathlib import Path

from _point import Point, teach

from mulgil.flow import Batch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flow"))
from _cli import Warm
from _tiny import MASKED, OFTEN, Tiny, essence, lines, warm

__all__ = ["warm"]


class Silent(Point):
    """Is asked nothing of these rows."""

    def __init__(self, *rows: int) -> None:
        super().__init__()
        self.rows = set(rows)

    def backward(self, batch: Batch) -> tuple[float, float]:
        if self.rows.issuperset(batch.rows.tolist()):
            return 0.0, 0.0
        return super().backward(batch)

    def update(self, rate: float, clip: float, weight: float) -> float:
        return super().update(rate, clip, weight) if weight else 0.0


def test_a_group_that_asks_for_nothing_changes_nothing_and_is_counted(tmp_path: Path) -> None:
    """TR-03: its batches pass, looks and checkpoints come in their order, no figure is made up."""
    point = Silent(2, 3, 8, 9)  # the second batch of five and the last
    outcome, _, _ = teach(tmp_path / "run", point, [2] * 5, [0.5, 0.7], epochs=2)
    assert (outcome.steps, outcome.epochs, outcome.best) == (10, 2.0, 0.7)
    assert len(point.updates) == 6
    found = lines(tmp_path / "run")
    assert [line["step"] for line in found if line["kind"] == "step"] == [1, 3, 4, 6, 8, 9]
    assert [line["step"] for line in found if line["kind"] == "valid"] == [5, 10]


def test_half_a_group_that_asks_for_nothing_weighs_nothing(tmp_path: Path) -> None:
    point = Silent(2, 3)
    teach(tmp_path / "run", point, [2] * 2, None, epochs=1, accumulate=2)
    assert [weight for _, weight, _ in point.updates] == [2]


SYLLABLES = '[tokenizer]\nname = "syllable"\nbyte_fallback = false'


def test_unknown_syllables_alone_end_no_run(warm: Warm, tmp_path: Path) -> None:
    """RS-01: such batches are passed over, and a run that was killed behind one is the same."""
    texts = [chr(0xAC00 + 37 * i + 1) + chr(0xAC00 + 37 * i + 2) for i in range(60)]
    common = [chr(0xAC00 + 37 * (i % 80)) for i in range(800)]
    texts += ["".join(common[i : i + 9]) for i in range(0, 780, 13)]
    settings = ["tokenizer.vocab_size=64", "loader.tokens=8", "loader.rows=1", "trainer.epochs=1"]
    settings += ["trainer.accumulate=1"]
    runs = []
    for name in ("undisturbed", "disturbed"):
        run = Tiny(warm, tmp_path / name, MASKED.replace("[tokenizer]", SYLLABLES))
        (run.folder / "texts.txt").write_text("".join(f"{text}\n" for text in texts))
        runs.append(run)
    whole, killed = runs
    done = whole.train(*settings)
    assert done.code == 0, done.err
    steps = [line["step"] for line in lines(whole.run) if line["kind"] == "step"]
    missing = sorted({*range(1, steps[-1])} - {*steps})
    assert missing
    hooks = [["at", "updated", missing[len(missing) // 2], "SIGKILL"]]
    assert killed.train(*settings, OFTEN, hooks=hooks).code == -9
    assert killed.resume(*settings, OFTEN).code == 0
    assert essence(killed.run) == essence(whole.run)

"""The best checkpoint is damaged before the end: weights and figure are of the same other one."""

from __future__ import annotations

from pathlib import Path

import pytest
from _point import Point, teach

from mulgil.checkpoint import ARRAYS


@pytest.mark.parametrize("later", [[0.5, 0.7, 0.6], [0.5, 0.6, 0.7]])
def test_the_figure_is_that_of_the_weights(tmp_path: Path, later: list[float]) -> None:
    """CK-06: the next best is kept, said aloud, and not called by the lost one's figure."""
    point, after = Point(), {}

    def damage() -> None:
        done = len(after) + 1
        after[2 * done] = float(point.value[0])
        if done == 4:  # within the last look
            (held,) = (tmp_path / "run" / "checkpoints").glob("step-*02")
            content = bytearray((held / ARRAYS).read_bytes())
            content[-1] ^= 1
            (held / ARRAYS).write_bytes(content)

    point.in_look = damage
    outcome, _, folder = teach(tmp_path / "run", point, [2, 2], [0.9, *later], epochs=4)
    assert outcome.steps == 8
    kept = [line for line in folder.said if "kept: best" in line]
    newest = float(point.value[0])
    assert newest in {after[6], after[8]}, "the second best may be gone: the newest is there"
    looked = {4: later[0], 6: later[1], 8: later[2]}
    assert outcome.best == looked[next(s for s, value in after.items() if value == newest)]
    assert outcome.best != 0.9
    assert any("step-00000002" in line for line in folder.said), folder.said
    assert bool(kept) == (newest != after[8])

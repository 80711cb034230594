"""Checkpoints: what is saved comes back, and nothing that happens to the disk loses the newest."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_checkpoints import best_step, newest_step, save, steps

from mulgil import checkpoint as module
from mulgil import storage
from mulgil.checkpoint import ARRAYS, STATE, Checkpoints
from mulgil.errors import RunError, StorageError
from mulgil.storage import MANIFEST, VersionError


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the waiting for the disk, where only the order of names matters."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


# ---------------------------------------------------------------- what is saved comes back


def test_round_trip(tmp_path: Path) -> None:
    """Every kind and shape of array, and every JSON value, comes back bit by bit."""
    rng = np.random.default_rng(7)
    arrays: dict[str, Any] = {
        name: rng.integers(0, 2, (3, 4)).astype(name) for name in sorted(module._DTYPES)
    }
    arrays |= {
        "점 하나": np.array(-0.0),
        "none": np.zeros((0, 4)),
        "turned": rng.random((5, 7)).T[::2],
        "big end": np.arange(3, dtype=">i4"),
        "odd": np.array([np.nan, np.inf, -np.inf, 5e-324]),
    }
    state = {"글": "물\ud800길", "n": 2**127, "x": 0.1, "list": [1, None, True, {"a": []}]}
    Checkpoints(tmp_path).save(12, arrays, state, 0.5)
    found = Checkpoints(tmp_path).newest()
    assert found is not None
    assert (found.step, found.metric, found.state) == (12, 0.5, state)
    assert found.path.name == "step-00000012"
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        got = found.arrays[name]
        assert (got.shape, got.dtype.kind) == (array.shape, array.dtype.kind)
        assert got.tobytes() == array.astype(got.dtype).tobytes(), name
        assert got.flags.writeable


def test_state_is_as_at_the_call(tmp_path: Path) -> None:
    """CK-10: what changes after `save` has returned does not reach the file."""
    weights, state = np.ones(1000, np.float32), {"step": 1}
    Checkpoints(tmp_path).save(1, {"w": weights}, state, None)
    weights[:], state["step"] = 2, 2
    found = Checkpoints(tmp_path).newest()
    assert found is not None
    assert (found.arrays["w"] == 1).all()
    assert found.state == {"step": 1}


@pytest.mark.parametrize(
    "state", [{"a": float("nan")}, {"a": (1, 2)}, {1: "a"}, {"a": {1}}, {"a": np.float32(1)}]
)
def test_state_is_strict_json(tmp_path: Path, state: dict[str, Any]) -> None:
    """A value that would not come back the same is refused before anything is written."""
    with pytest.raises(ValueError, match="not plain JSON"):
        Checkpoints(tmp_path / "c").save(1, {}, state, None)
    assert os.listdir(tmp_path) == []


def test_wrong_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be saved, or never be read again, is refused with a reason."""
    checkpoints = Checkpoints(tmp_path / "c")
    for array in (np.array(["x"]), np.array([None]), np.zeros(2, np.complex128)):
        with pytest.raises(TypeError, match=r'array "x": kind .* cannot be saved'):
            checkpoints.save(1, {"x": array}, {}, None)
    with pytest.raises(ValueError, match="0 or more"):
        checkpoints.save(-1, {}, {}, None)
    with pytest.raises(ValueError, match="at least 1"):
        Checkpoints(tmp_path, keep=0)
    monkeypatch.setattr(module, "_STATE_CAP", 200)
    with pytest.raises(ValueError, match="longer than 200 bytes"):
        checkpoints.save(1, {}, {"x": "y" * 200}, None)
    assert os.listdir(tmp_path) == []
    assert checkpoints.newest() is checkpoints.best() is None


HEAVY = """
import resource, sys
from pathlib import Path
import numpy as np
from mulgil.checkpoint import Checkpoints
arrays = {str(i): np.ones(4 << 20, np.float32) for i in range(4)}
checkpoints = Checkpoints(Path(sys.argv[1]))
checkpoints.save(1, {"small": np.ones(9)}, {}, None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
checkpoints.save(2, arrays, {}, None)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_arrays_are_not_copied(tmp_path: Path) -> None:
    """Saving 64 MB takes next to no memory."""
    answer = subprocess.run(
        [sys.executable, "-c", HEAVY, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert int(answer.stdout) < 16, answer


# ---------------------------------------------------------------- which are kept


@pytest.mark.usefixtures("no_sync")
def test_newest_and_best_stay(tmp_path: Path) -> None:
    """CK-07: after each save there are the newest `keep` and the best, and no others."""
    one, three = tmp_path / "one", tmp_path / "three"
    metrics = [0.3, 0.9, 0.5, 0.9, None, 0.7, 0.95]
    for step, metric in enumerate(metrics):
        save(Checkpoints(one), step, metric)  # as a run that was resumed each time
        save(Checkpoints(three, keep=3), step, metric)
        known = [m for m in metrics[: step + 1] if m is not None]
        best = metrics.index(max(known))
        assert set(map(int, (s or "0" for s in steps(one)))) == {best, step}
        assert set(map(int, (s or "0" for s in steps(three)))) == {best, *range(step + 1)[-3:]}
        assert (newest_step(one), best_step(one)) == (step, best)


@pytest.mark.usefixtures("no_sync")
def test_what_is_best(tmp_path: Path) -> None:
    """CK-09: NaN, infinite and missing metrics are never the best; of equal ones the earlier is."""
    checkpoints = Checkpoints(tmp_path, keep=9)
    for step, metric in enumerate((None, float("nan"), float("inf"), -float("inf"))):
        save(checkpoints, step, metric)
        assert best_step(tmp_path) is None
    for step, metric, best in ((4, -5.0, 4), (5, -5.0, 4), (6, -4.0, 6), (7, float("nan"), 6)):
        save(checkpoints, step, metric)
        assert best_step(tmp_path) == best
    loss = Checkpoints(tmp_path / "loss")
    for step, metric in enumerate((0.5, 0.2, 0.2, 0.3)):
        save(loss, step, metric, higher=False)
    assert best_step(tmp_path / "loss") == 1
    assert newest_step(tmp_path / "loss") == 3


@pytest.mark.usefixtures("no_sync")
def test_a_step_saved_again(tmp_path: Path) -> None:
    """CK-07: a second save of a step, now with a metric, takes the place of the first."""
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 5)
    assert save(checkpoints, 5, 0.4).name == "step-00000005-1"
    assert save(Checkpoints(tmp_path), 5, 0.4).name == "step-00000005-2"
    assert steps(tmp_path) == ["5-2"]
    assert newest_step(tmp_path) == best_step(tmp_path) == 5


@pytest.mark.usefixtures("no_sync")
def test_no_step_back(tmp_path: Path) -> None:
    """A save before the newest valid step is refused: it would be thrown away at once."""
    save(Checkpoints(tmp_path), 5)
    with pytest.raises(RunError, match="holds step-00000005, so step 4 would go backwards"):
        save(Checkpoints(tmp_path), 4)
    assert steps(tmp_path) == ["5"]


@pytest.mark.usefixtures("no_sync")
def test_incomplete_ones_do_not_count(tmp_path: Path) -> None:
    """CK-08: unfinished newer folders push no valid one out, stay, and are said."""
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step, metric in ((1, 0.9), (2, 0.1), (3, 0.2)):
        save(checkpoints, step, metric)
    (tmp_path / "step-00000007").mkdir()
    shutil.copytree(tmp_path / "step-00000003", tmp_path / "step-00000008")
    shutil.copytree(tmp_path / "step-00000003", tmp_path / "step-00000009")
    (tmp_path / "step-00000009" / MANIFEST).unlink()
    (tmp_path / "step-00000010").write_text("a file")
    (tmp_path / "step-00000011").symlink_to("nowhere")
    (tmp_path / "step-12").mkdir()
    assert newest_step(tmp_path) == 3
    again = Checkpoints(tmp_path, keep=2)
    save(again, 7, 0.3)
    assert steps(tmp_path) == ["1", "10", "11", "12", "3", "7", "7-1", "8", "9"]
    found = Checkpoints(tmp_path)
    newest = found.newest()
    assert newest is not None
    assert newest.path.name == "step-00000007-1"
    assert len(found.notes) == 4
    assert "step-00000008/state.json: does not fit its folder" in found.notes[3]
    assert len(again.notes) == 5


def test_order_is_by_step_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TR-09: neither file dates nor a clock that jumps change which is newest, best or kept."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step, metric in ((1, 0.5), (2, 0.5), (3, 0.1), (100_000_000, 0.1)):
        monkeypatch.setattr(time, "time", lambda now=1e9 - step: now)
        path = save(checkpoints, step, metric)
        for place in (path, *path.iterdir()):
            os.utime(place, (1e9 - step, 1e9 - step))
    assert steps(tmp_path) == ["1", "100000000", "3"]
    assert (newest_step(tmp_path), best_step(tmp_path)) == (100_000_000, 1)


# ---------------------------------------------------------------- damage


@pytest.mark.usefixtures("no_sync")
def test_any_flipped_bit_is_seen(tmp_path: Path) -> None:
    """CK-06, RS-10: a flip of any byte of any file: the one before is used, and it is said."""
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2):
        save(checkpoints, step, step / 10)
    rng, flips = random.Random(7), 0
    for name in (ARRAYS, STATE, MANIFEST):
        path = tmp_path / "step-00000002" / name
        whole = path.read_bytes()
        for offset in range(len(whole)):
            flipped = bytes([whole[offset] ^ 1 << rng.randrange(8)])
            path.write_bytes(whole[:offset] + flipped + whole[offset + 1 :])
            found = Checkpoints(tmp_path)
            newest, best = found.newest(), found.best()
            assert newest is not None
            assert best is not None
            assert newest.step == best.step == 1, (name, offset)
            assert [name in note for note in found.notes] == [True], (name, offset)
            flips += 1
        path.write_bytes(whole[:-1])
        assert newest_step(tmp_path) == 1
        path.write_bytes(whole)
    assert flips > 500
    assert newest_step(tmp_path) == best_step(tmp_path) == 2


def rewrite(path: Path, **changes: Any) -> None:
    """Change the state of a checkpoint and give it a manifest that fits."""
    content = json.loads((path / STATE).read_text()) | changes
    text = json.dumps(content)
    kept = path.with_name("kept")
    path.rename(kept)

    def fill(folder: Path) -> None:
        shutil.copy(kept / ARRAYS, folder / ARRAYS)
        (folder / STATE).write_text(text)

    storage.commit_folder(path, fill)
    shutil.rmtree(kept)


@pytest.mark.usefixtures("no_sync")
def test_other_versions_are_refused(tmp_path: Path) -> None:
    """CK-15: a whole checkpoint of another version is no reason to go back: both are named."""
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2):
        save(checkpoints, step, step / 10)
    rewrite(tmp_path / "step-00000002", format=2)
    for ask in (Checkpoints(tmp_path).newest, Checkpoints(tmp_path).best):
        with pytest.raises(VersionError, match="of format 2, but this release reads format 1"):
            ask()
    (tmp_path / "step-00000002" / MANIFEST).write_bytes(storage._manifest(3, {}))
    with pytest.raises(VersionError, match="in format 3, but this release reads format 1"):
        Checkpoints(tmp_path).newest()
    save(Checkpoints(tmp_path), 3)
    assert "2" in steps(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 3},
        {"step": "2"},
        {"metric": float("nan")},
        {"metric": "1"},
        {"higher_is_better": 1},
        {"state": []},
    ],
)
@pytest.mark.usefixtures("no_sync")
def test_hostile_state(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A state that fits its hash but not its form is passed over."""
    for step in (1, 2):
        save(Checkpoints(tmp_path, keep=2), step, step / 10)
    rewrite(tmp_path / "step-00000002", **changes)
    found = Checkpoints(tmp_path)
    assert [c.step for c in (found.newest(), found.best()) if c] == [1, 1]
    assert "state.json: does not fit its folder" in found.notes[0]


@pytest.mark.usefixtures("no_sync")
def test_hostile_arrays(tmp_path: Path) -> None:
    """CK-11, CK-13: pickles, endless headers and strays beside the arrays are not opened."""
    pickled = b"cos\nsystem\n(S'touch canary'\ntR."
    for content in (pickled, b"", (1 << 60).to_bytes(8, "little") + b"{}", b"\xff" * 64):
        shutil.rmtree(tmp_path, ignore_errors=True)
        save(Checkpoints(tmp_path, keep=2), 1)

        def fill(folder: Path, content: bytes = content) -> None:
            shutil.copy(tmp_path / "step-00000001" / STATE, folder / STATE)
            text = (folder / STATE).read_text().replace('"step": 1,', '"step": 2,')
            (folder / STATE).write_text(text)
            (folder / ARRAYS).write_bytes(content)

        storage.commit_folder(tmp_path / "step-00000002", fill)
        found = Checkpoints(tmp_path)
        newest = found.newest()
        assert newest is not None
        assert newest.step == 1
        assert "arrays.safetensors: cannot be opened" in found.notes[0]
    (tmp_path / "step-00000001" / "extra.npy").write_bytes(pickled)
    assert newest_step(tmp_path) is None
    assert not Path("canary").exists()


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be listed is an error, not an empty one."""
    (tmp_path / "c").write_text("a file")
    with pytest.raises(StorageError, match="cannot be read: Not a directory"):
        Checkpoints(tmp_path / "c").newest()

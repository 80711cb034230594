"""Checkpoints through kills, power cuts and readers; ids CK-.. name the faults."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_checkpoints import newest_step, save

from mulgil import checkpoint as module
from mulgil import storage
from mulgil.checkpoint import Checkpoints
from mulgil.errors import RunError, StorageError

KILLER = Path(__file__).parents[2] / "benchmarks" / "checkpoint_kill.py"


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the waiting for the disk, where only the order of names matters."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def test_random_kills(tmp_path: Path) -> None:
    """CK-01, CK-16: 60 SIGKILLs at random moments lose nothing and leave one orphan at most."""
    command = [sys.executable, str(KILLER), "--kills", "60", "--longest", "40", "--json"]
    answer = subprocess.run(
        [*command, "--kilobytes", "64", "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    tally = json.loads(answer.stdout)
    assert answer.returncode == 0, tally
    assert tally["kills"] == 60
    assert tally["killed_in_a_save"] >= 5, tally


@dataclasses.dataclass
class PowerCuts:
    """Remembers what has certainly reached the disk, and can lay out what a power cut may leave.

    Two worlds are tried at every call: names reached the disk at once but unsynced bytes did not;
    and names, too, are as they were at the last sync of their folder.
    """

    folder: Path
    files: dict[int, bytes] = dataclasses.field(default_factory=dict)
    folders: dict[int, dict[str, tuple[int, bool]]] = dataclasses.field(default_factory=dict)
    handles: dict[int, int] = dataclasses.field(default_factory=dict)

    def look(self) -> None:
        """Keep everything open, so that no inode number is given out a second time."""
        for place, _, names in os.walk(self.folder):
            for path in (place, *(os.path.join(place, name) for name in names)):
                inode = os.lstat(path).st_ino
                if inode not in self.handles:
                    self.handles[inode] = os.open(path, os.O_RDONLY)

    def synced(self, handle: int) -> None:
        self.look()
        inode = os.fstat(handle).st_ino
        with (
            os.scandir(handle)
            if os.path.isdir(f"/proc/self/fd/{handle}")
            else open(f"/proc/self/fd/{handle}", "rb") as content
        ):
            if hasattr(content, "read"):
                self.files[inode] = content.read()
            else:
                self.folders[inode] = {e.name: (e.inode(), e.is_dir()) for e in content}

    def lay_out(self, target: Path, late_names: bool) -> None:
        def copy(inode: int, real: Path, to: Path) -> None:
            to.mkdir()
            if late_names:
                entries = self.folders.get(inode, {})
            else:
                with os.scandir(real) as found:
                    entries = {e.name: (e.inode(), e.is_dir()) for e in found}
            for name, (inner, is_folder) in entries.items():
                if is_folder:
                    copy(inner, real / name, to / name)
                else:
                    (to / name).write_bytes(self.files.get(inner, b""))

        copy(self.folder.stat().st_ino, self.folder, target)


def test_power_cut_at_every_call(tmp_path: Path) -> None:
    """CK-05: whatever a power cut leaves, the newest and the best that were saved are whole."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to see which file is synced")
    folder = tmp_path / "real"
    folder.mkdir()
    cuts, number, saved = PowerCuts(folder), itertools.count(), 0
    best = {0: 0, 1: 1, 2: 1, 3: 3, 4: 3}
    real = {name: getattr(os, name) for name in ("fsync", "mkdir", "rename", "unlink", "rmdir")}

    def check() -> None:
        for late_names in (False, True):
            place = tmp_path / str(next(number))
            cuts.lay_out(place, late_names)
            found = Checkpoints(place)
            newest, top = found.newest(), found.best()
            assert (newest.step if newest else 0) in (saved, saved + 1)
            assert (top.step if top else 0) in (best[saved], best[min(saved + 1, 4)])

    def wrapped(name: str) -> Any:
        def call(*args: Any, **options: Any) -> None:
            if name == "fsync":
                cuts.synced(*args)
            else:
                real[name](*args, **options)
                cuts.look()
            check_quietly()

        return call

    failures: list[AssertionError] = []

    def check_quietly() -> None:
        with pytest.MonkeyPatch.context() as inner:
            for name, function in real.items():
                inner.setattr(os, name, function)
            try:
                check()
            except AssertionError as error:
                failures.append(error)

    checkpoints = Checkpoints(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(os, name, wrapped(name))
        for step, metric in ((1, 0.5), (2, 0.1), (3, 0.9), (4, 0.2)):
            save(checkpoints, step, metric)
            saved = step
            check_quietly()
    for handle in cuts.handles.values():
        os.close(handle)
    assert failures == []
    assert next(number) > 80


READER = """
import json, sys
from pathlib import Path
from mulgil.checkpoint import Checkpoints
folder, stop = Path(sys.argv[1]), Path(sys.argv[2])
polls, steps, bests, notes, wrong = 0, [0], [0.0], [], []
print("ready", flush=True)
while not stop.exists():
    checkpoints = Checkpoints(folder)
    newest, best = checkpoints.newest(), checkpoints.best()
    notes += checkpoints.notes
    for found in (newest, best):
        if found is None or not (found.arrays["w"] == found.state["step"]).all():
            wrong.append(str(found))
    steps.append(newest.step if newest else -1)
    bests.append(best.metric if best else -1.0)
    polls += 1
ordered = steps == sorted(steps) and bests == sorted(bests)
seen = len(set(steps))
print(json.dumps({"wrong": wrong + notes, "ordered": ordered, "polls": polls, "seen": seen}))
"""


@pytest.mark.usefixtures("no_sync")
def test_readers_see_whole_checkpoints(tmp_path: Path) -> None:
    """CK-07, CK-17: who reads during 200 saves always finds a whole newest and a whole best."""
    folder, stop = tmp_path / "c", tmp_path / "stop"
    checkpoints = Checkpoints(folder)
    save(checkpoints, 1, 0.0)
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(folder), str(stop)], stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout
        assert reader.stdout.readline() == "ready\n"
        for step in range(2, 202):
            save(checkpoints, step, (step * 7919 % 101) / 101)
        stop.touch()
        answer = json.loads(reader.stdout.read())
    assert answer["wrong"] == []
    assert answer["ordered"]
    assert answer["polls"] > 20
    assert answer["seen"] > 10


@pytest.mark.usefixtures("no_sync")
def test_opened_ones_outlive_their_removal(tmp_path: Path) -> None:
    """CK-17: arrays are read at their first use, also when the folder has gone by then."""
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    first = checkpoints.newest()
    assert first is not None
    save(checkpoints, 2)
    assert not first.path.exists()
    assert (first.arrays["w"] == 1).all()


@pytest.mark.usefixtures("no_sync")
def test_a_folder_that_never_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CK-17: a reader whose every find is gone at once gives up with a reason."""
    names = (f"step-{number:08d}" for number in itertools.count())
    monkeypatch.setattr(Checkpoints, "_names", lambda self: [next(names)])
    with pytest.raises(RunError, match="come and go too fast"):
        Checkpoints(tmp_path).newest()


@pytest.mark.usefixtures("no_sync")
def test_a_listing_that_missed_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CK-17: a listing taken while old went and new came, with neither in it, is taken again."""
    save(Checkpoints(tmp_path), 1)
    listings = iter([[], ["step-00000001"], ["step-00000001"]])
    monkeypatch.setattr(Checkpoints, "_names", lambda self: next(listings))
    assert newest_step(tmp_path) == 1


@pytest.mark.usefixtures("no_sync")
def test_orphans_go_at_the_next_start(tmp_path: Path) -> None:
    """CK-16: what a killed process left is gone after the next save; the living keep theirs."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = storage.temporary(tmp_path, "folder")
    dead = tmp_path / mine.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-")
    for orphan in (mine, dead):
        (orphan / "inner").mkdir(parents=True)
    save(Checkpoints(tmp_path), 1)
    assert mine.exists()
    assert not dead.exists()


@pytest.mark.usefixtures("no_sync")
def test_what_cannot_be_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused removal of an old checkpoint does not spoil the new one."""
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)

    def refused(folder: Path) -> None:
        raise StorageError(f"{folder}: cannot be written: Permission denied")

    monkeypatch.setattr(module, "discard_folder", refused)
    save(checkpoints, 2)
    assert newest_step(tmp_path) == 2
    assert "step-00000001: cannot be written" in checkpoints.notes[0]

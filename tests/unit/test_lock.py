"""One process at a time, also after kills and forks (TR-11)."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mulgil import lock
from mulgil.errors import RunError, StorageError
from mulgil.storage import (
    Lock,
)

# ---------------------------------------------------------------- the lock

HOLD = """
import os, sys, time
from pathlib import Path
from mulgil.storage import Lock
with Lock(Path(sys.argv[1])):
    child = os.fork() if len(sys.argv) > 2 else 1
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holder(path: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *more], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        yield process, child
        process.kill()


def test_second_holder_is_refused(tmp_path: Path) -> None:
    """TR-11: who comes second is told process, host and remedy; a kill frees the lock."""
    path = tmp_path / "lock"
    with holder(path) as (process, _):
        place = rf"in use by process {process.pid} on \S+ since \S+; wait until it ends, or stop it"
        with pytest.raises(RunError, match=place), Lock(path):
            pass
        process.kill()
        process.wait()
        assert path.read_text() != ""
        with Lock(path):
            assert json.loads(path.read_text())[1] == os.getpid()
    assert path.read_text() == ""


def test_children_do_not_keep_the_lock(tmp_path: Path) -> None:
    """TR-11: a forked worker that outlives its killed parent does not lock the folder for ever."""
    with holder(tmp_path / "lock", "fork") as (process, child):
        process.kill()
        process.wait()
        try:
            os.kill(child, 0)
            for _ in range(500):  # the child may not have begun to run yet
                try:
                    with Lock(tmp_path / "lock"):
                        return
                except RunError:
                    time.sleep(0.01)
            pytest.fail("the child of the killed holder keeps the lock")
        finally:
            os.kill(child, signal.SIGKILL)


def test_lock_in_one_process(tmp_path: Path) -> None:
    """The same process is refused as well; what stands in the file is not trusted."""
    path = tmp_path / "lock"
    with Lock(path), pytest.raises(RunError, match=f"process {os.getpid()} on"), Lock(path):
        pass
    with Lock(path):
        path.write_text('["\x1b[31m", 1, "x", "y"]')
        with pytest.raises(RunError, match="in use by another process; wait"), Lock(path):
            pass
    with (
        pytest.raises(StorageError, match="cannot be locked: Not a directory"),
        Lock(path / "x" / "y"),
    ):
        pass


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where flock is not known, the process number in the file decides; another error is said."""
    path, code = tmp_path / "lock", errno.ENOLCK

    def flock(handle: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with Lock(path), pytest.raises(RunError, match=f"process {os.getpid()} on"), Lock(path):
        pass
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path.write_text(json.dumps([lock.PLACE, gone.pid, "00000000", "2026-01-01T00:00:00+00:00"]))
    with Lock(path):
        pass
    path.write_text(json.dumps(["far+1", gone.pid, "00000000", "2026-01-01T00:00:00+00:00"]))
    with pytest.raises(RunError, match=rf"stop it there \(kill {gone.pid} on far\)"), Lock(path):
        pass
    code = errno.EIO
    with pytest.raises(StorageError, match="cannot be locked: Input/output error"), Lock(path):
        pass

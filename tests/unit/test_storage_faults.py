"""Storage under faults at every call, and what the kernel refuses; ids CK-.. name the faults."""

from __future__ import annotations

import errno
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import faulty_disk
import numpy as np
import pytest
from faulty_disk import CASES, Faults, after_restart, calls_of, fill, refuse, short, temps

from mulgil import checkpoint as checkpoint_module
from mulgil.checkpoint import Checkpoints
from mulgil.errors import StorageError
from mulgil.storage import (
    commit_folder,
    require_space,
    write_atomic,
)


@pytest.mark.parametrize("name", CASES)
def test_every_call_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CK-03: ENOSPC, EIO, EDQUOT at every k-th call, once and for good: old or new, and said."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    case = CASES[name]
    calls = calls_of(case, tmp_path / "dry")
    codes, said = (errno.ENOSPC, errno.EIO, errno.EDQUOT), 0
    for lasting, k in itertools.product((False, True), range(len(calls))):
        code = codes[(k + lasting) % 3]
        folder = tmp_path / f"{lasting}-{k}"
        folder.mkdir()
        case.setup(folder)
        error = None
        with Faults(k, refuse(code), lasting).installed():
            try:
                case.run(folder)
            except StorageError as caught:
                error = caught
        where = (calls[k], k, errno.errorcode[code], lasting)
        if error is None:
            assert calls[k] not in {"fsync", "write", "save_file", "mkdir"}, where
            assert case.state(folder) == "new", where
        else:
            said += 1
            assert str(folder) in str(error), where
            assert "\n" not in str(error), where
            assert os.strerror(code) in str(error), where
        if not lasting:
            assert case.state(folder) in {"old", "new"}, where
        assert len(temps(folder)) <= 1 + (name == "replace"), where
        after_restart(case, folder)
    assert said > len(calls)


@pytest.mark.parametrize("name", CASES)
def test_short_writes(name: str, tmp_path: Path) -> None:
    """G3: a write that takes only a part of the bytes loses none of them."""
    case = CASES[name]
    calls = calls_of(case, tmp_path / "dry")
    for k in (k for k, call in enumerate(calls) if call == "write"):
        folder = tmp_path / str(k)
        folder.mkdir()
        case.setup(folder)
        with Faults(k, short, lasting=True).installed():
            case.run(folder)
        assert case.state(folder) == "new"


def test_killed_at_every_call(tmp_path: Path) -> None:
    """CK-02, CK-16: SIGKILL at every k-th call leaves old or new, and orphans that are swept."""
    answer = subprocess.run(
        [sys.executable, faulty_disk.__file__, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "[]"


def test_order_of_syncs(tmp_path: Path) -> None:
    """CK-05: every file is synced after its last write and before the rename, the parent after."""
    synced: dict[int, bytes] = {}
    names: dict[int, list[str]] = {}
    order: list[str] = []
    real_rename = os.rename

    def fsync(handle: int) -> None:
        place, inode = os.readlink(f"/proc/self/fd/{handle}"), os.fstat(handle).st_ino
        if os.path.isdir(place):
            names[inode] = sorted(os.listdir(place))
            order.append(f"sync {Path(place).name}")
        else:
            synced[inode] = Path(place).read_bytes()

    def rename(old: Path, new: Path) -> None:
        for place, folders, files in os.walk(old):
            assert names[os.stat(place).st_ino] == sorted(folders + files)
        for path in [old, *Path(old).rglob("*")]:
            if path.is_file():
                assert synced[path.stat().st_ino] == path.read_bytes(), path
        order.append(f"rename to {Path(new).name}")
        real_rename(old, new)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to see which file is synced")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "rename", rename)
        patch.setattr(os, "replace", rename)
        commit_folder(tmp_path / "model", fill("new"))
        assert order[-2:] == ["rename to model", f"sync {tmp_path.name}"]
        write_atomic(tmp_path / "a.txt", "x" * 100_000)
        assert order[-2:] == ["rename to a.txt", f"sync {tmp_path.name}"]
    assert len(synced) == 4


# ---------------------------------------------------------------- the kernel's own refusals


LIMITED = """
import resource, signal, sys
from pathlib import Path
from mulgil.storage import write_atomic
from mulgil.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    write_atomic(Path(sys.argv[1]), "x" * 6000)
except StorageError as error:
    print(error)
"""


def test_the_kernel_refuses(tmp_path: Path) -> None:
    """CK-03: a real refusal in the middle of a write: one line with path, needed, free, remedy."""
    path = tmp_path / "결과.txt"
    path.write_text("before", "utf-8")
    answer = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, timeout=60
    )
    assert re.fullmatch(
        re.escape(str(path)) + r": cannot be written: File too large"
        r" \(6,000 bytes needed, [0-9,]+ free\); raise the limit on file sizes \(ulimit -f\)\n",
        answer.stdout,
    ), answer
    assert path.read_text("utf-8") == "before"
    assert temps(tmp_path) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.getuid() or not os.path.exists("/usr/bin/mount"):
        pytest.skip("a small file system can be mounted by root only")
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not allow a mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    """CK-03, TR-16: a disk that is really full: old file and checkpoint stay, and it is said."""
    write_atomic(small_disk / "a.txt", "old")
    checkpoints = Checkpoints(small_disk / "checkpoints")
    checkpoints.save(1, {"w": np.zeros(60_000, np.float32)}, {}, None)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    with pytest.raises(StorageError, match=r"No space left on device \(400,000 bytes needed, "):
        write_atomic(small_disk / "a.txt", "x" * 400_000)
    with pytest.raises(StorageError, match="the checkpoint of step 2 needs 400,0"):
        checkpoints.save(2, {"w": np.zeros(100_000, np.float32)}, {}, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_module, "require_space", lambda *_: None)
        with pytest.raises(StorageError, match="No space left on device"):
            checkpoints.save(2, {"w": np.zeros(100_000, np.float32)}, {}, None)
    assert (small_disk / "a.txt").read_text() == "old"
    assert [newest.step for newest in [checkpoints.newest()] if newest] == [1]
    assert temps(small_disk) == temps(small_disk / "checkpoints") == []
    ballast.unlink()
    checkpoints.save(2, {"w": np.zeros(60_000, np.float32)}, {}, None)


def test_space_is_asked_for_before_the_work(tmp_path: Path) -> None:
    """TR-16: the disk of the folder itself is asked, also when the folder is not there yet."""
    require_space(tmp_path / "not" / "yet", 1000, "a run")
    with pytest.raises(StorageError, match=r"3 checkpoints needs 1(,000)+ bytes, but .* free some"):
        require_space(tmp_path / "not" / "yet", 10**18, "3 checkpoints")

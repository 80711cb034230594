"""Files and folders: whole or absent, checked by name, leftovers cleared; ids name the faults."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from faulty_disk import fill, temps

from mulgil import lock, storage
from mulgil.checkpoint import Checkpoints
from mulgil.errors import RunError, StorageError, UserError
from mulgil.storage import (
    MANIFEST,
    VersionError,
    atomic_file,
    commit_folder,
    discard_folder,
    make_folder,
    sha256_file,
    sweep,
    verify_folder,
    write_atomic,
)

# ---------------------------------------------------------------- one file


def test_write_atomic_keeps_bytes_mode_and_link(tmp_path: Path) -> None:
    """Line ends and UTF-8 stay, the file keeps its mode, a link is written through."""
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_atomic(link, "물길\r\n")
    assert real.read_bytes() == "물길\r\n".encode()
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    write_atomic(tmp_path / "b.bin", b"\x00\xff")
    assert sha256_file(tmp_path / "b.bin") == (
        "06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8"
    )


def test_output_is_whole_or_absent(tmp_path: Path) -> None:
    """A failing block, whatever it raises, leaves the old file; foreign errors stay foreign."""
    out = tmp_path / "out.csv"
    out.write_text("old")

    def write_and_fail(error: BaseException) -> None:
        with atomic_file(out) as file:
            file.write("half")
            raise error

    for error in (
        KeyboardInterrupt(),
        ValueError("bad row"),
        FileNotFoundError(errno.ENOENT, "No such file", "input.csv"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        RuntimeError("no such model (os error 2)"),
    ):
        with pytest.raises(type(error)):
            write_and_fail(error)
    with pytest.raises(UnicodeEncodeError), atomic_file(out) as file:
        file.write("\ud800")
    assert out.read_text() == "old"
    assert temps(tmp_path) == []


def test_what_is_not_a_file_is_not_replaced(tmp_path: Path) -> None:
    """A pipe, a device or a folder as output is refused, and stays what it is."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        with pytest.raises(UserError, match="is not a plain file"):
            write_atomic(path, "x")
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        ("missing/a.txt", r"the folder \S*missing is missing; make it first$"),
        ("긴" * 200, "choose a shorter name"),
    ],
)
def test_refusals_name_a_remedy(tmp_path: Path, place: str, remedy: str) -> None:
    """TR-15: places that cannot be written are one line with a remedy."""
    path = tmp_path / place
    with pytest.raises(StorageError, match=remedy):
        write_atomic(path / "b" if place.startswith("긴") else path, "x")


# ---------------------------------------------------------------- a folder


def test_commit_and_verify(tmp_path: Path) -> None:
    """A committed folder verifies; its files can be read by whom the umask allows."""
    private = tmp_path / "model"

    def write(folder: Path) -> None:
        fill("x")(folder)
        (folder / "a.txt").chmod(0o600)

    commit_folder(private, write)
    verify_folder(private)
    mask = os.umask(0)
    os.umask(mask)
    assert (private / "a.txt").stat().st_mode & 0o777 == 0o666 & ~mask
    discard_folder(private)
    assert os.listdir(tmp_path) == []


def test_temporaries_are_beside_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CK-04: TMPDIR is never used, so that it may be full, missing or on another disk."""
    monkeypatch.setenv("TMPDIR", "/proc/nothing")
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nothing")
    seen: list[Path] = []
    commit_folder(tmp_path / "model", lambda folder: seen.append(folder))
    write_atomic(tmp_path / "a.txt", "x")
    Checkpoints(tmp_path / "c").save(1, {"w": np.zeros(3)}, {}, None)
    assert seen[0].parent == tmp_path


def test_failing_fill_leaves_what_was(tmp_path: Path) -> None:
    """The caller's own error passes through; the old folder stays, nothing else does."""
    target = tmp_path / "model"
    commit_folder(target, fill("old"))

    def broken(folder: Path) -> None:
        fill("new")(folder)
        raise KeyError("config")

    with pytest.raises(KeyError):
        commit_folder(target, broken)
    with pytest.raises(RunError, match="the name is taken"):
        commit_folder(target, lambda folder: (folder / MANIFEST).touch())
    with pytest.raises(RunError, match="is not a plain file"):
        commit_folder(target, lambda folder: (folder / "link").symlink_to("/etc/passwd"))
    verify_folder(target)
    assert os.listdir(tmp_path) == ["model"]


def changed(folder: Path, how: str) -> None:
    manifest = folder / MANIFEST
    if how == "missing":
        (folder / "안" / "b.txt").unlink()
    elif how == "extra":
        (folder / "more.txt").touch()
    elif how == "changed":
        (folder / "a.txt").write_bytes(b"y" * 500)
    elif how == "longer":
        (folder / "a.txt").write_bytes(b"x" * 501)
    elif how == "no manifest":
        manifest.unlink()
    elif how == "link":
        (folder / "안" / "b.txt").unlink()
        (folder / "안" / "b.txt").symlink_to(folder / "a.txt")
    else:
        manifest.write_text(how)


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("missing", "b.txt: is missing"),
        ("extra", "more.txt: is not in the manifest"),
        ("changed", "a.txt: has changed"),
        ("longer", "a.txt: has changed"),
        ("no manifest", f"{MANIFEST}: is missing"),
        ("link", "b.txt: is not a plain file"),
        ("", f"{MANIFEST}: is malformed"),
        ("[1]", f"{MANIFEST}: is malformed"),
        ('{"format": 1, "files": 7}', f"{MANIFEST}: is malformed"),
        ("[" * 100_000, f"{MANIFEST}: is malformed"),
        ('{"format": 1, "files": {}, "sha256": "0"}', f"{MANIFEST}: has changed"),
    ],
)
def test_verify_names_what_is_wrong(tmp_path: Path, how: str, named: str) -> None:
    """CK-06: a missing, extra or changed file, or a bad manifest, is refused by name."""
    commit_folder(tmp_path / "model", fill("x"))
    changed(tmp_path / "model", how)
    with pytest.raises(RunError, match=re.escape(named)):
        verify_folder(tmp_path / "model")


def test_going_while_it_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CK-17: files that go between the manifest's reading and theirs are missing, no crash."""
    commit_folder(tmp_path / "model", fill("x"))
    monkeypatch.setattr(storage, "_tree", lambda folder: ([], [folder]))
    with pytest.raises(RunError, match="is missing"):
        verify_folder(tmp_path / "model")


def test_hostile_manifest(tmp_path: Path) -> None:
    """A manifest with a right hash of its own but senseless entries or names is refused."""
    commit_folder(tmp_path / "model", fill("x"))
    for files in ({"a.txt": 7}, {"a.txt": []}, [], {"../secret": ["0" * 64, 1]}):
        (tmp_path / "model" / MANIFEST).write_bytes(storage._manifest(1, files))
        with pytest.raises(RunError):
            verify_folder(tmp_path / "model")


def test_other_versions_are_refused(tmp_path: Path) -> None:
    """CK-15: a whole manifest of another version is refused, naming both."""
    commit_folder(tmp_path / "model", fill("x"))
    (tmp_path / "model" / MANIFEST).write_bytes(storage._manifest(2, {}))
    with pytest.raises(VersionError, match="saved in format 2, but this release reads format 1"):
        verify_folder(tmp_path / "model")


def test_make_folder(tmp_path: Path) -> None:
    """Missing folders are made; a file in the way is refused."""
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        make_folder(tmp_path / "file" / "b")


# ---------------------------------------------------------------- leftovers


def test_sweep_spares_the_living(tmp_path: Path) -> None:
    """CK-16: only leftovers of dead processes go; of other places only for who holds the lock."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here, me = lock.PLACE, os.getpid()
    names = {
        "dead": f".mulgil-file-{here}-{dead.pid}-00000000-0.tmp",
        "dead folder": f".mulgil-folder-{here}-{dead.pid}-00000000-1.tmp",
        "earlier me": f".mulgil-file-{here}-{me}-00000000-0.tmp",
        "me": f".mulgil-file-{here}-{me}-{lock.TOKEN}-0.tmp",
        "parent": f".mulgil-file-{here}-{os.getppid()}-00000000-0.tmp",
        "first": f".mulgil-file-{here}-1-00000000-0.tmp",
        "elsewhere": f".mulgil-file-other+1-{dead.pid}-00000000-0.tmp",
        "user": ".mulgil-notes.tmp",
    }
    for what, name in names.items():
        if what == "dead folder":
            (tmp_path / name / "inner").mkdir(parents=True)
        else:
            (tmp_path / name).touch()
    assert sweep(tmp_path) == 3
    left = {what for what, name in names.items() if (tmp_path / name).exists()}
    assert left == {"me", "parent", "first", "elsewhere", "user"}
    assert sweep(tmp_path, alone=True) == 1
    assert not (tmp_path / names["elsewhere"]).exists()
    assert sweep(tmp_path / "missing") == 0

"""The real command line in children: cold, a fresh Python, or warm, forked with torch loaded.

A warm child takes 1 s where a cold one takes 5, so a run can be killed at every one of its steps.
`hooks` are the accidents of `_accidents`, which befall a warm child before it reads its words.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

LIMIT = float(os.environ.get("MULGIL_TEST_SECONDS", "60"))
"""Seconds that a warm child may take; on a busy machine set more."""

Hook = Sequence[Any]
"""Name of a function in `_accidents`, and its arguments."""


@dataclasses.dataclass(frozen=True)
class Done:
    """How a child ended: exit code (-n: killed by signal n), what it wrote, its peak memory."""

    code: int
    out: str
    err: str
    megabytes: float

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(cache: Path, **more: str) -> dict[str, str]:
    """The environment of every child: offline, one thread, a cache of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MULGIL", "HF_", "LC_", "LANG", "PYTHON", "OMP", "COV"))
    }
    return {
        **kept,
        "HF_HUB_OFFLINE": "1",
        "MULGIL_CACHE": str(cache),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        **more,
    }


def cold(
    *words: str,
    cwd: Path,
    stdin: bytes | Any = b"",
    env: dict[str, str] | None = None,
    stdout: Any = None,
    limit: float = 120,
    before: Any = None,
) -> Done:
    """Run `python -m mulgil` to its end. `stdin` is bytes or an open file, `stdout` a file."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
        child = subprocess.run(
            [sys.executable, "-m", "mulgil", *words],
            cwd=cwd,
            env=env or environment(cwd / "cache"),
            stdout=stdout or out,
            stderr=err,
            timeout=limit,
            preexec_fn=before,
            check=False,
            **given,
        )
        return Done(child.returncode, _content(out), _content(err), 0.0)


def _content(file: Any) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "backslashreplace")


def one_line(done: Done, code: int = 2) -> str:
    """Check that a child refused as it should: one line, no traceback; return the line."""
    assert done.code == code, (done.code, done.err[-2000:])
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err[-2000:]
    assert lines[0].startswith("mulgil: ")
    assert "Traceback" not in done.err
    assert "our fault" not in done.err
    assert len(lines[0]) < 900
    return lines[0]


# ---------------------------------------------------------------- a warm parent


class Child:
    """A forked child."""

    def __init__(self, warm: Warm, pid: int, folder: Path) -> None:
        self.pid = pid
        self._warm = warm
        self._folder = folder

    def out(self) -> str:
        return (self._folder / "out").read_bytes().decode("utf-8", "backslashreplace")

    def err(self) -> str:
        return (self._folder / "err").read_bytes().decode("utf-8", "backslashreplace")

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, limit: float = LIMIT) -> Done:
        answer = self._warm.ask({"wait": self.pid, "limit": limit})
        assert not answer["late"], f"hung for {limit} s: {self.out()[-500:]} {self.err()[-500:]}"
        return Done(answer["code"], self.out(), self.err(), answer["megabytes"])

    def until(self, state: str, limit: float = LIMIT) -> None:
        """Wait until the kernel says so of the process: "T" is stopped."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError):
                if (
                    Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
                    == state
                ):
                    return
            time.sleep(0.02)
        raise AssertionError(f"not {state} in {limit} s: {self.err()[-500:]}")


class Warm:
    """A Python that has loaded everything and forks a child for each command."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.folder = folder
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, str(HERE / "_cli.py")],
            env=environment(folder / "cache", **more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def start(
        self, *words: str, cwd: Path, hooks: Sequence[Hook] = (), stdin: bytes = b""
    ) -> Child:
        self._count += 1
        folder = self.folder / f"child-{self._count}"
        folder.mkdir()
        (folder / "in").write_bytes(stdin)
        order = {"words": words, "cwd": str(cwd), "hooks": hooks, "folder": str(folder)}
        return Child(self, self.ask(order), folder)

    def run(
        self,
        *words: str,
        cwd: Path,
        hooks: Sequence[Hook] = (),
        stdin: bytes = b"",
        limit: float = LIMIT,
    ) -> Done:
        return self.start(*words, cwd=cwd, hooks=hooks, stdin=stdin).wait(limit)

    def ask(self, order: dict[str, Any]) -> Any:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return json.loads(self._read())

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(30)

    def _read(self) -> str:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, "the warm parent has ended"
        return line.strip()


@contextlib.contextmanager
def warm_parent(**more: str) -> Iterator[Warm]:
    """A warm parent with a temporary folder of its own."""
    with tempfile.TemporaryDirectory(prefix="mulgil-warm-") as place:
        warm = Warm(Path(place), **more)
        try:
            yield warm
        finally:
            warm.close()


def serve() -> None:
    """Load everything, then fork and wait as the lines of standard input say."""
    for name in (
        *("torch", "transformers.models.bert.modeling_bert", "sklearn.linear_model"),
        *("mulgil.cli", "mulgil.api", "mulgil.answers", "mulgil.models._network"),
        *("mulgil.methods._gradient", "mulgil.methods.linear_probe", "mulgil.tokenizers.subword"),
        *("mulgil.engines.local", "mulgil.demo", "mulgil.models.tfidf", "_accidents"),
        *("transformers.models.gpt2.modeling_gpt2", "mulgil.models._decoding"),
    ):
        importlib.import_module(name)
    from transformers import (  # noqa: F401
        AutoModelForSequenceClassification,
        AutoTokenizer,
        PreTrainedTokenizerFast,
    )

    sys.modules["torch"].set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        answer = _wait(order) if "wait" in order else _fork(order)
        print(json.dumps(answer), flush=True)


def _fork(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    folder = Path(order["folder"])
    for handle, (name, mode) in enumerate(
        [("in", os.O_RDONLY), ("out", os.O_WRONLY | os.O_CREAT), ("err", os.O_WRONLY | os.O_CREAT)]
    ):
        opened = os.open(folder / name, mode, 0o644)
        os.dup2(opened, handle)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    code = 70
    try:
        os.chdir(order["cwd"])
        accidents = importlib.import_module("_accidents")
        for name, *given in order["hooks"]:
            getattr(accidents, name)(*given)
        importlib.import_module("mulgil.cli").main(order["words"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _wait(order: dict[str, Any]) -> dict[str, Any]:
    end, late = time.monotonic() + order["limit"], False
    while True:
        pid, status, usage = os.wait4(order["wait"], os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return {"code": code, "late": late, "megabytes": usage.ru_maxrss / 1024}
        if not late and time.monotonic() > end:
            late = True
            os.kill(order["wait"], signal.SIGKILL)
        time.sleep(0.003)


if __name__ == "__main__":
    serve()

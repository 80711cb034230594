"""Answers of served models on disk: nothing is paid for twice, and nobody else reads it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from endpoint_server import (
    CHOICES,
    KEY,
    PREFIX,
    QUERIES,
    SAMPLING,
    Server,
    opened,
    own_cache,
    server,
    status,
)

from mulgil import fetch
from mulgil.errors import ModelError, StorageError
from mulgil.models._endpoint_answers import Answer
from mulgil.models._endpoint_cache import AnswerCache, key_of

__all__ = ["own_cache", "server"]


SCRIPT = """
import sys
from mulgil.flow import Head
from mulgil.models.endpoint import Endpoint, EndpointSettings
chosen = EndpointSettings(pretrained="HCX-007", url=sys.argv[1], concurrency=2)
network = Endpoint(chosen).build(None, Head("choose", 0), "fp32", "cpu", 3)
network.choose("앞 ", [f"{n}번째 " for n in range(20)], ["긍정", "부정"])
"""


def test_a_killed_run_goes_on_from_its_answers(server: Server, own_cache: Path) -> None:
    """DL-03: SIGKILL in the middle; no answer that came is asked for again."""
    running: list[subprocess.Popen[bytes]] = []
    gate = threading.Event()

    def meet(sent: dict[str, Any]) -> None:
        gate.wait(10)
        if len(server.asked) == 17:
            time.sleep(0.3)  # what was answered before is on the disk by now
            running[0].send_signal(signal.SIGKILL)
            server.released.wait(10)

    server.meet = meet
    running.append(subprocess.Popen([sys.executable, "-c", SCRIPT, server.url]))
    gate.set()
    assert running[0].wait(30) == -signal.SIGKILL
    answered = {json.dumps(sent) for _, sent in server.asked[:15]}  # two were under way
    server.released.set()
    server.meet, server.asked = lambda sent: None, []
    network = opened(server)
    network.choose("앞 ", [f"{n}번째 " for n in range(20)], CHOICES)
    assert not answered & {json.dumps(sent) for _, sent in server.asked}
    assert 0 < len(server.asked) <= 25
    assert network.usage["cached"] + len(server.asked) == 40


def test_an_error_in_the_middle_loses_nothing(server: Server) -> None:
    server.faults = {n: status(500) for n in range(5, 9)}
    network = opened(server, concurrency=1, retries=3)
    with pytest.raises(ModelError, match="5 answers are kept in the cache"):
        network.choose(PREFIX, QUERIES, CHOICES)
    server.asked.clear()
    server.faults = {}
    opened(server).choose(PREFIX, QUERIES, CHOICES)
    assert len(server.asked) == 7


def test_the_cache_is_private_and_holds_no_key(
    server: Server, own_cache: Path, tmp_path: Path
) -> None:
    """RP-07: neither cache, recipe nor run folder has the key."""
    server.answer = lambda prompt: f"긍정 {KEY[:4]}"
    network = opened(server)
    network.choose(PREFIX, QUERIES, CHOICES)
    network.generate(QUERIES, SAMPLING, [])
    (tmp_path / "model").mkdir()
    network.save(tmp_path / "model", ["긍정", "부정"])
    assert all(h["authorization"] == f"Bearer {KEY}" for h in server.headers)
    (path,) = own_cache.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(own_cache.stat().st_mode) == 0o700
    assert KEY not in path.read_text(encoding="utf-8")
    assert list((tmp_path / "model").iterdir()) == []
    assert KEY not in repr(network.client.rules)


def test_without_a_cache_nothing_is_kept(server: Server, own_cache: Path) -> None:
    for _ in range(2):
        opened(server, cache=False).choose(PREFIX, QUERIES, CHOICES)
    assert len(server.asked) > 12
    assert not own_cache.exists()


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    """DA-10: a line that was cut off, and one that changed, are passed over and counted."""
    cache = AnswerCache(tmp_path, "u", "m")
    keys = [key_of("u", "m", n) for n in range(5)]
    for n in range(4):
        cache.put(keys[n], {"답": n})
    raw = cache.path.read_bytes()
    changed = raw.replace(b'":1}', b'":7}')
    assert changed != raw
    cache.path.write_bytes(changed[: changed.rindex(b"\n", 0, -1) + 30])
    again = AnswerCache(tmp_path, "u", "m")
    assert [again.get(key) for key in keys] == [{"답": 0}, None, {"답": 2}, None, None]
    again.put(keys[4], {"답": 4})
    assert again.get(keys[4]) == {"답": 4}
    assert AnswerCache(tmp_path, "u", "m").damaged == 2
    assert len(AnswerCache(tmp_path, "u", "m")) == 3


WRITER = """
import sys
from pathlib import Path
from mulgil.models._endpoint_cache import AnswerCache, key_of
cache = AnswerCache(Path(sys.argv[1]), "u", "m")
for n in range(300):
    cache.put(key_of("u", "m", f"{sys.argv[2]} {n}"), "글" * n)
"""


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    """Every line of both is whole."""
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name]) for name in ("가", "나")]
    watching = AnswerCache(tmp_path, "u", "m")
    while any(writer.poll() is None for writer in writers):
        watching.refresh()
    assert [writer.wait() for writer in writers] == [0, 0]
    watching.refresh()
    assert (len(watching), watching.damaged) == (600, 0)
    assert watching.get(key_of("u", "m", "나 299")) == "글" * 299


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DL-12: what was there before stays readable."""
    cache = AnswerCache(tmp_path, "u", "m")
    cache.put(key_of("u", "m", 1), "하나")
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda handle, data: real(handle, data[: len(data) // 2]))
        with pytest.raises(StorageError, match="cannot be written: No space left"):
            cache.put(key_of("u", "m", 2), "둘")
    cache.put(key_of("u", "m", 3), "셋")
    again = AnswerCache(tmp_path, "u", "m")
    assert [again.get(key_of("u", "m", n)) for n in (1, 2, 3)] == ["하나", None, "셋"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        AnswerCache(tmp_path / "file", "u", "m")


def test_what_is_kept_comes_back_as_it_was() -> None:
    answer = Answer(
        "글", ["그", "ㄹ"], [None, -0.5], [0, 1], [[("ea", -1.0)]], 3, True, True, (4, 5)
    )
    again = Answer.of(json.loads(json.dumps(answer.plain())))
    assert again is not None
    assert again.plain() == answer.plain() or again.tops == [[["ea", -1.0]]]  # type: ignore[list-item]
    assert Answer.of(["older"]) is None
    assert Answer.of(None) is None


def test_the_cache_lies_in_the_cache_folder(server: Server, own_cache: Path) -> None:
    opened(server).choose(PREFIX, QUERIES[:1], CHOICES)
    assert own_cache.parent == fetch.cache_folder()
    assert len([*own_cache.iterdir()]) == 1

"""A served model by the real command line: transformers' own server, killed and started again.

It needs fastapi and uvicorn, and a chat checkpoint in the folder that MULGIL_TEST_DECODER names. A
story is told once, then looked at: the server is killed in the middle of a run, the run goes on,
and a second run of the same questions asks nothing.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real

KEY = "sk-NoBoDySeEsThIs42"
ROWS = [
    ("배송이 하루 만에 와서 놀랐어요", "긍정"),
    ("포장이 다 찢어져서 왔어요", "부정"),
    ("다음에도 여기서 또 살래요", "긍정"),
    ("색이 사진과 너무 달라요", "부정"),
    ("설명서가 친절해서 금방 조립했어요", "긍정"),
    ("세 번 쓰고 고장 났습니다", "부정"),
    ("선물했더니 아주 좋아하네요", "긍정"),
    ("고객센터가 전화를 안 받아요", "부정"),
]
KNOWN = [("가격에 비해 튼튼해요", "긍정"), ("냄새가 심해서 버렸어요", "부정")]
RECIPE = """\
name = "asked"

[data]
train = "known.csv"
test = "rows.csv"
valid_share = 0

[model]
name = "endpoint"
pretrained = {model}
url = "http://127.0.0.1:{port}/v1"
key = "SERVED_KEY"
retries = 1
concurrency = 1

[task]
instruction = "후기의 감정을 고르시오."
prompt = "후기: {{text}}\\n감정:"

[method]
name = "zero-shot"
calibration = "none"
"""


@dataclasses.dataclass(frozen=True)
class Story:
    """What happened.

    Attributes:
        folder: with the runs and the cache.
        kept: answers that were kept when the server was killed.
        stopped: exit code and standard error of the run that lost its server.
    """

    folder: Path
    kept: int
    stopped: tuple[int, str]

    def result(self, run: str) -> Any:
        return json.loads((self.folder / "runs" / run / "result.json").read_text("utf-8"))

    def predictions(self, run: str) -> list[Any]:
        lines = (self.folder / "runs" / run / "predictions.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def decoder() -> str:
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"transformers serve needs {' and '.join(missing)}, not installed here")
    folder = os.environ.get("MULGIL_TEST_DECODER", "")
    if not (Path(folder) / "config.json").exists():
        pytest.skip("MULGIL_TEST_DECODER does not name the folder of a chat checkpoint")
    return str(Path(folder).resolve())


@pytest.fixture(scope="module")
def story(decoder: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("served")
    port = free_port()
    (folder / "asked.toml").write_text(RECIPE.format(model=json.dumps(decoder), port=port), "utf-8")
    for name, rows in (("known", KNOWN), ("rows", ROWS)):
        table = "".join(f"{text},{label}\n" for text, label in rows)
        (folder / f"{name}.csv").write_text(f"text,label\n{table}", "utf-8")
    server = serve(decoder, port)
    try:
        running = command(folder, "train", "asked.toml")
        kept = wait_for_answers(folder, 9, running)
        server.kill()
        server.wait(30)
        _, error = running.communicate(timeout=120)
        stopped = running.returncode, error
        kept = answers(folder)
        server = serve(decoder, port)
        for words in (("--resume",), ("name=again",)):
            done = command(folder, "train", "asked.toml", *words)
            _, error = done.communicate(timeout=1200)
            assert done.returncode == 0, error
        yield Story(folder, kept, stopped)
    finally:
        server.kill()
        server.wait(30)


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MULGIL")}
    return {
        **kept,
        "HF_HUB_OFFLINE": "1",
        "MULGIL_CACHE": str(folder / "cache"),
        "SERVED_KEY": KEY,
    }


def command(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mulgil", *words],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def serve(decoder: str, port: int) -> subprocess.Popen[bytes]:
    """Start the server and wait until it answers."""
    script = Path(sys.executable).parent / "transformers"
    server = subprocess.Popen(
        [str(script), "serve", decoder, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 240
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return server
        except OSError:
            time.sleep(0.5)
    server.kill()
    server.wait(30)
    pytest.fail("transformers serve does not start")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(folder: Path) -> int:
    """Return how many answers the cache holds; a note of how to ask is none."""
    lines = [
        line
        for file in (folder / "cache" / "endpoint").glob("*.jsonl")
        for line in file.read_bytes().split(b"\n")
    ]
    return sum(line[17:19] == b'["' and line[19:20] != b"n" for line in lines)


def wait_for_answers(folder: Path, wanted: int, running: subprocess.Popen[str]) -> int:
    end = time.monotonic() + 900
    while answers(folder) < wanted:
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < end, "the server is too slow"
        time.sleep(0.05)
    return answers(folder)


def test_a_server_that_dies_is_said_in_one_line(story: Story) -> None:
    """DL-09: with the remedy; the answers that came are kept."""
    code, error = story.stopped
    assert code == 2, error
    assert len(error.splitlines()) == 1, error
    assert error.startswith("mulgil: model.url: 127.0.0.1 gave no answer in 2 tries (")
    assert f"{story.kept} answers are kept in the cache" in error
    assert story.kept >= 9


def test_the_run_goes_on_from_its_answers(story: Story) -> None:
    """DL-03: no answer that came is asked for again."""
    usage = story.result("asked")["prompts"]["usage"]
    assert usage["cached"] > 0
    assert usage["requests"] > 0
    assert answers(story.folder) == story.kept + usage["requests"] - usage["retried"]


def test_choices_are_made_by_answering(story: Story) -> None:
    """That server tells no likelihoods and takes no `guided_choice`: what is written is matched."""
    result = story.result("asked")
    assert result["prompts"]["way"] == "chat/answer"
    found = story.predictions("asked")
    assert [one["text"] for one in found] == [text for text, _ in ROWS]
    assert [one["gold"] for one in found] == [label for _, label in ROWS]
    named = 0
    for one in found:
        shares = one["probabilities"]
        assert shares.keys() == {"긍정", "부정"}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert one["predicted"] in shares
        named += max(shares.values()) > 0.6
        assert max(shares.values()) == pytest.approx(0.9 if max(shares.values()) > 0.6 else 0.5)
    assert named == len(ROWS) - result["prompts"]["usage"]["nonsense"]


def test_the_same_questions_are_asked_once(story: Story) -> None:
    """EV-11: the second run comes out of the cache, word for word, and sends nothing."""
    usage = story.result("again")["prompts"]["usage"]
    assert (usage["requests"], usage["prompt_tokens"]) == (0, 0)
    assert usage["cached"] > len(ROWS)
    assert story.predictions("again") == story.predictions("asked")


def test_the_key_is_in_no_file(story: Story) -> None:
    """RP-07: neither in a run nor in the cache; nothing of the model is in the run either."""
    files = [path for path in story.folder.rglob("*") if path.is_file()]
    assert len(files) > 12
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    kept = {path.name for path in (story.folder / "runs" / "asked" / "model").iterdir()}
    assert "prompts.json" in kept
    assert not kept & {"endpoint.json", "model.safetensors"}

"""A served model says what its own weights say: a tiny GPT-2 behind a real HTTP server."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, trainers

from mulgil.flow import Head, Sampling
from mulgil.models._endpoint import EndpointNetwork
from mulgil.models.endpoint import Endpoint, EndpointSettings

PREFIX = "영화평: 두 번 보았고 또 볼 것이다.\n느낌: 좋음\n\n영화평: 졸다가 나왔다.\n느낌: 나쁨\n\n"
QUERIES = [
    "영화평: 배우가 아깝다.\n느낌: ",
    "영화평: 😀👍 최고의 밤이었다!\n느낌: ",
    "영화평: plain words here.\n느낌: ",
    "",
]
CHOICES = ["좋음", "나쁨", "good", "😀"]
GREEDY = Sampling(max_new=6, temperature=0.0)


class Served:
    """A GPT-2 with random weights, and a byte vocabulary whose tokens cut syllables apart."""

    def __init__(self, texts: list[str], first: bool) -> None:
        self.first = [0] if first else []
        backend = tokenizers.Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        backend.train_from_iterator(
            texts,
            trainers.BpeTrainer(
                vocab_size=400,
                special_tokens=["<s>"],
                initial_alphabet=alphabet,
                show_progress=False,
            ),
        )
        self.backend = backend
        torch.manual_seed(31)
        config = transformers.GPT2Config(
            vocab_size=backend.get_vocab_size(),
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=512,
            initializer_range=0.3,
            bos_token_id=0,
            eos_token_id=0,
        )
        self.model = transformers.GPT2LMHeadModel(config).eval()

    def ids(self, text: str) -> list[int]:
        return [*self.first, *self.backend.encode(text).ids]

    @torch.no_grad()
    def chances(self, ids: list[int]) -> torch.Tensor:
        """Return [len, vocabulary], ln p of the token behind each place."""
        return self.model(torch.tensor([ids])).logits[0].log_softmax(-1)

    def token(self, number: int) -> str:
        return str(self.backend.decode([number], skip_special_tokens=False))

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer as vLLM does: a token that is a part of a character is written as U+FFFD."""
        ids = self.ids(body["prompt"])
        read = len(ids)
        for _ in range(body["max_tokens"]):
            ids.append(int(self.chances(ids)[-1].argmax()))
        table = self.chances(ids)
        told: list[float | None] = [None]
        told += [float(table[i - 1, number]) for i, number in enumerate(ids) if i]
        start = 0 if body.get("echo") else read
        tokens = [self.token(number) for number in ids]
        offsets = [sum(map(len, tokens[start:i])) for i in range(start, len(ids))]
        text = str(self.backend.decode(ids[read:]))
        if body.get("echo"):
            text = body["prompt"] + text
        logprobs = {
            "tokens": tokens[start:],
            "token_logprobs": told[start:],
            "text_offset": offsets,
            "top_logprobs": None,
        }
        return {
            "choices": [{"index": 0, "text": text, "logprobs": logprobs}],
            "usage": {"prompt_tokens": read, "completion_tokens": len(ids) - read},
        }

    def directly(self, prompt: str, choice: str) -> float:
        """Return the sum of ln p over the tokens of the text that the prompt alone has not."""
        bare, whole = self.ids(prompt), self.ids(prompt + choice)
        place = 0
        while place < len(bare) and bare[place] == whole[place]:
            place += 1
        table = self.chances(whole).double()
        return sum(float(table[i - 1, whole[i]]) for i in range(max(place, 1), len(whole)))


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "with <s>"])
def served(request: pytest.FixtureRequest, korean_texts: list[str]) -> Served:
    return Served([*korean_texts[:200], PREFIX], request.param)


@pytest.fixture
def network(served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    lock = threading.Lock()  # one forward pass at a time

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found, code = {"error": {"message": "Not Found"}}, 404
            if self.path == "/v1/completions":
                with lock:
                    found, code = served.complete(body), 200
            raw = json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield opened(f"http://127.0.0.1:{server.server_port}/v1", "tiny")
    server.shutdown()
    server.server_close()


def opened(url: str, name: str, **more: Any) -> EndpointNetwork:
    chosen = EndpointSettings(pretrained=name, url=url, concurrency=4, **more)
    found = Endpoint(chosen).build(None, Head("choose", 0), "fp32", "cpu", 1)
    assert isinstance(found, EndpointNetwork)
    return found


def test_choices_are_as_likely_as_the_weights_say(served: Served, network: EndpointNetwork) -> None:
    """Within 1e-3 of torch, for Hangul in parts, emoji, and tokens before the text."""
    found = network.choose(PREFIX, QUERIES, CHOICES)
    wanted = [[served.directly(PREFIX + query, choice) for choice in CHOICES] for query in QUERIES]
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert network.way == "completions/echo"
    assert np.ptp(found, axis=1).min() > 0.1, "the choices are told apart"
    parts = [served.token(number) for number in served.ids(PREFIX + QUERIES[0])]
    assert any("�" in part for part in parts), "syllables are in parts"


def test_texts_are_those_of_the_weights(served: Served, network: EndpointNetwork) -> None:
    prompts = [PREFIX + query for query in QUERIES]
    for prompt, (text, chances) in zip(prompts, network.generate(prompts, GREEDY, []), strict=True):
        ids = served.ids(prompt)
        for number in range(6):
            step = served.chances(ids)[-1].double()
            ids.append(int(step.argmax()))
            assert chances[number] == pytest.approx(float(step.max()), abs=1e-3)
        assert text == served.backend.decode(ids[-6:])


@pytest.mark.real
def test_transformers_serve(
    korean_texts: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It tells no likelihoods: texts are those of the weights, choices are made by answering."""
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"transformers serve needs {' and '.join(missing)}, not installed here")
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path / "cache"))
    served, folder = Served(korean_texts[:200], first=False), tmp_path / "tiny"
    served.model.save_pretrained(folder)
    files = transformers.PreTrainedTokenizerFast(tokenizer_object=served.backend, eos_token="<s>")
    files.save_pretrained(folder)
    port = free_port()
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder)]
    running = subprocess.Popen([*command, "--port", str(port), "--device", "cpu"])
    try:
        wait_for(f"http://localhost:{port}/health")
        network = opened(f"http://localhost:{port}/v1", str(folder), mode="completions")
        ((text, _),) = network.generate([PREFIX], GREEDY, [])
        ids = served.ids(PREFIX)
        for _ in range(6):
            ids.append(int(served.chances(ids)[-1].argmax()))
        assert text == served.backend.decode(ids[-6:])
        found = network.choose(PREFIX, QUERIES, CHOICES)
        assert network.way == "completions/answer"
        np.testing.assert_allclose(np.exp(found).sum(1), 1)
    finally:
        running.terminate()
        running.wait(30)


def free_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return server.server_port


def wait_for(url: str) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail("transformers serve does not start")

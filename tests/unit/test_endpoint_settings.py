"""Settings of served models, where texts and the key may go; texts as a tokenizer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from endpoint_server import KEY, one_line, opened, own_cache

from mulgil import recipe, settings
from mulgil.errors import ModelError, SettingError
from mulgil.flow import Head
from mulgil.models.endpoint import Endpoint, EndpointSettings
from mulgil.settings import Table
from mulgil.tokenizers.text import Plain, TextSettings

__all__ = ["own_cache"]


@pytest.mark.parametrize(
    "value", [KEY, "sk-proj-abc", "A" * 65, "a1b2c3d4e5f6", "HAS SPACE", "", "${KEY}"]
)
def test_a_key_in_the_recipe_is_refused_and_not_repeated(value: str) -> None:
    """RP-07: a pasted key is not even in the message that refuses it."""
    with pytest.raises(SettingError, match="key must be the NAME") as caught:
        built(key=value)
    if value:
        assert value not in str(caught.value)
    one_line(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/v1", "http://8.8.8.8/v1", "http://169.254.169.254/v1"),
        *("http://0.0.0.0/v1", "ftp://127.0.0.1", "file:///etc/passwd", "127.0.0.1:8000", ""),
        *("https://user:geheim@example.com/v1", "https://example.com/v1?key=geheim"),
        *("http://[::1", "https://host:port/v1", "http://localhost.example.com/v1"),
    ],
)
def test_addresses_to_which_texts_must_not_go(url: str) -> None:
    """DL-07: plain http leaves this machine and its network never."""
    with pytest.raises(SettingError, match="model: url must") as caught:
        built(url=url)
    assert "geheim" not in str(caught.value)
    one_line(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8000/v1/", "http://localhost:1/v1", "http://[::1]:8000/v1"),
        *("http://10.0.0.5:8000/v1", "http://192.168.0.7/v1", "https://example.com/v1"),
    ],
)
def test_addresses_to_which_texts_may_go(url: str) -> None:
    assert built(url=url).url == url.rstrip("/")


def test_other_mistakes_in_settings() -> None:
    with pytest.raises(SettingError, match="extra must not set messages"):
        built(extra={"messages": "x"})
    with pytest.raises(ModelError, match=r"model\.pretrained is missing; give"):
        Endpoint(built(pretrained="")).source()
    model = Endpoint(built())
    assert model.source() is None
    assert model.longest() is None
    with pytest.raises(ModelError, match="recipe"):
        Endpoint.load(Path("run"), Head("choose", 0), "fp32", "cpu")


def built(**values: Any) -> EndpointSettings:
    table = Table.parse("", "recipe.toml")
    return settings.build(EndpointSettings, {"pretrained": "HCX-007"} | values, "model", table)


def test_a_key_is_needed_outside_and_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    network = opened("http://127.0.0.1:9/v1")
    assert network.outputs == network.parameters_total == 0
    with pytest.raises(ModelError, match=r"OPENAI_API_KEY is not set, and example\.com needs"):
        opened("https://example.com/v1")
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX-Header: 1")
    with pytest.raises(ModelError, match="holds is no key") as caught:
        opened("https://example.com/v1")
    one_line(caught.value)


def test_the_recipe_names_the_variable_alone(tmp_path: Path) -> None:
    path = tmp_path / "asked.toml"
    path.write_text(
        '[data]\nname = "sample"\n[model]\nname = "endpoint"\npretrained = "HCX-007"\n'
        'url = "https://example.com/v1"\nextra = { reasoning_effort = "none" }\n',
        encoding="utf-8",
    )
    made = recipe.read(str(path))
    assert made.tokenizer.name == "text"
    written = made.dump(tmp_path)
    assert 'key = "OPENAI_API_KEY"' in written
    assert 'extra = { "reasoning_effort" = "none" }' in written
    assert KEY not in written


def test_what_requests_cost() -> None:
    usage = {"prompt_tokens": 2_000_000, "completion_tokens": 500_000}
    assert Endpoint(built()).cost(usage) is None
    assert Endpoint(built(price_in=1.5, price_out=4.0)).cost(usage) == 5.0
    assert Endpoint(built(price_in=1.5)).cost(usage) == 3.0


def test_it_makes_no_features() -> None:
    network = opened("http://127.0.0.1:9/v1")
    for call in (
        lambda: network.features([]),
        lambda: network.set_head(np.zeros(1), np.zeros(1)),
        lambda: network.scores([]),
    ):
        with pytest.raises(ModelError, match=r'model "endpoint" .*; use method'):
            call()


def test_looking_at_the_plug_in_loads_neither_openai_nor_torch() -> None:
    code = (
        "import sys, mulgil.models.endpoint, mulgil.tokenizers.text;"
        "print({'openai', 'torch', 'transformers'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# ---------------------------------------------------------------- texts


def test_texts_stay_texts(tmp_path: Path) -> None:
    """DA-09, TK-07: NFC, cut in characters, what stands behind a text never is."""
    plain = Plain.make(TextSettings(max_length=5), None, [], 1)
    assert plain.segment("각") == "각"
    assert plain.opening() + plain.segment("가 ") + "나" == "가 나"
    found = plain.asked([("하나둘셋넷다섯", " 답: "), ("봄", " 답: ")])
    assert found.take(np.array([1, 0]), 8) == ["봄 답: ", "하나둘셋넷 답: "]
    assert found.segments == ["하나둘셋넷 답: ", "봄 답: "]  # type: ignore[attr-defined]
    assert found.lengths.tolist() == [9, 5]
    assert (found.truncated, found.texts, len(found)) == (1, 2, 2)
    written = plain.written(
        [("하나둘셋넷다섯", "여섯"), ("봄", None)], ("글: ", "\n요약: "), False, 8
    )
    assert written.prompts == ["글: 하나둘셋넷\n요약: ", "글: 봄\n요약: "]  # type: ignore[attr-defined]
    assert written.truncated == 1
    assert plain.encode([("첫", "둘"), "셋"]).take(np.arange(2), 1) == ["첫\n둘", "셋"]
    assert (plain.decode("그대로"), plain.ends()) == ("그대로", ("", ""))
    plain.save(tmp_path)
    assert Plain.load(tmp_path).fingerprint() == plain.fingerprint()
    assert Plain(TextSettings()).fingerprint() != plain.fingerprint()
    (tmp_path / "mulgil_tokenizer.json").write_text('{"tokenizer": "text"}')
    with pytest.raises(ModelError, match="max_length"):
        Plain.load(tmp_path)
    (tmp_path / "mulgil_tokenizer.json").write_text('{"tokenizer": "jamo"}')
    with pytest.raises(ModelError, match="jamo"):
        Plain.load(tmp_path)

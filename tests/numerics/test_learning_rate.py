"""The learning rate that a recipe does not name: the model's own, said, written, and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mulgil
from mulgil import registry
from mulgil.errors import RunError

SMALL = """\
[data]
name = "sample"
train_rows = 40
test_rows = 20

[model]
name = "encoder"
hidden = 16
layers = 1
heads = 2

[tokenizer]
vocab_size = 300
max_length = 24

[trainer]
epochs = 1
precision = "fp32"
"""


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A recipe that names no rate."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return str(path)


def rate(model: str, needs: str = "pool", **settings: object) -> float:
    """Return what a family says of a model with these settings."""
    plugin = registry.load("models", model)
    found: float = plugin(plugin.Settings(**settings)).rate(frozenset({needs}))
    return found


def checkpoint(folder: Path, **config: object) -> str:
    """Write as much of a checkpoint as a family looks at."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **config}))
    (folder / "model.safetensors").write_bytes(b"")
    return str(folder)


@pytest.mark.parametrize(
    ("config", "learnt", "fresh"),
    [
        ({"hidden_size": 256}, 4e-4, 1e-3),
        ({"hidden_size": 384}, 1e-4, 1e-3),
        ({"hidden_size": 768}, 5e-5, 3e-4),
        ({"dim": 768}, 5e-5, 3e-4),
        ({}, 5e-5, 3e-4),
    ],
)
def test_wide_and_learnt_weights_take_smaller_steps(
    tmp_path: Path, config: dict[str, object], learnt: float, fresh: float
) -> None:
    folder = checkpoint(tmp_path / "model", **config)
    assert rate("encoder", pretrained=folder) == learnt
    assert rate("encoder", pretrained=folder, weights="random") == fresh


def test_what_comes_with_the_package_and_what_is_fresh() -> None:
    assert rate("encoder", pretrained="mulgil/mini") == 4e-4
    assert rate("decoder", pretrained="mulgil/mini-gpt") == 4e-4
    assert rate("seq2seq", hidden=1024) == 3e-4
    assert rate("textcnn") == 1e-3
    assert rate("recurrent") == 2e-3


def test_word_vectors_are_learnt_at_gensims_rate_and_tuned_at_another() -> None:
    assert rate("word2vec", "relate") == 0.025
    assert rate("word2vec") == 1e-3


def test_a_run_says_it_writes_it_and_goes_on_with_it(tmp_path: Path, small: str) -> None:
    """CF-04: the run's own recipe gives the run again. RS-06: another rate is refused."""
    said: list[str] = []
    path = mulgil.train(small, root=tmp_path, say=said.append)
    assert any(", learning rate 0.001;" in line for line in said)
    written = (path / "recipe.toml").read_text()
    assert "learning_rate = 0.001\n" in written

    (path / "result.json").unlink()
    assert mulgil.train(small, root=tmp_path, resume=True) == path
    assert mulgil.train(small, root=tmp_path, resume=True) == path  # finished: nothing to do
    (path / "result.json").unlink()
    (path / "recipe.toml").write_text(written.replace("rate = 0.001\n", "rate = 5e-05\n"))
    with pytest.raises(RunError, match=r"trainer\.learning_rate was 5e-05, is 0\.001"):
        mulgil.train(small, root=tmp_path, resume=True)


def test_a_rate_that_is_named_is_kept(tmp_path: Path, small: str) -> None:
    path = mulgil.train(small, "trainer.learning_rate=3e-3", root=tmp_path)
    assert "learning_rate = 0.003\n" in (path / "recipe.toml").read_text()


def test_the_plan_says_it(small: str) -> None:
    lines: list[str] = []
    mulgil.check(small, say=lines.append)
    assert any("steps at learning rate 0.001, about" in line for line in lines)

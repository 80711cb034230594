"""Packages that are not installed: all of a recipe's are told at once, before any work."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

import mulgil
from mulgil import doctor, extras, pipeline
from mulgil.errors import ModelError
from mulgil.recipe import read

VECTORS = """\
[data]
name = "corpus"
paths = ["texts.txt"]

[model]
name = "word2vec"

[task]
name = "skip-gram"
"""


def test_the_table_is_that_of_the_installation() -> None:
    told = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    brought = told["project"]["optional-dependencies"]
    for package, extra in extras.EXTRAS.items():
        assert any(line.startswith(package) for line in brought[extra])


def test_all_that_are_missing_are_told_before_the_data_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gensim", "kiwipiepy"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "vectors.toml").write_text(VECTORS)
    (tmp_path / "texts.txt").write_text("강가를 천천히 걸었다\n")
    monkeypatch.chdir(tmp_path)
    line = r'needs gensim and kiwipiepy; pip install "mulgil\[korean,word2vec\]"'
    for verb in (mulgil.check, mulgil.train):
        with pytest.raises(ModelError, match=line):
            verb("vectors.toml")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (("data.name=sample",), set()),
        (("data.name=sample", "tokenizer.name=words", "tokenizer.morphemes=true"), {"kiwipiepy"}),
        (("data.name=sample", "trainer.tensorboard=true"), {"tensorboard"}),
        (("data.name=sample", "model.name=endpoint", "model.pretrained=x"), {"openai"}),
        (("data.name=parallel", "task.name=translation"), {"sacrebleu"}),
    ],
)
def test_what_a_recipe_needs(changes: tuple[str, ...], wanted: set[str]) -> None:
    made = read("tfidf", changes)
    assert {*pipeline._packages(made, made.task.make())} == wanted


def test_the_doctor_names_every_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    found = doctor.look()
    assert found["[korean]"] == 'no kiwipiepy; pip install "mulgil[korean]"'
    assert {f"[{extra}]" for extra in extras.EXTRAS.values()} <= {*found}

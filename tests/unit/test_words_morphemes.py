"""Morphemes for words: dictionary forms behind the text, counted as words and not as characters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulgil import kiwi
from mulgil.errors import ModelError
from mulgil.flow import Head
from mulgil.models.tfidf import Tfidf, TfidfSettings
from mulgil.tokenizers.words import Words, WordSettings

TEXTS = ["학교에 갔다", "학교에서 간다", ""]


@pytest.fixture(scope="module")
def morphemes() -> Words:
    pytest.importorskip("kiwipiepy", reason="kiwipiepy is not installed")
    return Words.make(WordSettings(morphemes=True), None, [], 1)


def rows(words: Words, texts: list[Any]) -> Any:
    return words.encode(texts).take(np.arange(len(texts)), 8)


def test_the_text_comes_first_and_its_dictionary_forms_behind(morphemes: Words) -> None:
    first, second, empty = (row.split("\n") for row in rows(morphemes, TEXTS))
    assert (first[0], second[0], empty) == (*TEXTS[:2], ["", ""])
    assert "가" in first[1].split()
    assert "가" in second[1].split(), "the same verb, whatever its ending"
    assert "학교" in first[1].split()
    assert morphemes.encode(TEXTS).lengths.tolist() == [6, 7, 0], "the text's own length"


def test_line_breaks_of_the_user_are_none(morphemes: Words) -> None:
    (row,) = rows(morphemes, ["학교에\n갔다\u2028또"])
    assert row.count("\n") == 1
    ((one, two),) = rows(morphemes, [("학교", "집에\n갔다")])
    assert one.split("\n")[0] == "학교"
    assert two.split("\n")[0] == "집에 갔다"


def test_words_are_counted_in_the_forms_and_characters_in_the_text(morphemes: Words) -> None:
    plain = Words.make(WordSettings(), None, [], 1)
    found = []
    for words in (plain, morphemes):
        chosen = TfidfSettings(min_rows=1, word_ngrams=[1, 2])
        network: Any = Tfidf(chosen).build(words, Head("pool", 2), "fp32", "cpu", 1)
        network.first_features([rows(words, TEXTS)])
        found.append([set(part.get_feature_names_out()) for part in network.parts])
    assert found[0][0] == found[1][0], "the same characters"
    assert "갔다" in found[0][1]
    assert "학교" in found[1][1]
    assert "갔다" not in found[1][1]
    assert any(" " in name for name in found[1][1]), "2-grams too"


def test_it_answers_the_same_when_it_is_opened(morphemes: Words, tmp_path: Path) -> None:
    """TK-07; another version of the analyser is told, since it may part words elsewhere."""
    morphemes.save(tmp_path)
    opened = Words.load(tmp_path)
    assert rows(opened, TEXTS) == rows(morphemes, TEXTS)
    assert (opened.fingerprint(), opened.notes) == (morphemes.fingerprint(), ())
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"kiwipiepy": "0.1"}))
    (note,) = Words.load(tmp_path).notes
    assert "learnt with kiwipiepy 0.1, but this is" in note


def test_without_morphemes_a_run_is_what_it_was(tmp_path: Path) -> None:
    """The file, and so the fingerprint, of a run from before the setting."""
    words = Words.make(WordSettings(), None, [], 1)
    words.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    assert path.read_text("utf-8") == '{"tokenizer": "words", "lowercase": false}\n'
    assert Words.load(tmp_path).settings == WordSettings()


@pytest.mark.parametrize("text", ["", "[]", '{"lowercase": "no"}', '{"lowercase": 3}'])
def test_a_broken_file_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    """CK-11."""
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match="use a whole copy of the run"):
        Words.load(tmp_path)


def test_morphemes_that_nobody_counts_are_refused(morphemes: Words) -> None:
    """CF-03: the work would be for nothing."""
    with pytest.raises(ModelError, match=r"set model\.word_ngrams=\[1, 2\]"):
        Tfidf(TfidfSettings()).build(morphemes, Head("pool", 2), "fp32", "cpu", 1)


def test_without_kiwipiepy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(wanted_by: str, instead: str) -> Any:
        raise ModelError(f"{wanted_by} needs kiwipiepy; take {instead}")

    monkeypatch.setattr(kiwi, "module", gone)
    with pytest.raises(ModelError, match=r"tokenizer\.morphemes needs .* tokenizer\.morphemes=f"):
        Words.make(WordSettings(morphemes=True), None, [], 1)

"""What is learnt: sizes, notes, stand-ins, folders that another tokenizer refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import decoders

from mulgil import hangul, recipe
from mulgil.errors import DataError, ModelError, RunError, SettingError
from mulgil.storage import commit_folder
from mulgil.tokenizers import _folders, _learning
from mulgil.tokenizers.subword import Subword, SubwordSettings
from mulgil.tokenizers.syllable import Syllable


def made(texts: list[str], **chosen: Any) -> Subword:
    return Subword.make(SubwordSettings(**chosen), None, texts, 7)


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe", "unigram"])
def test_fewer_pieces_than_asked_are_told(algorithm: str, korean_texts: list[str]) -> None:
    """A small sample is common in a recipe, so it is a note there, not a refusal."""
    small = made(korean_texts[:100], algorithm=algorithm, vocab_size=30_000)
    assert small.size < 30_000
    (note,) = small.notes
    assert f"support a vocabulary of {small.size:,}, not 30,000" in note
    assert "tokenizer.vocab_size" in note


def test_enough_pieces_are_no_news(korean_texts: list[str]) -> None:
    assert made(korean_texts, vocab_size=2500).notes == ()


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
def test_bytes_cost_no_size(algorithm: str, korean_texts: list[str]) -> None:
    """With bytes the vocabulary is as large as was asked, and no piece stands there twice."""
    tokenizer = made(korean_texts, algorithm=algorithm, vocab_size=1500, byte_fallback=True)
    pieces = tokenizer.pieces()
    assert len(pieces) == len({*pieces}) == 1500
    assert pieces[:5] == list(_learning.SPECIALS)
    assert set(_learning.BYTES) <= {*pieces}


def test_characters_that_bytes_spell_are_the_rare_ones() -> None:
    """A quarter of a BPE vocabulary is characters at most: the most frequent, ties by code."""
    letters = [chr(0xAC00 + 7 * n) for n in range(900)]
    texts = [" ".join(letter * (1 + n % 2) for n, letter in enumerate(letters))] * 3
    tokenizer = made(texts, algorithm="bpe", vocab_size=700, byte_fallback=True)
    kept = {piece for piece in tokenizer.pieces() if piece in letters}
    assert kept == {*letters[1 : 2 * (444 // 4 - 1) : 2]}


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
def test_the_same_texts_give_the_same_vocabulary_with_bytes(
    algorithm: str, korean_texts: list[str]
) -> None:
    """TR-07: the library's own limit of an alphabet drops any of equally frequent characters."""
    texts = korean_texts[:300]
    prints = {
        made(texts, algorithm=algorithm, vocab_size=1200, byte_fallback=True).fingerprint()
        for _ in range(4)
    }
    assert len(prints) == 1


def test_the_stand_ins_are_in_no_composed_text() -> None:
    """TK-01: U+2329 and U+232A become other characters in NFC, so they can stand for something."""
    for mark in (_learning.BAR, _learning.CUT):
        assert len(mark) == 1
        for around in ("{}", "가{}나", "{}\u0301", "a{}"):
            assert mark not in hangul.normalise(around.format(mark))


def test_a_bar_of_the_text_is_no_space(korean_texts: list[str]) -> None:
    tokenizer = made(korean_texts, algorithm="bpe", vocab_size=1500, byte_fallback=True)
    with_bar, with_space = (
        [number for number, _ in tokenizer.offsets(text)] for text in ("가▁나", "가 나")
    )
    assert with_bar != with_space
    assert tokenizer.decode(with_bar) == "가▁나"
    assert [span for _, span in tokenizer.offsets("▁")][1] == (0, 1)


def test_white_space_within_a_line_parts_words() -> None:
    """A tab or a newline is a piece of its own, never glued to a word."""
    texts = ["좋다\t영화\n별로다"] * 50 + ["다른 말"] * 9
    pieces = made(texts, algorithm="bpe", vocab_size=600, byte_fallback=True).pieces()
    assert {"좋다", "별로다", "영화"} & {piece.lstrip("▁") for piece in pieces}
    assert not [piece for piece in pieces if len(piece) > 1 and ("\t" in piece or "\n" in piece)]


def test_an_error_of_the_texts_is_not_taken_for_one_of_the_vocabulary() -> None:
    """DA-06: a file that breaks while it is read."""

    def texts() -> Iterator[str]:
        yield "영화 재밌다"
        raise DataError("a.txt.gz: cannot be read to its end")

    for algorithm in ("wordpiece", "bpe", "unigram"):
        with pytest.raises(DataError, match="to its end"):
            _learning.learn(texts(), algorithm, 500)


def test_lossless_is_read_from_the_pipeline(korean_texts: list[str]) -> None:
    tokenizer = made(korean_texts, algorithm="bpe", vocab_size=1500, byte_fallback=True)
    assert tokenizer.lossless
    tokenizer.backend.decoder = decoders.Fuse()
    assert not tokenizer.lossless


# ---------------------------------------------------------------- folders


@pytest.fixture(scope="module")
def folder(korean_texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as `mulgil tokenizer train` makes one."""
    path = tmp_path_factory.mktemp("tokenizers") / "bpe"
    tokenizer = made(korean_texts, algorithm="bpe", vocab_size=1500, byte_fallback=True)
    commit_folder(path, tokenizer.save)
    return path


def test_a_trained_folder_is_taken(folder: Path, korean_texts: list[str]) -> None:
    """TK-07: the same ids; the length is the recipe's own."""
    chosen = SubwordSettings(pretrained=str(folder), max_length=24)
    taken = Subword.make(chosen, None, iter(()), 7)
    ours = made(korean_texts, algorithm="bpe", vocab_size=1500, byte_fallback=True, max_length=24)
    assert taken.fingerprint() == ours.fingerprint()
    assert taken.encode(korean_texts).lengths.tolist() == ours.encode(korean_texts).lengths.tolist()


def test_the_models_own_tokenizer_comes_first(folder: Path, tiny_encoder: dict[str, Path]) -> None:
    chosen = SubwordSettings(pretrained=str(folder))
    opened = Subword.make(chosen, tiny_encoder["bert"], iter(()), 7)
    assert opened.size != 1500


def test_a_folder_in_a_recipe_is_made_absolute(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    read = recipe.read("sample-tfidf", ["model.name=encoder", "tokenizer.pretrained=bpe"])
    assert read.tokenizer.settings.pretrained == str(folder)
    assert "pretrained" in read.dump(tmp_path)


def test_no_folder_is_refused() -> None:
    with pytest.raises(ModelError, match=r'no folder "nowhere"; make one with mulgil tokenizer'):
        Subword.make(SubwordSettings(pretrained="nowhere"), None, iter(()), 7)


@pytest.mark.parametrize("hurt", ["shorter", "changed", "gone"])
def test_a_damaged_folder_is_refused(hurt: str, folder: Path, tmp_path: Path) -> None:
    """TK-06: one byte is enough."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    victim = copy / "tokenizer.json"
    whole = victim.read_bytes()
    if hurt == "gone":
        victim.unlink()
    else:
        victim.write_bytes(whole[:-9] if hurt == "shorter" else whole.replace(b"1499", b"1498", 1))
    with pytest.raises(RunError, match=r"tokenizer\.json") as caught:
        Subword.make(SubwordSettings(pretrained=str(copy)), None, iter(()), 7)
    assert "\n" not in str(caught.value)


def test_another_kind_refuses_the_folder(
    folder: Path, korean_texts: list[str], tmp_path: Path
) -> None:
    """It would cut texts in another way than the weights were trained with."""
    with pytest.raises(
        ModelError, match=r'is "subword", not "syllable"; set tokenizer\.name=subword'
    ):
        Syllable.make(Syllable.Settings(pretrained=str(folder)), None, iter(()), 7)
    Syllable.make(Syllable.Settings(), None, korean_texts[:50], 7).save(tmp_path)
    with pytest.raises(ModelError, match='is "syllable", not "subword"'):
        Subword.make(SubwordSettings(), tmp_path, iter(()), 7)


@pytest.mark.parametrize("content", ["{", "[]", '{"max_length": 8}', '{"tokenizer": 1}'])
def test_a_damaged_note_of_the_kind_is_refused(content: str, tmp_path: Path) -> None:
    """TK-06."""
    (tmp_path / _folders.RULES).write_text(content)
    with pytest.raises(ModelError, match="use another copy"):
        _folders.rules(tmp_path)


def test_a_setting_that_bytes_forbid() -> None:
    for values in (
        {"byte_fallback": True},
        {"algorithm": "bpe", "byte_fallback": True, "vocab_size": 300},
    ):
        words = [f"tokenizer.{key}={json.dumps(value)}" for key, value in values.items()]
        with pytest.raises(SettingError, match="byte_fallback"):
            recipe.read("sample-tfidf", ["model.name=encoder", *words])

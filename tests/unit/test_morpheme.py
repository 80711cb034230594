"""Cuts between morphemes: only cuts, in the text as it stands."""

from __future__ import annotations

import builtins
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from mulgil import hangul, kiwi
from mulgil.errors import ModelError
from mulgil.tokenizers import morpheme
from mulgil.tokenizers._learning import CUT
from mulgil.tokenizers.morpheme import Morpheme, MorphemeSettings


@pytest.fixture(scope="module")
def learnt(korean_texts: list[str]) -> Morpheme:
    pytest.importorskip("kiwipiepy", reason="kiwipiepy is not installed")
    return made(korean_texts[:300])


def made(texts: list[str], **chosen: Any) -> Morpheme:
    values = {"vocab_size": 1000, "max_length": 256, **chosen}
    tokenizer = Morpheme.make(MorphemeSettings(**values), None, texts, 7)
    assert isinstance(tokenizer, Morpheme)
    return tokenizer


def test_cuts_are_where_morphemes_end(learnt: Morpheme) -> None:
    """Contracted forms ("갔" is 가 and 었) are not taken apart, and white space never cut off."""
    (parted,) = morpheme.parted_at_morphemes(["나는 학교에서 밥을 먹었다"])
    assert parted.split(CUT) == ["나", "는 학교", "에서 밥", "을 먹", "었", "다"]
    (parted,) = morpheme.parted_at_morphemes(["학교에 갔다"])
    assert parted.split(CUT) == ["학교", "에 갔", "다"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "👍했다 좋아요",
        "𠮷집에서 먹었다👨‍👩‍👧ㅋㅋ",
        "a\x00b",
        "가\n나\t다",
        "\u1112\u119e\u11ab글을",
        "▁",
    ],
)
def test_nothing_but_cuts_is_put_in(text: str, learnt: Morpheme) -> None:
    """TK-01, DA-04: places are counted in characters, astral ones too."""
    (parted,) = morpheme.parted_at_morphemes([text])
    assert parted.replace(CUT, "") == text
    assert CUT + CUT not in parted


def test_no_piece_reaches_across_a_cut(learnt: Morpheme, korean_texts: list[str]) -> None:
    for text in korean_texts[700:730]:
        (parted,) = morpheme.parted_at_morphemes([hangul.normalise(text)])
        cuts, place = set(), 0
        for letter in parted:
            if letter == CUT:
                cuts.add(place)
            else:
                place += 1
        for _, (start, end) in learnt.offsets(text):
            assert not {*range(start + 1, end)} & cuts


def test_offsets_and_encoding_are_the_same_tokens(
    learnt: Morpheme, korean_texts: list[str]
) -> None:
    """TK-01, TK-07: composed and decomposed, with what looks special in it."""
    texts = [*korean_texts[700:720], "[SEP] 학교에서 [CLS]", "\ud800학교에서", "학교▁에서"]
    for text in [*texts, *(unicodedata.normalize("NFD", text) for text in texts)]:
        found = learnt.offsets(text)
        encoded: Any = learnt.encode([text])
        assert encoded.flat.tolist() == [number for number, _ in found]
        covered = {place for _, (start, end) in found for place in range(start, end)}
        missing = [text[i] for i in range(len(text)) if i not in covered]
        assert [letter for letter in missing if not letter.isspace()] == []


def test_windows_count_the_texts_own_bytes(learnt: Morpheme) -> None:
    text = "나는 학교에서 밥을 먹었다"
    (arrays,) = list(learnt.windows([[text]], "sentence"))
    assert arrays["bytes"].tolist() == [len(text.encode())]


def test_what_is_saved_encodes_the_same(
    learnt: Morpheme, korean_texts: list[str], tmp_path: Path
) -> None:
    """TK-07; the version of kiwipiepy is kept beside."""
    learnt.save(tmp_path)
    loaded = Morpheme.load(tmp_path)
    assert loaded.fingerprint() == learnt.fingerprint()
    assert loaded.notes == ()
    rows: list[Any] = [one.encode(korean_texts[700:800]) for one in (learnt, loaded)]
    assert rows[0].flat.tolist() == rows[1].flat.tolist()


def test_another_version_of_kiwipiepy_is_told(learnt: Morpheme, tmp_path: Path) -> None:
    learnt.save(tmp_path)
    path = tmp_path / "mulgil_tokenizer.json"
    rules = json.loads(path.read_text()) | {"kiwipiepy": "0.1 (model 0.1)"}
    path.write_text(json.dumps(rules))
    (note,) = Morpheme.load(tmp_path).notes
    assert "learnt with kiwipiepy 0.1 (model 0.1), but this is" in note


def test_without_kiwipiepy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the extra's name, whatever is asked first."""
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("kiwipiepy"):
            raise ImportError("No module named 'kiwipiepy'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    kiwi._loaded.cache_clear()
    try:
        with pytest.raises(ModelError, match=r'pip install "mulgil\[korean\]"') as caught:
            made(["학교에서"])
        assert "\n" not in str(caught.value)
        assert "cannot be loaded" not in str(caught.value)
    finally:
        kiwi._loaded.cache_clear()


def test_wordpiece_is_no_choice_here() -> None:
    with pytest.raises(ValueError, match="'bpe' or 'unigram'"):
        MorphemeSettings(algorithm="wordpiece")  # type: ignore[arg-type]

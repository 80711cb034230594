"""Single characters and single jamo: what is a token, what it costs, and the way back."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from mulgil import hangul
from mulgil.errors import ModelError
from mulgil.tokenizers._characters import JAMO
from mulgil.tokenizers._learning import BYTES, SPECIALS
from mulgil.tokenizers.jamo import Jamo
from mulgil.tokenizers.subword import Subword
from mulgil.tokenizers.syllable import Syllable

KINDS = [Syllable, Jamo]
EVERY_SYLLABLE = "".join(map(chr, range(0xAC00, 0xD7A4)))


def made(kind: type[Subword], texts: list[str], **chosen: Any) -> Subword:
    return kind.make(kind.Settings(**chosen), None, texts, 7)


def pieces(tokenizer: Subword, text: str) -> list[str]:
    """Return the pieces of a text, the template's left out."""
    names = tokenizer.pieces()
    return [names[number] for number, _ in tokenizer.offsets(text)][1:-1]


def test_a_token_each_character(korean_texts: list[str]) -> None:
    tokenizer = made(Syllable, korean_texts)
    assert pieces(tokenizer, "영화 좋다!") == ["영", "화", "▁", "좋", "다", "!"]
    assert pieces(tokenizer, unicodedata.normalize("NFD", "영화")) == ["영", "화"]
    text = korean_texts[0]
    assert len(tokenizer.offsets(text)) == len(text) + 2


def test_a_token_each_jamo(korean_texts: list[str]) -> None:
    tokenizer = made(Jamo, korean_texts)
    assert pieces(tokenizer, "좋다 ㅋ") == ["ᄌ", "ᅩ", "ᇂ", "ᄃ", "ᅡ", "▁", "ㅋ"]
    assert tokenizer.notes == ()


def test_every_modern_syllable_is_known_to_jamo(korean_texts: list[str]) -> None:
    """No syllable is unknown or spelt in bytes, however rare; the alphabet is 67 jamo."""
    tokenizer = made(Jamo, korean_texts[:3], vocab_size=512)
    assert len(JAMO) == len({*JAMO}) == 67
    assert {*unicodedata.normalize("NFD", EVERY_SYLLABLE)} == {*JAMO}
    encoded: Any = tokenizer.encode([EVERY_SYLLABLE[i : i + 100] for i in range(0, 11172, 100)])
    numbers = {tokenizer.backend.token_to_id(piece) for piece in BYTES}
    assert encoded.unknown == 0
    assert not numbers & {*encoded.flat.tolist()}
    ids = [number for number, _ in tokenizer.offsets(EVERY_SYLLABLE[:100])]
    assert tokenizer.decode(ids) == EVERY_SYLLABLE[:100]


def test_the_most_frequent_come_first() -> None:
    tokenizer = made(Syllable, ["나나나 다다 가", "\u2603"], vocab_size=64, byte_fallback=False)
    assert tokenizer.pieces() == [*SPECIALS, "▁", "나", "다", "\u2603", "가"]
    small = made(Syllable, [EVERY_SYLLABLE, "가" * 9, "힣" * 5], vocab_size=512)
    assert small.size == 512
    assert small.pieces()[5 + 256 : 5 + 256 + 3] == ["▁", "가", "힣"]


def test_rare_characters_are_bytes_or_unknown(korean_texts: list[str]) -> None:
    with_bytes = made(Syllable, korean_texts)
    without = made(Syllable, korean_texts, byte_fallback=False)
    assert pieces(with_bytes, "𠮷") == ["<0xF0>", "<0xA0>", "<0xAE>", "<0xB7>"]
    assert pieces(without, "𠮷") == ["[UNK]"]
    assert without.encode(["𠮷"]).unknown == 1
    assert (with_bytes.lossless, without.lossless) == (True, False)


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_point_at_the_users_characters(
    kind: type[Subword], korean_texts: list[str]
) -> None:
    """TK-01: each jamo of a syllable points at the syllable, composed or not."""
    tokenizer = made(kind, korean_texts)
    names = tokenizer.pieces()
    for text in ("한글 좋다!▁ 👍", unicodedata.normalize("NFD", "한글 좋다"), "e\u0301a", "a\r\nb"):
        for number, (start, end) in tokenizer.offsets(text)[1:-1]:
            here = hangul.normalise(text[start:end])
            plain = names[number].replace("▁", " ").replace("\u2329", "▁")
            assert len(here) <= 1 or here == "\r\n"
            if not plain.startswith("<0x"):
                assert plain in (here, *unicodedata.normalize("NFD", here))


@pytest.mark.parametrize("kind", KINDS)
def test_what_looks_special_is_text(kind: type[Subword], korean_texts: list[str]) -> None:
    """TK-02."""
    tokenizer = made(kind, korean_texts)
    special = {tokenizer.backend.token_to_id(name) for name in SPECIALS}
    for text in (*SPECIALS, "</s>", "<0x41>", "<|endoftext|>", "a[SEP]b"):
        ids = [number for number, _ in tokenizer.offsets(text)]
        assert len(special & {*ids[1:-1]}) == 0
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_encodes_the_same(
    kind: type[Subword], korean_texts: list[str], tmp_path: Path
) -> None:
    """TK-07: loaded again, and by plain transformers; what that decodes of jamo stays NFD."""
    tokenizer = made(kind, korean_texts)
    tokenizer.save(tmp_path)
    loaded = kind.load(tmp_path)
    assert loaded.fingerprint() == tokenizer.fingerprint()
    assert (loaded.max_length, loaded.size) == (tokenizer.max_length, tokenizer.size)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    texts = [text for text in korean_texts[:200] if len(text) < 120]
    ours = [[number for number, _ in loaded.offsets(text)] for text in texts]
    assert theirs(texts)["input_ids"] == ours
    back = theirs.decode(ours[0], skip_special_tokens=True)
    form = "NFD" if kind is Jamo else "NFC"
    assert back == unicodedata.normalize(form, texts[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_texts_give_the_same_vocabulary(
    kind: type[Subword], korean_texts: list[str]
) -> None:
    """TR-07: also in another order."""
    prints = {made(kind, list(texts)).fingerprint() for texts in (korean_texts, korean_texts[::-1])}
    assert len(prints) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_texts_without_a_character(kind: type[Subword]) -> None:
    with pytest.raises(ModelError, match="no character; give rows with text"):
        made(kind, ["", ""])


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_with_a_tokenizer_of_its_own(
    kind: type[Subword], tiny_encoder: dict[str, Path]
) -> None:
    with pytest.raises(ModelError, match=r"set tokenizer\.name=subword"):
        kind.make(kind.Settings(), tiny_encoder["bert"], iter(()), 7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_without_spaces_takes_no_longer_than_its_halves(
    kind: type[Subword], korean_texts: list[str]
) -> None:
    """TK-05, in processor time: twice the text takes at most 2.6 times as long."""
    import time

    tokenizer = made(kind, korean_texts, max_length=1 << 20)

    def took(text: str) -> float:
        best = 9e9
        for _ in range(3):
            begin = time.process_time()
            tokenizer.encode([text])
            best = min(best, time.process_time() - begin)
        return best

    for unit in ("영화", "a\u0301\u0323"):
        assert took(unit * 40_000) < 2.6 * took(unit * 20_000) + 0.02

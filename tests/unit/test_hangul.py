"""Composing Hangul, and the way back to the user's own characters (TK-01, TK-05, DA-03)."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulgil import hangul

OLD = "\u1112\u119e\u11ab"  # 한 with arae-a: no syllable of its own, stays three letters
SAMPLES = [
    "",
    "물길",
    "영화 정말 재밌다",
    "ㅋㅋㅋ 굿",
    OLD + " 글",
    "가족 👨‍👩‍👧 영화 👍🏽",
    "𠮷野家 𝒜 😀",
    "cafe\u0301 na\u0308ive A\u030a",
    "가\r\n나\r\n",
    "a\u0323\u0307 \u1100\u1161\u11a8\u11a8",
    "\u3131\u314f ﾡￂ",
    "\u200b가\ufeff나\u2060",
    "\u1100",
    "\u1161\u1100\u1161",
    "\ud800 가 \udfff",
    "\u0344\u0958\u2126",  # characters that NFC takes apart, or changes, for good
    "e" + "\u0301\u0323" * 1_200 + "가",
]
FORMS: list[Callable[[str], str]] = [
    lambda text: text,
    lambda text: unicodedata.normalize("NFC", text),
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: text + unicodedata.normalize("NFD", text) + unicodedata.normalize("NFC", text),
]
PIECES = st.sampled_from([*SAMPLES, *(c for text in SAMPLES for c in text)])
TEXT = st.lists(PIECES | st.text(max_size=3), max_size=8).map("".join)


def check_map(text: str) -> None:
    """Check that each composed character has a span, and that the spans are the whole text."""
    clean, spans = hangul.normalise(text), hangul.offsets(text)
    if spans is None:
        assert len(clean) == len(text)
        return
    assert len(spans) == len(clean)
    pieces = list(dict.fromkeys(spans))
    assert [start for start, _ in pieces] == [0, *(end for _, end in pieces[:-1])]
    assert pieces[-1][1] == len(text)
    for piece in pieces:
        made = "".join(c for c, span in zip(clean, spans, strict=True) if span == piece)
        assert hangul.normalise(text[slice(*piece)]) == made


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", SAMPLES)
def test_composed_spans_cover_the_text(text: str, form: Callable[[str], str]) -> None:
    """TK-01: NFC, NFD, mixed, emoji with joiners, astral letters, old Hangul, line ends."""
    check_map(form(text))


@settings(max_examples=500)
@given(TEXT, st.sampled_from(FORMS))
def test_composed_spans_cover_any_text(text: str, form: Callable[[str], str]) -> None:
    check_map(form(text))


def test_a_span_of_composed_text_becomes_one_of_the_users_text() -> None:
    text = unicodedata.normalize("NFD", "나는 밥을") + " 먹"
    clean, spans = hangul.normalise(text), hangul.offsets(text)
    for start in range(len(clean)):
        for end in range(start + 1, len(clean) + 1):
            a, b = hangul.to_user((start, end), spans)
            assert hangul.normalise(text[a:b]) == clean[start:end]


def test_empty_spans_stay_empty() -> None:
    text = unicodedata.normalize("NFD", "가나")
    spans = hangul.offsets(text)
    assert [hangul.to_user((i, i), spans) for i in range(3)] == [(0, 0), (2, 2), (4, 4)]
    assert hangul.to_user((0, 0), hangul.offsets("")) == (0, 0)
    assert hangul.to_user((3, 5), None) == (3, 5)


def test_only_composition_and_surrogates_are_changed() -> None:
    """No case, no width, no invisible character, no compatibility form is touched."""
    kept = "Ｆｕｌｌ ABC abc \u200b\u200d ﾡ ㈜ ① ﬁ \u00a0 Ⅳ"
    assert hangul.normalise(kept) == kept
    assert hangul.normalise("가\ud800나\udc00") == "가\ufffd나\ufffd"
    assert hangul.normalise(unicodedata.normalize("NFD", "값싼 밥")) == "값싼 밥"


def test_jamo_are_seen() -> None:
    assert hangul.has_jamo(unicodedata.normalize("NFD", "가"))
    assert hangul.has_jamo(OLD)
    assert not hangul.has_jamo("가ㄱㅏ")


def test_what_makes_two_texts_the_same() -> None:
    """DA-03."""
    wide = unicodedata.normalize("NFD", "  재밌다 \t\r\n  또\u3000보자 ")
    assert hangul.key(wide) == hangul.key("재밌다 또 보자") == "재밌다 또 보자"
    assert hangul.key("재밌다!") != hangul.key("재밌다")


# ---------------------------------------------------------------- time (TK-05, G24)

LONG: dict[str, Callable[[int], str]] = {
    "NFD": lambda n: unicodedata.normalize("NFD", "한글") * (n // 6),
    "vowels": lambda n: "\u1161" * n,
    "leads": lambda n: "\u1100" * n,
    "marks": lambda n: "a" + "\u0301" * n,
    "marks in two classes": lambda n: "e" + "\u0301\u0323" * (n // 2),
    "NFC, no spaces": lambda n: "가" * n,
    "surrogates": lambda n: "\ud800" * n,
    "old Hangul": lambda n: OLD * (n // 3),
}


@pytest.mark.parametrize("kind", LONG)
def test_time_grows_with_the_length_only(kind: str) -> None:
    """TK-05, G24: eight times the text is about eight times the work; squared it would be 64 times.

    Processor time, not the clock: what else the machine does cannot fail it.
    """

    def seconds(n: int) -> float:
        text = LONG[kind](n)
        best = 9.0
        for _ in range(3):
            started = time.process_time()
            hangul.normalise(text)
            hangul.offsets(text)
            best = min(best, time.process_time() - started)
        return best

    small = seconds(10_000)
    assert seconds(80_000) <= 24 * small + 0.05

"""Decoding gives the text back: decode(encode(x)) == NFC(x) for every tokenizer that claims it."""

from __future__ import annotations

import gzip
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from transformers import AutoTokenizer

from mulgil import hangul, registry
from mulgil.tokenizers.subword import Subword

CLAIMS: dict[str, dict[str, Any]] = {
    "bpe": {"name": "subword", "algorithm": "bpe", "byte_fallback": True, "vocab_size": 1500},
    "unigram": {
        "name": "subword",
        "algorithm": "unigram",
        "byte_fallback": True,
        "vocab_size": 1500,
    },
    "syllable": {"name": "syllable"},
    "jamo": {"name": "jamo"},
    "morpheme": {"name": "morpheme", "vocab_size": 1500},
    "morpheme-unigram": {"name": "morpheme", "algorithm": "unigram", "vocab_size": 1500},
}
OPEN = [name for name in CLAIMS if not name.startswith("morpheme")]
"""Those that plain transformers encodes the same with."""

ODD = [
    *(
        "",
        " ",
        "  ",
        "   a",
        "a   ",
        " a  b ",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "a\tb\nc",
        "\x00",
        "a\x00b",
    ),
    *(
        "▁",
        "▁▁",
        "a▁b",
        "▁a",
        "a ▁ b",
        " ▁",
        "\u2581\u0301",
        "\u2329",
        "\u232a",
        "\u3008",
        "<0x41>",
    ),
    *("<0xE2><0x96><0x81>", "[SEP]", "[CLS][PAD]", "[UNK]", "##가", "</s>", "<|endoftext|>"),
    *("\u1112\u119e\u11ab", "\u1100", "\u1161", "\u11a8", "\u1100\u1161\u11a8", "가\u11a8", "힣"),
    *(
        "ㅋㅋㅋ",
        "ㅠ",
        "ﾡ",
        "가\u0301",
        "\u0301",
        " \u0301",
        "e\u0301",
        "a\u0323\u0307",
        "Å\u212b\u2126",
    ),
    *(
        "👨‍👩‍👧",
        "👍🏽",
        "𠮷",
        "𝒜",
        "\ufeff가",
        "\u200b",
        "\u3000",
        "\u00a0",
        "\u2028",
        "\u0085",
        "\x1c",
    ),
    *("\ud800", "가\udfff나", "\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\ue000", "\uf900", "豈"),
]
"""TK-01, TK-02, TK-03, DA-04: white space, the marks of pieces and bytes, jamo, surrogates."""

WORDS = ["영화", "재밌다", "학교에서", "먹었다", "good", "10점", "!!", "...", "하얗다", "됐어요"]
TEXTS = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from([*ODD, *WORDS, " "]), max_size=10).map("".join),
    st.lists(st.one_of(st.sampled_from([*ODD, *WORDS]), st.text(max_size=4)), max_size=8).map(
        " ".join
    ),
    st.text(st.characters(min_codepoint=0x1100, max_codepoint=0x11FF), max_size=12),
)


@pytest.fixture(scope="module")
def made(korean_texts: list[str]) -> dict[str, Subword]:
    """Return what was learnt from the sample; kinds whose library is missing are left out."""
    found = {}
    for title, values in CLAIMS.items():
        if values["name"] == "morpheme" and not _has_kiwi():
            continue
        found[title] = _made(values, korean_texts[:700])
    return found


def _made(values: dict[str, Any], texts: list[str]) -> Subword:
    plugin = registry.load("tokenizers", values["name"])
    chosen = {key: value for key, value in values.items() if key != "name"}
    tokenizer: Subword = plugin.make(plugin.Settings(max_length=1 << 20, **chosen), None, texts, 7)
    return tokenizer


def _has_kiwi() -> bool:
    try:
        import kiwipiepy  # noqa: F401
    except ImportError:
        return False
    return True


def _of(made: dict[str, Subword], title: str) -> Subword:
    if title not in made:
        pytest.skip("kiwipiepy is not installed")
    return made[title]


def ids(tokenizer: Subword, texts: list[str]) -> Iterator[list[int]]:
    encoded: Any = tokenizer.encode(texts)
    for start, end in itertools.pairwise(encoded.starts):
        yield encoded.flat[start:end].tolist()


def leaks(tokenizer: Subword, texts: list[str]) -> list[tuple[str, str]]:
    """Return the texts that do not come back, with what comes."""
    found = []
    for text, row in zip(texts, ids(tokenizer, texts), strict=True):
        back = tokenizer.decode(row)
        if back != hangul.normalise(text):
            found.append((text, back))
    return found


@pytest.mark.parametrize("title", CLAIMS)
def test_odd_texts_come_back(title: str, made: dict[str, Subword]) -> None:
    """TK-01, TK-02, TK-03, DA-04: alone, and behind and before a word."""
    tokenizer = _of(made, title)
    assert tokenizer.lossless
    texts = [*ODD, *(f"가{odd}" for odd in ODD), *(f"{odd}나 " for odd in ODD)]
    assert leaks(tokenizer, texts) == []


@pytest.mark.parametrize("title", CLAIMS)
def test_any_text_comes_back(title: str, made: dict[str, Subword]) -> None:
    """TK-01, TK-02, DA-04."""
    tokenizer = _of(made, title)

    @hypothesis.settings(max_examples=150)
    @hypothesis.given(st.lists(TEXTS, max_size=4))
    def check(texts: list[str]) -> None:
        assert leaks(tokenizer, texts) == []

    check()


@pytest.mark.parametrize("title", OPEN)
def test_every_character_comes_back(title: str, made: dict[str, Subword]) -> None:
    """DA-04: each of the basic plane's, and one in 97 of the others, between two letters."""
    points = [*range(0xD800), *range(0xE000, 0x10000), *range(0x10000, sys.maxunicode, 97)]
    characters = [chr(point) for point in points]
    texts = ["a".join(characters[i : i + 500]) for i in range(0, len(characters), 500)]
    assert leaks(made[title], texts) == []


@pytest.mark.parametrize("title", CLAIMS)
def test_windows_come_back(title: str, made: dict[str, Subword], tmp_path: Path) -> None:
    """What a language model reads: cut into windows, joined without their frames."""
    _of(made, title).save(tmp_path)
    plugin = registry.load("tokenizers", CLAIMS[title]["name"])
    short = plugin.make(plugin.Settings(max_length=16, pretrained=str(tmp_path)), None, [], 7)
    texts = ["정말 재밌는 영화▁였다  👍 " * 20, " a", "", "가\u1112\u119e\u11ab\n나"]
    (arrays,) = list(short.windows([texts], "document"))
    assert len(arrays["lengths"]) > 8
    assert 15 <= arrays["lengths"].max() <= 16  # the end of a text has a place kept for it
    rows: list[list[int]] = [[] for _ in texts]
    ends = itertools.accumulate(arrays["lengths"], initial=0)
    for owner, (start, end) in zip(arrays["owners"], itertools.pairwise(ends), strict=True):
        rows[owner] += arrays["tokens"][start:end].tolist()
    back = [short.decode(row) for row in rows]
    assert back == [hangul.normalise(text) for text in texts]
    sizes = [int(arrays["bytes"][arrays["owners"] == i].sum()) for i in range(len(texts))]
    assert sizes == [len(hangul.normalise(text).encode()) for text in texts]


@pytest.mark.parametrize("title", OPEN)
def test_plain_transformers_gives_the_same_ids(
    title: str, made: dict[str, Subword], korean_texts: list[str], tmp_path: Path
) -> None:
    """TK-07; what only special-looking strings, half characters and odd forms change is ours."""
    made[title].save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    texts = [odd for odd in ODD if "[" not in odd and not _broken(odd)] + korean_texts[:300]
    assert theirs(texts)["input_ids"] == list(ids(made[title], texts))


def _broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


@pytest.mark.parametrize("title", [name for name in CLAIMS if name != "jamo"])
def test_no_syllable_is_taken_apart(title: str, made: dict[str, Subword]) -> None:
    """DA-03: no piece has conjoining jamo; those of a text that cannot be composed stay."""
    tokenizer = _of(made, title)
    assert not hangul.has_jamo("".join(tokenizer.pieces()))


@pytest.mark.parametrize("title", ["bpe", "syllable"])
def test_old_hangul_that_cannot_be_composed_stays(title: str) -> None:
    tokenizer = _made(CLAIMS[title], ["\u1112\u119e\u11ab 옛말 가나다라"] * 50)
    jamo = {letter for letter in "".join(tokenizer.pieces()) if hangul.has_jamo(letter)}
    assert jamo == {"\u1112", "\u119e", "\u11ab"}


def test_only_what_is_lossless_claims_it(korean_texts: list[str], tmp_path: Path) -> None:
    """Without bytes, and with WordPiece, something is lost; a saved folder claims the same."""
    for values in (
        {"name": "subword"},
        {"name": "subword", "algorithm": "bpe"},
        {"name": "syllable", "byte_fallback": False},
    ):
        tokenizer = _made(values, korean_texts[:300])
        assert not tokenizer.lossless
        assert leaks(tokenizer, ["𠮷  집"])
    kept = _made(CLAIMS["bpe"], korean_texts)
    kept.save(tmp_path)
    assert Subword.load(tmp_path).lossless


# ---------------------------------------------------------------- real texts


def _lines(path: Path, limit: int) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return [line.rstrip("\n") for line in itertools.islice(file, limit)]


@pytest.mark.parametrize("title", [name for name in CLAIMS if "morpheme" not in name])
def test_real_lines_come_back(title: str, made: dict[str, Subword], data_folder: Path) -> None:
    """20,000 reviews, with a vocabulary of other texts."""
    path = data_folder / "nsmc" / "ratings_train.txt.gz"
    if not path.exists():
        pytest.skip("MULGIL_DATA has no nsmc/ratings_train.txt.gz")
    assert leaks(made[title], _lines(path, 20_000)) == []


@pytest.mark.real
@pytest.mark.parametrize("title", CLAIMS)
def test_many_real_lines_come_back(title: str, made: dict[str, Subword], data_folder: Path) -> None:
    """100,000 lines: reviews, and the first of every text file of the corpus beside the data."""
    tokenizer = _of(made, title)
    texts = sorted((data_folder.parent / "corpus").glob("*.gz"))
    paths = [data_folder / "nsmc" / "ratings_train.txt.gz", *texts]
    share = 100_000 // len(paths)
    checked = 0
    for path in paths:
        if path.exists():
            lines = _lines(path, share if texts else 100_000)
            checked += len(lines)
            assert leaks(tokenizer, lines) == [], path.name
    if not checked:
        pytest.skip("MULGIL_DATA has no texts for this")

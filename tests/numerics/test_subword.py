"""Subword tokens: offsets into the user's text, no forged special id, the same everywhere."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers
from tokenizers_at_hand import ALGORITHMS, checkpoint, made
from transformers import AutoTokenizer

from mulgil import hangul
from mulgil.errors import ModelError
from mulgil.tokenizers._learning import SPECIALS
from mulgil.tokenizers._ragged import Ragged
from mulgil.tokenizers.subword import Subword, SubwordSettings

OLD = "\u1112\u119e\u11ab"  # 한 with arae-a


@pytest.fixture(scope="module")
def learnt(korean_texts: list[str]) -> dict[str, Subword]:
    """Return a tokenizer of each algorithm, learnt from the sample."""
    return {name: made(korean_texts, name) for name in ALGORITHMS}


def surface(tokenizer: Subword, number: int) -> str:
    """Return what a token stands for, without the marks of words and their parts."""
    name = tokenizer.backend.id_to_token(number)
    return str(name).removeprefix("##").lstrip("▁")


# ---------------------------------------------------------------- strings


PIECES = [
    *("가", "나", "영화", "재밌다", "ㅋㅋ", "ㅠ", "good", "A", "1", "10점", "!", "...", "?", "%"),
    *(" ", "  ", "\t", "\n", "\r\n", "\u3000", "\u200b", "\u200d", "\ufeff", "\u00a0"),
    *("👍", "👨‍👩‍👧", "👍🏽", "𠮷", "𝒜", "é", "e\u0301", "a\u0323\u0307", "ﾡ", "＜", "①", "㈜"),
    *(OLD, "\u1100", "\u1161", "\u11a8", "힣", "[SEP]", "[CLS]", "[PAD]", "[UNK]", "[MASK]"),
]


def strings(n: int, seed: int, words: list[str]) -> list[str]:
    """Return generated texts: NFC, NFD, both mixed, emoji, line ends, specials, old Hangul."""
    draw = random.Random(seed)
    forms: list[Callable[[str], str]] = [
        str,
        lambda text: unicodedata.normalize("NFC", text),
        lambda text: unicodedata.normalize("NFD", text),
    ]
    found = []
    for _ in range(n):
        parts = [
            draw.choice(forms)(draw.choice(words if draw.random() < 0.5 else PIECES))
            for _ in range(draw.randrange(12))
        ]
        found.append(draw.choice(forms)(draw.choice(["", " "]).join(parts)))
    return found


def wrong_offsets(tokenizer: Subword, text: str) -> str | None:
    """Return what is wrong with the offsets of a text, or None."""
    before, unknown = 0, tokenizer.backend.token_to_id("[UNK]")
    found = tokenizer.offsets(text)
    for number, (start, end) in found:
        if number in tokenizer._special:
            if (start, end) != (0, 0):
                return f"a special id at {(start, end)}"
            continue
        if not 0 <= start <= end <= len(text):
            return f"{(start, end)} is outside"
        if start < before:
            return f"{(start, end)} goes back"
        before = start
        here, expected = hangul.normalise(text[start:end]), surface(tokenizer, number)
        if number != unknown and expected and here.strip() != expected.strip():
            return f"{here!r} is not {expected!r}"
    covered = {i for _, (start, end) in found for i in range(start, end)}
    plain = [i for i, c in enumerate(text) if i not in covered and not ignored(c)]
    return f"nothing covers {text[plain[0]]!r}" if plain else None


def ignored(character: str) -> bool:
    """Say whether a tokenizer may pass over a character: white space."""
    return character.isspace()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_offsets_give_the_token_back(
    algorithm: str, learnt: dict[str, Subword], korean_texts: list[str]
) -> None:
    """TK-01, G18: 10,000 generated strings over the three algorithms, and the sample itself."""
    tokenizer = learnt[algorithm]
    words = [word for text in korean_texts for word in text.split()]
    texts = strings(3_400, 1 + ALGORITHMS.index(algorithm), words)
    bad = [(text, why) for text in texts if (why := wrong_offsets(tokenizer, text))]
    assert bad == []
    for text in korean_texts[:200]:
        for form in (text, unicodedata.normalize("NFD", text)):
            assert wrong_offsets(tokenizer, form) is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_offsets_and_encoding_are_the_same_tokens(
    algorithm: str, learnt: dict[str, Subword], korean_texts: list[str]
) -> None:
    """TK-07: also of rows that hold the strings of special tokens."""
    tokenizer = learnt[algorithm]
    texts = strings(500, 9, korean_texts[:50])
    encoded = tokenizer.encode(texts)
    assert isinstance(encoded, Ragged)
    for i, text in enumerate(texts):
        ids = encoded.flat[encoded.starts[i] : encoded.starts[i + 1]].tolist()
        assert ids == [number for number, _ in tokenizer.offsets(text)]


def test_composed_and_decomposed_are_the_same_ids(
    learnt: dict[str, Subword], korean_texts: list[str]
) -> None:
    """DA-03, M19: decomposed Hangul is never unknown, and no syllable becomes jamo."""
    for tokenizer in learnt.values():
        encoded = [
            tokenizer.encode([unicodedata.normalize(form, text) for text in korean_texts])
            for form in ("NFC", "NFD")
        ]
        assert encoded[0].arrays()["flat"].tolist() == encoded[1].arrays()["flat"].tolist()  # type: ignore[index]
        assert encoded[0].unknown == encoded[1].unknown < 0.01
        assert tokenizer.notes == ()
        names = "".join(tokenizer.backend.get_vocab())
        assert not hangul.has_jamo(names)


def test_a_checkpoint_that_splits_syllables_says_so(
    tmp_path: Path, korean_texts: list[str]
) -> None:
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(strip_accents=True, lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=list(SPECIALS))
    backend.train_from_iterator(korean_texts[:200], trainer)
    opened = checkpoint(backend, tmp_path)
    assert any("jamo" in note for note in opened.notes)


# ---------------------------------------------------------------- odd rows (TK-03, TK-08)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_odd_rows_harm_no_other(algorithm: str, learnt: dict[str, Subword]) -> None:
    """TK-03, PR-02: lone surrogates, NUL, nothing, white space: ids, and the others unchanged."""
    tokenizer = learnt[algorithm]
    odd = ["\ud800", "\udfff가\ud83d", "", " \t\n", "\x00", "ㅋ" * 50, "👨‍👩‍👧", "\u200b", "\ufffd"]
    good = "영화 좋아요"
    (alone,) = [tokenizer.encode([good]).arrays()]
    assert alone is not None
    for row in odd:
        encoded = tokenizer.encode([good, row, good])
        assert isinstance(encoded, Ragged)
        assert len(encoded) == 3
        for i in (0, 2):
            ids = encoded.flat[encoded.starts[i] : encoded.starts[i + 1]]
            assert ids.tolist() == alone["flat"].tolist()
        assert len(tokenizer.offsets(row)) == encoded.lengths[1]


def test_rows_that_are_cut_are_counted(learnt: dict[str, Subword], korean_texts: list[str]) -> None:
    """TK-08: cut at max_length with the template's end in place, and counted, no more, no less."""
    long = made(korean_texts, length=256)
    short = made(korean_texts, length=12)
    whole, cut = long.encode(korean_texts), short.encode(korean_texts)
    assert isinstance(cut, Ragged)
    assert whole.truncated == 0
    assert cut.truncated == int((whole.lengths > 12).sum()) > 0
    assert cut.lengths.tolist() == np.minimum(whole.lengths, 12).tolist()
    ends = cut.flat[cut.starts[1:] - 1]
    assert (ends == 3).all()
    assert short.encode(["[SEP]" * 40]).truncated == 1


def test_the_unknown_share(korean_texts: list[str]) -> None:
    """Of the tokens of the text itself, the template's left out; also where its id is 0."""
    tokenizer = made(korean_texts)
    known = tokenizer.encode(["영화 좋아요", "영화"])
    assert known.unknown == 0.0
    assert tokenizer.encode(["𠮷"]).unknown == 1.0
    encoded = tokenizer.encode(["영화 𠮷"])
    assert encoded.unknown == 1 / (int(encoded.lengths[0]) - 2)
    assert tokenizer.encode([]).unknown == 0.0
    assert tokenizer.encode([""]).unknown == 0.0


def test_the_unknown_share_where_the_id_is_zero(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "영화": 2}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    opened = checkpoint(backend, tmp_path, unk_token="<unk>", pad_token="<pad>")
    assert opened.encode(["영화 책 책 영화"]).unknown == 0.5


# ---------------------------------------------------------------- files (TK-06, TK-07)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_saved_encodes_the_same(
    algorithm: str, learnt: dict[str, Subword], korean_texts: list[str], tmp_path: Path
) -> None:
    """TK-07: training, prediction and plain transformers: the same ids; and so once more."""
    tokenizer = learnt[algorithm]
    texts = [*korean_texts, *strings(200, 3, korean_texts[:9])]
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    tokenizer.save(folders[0])
    opened = Subword.load(folders[0])
    opened.save(folders[1])
    for other in (opened, Subword.load(folders[1])):
        assert other.fingerprint() == tokenizer.fingerprint()
        assert (other.max_length, other.pad, other.size) == (256, tokenizer.pad, tokenizer.size)
        assert other.special_ids == tokenizer.special_ids
        assert (
            other.encode(texts).arrays()["flat"].tolist()
            == tokenizer.encode(texts).arrays()["flat"].tolist()
        )  # type: ignore[index]
    for name in ("tokenizer.json", "mulgil_tokenizer.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    theirs = AutoTokenizer.from_pretrained(folders[0])
    assert theirs(korean_texts)["input_ids"] == rows(tokenizer.encode(korean_texts))


def rows(encoded: Any) -> list[list[int]]:
    return [
        encoded.flat[a:b].tolist()
        for a, b in zip(encoded.starts[:-1], encoded.starts[1:], strict=True)
    ]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_texts_give_the_same_vocabulary(algorithm: str, korean_texts: list[str]) -> None:
    """TR-07: learnt again it is bit for bit the same, or no run from scratch could be resumed."""
    prints = {made(korean_texts[:300], algorithm, 1500).fingerprint() for _ in range(3)}
    assert len(prints) == 1


def test_the_vocabulary_is_as_large_as_was_asked(learnt: dict[str, Subword]) -> None:
    assert {name: tokenizer.size for name, tokenizer in learnt.items()} == dict.fromkeys(
        ALGORITHMS, 2500
    )
    for tokenizer in learnt.values():
        assert [tokenizer.backend.id_to_token(i) for i in range(5)] == list(SPECIALS)


@pytest.mark.parametrize(
    ("texts", "size"), [(["가나다라마바사아자차카타파하"] * 3, 64), ([""], 64)]
)
def test_texts_that_make_no_vocabulary(texts: list[str], size: int) -> None:
    """A vocabulary of what there is, or one line with a remedy: never a foreign exception."""
    for algorithm in ("wordpiece", "bpe"):
        assert len(made(texts, algorithm, size).encode(texts)) == len(texts)
    with contextlib.suppress(ModelError):
        made(texts, "unigram", size)


def test_a_vocabulary_too_small_for_the_characters(korean_texts: list[str]) -> None:
    """Unigram cannot be learnt so; the others keep every character they can."""
    with pytest.raises(
        ModelError, match=r"no vocabulary of 64 can be learnt.*tokenizer\.vocab_size"
    ):
        made(korean_texts, "unigram", 64)


def test_whatever_decides_the_encoding_decides_the_fingerprint(korean_texts: list[str]) -> None:
    """DA-09."""
    prints = {made(korean_texts[:200], "bpe", 900, length).fingerprint() for length in (64, 65)}
    prints |= {made(korean_texts[:200], "bpe", 901, 64).fingerprint()}
    prints |= {made(korean_texts[:201], "wordpiece", 900, 64).fingerprint()}
    assert len(prints) == 4


@pytest.mark.parametrize("content", ["", "{", '{"version": "1.0"}', "\x80pickle", None])
def test_damaged_tokenizer_files_are_refused(
    content: str | None, tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """TK-06."""
    folder = tmp_path / "hurt"
    folder.mkdir()
    for path in tiny_encoder["bert"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    if content is None:
        whole = (folder / "tokenizer.json").read_bytes()
        (folder / "tokenizer.json").write_bytes(whole[: len(whole) // 2])
    else:
        (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match="tokenizer cannot be opened") as caught:
        Subword.make(SubwordSettings(), folder, [], 1)
    assert "\n" not in str(caught.value)


def test_a_body_of_the_house_is_no_warning(
    learnt: dict[str, Subword], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What transformers says of a `model_type` that it does not know is kept from the screen."""
    learnt["bpe"].save(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "mulgil-textcnn"}', "utf-8")
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        Subword.load(tmp_path)
    finally:
        logger.removeHandler(caplog.handler)
    assert not caplog.records


def test_a_folder_without_a_tokenizer_is_refused(
    tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_bytes((tiny_encoder["bert"] / "config.json").read_bytes())
    with pytest.raises(ModelError, match=r"has no tokenizer; the folder needs") as caught:
        Subword.make(SubwordSettings(), tmp_path, [], 1)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_padding_is_refused(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "영화": 1}, "[UNK]"))
    with pytest.raises(ModelError, match="no padding token"):
        checkpoint(backend, tmp_path, unk_token="[UNK]")


def test_code_that_comes_with_a_tokenizer_is_never_run(
    tiny_encoder: dict[str, Path], tmp_path: Path
) -> None:
    """CF-06: auto_map in tokenizer_config.json."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for path in tiny_encoder["bert"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    canary = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Evil: ...\n")
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    config |= {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}, "tokenizer_class": "Evil"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with contextlib.suppress(ModelError):
        Subword.make(SubwordSettings(), folder, [], 1)
    assert not canary.exists()


# ---------------------------------------------------------------- batches


def test_batches_are_filled_up_at_the_end(learnt: dict[str, Subword]) -> None:
    tokenizer = learnt["bpe"]
    texts = ["영화", "정말 재밌는 영화", ""]
    encoded = tokenizer.encode(texts)
    inputs = encoded.take(np.array([2, 0, 1, 0]), 8)
    assert inputs.lengths.tolist() == encoded.lengths[[2, 0, 1, 0]].tolist()
    assert inputs.ids.shape[1] % 8 == 0
    assert inputs.ids.dtype == np.int64
    for row, i in enumerate([2, 0, 1, 0]):
        n = inputs.lengths[row]
        assert inputs.ids[row, :n].tolist() == rows(encoded)[i]
        assert (inputs.ids[row, n:] == tokenizer.pad).all()
    assert encoded.take(np.array([], np.int64), 8).ids.shape == (0, 8)


def test_no_batch_is_rounded_up_beyond_the_longest_row(korean_texts: list[str]) -> None:
    """A model may have no position behind `max_length`: 20 is not made 24, nor 512."""
    tokenizer = made(korean_texts, "bpe", length=20)
    long = ["정말 재밌는 영화였습니다. " * 20, "짧다"]
    pairs = [(text, text) for text in long]
    targets = [(text, text) for text in long]
    single = tokenizer.encode(long)
    arrays = single.arrays()
    assert arrays is not None
    for encoded in (
        single,
        tokenizer.revive(arrays),
        tokenizer.encode(pairs),
        tokenizer.located(long, 4),
        tokenizer.framed(next(tokenizer.windows([long], "sentence"))),
        tokenizer.written(targets, ("", ""), False, 6),
        tokenizer.written(targets, ("", ""), True, 6),
    ):
        for multiple in (8, 512):
            taken: Any = encoded.take(np.arange(len(encoded)), multiple)
            given = getattr(taken, "given", None)
            assert (given or taken).ids.shape[1] in {19, 20}  # of what is written no end is read
            assert given is None or taken.ids.shape[1] == 6
    assert single.take(np.array([1]), 8).ids.shape == (1, 8)


def test_decoding(learnt: dict[str, Subword]) -> None:
    text = "정말 재밌는 영화"
    for tokenizer in learnt.values():
        ids = [number for number, _ in tokenizer.offsets(text)]
        assert tokenizer.decode(ids).strip() == text

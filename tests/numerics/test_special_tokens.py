"""Strings that look like special tokens are plain text, whatever the tokenizer (TK-02)."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers_at_hand import ALGORITHMS, checkpoint, made

from mulgil.tokenizers._learning import SPECIALS
from mulgil.tokenizers.subword import Subword


@pytest.fixture(scope="module")
def learnt(korean_texts: list[str]) -> dict[str, Subword]:
    """Return a tokenizer of each algorithm, learnt from the sample."""
    return {name: made(korean_texts, name) for name in ALGORITHMS}


XLM = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def like_xlm(texts: list[str], folder: Path, normalizer: Any) -> Subword:
    """Return a tokenizer as XLM-RoBERTa has it: `</s>` is also an ordinary piece of the model."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=2000, special_tokens=list(XLM), unk_token="<unk>")
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    roles = dict(
        zip(("cls_token", "pad_token", "sep_token", "unk_token", "mask_token"), XLM, strict=True)
    )
    return checkpoint(backend, folder, **roles, bos_token="<s>", eos_token="</s>")


def like_gpt(texts: list[str], folder: Path) -> Subword:
    """Return a byte-level tokenizer whose one special token plays several roles."""
    end = "<|endoftext|>"
    backend = tokenizers.Tokenizer(models.BPE(unk_token=end))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=[end], initial_alphabet=alphabet)
    backend.train_from_iterator(texts, trainer)
    return checkpoint(backend, folder, unk_token=end, bos_token=end, eos_token=end, pad_token=end)


def plain_words(texts: list[str], folder: Path) -> Subword:
    """Return a WordPiece that reads white-space words, so that `[SEP]` is a word of the model."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(vocab_size=900, special_tokens=list(SPECIALS))
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return checkpoint(backend, folder)


INVISIBLE = normalizers.Sequence(
    [normalizers.NFKC(), normalizers.Replace(tokenizers.Regex("[\u200b\u2060]"), "")]
)
KINDS: dict[str, Callable[[list[str], Path], Subword]] = {
    **{
        name: (lambda texts, folder, name=name: made(texts, name, length=64)) for name in ALGORITHMS
    },
    "xlm": lambda texts, folder: like_xlm(texts, folder, normalizers.NFC()),
    "xlm with NFKC": lambda texts, folder: like_xlm(texts, folder, normalizers.NFKC()),
    "xlm that drops the invisible": lambda texts, folder: like_xlm(texts, folder, INVISIBLE),
    "byte-level": like_gpt,
    "white-space words": plain_words,
}


def wide(text: str) -> str:
    """Return the text in full-width forms, which NFKC folds back."""
    return "".join(chr(ord(c) + 0xFEE0) if 0x21 <= ord(c) <= 0x7E else c for c in text)


def hidden(text: str) -> str:
    return text[:1] + "\u200b" + text[1:]


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_gives_a_special_id(kind: str, tmp_path: Path, korean_texts: list[str]) -> None:
    """TK-02: every special token's string, alone, glued, doubled, in full width, with a joint."""
    tokenizer = KINDS[kind](korean_texts, tmp_path)
    frame = [n for n, _ in tokenizer.offsets("") if n in tokenizer._special]
    names = [str(name) for name in tokenizer._files.all_special_tokens]
    assert names
    for name in names:
        for form in (
            name,
            wide(name),
            hidden(name),
            name.lower(),
            unicodedata.normalize("NFD", name),
        ):
            for text in (form, f"좋은{form}영화", f"좋은 {form} 영화", form * 3, f" {form}\n"):
                ids = [number for number, _ in tokenizer.offsets(text)]
                assert [n for n in ids if n in tokenizer._special] == frame, text
                assert wrong_places(tokenizer, text) is None
                (encoded,) = [tokenizer.encode([text]).arrays()]
                assert encoded is not None
                assert encoded["flat"].tolist() == ids


def wrong_places(tokenizer: Subword, text: str) -> str | None:
    spans = [span for _, span in tokenizer.offsets(text)]
    inside = all(0 <= start <= end <= len(text) for start, end in spans)
    return None if inside else f"{spans} leave the text"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_words_around_a_special_string_stay_what_they_are(
    algorithm: str, learnt: dict[str, Subword]
) -> None:
    tokenizer = learnt[algorithm]
    alone = [n for n, _ in tokenizer.offsets("영화 좋아요")][1:-1]
    ids = [n for n, _ in tokenizer.offsets("영화 [SEP] 좋아요")][1:-1]
    assert ids[0] == alone[0]
    assert ids[-1] == alone[-1]


def test_many_special_strings_take_no_longer_than_their_length(learnt: dict[str, Subword]) -> None:
    """TK-05, G24."""
    for tokenizer in learnt.values():

        def seconds(n: int, tokenizer: Subword = tokenizer) -> float:
            best = 9.0
            for _ in range(3):
                started = time.process_time()
                tokenizer.encode(["[SEP]" * n + "［SEP］" * n])
                best = min(best, time.process_time() - started)
            return best

        assert seconds(4_000) <= 2.6 * seconds(2_000) + 0.02

"""A vocabulary learnt from texts: WordPiece, BPE or Unigram, Hangul whole, the same every time.

Chosen: the `tokenizers` library learns; it reads the texts once, in a stream, and keeps counts of
words, not texts. With `byte_fallback` a character that the vocabulary lacks is spelt in its UTF-8
bytes, so nothing is unknown and decoding gives the text back; it costs 256 places. In BPE and
Unigram a run of signs parts words ("좋다!!" is "좋다" and "!!"), because otherwise a quarter of a
review corpus's vocabulary is words with the signs behind them.

"▁" stands for a space, so a "▁" of the text itself needs another stand-in: U+2329, which no
composed text can hold, because NFC turns it into U+3008. That costs nothing: the space is put in
by the splitting at words instead of by a second replacement.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from mulgil import hangul
from mulgil.errors import ModelError, MulgilError

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Special tokens of a tokenizer that is learnt here, ids 0 to 4."""

BYTES = tuple(f"<0x{number:02X}>" for number in range(256))
"""Pieces that spell a character the vocabulary lacks."""

WORD = "▁"
"""What a space becomes in a piece."""

BAR = "\u2329"
"""What a "▁" of the text becomes; no text in NFC holds this character."""

CUT = "\u232a"
"""Where a text is cut before pieces are looked for; no text in NFC holds this character."""

STANDS_FOR = str.maketrans({" ": WORD, WORD: BAR})
"""What characters of a text are called in pieces."""

_SPARE = 12_000  # pieces learnt above the size, from which those with rare characters are taken

_SIGNS = "▁?[^\\p{L}\\p{M}\\p{N}\\s▁]+|\\s+"


def learn(
    texts: Iterable[str],
    algorithm: str,
    vocab_size: int,
    byte_fallback: bool = False,
    parted: bool = False,
) -> tokenizers.Tokenizer:
    """Learn a vocabulary; Hangul stays whole.

    The same texts give the same vocabulary, which the library's own trainers of WordPiece and
    Unigram do not: they go through hash tables in another order each time.

    Args:
        texts: read once.
        algorithm: "wordpiece", "bpe" or "unigram".
        vocab_size: pieces at most, special ones included.
        byte_fallback: spell characters that the vocabulary lacks in bytes; else they are [UNK].
        parted: the texts are in NFC already, and hold a `CUT` wherever no piece may reach across.

    Raises:
        ModelError: the texts cannot fill a vocabulary, or need a larger one.
    """
    clean = texts if parted else (hangul.normalise(text) for text in texts)
    letters: Counter[str] = Counter()
    size, more = vocab_size, 0
    if byte_fallback:
        size -= len(BYTES)
    if byte_fallback and algorithm == "bpe":
        clean, more = _counted(clean, letters), _SPARE
    backend, trainer = _untaught(algorithm, size + more, parted)
    try:
        backend.train_from_iterator(clean, trainer)
    except MulgilError:  # of whoever gives the texts
        raise
    except Exception as error:  # the library raises plain exceptions
        raise ModelError(
            f"tokenizer: no vocabulary of {vocab_size:,} can be learnt from the training"
            f" rows ({error}); change tokenizer.vocab_size, or give more rows"
        ) from error
    if algorithm == "unigram":
        _settle(backend, byte_fallback)
    elif algorithm == "wordpiece":
        pieces = _wordpieces(backend, vocab_size)
        backend.model = models.WordPiece(
            {piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece()
    elif byte_fallback:
        _spell(backend, size, letters)
    return framed(backend)


def framed(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Put the template of special tokens around what the pipeline encodes, and return it."""
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return backend


def lossless(backend: tokenizers.Tokenizer) -> bool:
    """Say whether decoding gives every text back: it was made here, and spells bytes."""
    rules = json.loads(backend.to_str())
    return bool(rules["model"].get("byte_fallback")) and BAR in json.dumps(
        rules["decoder"], ensure_ascii=False
    )


def decoder(front: bool) -> Any:
    """Return the way back from pieces; `front` takes away the space that was put in front."""
    steps = [
        decoders.Replace(WORD, " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Replace(BAR, WORD),
    ]
    return decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if front else steps)


def _counted(texts: Iterable[str], letters: Counter[str]) -> Iterator[str]:
    """Count the characters of the texts as they go by."""
    for text in texts:
        letters.update(text)
        yield text


def _untaught(algorithm: str, size: int, parted: bool) -> tuple[tokenizers.Tokenizer, Any]:
    """Return a pipeline without a vocabulary, and the trainer that gives it one."""
    common: dict[str, Any] = {
        "vocab_size": size,
        "special_tokens": list(SPECIALS),
        "show_progress": False,
    }
    if algorithm == "wordpiece":
        backend = tokenizers.Tokenizer(models.BPE(unk_token="[UNK]"))
        backend.normalizer = normalizers.NFC()
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(split=False)]
        )
        return backend, trainers.BpeTrainer(**common)
    unigram = algorithm == "unigram"
    backend = tokenizers.Tokenizer(models.Unigram() if unigram else models.BPE(unk_token="[UNK]"))
    # A space always stands in front, so that a text's own first space is not lost.
    rules = [normalizers.Replace(WORD, BAR), normalizers.Prepend(WORD)]
    backend.normalizer = normalizers.Sequence(rules if parted else [normalizers.NFC(), *rules])
    cut = [pre_tokenizers.Split(CUT, "removed")] if parted else []
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="never"),  # makes "▁" of each space
            *cut,
            pre_tokenizers.Split(tokenizers.Regex(_SIGNS), "isolated"),
        ]
    )
    backend.decoder = decoder(front=True)
    if unigram:
        return backend, trainers.UnigramTrainer(**common, unk_token="[UNK]")
    return backend, trainers.BpeTrainer(**common)


def _wordpieces(backend: tokenizers.Tokenizer, size: int) -> list[str]:
    """Return WordPieces of what BPE learnt, in whose words "▁" marks the start.

    Every character is there at the start of a word and, but for punctuation, within one, because
    one missing piece makes a whole word unknown; the rest is merges, in the order of learning.
    """
    learnt = backend.get_vocab()
    found = sorted((piece for piece in learnt if piece not in SPECIALS), key=lambda p: learnt[p])
    plain = [piece[1:] if piece.startswith("▁") else f"##{piece}" for piece in found]
    letters = sorted({letter for piece in found for letter in piece} - {"▁"})
    single = [
        piece
        for letter in letters
        for piece in ([letter] if _stands_alone(letter) else [letter, f"##{letter}"])
    ]
    known = {"", "##", *single}
    merged = [piece for piece in plain if piece not in known]
    return [*SPECIALS, *single, *merged[: max(size - len(SPECIALS) - len(single), 0)]]


def _stands_alone(letter: str) -> bool:
    """Say whether BERT's words never hold this character beside another."""
    return unicodedata.category(letter)[0] == "P" or (letter.isascii() and not letter.isalnum())


def _spell(backend: tokenizers.Tokenizer, size: int, letters: Counter[str]) -> None:
    """Give a learnt BPE model bytes for its rarer characters.

    A quarter of the vocabulary at most is characters, the most frequent ones; the library's own
    limit takes any of those that are as frequent as another.
    """
    rules = json.loads(backend.to_str())["model"]
    places = {letter: rules["vocab"].get(letter.translate(STANDS_FOR)) for letter in letters}
    frequent = sorted(
        (letter for letter, place in places.items() if place is not None),
        key=lambda letter: (letter != " ", -letters[letter], letter),
    )
    alphabet = {letter.translate(STANDS_FOR) for letter in frequent[: size // 4]} | {WORD}
    found = sorted(rules["vocab"], key=rules["vocab"].get)[len(SPECIALS) :]
    kept = [piece for piece in found if alphabet.issuperset(piece)][: size - len(SPECIALS)]
    pieces = {piece: number for number, piece in enumerate([*SPECIALS, *BYTES, *kept])}
    merges = [tuple(merge) for merge in rules["merges"] if "".join(merge) in pieces]
    backend.model = models.BPE(vocab=pieces, merges=merges, unk_token="[UNK]", byte_fallback=True)


def _settle(backend: tokenizers.Tokenizer, byte_fallback: bool) -> None:
    """Take the chance out of a learnt Unigram model: the order of pieces and their last digits.

    The trainer gives characters that it had lost the lowest score and 0.0001 more for each, in
    any order; here they have the lowest.
    """
    rules = json.loads(backend.to_str())["model"]
    scored = {piece: score for piece, score in rules["vocab"] if piece not in SPECIALS}
    lowest = min(scored.values(), default=0.0)
    lost = lowest + 0.0001 * sum(len(piece) == 1 for piece in scored)
    final = {
        piece: round(lowest if len(piece) == 1 and score <= lost else score, 6)
        for piece, score in scored.items()
    }
    pieces = sorted(final.items(), key=lambda item: (-item[1], item[0]))
    spelt = [(piece, round(lowest - 1, 6)) for piece in BYTES] if byte_fallback else []
    backend.model = models.Unigram(
        [*((name, 0.0) for name in SPECIALS), *spelt, *pieces],
        unk_id=1,
        byte_fallback=byte_fallback,
    )


def wrap(backend: tokenizers.Tokenizer, max_length: int) -> Any:
    """Return a transformers tokenizer around a learnt one."""
    from transformers import PreTrainedTokenizerFast

    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_length,
        **dict(zip(roles, SPECIALS, strict=True)),
    )

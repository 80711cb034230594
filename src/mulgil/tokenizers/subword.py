"""Subword tokens: the pretrained model's own tokenizer, or one learnt from the training texts.

Chosen: the `tokenizers` library does the work; around it stand four things that it does not do.
Texts are composed to NFC first, so that decomposed Hangul is never unknown. A string that looks
like a special token (`[SEP]`, `</s>`) is plain text: the library is told so, and what the model
still makes of it is broken in two. Offsets point into the user's own string, decomposed or not.
Truncated rows and unknown tokens are counted. It costs a look at each row's special ids, about
3% of the encoding time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from mulgil import hangul, settings
from mulgil.contracts import Encoded
from mulgil.contracts import Tokenizer as Contract
from mulgil.errors import ModelError
from mulgil.flow import Array

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Special tokens of a tokenizer that is learnt here, ids 0 to 4."""

_ROLES = ("pad", "bos", "eos", "cls", "sep", "mask")

_PROBE = "한국어 문장입니다"


class SubwordSettings(settings.Settings):
    """Settings of the subword tokenizer."""

    max_length: int = pydantic.Field(128, ge=4, le=1 << 20)
    """Longest row in tokens, special tokens included; the rest is cut off and counted."""
    algorithm: Literal["wordpiece", "bpe", "unigram"] = "wordpiece"
    """What is learnt for a fresh model; a pretrained one brings its own."""
    vocab_size: int = pydantic.Field(8000, ge=64, le=1 << 20)
    """Size of the vocabulary that is learnt for a fresh model."""


@dataclasses.dataclass(frozen=True, slots=True)
class TokenInputs:
    """What a network reads: ids int64 [B, L], padded at the end, and lengths int64 [B]."""

    ids: Array
    lengths: Array


class Ragged:
    """Rows of token ids, one after the other in one array.

    Args:
        flat: int32 [tokens].
        starts: int64 [rows + 1], where each row begins in `flat`.
        pad: id that fills a batch up.
        truncated: rows that were cut.
        unknown: share of unknown tokens.
    """

    def __init__(
        self, flat: Array, starts: Array, pad: int, truncated: int, unknown: float
    ) -> None:
        self.flat = flat
        self.starts = starts
        self.pad = pad
        self.padded = True
        self.truncated = truncated
        self.unknown = unknown
        self.lengths: Array = np.diff(starts)

    def take(self, rows: Array, multiple: int) -> TokenInputs:
        lengths = self.lengths[rows]  # [B]
        width = -(-int(lengths.max(initial=1)) // multiple) * multiple
        filled = np.arange(width) < lengths[:, None]  # [B, L]
        ids = np.full(filled.shape, self.pad, np.int64)
        begin = np.repeat(self.starts[rows] - np.cumsum(lengths) + lengths, lengths)
        ids[filled] = self.flat[begin + np.arange(len(begin))]
        return TokenInputs(ids, lengths)

    def arrays(self) -> dict[str, Array]:
        counts = np.array([self.truncated, self.unknown], np.float64)
        return {"flat": self.flat, "starts": self.starts, "counts": counts}

    def __len__(self) -> int:
        return len(self.lengths)


class Subword(Contract):
    """A `tokenizers` pipeline with the house's rules around it."""

    Settings: ClassVar[type[settings.Settings]] = SubwordSettings

    def __init__(self, backend: tokenizers.Tokenizer, files: Any, max_length: int) -> None:
        self.backend = backend
        self.max_length = max_length
        self._files = files  # the transformers tokenizer: it writes files that transformers opens
        self.pad = int(files.pad_token_id or 0)
        self.unknown = files.unk_token_id
        backend.encode_special_tokens = True  # "[SEP]" in a text is text
        roles = (getattr(files, f"{role}_token_id", None) for role in _ROLES)
        self._special = {*files.all_special_ids} - {self.unknown} | {*roles} - {None}
        if self.unknown in self._special:
            self.unknown = None  # it is another role's token, and nothing is unknown to bytes
        self._frame = sum(number in self._special for number in backend.encode("").ids)
        backend.enable_truncation(max_length)
        backend.no_padding()
        self.notes = _notes(backend)

    @classmethod
    def make(cls, settings: Any, source: Path | None, texts: Iterable[str], seed: int) -> Subword:
        """Open the tokenizer in `source`; without a source learn one from `texts`.

        Raises:
            ModelError: the folder has no tokenizer that can be opened, or it fits no vocabulary.
        """
        if source is not None:
            return cls._open(source, settings.max_length)
        backend = _learn(texts, settings)
        files = _wrap(backend, settings.max_length)
        return cls(backend, files, settings.max_length)

    @classmethod
    def load(cls, folder: Path) -> Subword:
        values = json.loads((folder / "mulgil_tokenizer.json").read_text(encoding="utf-8"))
        return cls._open(folder, int(values["max_length"]))

    @classmethod
    def _open(cls, folder: Path, max_length: int) -> Subword:
        from transformers import AutoTokenizer

        try:
            files = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, use_fast=True)
            backend = files.backend_tokenizer
        except Exception as error:  # the library raises many kinds for a damaged folder
            reason = (
                str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            )
            raise ModelError(
                f"{folder.name}: its tokenizer cannot be opened: {reason}; the folder needs a"
                " tokenizer.json"
            ) from error
        if not {*backend.get_vocab().values()} - {*files.all_special_ids}:
            raise ModelError(f"{folder.name}: has no tokenizer; the folder needs a tokenizer.json")
        if files.pad_token_id is None:
            raise ModelError(f"{folder.name}: its tokenizer has no padding token; set one there")
        return cls(backend, files, max_length)

    @property
    def size(self) -> int:
        """Rows that an embedding table needs: one more than the highest id."""
        return 1 + max(self.backend.get_vocab(with_added_tokens=True).values())

    @property
    def special_ids(self) -> dict[str, int]:
        """Ids of the special tokens by role, as a fresh model's config wants them."""
        found = {role: getattr(self._files, f"{role}_token_id", None) for role in (*_ROLES, "unk")}
        return {role: int(number) for role, number in found.items() if number is not None}

    def encode(self, texts: Sequence[str]) -> Encoded:
        clean = [hangul.normalise(text) for text in texts]
        encodings = self.backend.encode_batch_fast(clean)
        rows = [encoding.ids for encoding in encodings]
        for i in self._forged(rows):
            rows[i] = [number for number, _ in self._plain(clean[i])]
        starts = np.concatenate([[0], np.cumsum([len(ids) for ids in rows], dtype=np.int64)])
        flat = np.fromiter(itertools.chain.from_iterable(rows), np.int32, starts[-1])
        truncated = sum(bool(e.overflowing) for e in encodings)
        own = flat.size - self._frame * len(rows)
        lost = int((flat == self.unknown).sum()) if self.unknown is not None else 0
        unknown = lost / own if own else 0.0
        return Ragged(flat, starts, self.pad, truncated, unknown)

    def revive(self, arrays: dict[str, Array]) -> Encoded:
        truncated, unknown = arrays["counts"]
        return Ragged(arrays["flat"], arrays["starts"], self.pad, int(truncated), float(unknown))

    def offsets(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        """Return (id, (start, end)) of each token; the span is in the user's own `text`.

        Special tokens that the model's template adds stand for nothing: their span is empty.
        """
        spans = hangul.offsets(text)
        return [
            (number, hangul.to_user(span, spans) if span != (0, 0) else span)
            for number, span in self._plain(hangul.normalise(text))
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, special tokens left out."""
        return str(self.backend.decode(list(ids), skip_special_tokens=True))

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.backend.to_str().encode())
        digest.update(f"{self.max_length} {self.pad} nfc-2".encode())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        self.backend.no_truncation()  # the limit is ours: plain transformers finds none in the file
        self._files.save_pretrained(folder)
        self.backend.enable_truncation(self.max_length)
        (folder / "mulgil_tokenizer.json").write_text(
            json.dumps({"tokenizer": "subword", "max_length": self.max_length}) + "\n",
            encoding="utf-8",
        )

    def _forged(self, rows: Sequence[Sequence[int]]) -> list[int]:
        """Return the rows whose own text gave a special id."""
        special = self._special.__contains__
        return [i for i, ids in enumerate(rows) if sum(map(special, ids)) > self._frame]

    def _plain(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        """Encode a composed text so that nothing in it gives a special id.

        A vocabulary may hold `</s>` as an ordinary piece, and a normaliser may make it of other
        characters: such a piece is broken in two, once more where that was not enough, and in the
        end made unknown.

        Returns:
            (id, (start, end)) of each token, the span in `text`; the template's have (0, 0).
        """
        breaks: set[int] = set()
        while True:
            broken, places = _broken(text, breaks)
            encoding = self.backend.encode(broken)
            found, fresh = [], set()
            for number, mask, (start, end) in zip(
                encoding.ids, encoding.special_tokens_mask, encoding.offsets, strict=True
            ):
                if not mask and number in self._special:
                    inside = {*places[start + 1 : end]} - {places[start], places[end]}
                    fresh |= {min(inside - breaks, default=-1)}
                    number = self.unknown
                found.append((number, (0, 0) if mask else (places[start], places[end])))
            fresh -= {-1}
            if not fresh:
                return [(number, span) for number, span in found if number is not None]
            breaks |= fresh


def _broken(text: str, breaks: Iterable[int]) -> tuple[str, list[int]]:
    """Put a space before the characters at `breaks`.

    Returns:
        The text, and for each place in it (its end included) the place in the old text.
    """
    places = sorted([*range(len(text) + 1), *breaks])
    if not breaks:
        return text, places
    ends = [0, *sorted(breaks), len(text)]
    return " ".join(text[a:b] for a, b in itertools.pairwise(ends)), places


def _notes(backend: tokenizers.Tokenizer) -> tuple[str, ...]:
    """Look whether this tokenizer takes Hangul apart, as uncased BERT vocabularies do."""
    normalizer = backend.normalizer
    if normalizer is not None and hangul.has_jamo(normalizer.normalize_str(_PROBE)):
        return (
            "this checkpoint's own tokenizer splits Hangul syllables into jamo (strip_accents);"
            " its weights were trained so, a cased checkpoint would serve Korean better",
        )
    return ()


def _learn(texts: Iterable[str], chosen: SubwordSettings) -> tokenizers.Tokenizer:
    """Learn a vocabulary; Hangul stays whole, unknown characters become [UNK].

    The same texts give the same vocabulary, which the library's own trainers of WordPiece and
    Unigram do not: they go through hash tables in another order each time.

    Raises:
        ModelError: the texts cannot fill a vocabulary, or need a larger one.
    """
    clean = (hangul.normalise(text) for text in texts)
    common: dict[str, Any] = {
        "vocab_size": chosen.vocab_size,
        "special_tokens": list(SPECIALS),
        "show_progress": False,
    }
    unigram = chosen.algorithm == "unigram"
    trainer: Any = (
        trainers.UnigramTrainer(**common, unk_token="[UNK]")
        if unigram
        else trainers.BpeTrainer(**common)
    )
    backend = tokenizers.Tokenizer(models.Unigram() if unigram else models.BPE(unk_token="[UNK]"))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    if chosen.algorithm == "wordpiece":
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(split=False)]
        )
    try:
        backend.train_from_iterator(clean, trainer)
    except Exception as error:  # the library raises plain exceptions
        raise ModelError(
            f"tokenizer: no vocabulary of {chosen.vocab_size:,} can be learnt from the training"
            f" rows ({error}); change tokenizer.vocab_size, or give more rows"
        ) from error
    if unigram:
        _settle(backend)
    elif chosen.algorithm == "wordpiece":
        pieces = _wordpieces(backend, chosen.vocab_size)
        backend.model = models.WordPiece(
            {piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return backend


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


def _settle(backend: tokenizers.Tokenizer) -> None:
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
    backend.model = models.Unigram([*((name, 0.0) for name in SPECIALS), *pieces], unk_id=1)


def _wrap(backend: tokenizers.Tokenizer, max_length: int) -> Any:
    """Return a transformers tokenizer around a learnt one."""
    from transformers import PreTrainedTokenizerFast

    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_length,
        **dict(zip(roles, SPECIALS, strict=True)),
    )

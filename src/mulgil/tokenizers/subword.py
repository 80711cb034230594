"""Subword tokens: the pretrained model's own tokenizer, or one learnt from the training texts.

Chosen: the `tokenizers` library does the work; texts are plain text (`_plain`), and rows are put
together here: sentences, pairs (`_pairs`), windows whose characters are scored (`_located`), texts
to be written (`_written`), windows of a corpus. Truncated rows and unknown tokens are counted. It
costs our own account of where a model's special tokens stand.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pydantic
import tokenizers

from mulgil import hangul, settings
from mulgil.contracts import Encoded
from mulgil.errors import ModelError
from mulgil.flow import Array, Frame, Template, Text
from mulgil.quiet import quiet
from mulgil.tokenizers import _folders, _learning, _marks
from mulgil.tokenizers._asked import AskedRows, Question
from mulgil.tokenizers._located import Pieces, located
from mulgil.tokenizers._pairs import paired, template
from mulgil.tokenizers._plain import ROLES, PlainText
from mulgil.tokenizers._ragged import Ragged, Windows
from mulgil.tokenizers._written import put_together

_PROBE = "한국어 문장입니다"


class SubwordSettings(settings.Settings):
    """Settings of the subword tokenizer."""

    max_length: int = pydantic.Field(128, ge=4, le=1 << 20)
    """Longest row in tokens, special tokens included; the rest is cut off and counted."""
    algorithm: Literal["wordpiece", "bpe", "unigram"] = "wordpiece"
    """What is learnt for a fresh model; a pretrained one brings its own."""
    vocab_size: int = pydantic.Field(8000, ge=64, le=1 << 20)
    """Size of the vocabulary that is learnt for a fresh model."""
    byte_fallback: bool = False
    """Spell characters that a learnt vocabulary lacks in bytes, so that none is unknown."""
    pretrained: Annotated[str | None, settings.PATH_OR_NAME] = None
    """Folder of a tokenizer made by `mulgil tokenizer train`; the model's own comes first."""

    @pydantic.model_validator(mode="after")
    def _spells(self) -> SubwordSettings:
        if self.byte_fallback and self.algorithm == "wordpiece":
            raise ValueError('byte_fallback needs algorithm "bpe" or "unigram", not "wordpiece"')
        if self.byte_fallback and self.vocab_size < 512:
            raise ValueError(f"byte_fallback needs vocab_size 512 or more, not {self.vocab_size}")
        return self


class Subword(PlainText):
    """A `tokenizers` pipeline with the house's rules around it."""

    Settings: ClassVar[type[settings.Settings]] = SubwordSettings
    name: ClassVar[str] = "subword"
    """Which plug-in opens the folder again."""
    fills: ClassVar[bool] = True
    """Whether texts that give fewer pieces than `vocab_size` are worth a note."""

    def __init__(self, backend: tokenizers.Tokenizer, files: Any, max_length: int) -> None:
        super().__init__(backend, files, max_length)
        self.notes = _notes(backend)

    @classmethod
    def make(cls, settings: Any, source: Path | None, texts: Iterable[str], seed: int) -> Subword:
        """Open the tokenizer in `source`; without a source learn one from `texts`.

        Raises:
            ModelError: the folder has no tokenizer that can be opened, or it fits no vocabulary.
        """
        if source is None and settings.pretrained:
            source = _folders.trained(settings.pretrained)
        if source is not None:
            return cls._open(source, settings.max_length)
        backend = cls._learn(settings, texts)
        made = cls(backend, _learning.wrap(backend, settings.max_length), settings.max_length)
        if cls.fills and made.size < settings.vocab_size:
            made.notes += (
                f"the texts support a vocabulary of {made.size:,}, not {settings.vocab_size:,}"
                " (tokenizer.vocab_size)",
            )
        return made

    @classmethod
    def _learn(cls, settings: Any, texts: Iterable[str]) -> tokenizers.Tokenizer:
        """Learn a vocabulary from texts in any form."""
        return _learning.learn(
            texts, settings.algorithm, settings.vocab_size, settings.byte_fallback
        )

    @classmethod
    def load(cls, folder: Path) -> Subword:
        values = json.loads((folder / _folders.RULES).read_text(encoding="utf-8"))
        return cls._open(folder, int(values["max_length"]))

    @classmethod
    def _open(cls, folder: Path, max_length: int) -> Subword:
        from transformers import AutoTokenizer

        _folders.refuse_other(folder, cls.name)
        try:
            with quiet("transformers"):  # it knows no bodies of the house, nor needs to
                files = AutoTokenizer.from_pretrained(
                    folder, trust_remote_code=False, use_fast=True
                )
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
    def lossless(self) -> bool:
        """Whether decoding is promised to give every text back, in NFC."""
        return _learning.lossless(self.backend)

    @property
    def special_ids(self) -> dict[str, int]:
        """Ids of the special tokens by role, as a fresh model's config wants them."""
        found = {role: getattr(self._files, f"{role}_token_id", None) for role in (*ROLES, "unk")}
        return {role: int(number) for role, number in found.items() if number is not None}

    def encode(self, texts: Sequence[Text]) -> Encoded:
        pairs = [text for text in texts if not isinstance(text, str)]
        if pairs:
            first, second = ([hangul.normalise(pair[i]) for pair in pairs] for i in (0, 1))
            return self._pairs(first, second)
        clean = [hangul.normalise(str(text)) for text in texts]
        with self._turn:
            encodings = self.backend.encode_batch_fast(self._parted(clean))
            rows = [encoding.ids for encoding in encodings]
            for i in self._forged(rows):
                rows[i] = [number for number, _ in self._plain(clean[i])]
        starts = np.concatenate([[0], np.cumsum([len(ids) for ids in rows], dtype=np.int64)])
        flat = np.fromiter(itertools.chain.from_iterable(rows), np.int32, starts[-1])
        truncated = sum(bool(e.overflowing) for e in encodings)
        own = flat.size - self._frame * len(rows)
        lost = int((flat == self.unknown).sum()) if self.unknown is not None else 0
        unknown = lost / own if own else 0.0
        return Ragged(flat, starts, self.pad, truncated, unknown, most=self.max_length)

    def _pairs(self, first: list[str], second: list[str]) -> Encoded:
        with self._unlimited():
            made = template(self.backend, 2)
            ids = self._whole([*first, *second])
        a, b = ids[: len(first)], ids[len(first) :]
        return paired(a, b, made, self.max_length, self.pad, self.unknown)

    def located(self, texts: Sequence[Text], stride: int) -> Encoded:
        asked = [text[0] for text in texts if not isinstance(text, str)]
        clean = [hangul.normalise(text if isinstance(text, str) else text[1]) for text in texts]
        with self._unlimited():
            made = template(self.backend, 2 if asked else 1)
            known: dict[str, Pieces] = {}
            for text in (*clean, *(composed := [*map(hangul.normalise, asked)])):
                if text not in known:
                    known[text] = [piece for piece in self._plain(text) if piece[1] != (0, 0)]
        questions = [known[text] for text in composed] if asked else None
        pieces = [known[text] for text in clean]
        return located(
            questions, clean, pieces, made, self.max_length, stride, self.pad, self.unknown
        )

    def written(
        self, rows: Sequence[tuple[str, str | None]], prompt: tuple[str, str], two: bool, most: int
    ) -> Encoded:
        left, right = self.ends()
        texts = [*prompt, *(text for text, _ in rows), *(target or "" for _, target in rows)]
        with self._unlimited():
            ids = self._whole([hangul.normalise(text) for text in texts])
            frame = template(self.backend, 1) if two else Template(((left,), ()), ((0,), ()), (0,))
        (before, after), read = ids[:2], ids[2 : 2 + len(rows)]
        return put_together(
            rows, (before, after), read, ids[2 + len(rows) :], frame, right,
            two=two, most=most, max_length=self.max_length, pad=self.pad, unknown=self.unknown,
        )  # fmt: skip

    def segment(self, text: str) -> list[int]:
        clean = hangul.normalise(text)
        whole, rest = self.ids(clean), self.ids(clean[1:]) if clean.startswith(" ") else []
        if not rest or whole[1:] != rest:
            return whole
        # Some mark the beginning of a text as they mark a space: there is one mark too many then.
        mark, first = (str(self.backend.id_to_token(number)) for number in (whole[0], rest[0]))
        return rest if first.startswith(mark) else whole

    def opening(self) -> list[int]:
        """Return what this tokenizer itself puts before a text."""
        return [*self.around(1).slots[0]]

    def around(self, texts: int) -> Template:
        with self._unlimited():
            return template(self.backend, texts)

    def asked(self, texts: Sequence[tuple[str, str]]) -> Encoded:
        whole = [hangul.normalise(text) for pair in texts for text in pair]
        with self._unlimited():
            ids = self._whole(whole)
        lines = {behind: self._last_line(behind) for behind in {*whole[1::2]}}
        rows, cut, lost = [], 0, 0
        for text, behind, said in zip(ids[::2], ids[1::2], whole[1::2], strict=True):
            kept = text[: max(self.max_length - len(behind), 1)]
            rows.append(Question([*kept, *behind], len(kept), lines[said]))
            cut += len(text) > len(kept)
            lost += rows[-1].count(self.unknown) if self.unknown is not None else 0
        return AskedRows(rows, cut, lost / max(sum(map(len, rows)), 1))

    def _last_line(self, behind: str) -> tuple[list[int], list[int]] | None:
        """Return ids of what stands before the last line break, and of what behind it."""
        between, found, last = behind.rpartition("\n")
        return (self.segment(between), self.segment(last)) if found else None

    def revive(self, arrays: dict[str, Array]) -> Encoded:
        truncated, unknown = arrays["counts"]
        flat, starts, kinds = arrays["flat"], arrays["starts"], arrays.get("kinds")
        counts = int(truncated), float(unknown)
        return Ragged(flat, starts, self.pad, *counts, kinds, self.max_length)

    def windows(self, texts: Iterable[Sequence[str]], frame: Frame) -> Iterator[dict[str, Array]]:
        left, right = self.ends()
        room = self.max_length - 2
        with self._unlimited():
            for chunk in texts:
                yield self._windows(
                    [hangul.normalise(text) for text in chunk], left, right, room, frame
                )

    def framed(self, arrays: Mapping[str, Array]) -> Encoded:
        return Windows(arrays, self.pad, self.max_length)

    def _windows(
        self, texts: list[str], left: int, right: int, room: int, frame: Frame
    ) -> dict[str, Array]:
        """Return the arrays of these texts' windows; owners count from the chunk's first text."""
        rows = self._whole(texts)
        tokens, lengths, owners, sizes = [], [], [], []
        lost = 0
        for owner, (text, ids) in enumerate(zip(texts, rows, strict=True)):
            count = -(-len(ids) // room)
            whole, told = len(text.encode("utf-8", "surrogatepass")), 0
            for number in range(count):
                part = ids[number * room : (number + 1) * room]
                ends = frame == "sentence" or number == count - 1
                tokens += [left, *part, *([right] if ends else [])]
                lengths.append(len(part) + 1 + ends)
                owners.append(owner)
                share = whole * min((number + 1) * room, len(ids)) // len(ids)
                sizes.append(share - told)
                told = share
            lost += sum(n == self.unknown for n in ids) if self.unknown is not None else 0
        return {
            "tokens": np.array(tokens, np.int32),
            "lengths": np.array(lengths, np.int32),
            "owners": np.array(owners, np.int64),
            "bytes": np.array(sizes, np.int32),
            "lost": np.array([lost], np.int64),
            "texts": np.array([len(texts)], np.int64),
        }

    def ends(self) -> tuple[int, int]:
        """Return the ids that stand at the beginning and at the end of a window.

        Raises:
            ModelError: the tokenizer has neither of them.
        """
        roles = self.special_ids
        right = roles.get("sep", roles.get("eos", roles.get("bos")))
        left = roles.get("cls", roles.get("bos", right))
        if left is None or right is None:
            raise ModelError(
                "tokenizer: has no token for the beginning or the end of a text (cls, bos, sep or"
                " eos), which a language model needs; set one in its files"
            )
        return left, right

    def pieces(self) -> list[str]:
        """Return the vocabulary's pieces by id, as the tokenizer's file has them; "" for gaps."""
        found = [""] * self.size
        for piece, number in self.backend.get_vocab(with_added_tokens=True).items():
            found[number] = piece
        return found

    def byte_lengths(self) -> Array:
        """Return float64 [V], the bytes in UTF-8 that each piece stands for; 0 for special ones.

        A mark for the space before a word counts as that space, marks for "goes on" as nothing.
        """
        letters = type(self.backend.decoder).__name__ == "ByteLevel"
        sizes = _marks.byte_lengths(self.pieces(), letters)
        sizes[[*self._special]] = 0.0
        return sizes

    def begins(self) -> Array:
        """Return bool [V], whether a piece begins a word: all do that do not go on with one."""
        return _marks.begins(self.pieces())

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, special tokens left out."""
        return str(self.backend.decode(list(ids), skip_special_tokens=True))

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.backend.to_str().encode())
        digest.update(f"{self.max_length} {self.pad} nfc-2".encode())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        with self._unlimited():  # the limit is ours: plain transformers finds none in the file
            self._files.save_pretrained(folder)
        rules = {"tokenizer": self.name, "max_length": self.max_length, **self._more()}
        (folder / _folders.RULES).write_text(json.dumps(rules) + "\n", encoding="utf-8")

    def _more(self) -> dict[str, Any]:
        """Return what else a saved folder tells of this kind of tokenizer."""
        return {}


def _notes(backend: tokenizers.Tokenizer) -> tuple[str, ...]:
    """Look whether this tokenizer takes Hangul apart, as uncased BERT vocabularies do."""
    normalizer = backend.normalizer
    if normalizer is not None and hangul.has_jamo(normalizer.normalize_str(_PROBE)):
        return (
            "this checkpoint's own tokenizer splits Hangul syllables into jamo (strip_accents);"
            " its weights were trained so, a cased checkpoint would serve Korean better",
        )
    return ()

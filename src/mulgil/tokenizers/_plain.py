"""Texts as plain text: whatever stands in one, none of its tokens is a special token.

Chosen: around the `tokenizers` library stand four things that it does not do. Texts are composed to
NFC first, so that decomposed Hangul is never unknown. A string that looks like a special token
(`[SEP]`, `</s>`) is plain text: the library is told so, and what the model still makes of it is
broken in two. Offsets point into the user's own string, decomposed or not. A text may be longer
than a model reads: the backend's limit is lifted for a while, and one thread at a time encodes. It
costs a look at each row's special ids, about 3% of the encoding time.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tokenizers

from mulgil import hangul
from mulgil.contracts import Tokenizer as Contract

ROLES = ("pad", "bos", "eos", "cls", "sep", "mask")
"""What special tokens are for."""


class PlainText(Contract):
    """A `tokenizers` pipeline that takes nothing in a text for a special token.

    Args:
        backend: the pipeline.
        files: the transformers tokenizer around it, which writes files that transformers opens.
        max_length: longest row in tokens.
    """

    def __init__(self, backend: tokenizers.Tokenizer, files: Any, max_length: int) -> None:
        self.backend = backend
        self.max_length = max_length
        self._turn = threading.RLock()  # the backend has one limit, whoever lifts it
        self._files = files  # the transformers tokenizer: it writes files that transformers opens
        self.pad = int(files.pad_token_id or 0)
        self.unknown = files.unk_token_id
        backend.encode_special_tokens = True  # "[SEP]" in a text is text
        roles = (getattr(files, f"{role}_token_id", None) for role in ROLES)
        known = {*files.all_special_ids} - {self.unknown} | {*roles} - {None}
        self._special: set[int] = {number for number in known if number is not None}
        if self.unknown in self._special:
            self.unknown = None  # it is another role's token, and nothing is unknown to bytes
        self._frame = sum(number in self._special for number in backend.encode("").ids)
        backend.enable_truncation(max_length)
        backend.no_padding()

    def ids(self, text: str) -> list[int]:
        """Return the ids of a whole text, without special tokens and without a limit."""
        with self._unlimited():
            (found,) = self._whole([text])
        return found

    def offsets(self, text: str) -> list[tuple[int, tuple[int, int]]]:
        """Return (id, (start, end)) of each token; the span is in the user's own `text`.

        Special tokens that the model's template adds stand for nothing: their span is empty.
        """
        spans = hangul.offsets(text)
        with self._turn:
            found = self._plain(hangul.normalise(text))
        return [
            (number, hangul.to_user(span, spans) if span != (0, 0) else span)
            for number, span in found
        ]

    @contextlib.contextmanager
    def _unlimited(self) -> Iterator[None]:
        """Let the backend encode texts of any length; other threads wait."""
        with self._turn:
            self.backend.no_truncation()
            try:
                yield
            finally:
                self.backend.enable_truncation(self.max_length)

    def _whole(self, texts: list[str]) -> list[list[int]]:
        """Return the ids of composed texts, whole and without special tokens."""
        parted = self._parted(texts)
        rows = [e.ids for e in self.backend.encode_batch_fast(parted, add_special_tokens=False)]
        special = self._special.__contains__
        for i, ids in enumerate(rows):
            if any(map(special, ids)):
                rows[i] = [n for n, span in self._plain(texts[i]) if span != (0, 0)]
        return rows

    def _parted(self, texts: Sequence[str]) -> Sequence[str]:
        """Return composed texts as the backend shall see them; a hook for what parts them first."""
        return texts

    def _traced(self, text: str) -> Iterable[tuple[int, int, tuple[int, int]]]:
        """Return (id, whether the template added it, span in `text`) of each token."""
        encoding = self.backend.encode(text)
        return zip(encoding.ids, encoding.special_tokens_mask, encoding.offsets, strict=True)

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
            found, fresh = [], set()
            for number, mask, (start, end) in self._traced(broken):
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

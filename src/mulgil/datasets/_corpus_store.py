"""The passages of a corpus, kept in the cache folder: found there and checked, or made in one pass.

Chosen: blocks of passages are hashed and judged together, with numpy, in the order of the files;
the key of a store is a hash of the files' content and of the rules, so that nothing stale is ever
read; and a store is committed whole, so that what a killed run leaves is swept, never trusted. Two
processes that need the same store at once each make it, and the later one replaces the earlier.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mulgil import hangul
from mulgil.datasets._copies import Bands, Seen
from mulgil.datasets._corpus_files import Found, short_names
from mulgil.datasets._passages import Account, Piece, Reader, Unit
from mulgil.errors import DataError, RunError
from mulgil.fetch import cache_folder
from mulgil.flow import Array
from mulgil.storage import commit_folder, make_folder, require_space, sha256_file, sweep
from mulgil.textstore import TextStore, Writer

FORMAT = 1
"""Changes when the same files and rules would give another store."""

_ROWS, _CHARACTERS = 8_192, 500_000  # most passages and characters of a block
_UNPACKED = 4  # how many times larger a gzipped text is, at most as a rule


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """How files become passages: the settings of the corpus that decide its store."""

    text: str
    unit: Unit
    min_characters: int
    max_characters: int
    encoding: str
    duplicates: str
    near: float
    seed: int


@dataclasses.dataclass(slots=True)
class _Block:
    """Passages that are judged together."""

    texts: list[str]
    keys: list[str]
    files: Array
    lines: Array
    hashes: Array

    def take(self, kept: Array) -> _Block:
        return _Block(
            list(itertools.compress(self.texts, kept.tolist())),
            list(itertools.compress(self.keys, kept.tolist())),
            self.files[kept],
            self.lines[kept],
            self.hashes[kept],
        )

    def write(self, writer: Writer) -> None:
        """Append the passages; their mark is the first 64 bits of the hash."""
        marks = np.frombuffer(self.hashes.tobytes(), ">u8")[::2]
        writer.add(self.texts, self.files.tolist(), self.lines.tolist(), marks.tolist())


class Maker:
    """Finds a store in the cache folder, or makes it.

    Args:
        rules: how the files become passages.
        found: the files, in order.
        excluded: files of texts that must not be in it.
        parts: `{name: texts}` of data sets that must not be in it.
    """

    def __init__(
        self,
        rules: Rules,
        found: list[Found],
        excluded: list[Found],
        parts: dict[str, list[str]],
    ) -> None:
        self._rules = rules
        self._parts = parts
        self._found, self._excluded = found, excluded
        self._names = short_names([each.path for each in found])
        self._other_names = short_names([each.path for each in excluded])
        self._account = Account()
        self._left_out: Counter[str] = Counter()
        self._decomposed = 0

    def store(self) -> tuple[TextStore, list[str]]:
        """Return the store, and what happened to one that was there before."""
        before = self._states()
        folder = cache_folder() / "corpora"
        target, notes = folder / self._key(), list[str]()
        if target.exists():
            try:
                return TextStore.open(target), notes
            except RunError as error:
                notes.append(f"the kept corpus was damaged, and is made again ({error})")
        make_folder(folder)
        sweep(folder)
        require_space(folder, self._needed(), "the corpus")
        commit_folder(target, self._fill)
        if before != self._states():
            shutil.rmtree(target, ignore_errors=True)
            raise DataError("data.paths: a file has changed while it was read; run this again")
        return TextStore.open(target), notes

    def _states(self) -> list[tuple[int, int]]:
        """Return size and time of each file, which change when it is written to."""
        try:
            found = [each.path.stat() for each in (*self._found, *self._excluded)]
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error
        return [(each.st_size, each.st_mtime_ns) for each in found]

    def _key(self) -> str:
        """Return a hash of content, names and settings: all that decides the store."""
        parts: list[Any] = [FORMAT, unicodedata.unidata_version, dataclasses.astuple(self._rules)]
        for found, called in ((self._found, self._names), (self._excluded, self._other_names)):
            parts.append(
                [
                    (name, each.form, each.chosen, each.path.stat().st_size, sha256_file(each.path))
                    for name, each in zip(called, found, strict=True)
                ]
            )
        for name, texts in self._parts.items():
            parts.append([name, hashlib.sha256(json.dumps(texts).encode()).hexdigest()])
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _needed(self) -> int:
        total = sum(
            each.path.stat().st_size
            * (_UNPACKED if each.path.suffix.lower() == ".gz" or each.form == "parquet" else 1)
            for each in self._found
        )
        return total * (3 if self._rules.duplicates == "near" else 1)

    def _fill(self, folder: Path) -> None:
        if self._rules.duplicates == "near":
            self._fill_near(folder)
            return
        with Writer(folder) as writer:
            for block in self._blocks():
                block.write(writer)
            self._finish(writer)

    def _fill_near(self, folder: Path) -> None:
        """Write all, find near-copies among them, and write again what is left."""
        draft = folder / "draft"
        draft.mkdir()
        bands = Bands(draft, self._rules.near)
        with Writer(draft) as writer:
            for block in self._blocks():
                bands.add(block.keys)
                block.write(writer)
            writer.finish([], {})
        store = TextStore.open_unchecked(draft)
        copies = bands.copies(lambda row: hangul.key(store.text(row)))
        self._left_out[f"near-copies of others (Jaccard {self._rules.near:g} up)"] = len(copies)
        with Writer(folder) as writer:
            writer.copy(store, np.setdiff1d(np.arange(len(store)), copies, assume_unique=True))
            self._finish(writer)
        shutil.rmtree(draft)

    # ------------------------------------------------------------ what is left out

    def _blocks(self) -> Iterator[_Block]:
        """Yield the passages that stay."""
        excluded = self._excluded_texts()
        seen = Seen()
        for block in self._read():
            if excluded:
                block = block.take(~self._stand_elsewhere(block, excluded))
            if self._rules.duplicates != "keep":
                fresh = seen.fresh(block.hashes)
                self._left_out["copies of others"] += len(fresh) - int(fresh.sum())
                block = block.take(fresh)
            if block.texts:
                yield block

    def _read(self) -> Iterator[_Block]:
        """Yield all passages of all files that are long enough, in blocks."""
        rules, account = self._rules, self._account
        reader = Reader(rules.unit, rules.max_characters, rules.encoding, rules.text)
        pieces = (
            (at, piece)
            for at, found in enumerate(self._found)
            for piece in reader.read(found, self._names[at], account)
        )
        texts, keys, places, size = list[str](), list[str](), list[tuple[int, int]](), 0
        for at, (line, text) in pieces:
            key = hangul.key(text)
            if len(key) < rules.min_characters:
                account.skipped["passages that are too short"] += 1
                continue
            self._decomposed += not unicodedata.is_normalized("NFC", text)
            texts.append(text)
            keys.append(key)
            places.append((at, line))
            size += len(text)
            if len(texts) >= _ROWS or size >= _CHARACTERS:
                yield self._block(texts, keys, places)
                texts, keys, places, size = [], [], [], 0
        if texts:
            yield self._block(texts, keys, places)

    def _block(self, texts: list[str], keys: list[str], places: list[tuple[int, int]]) -> _Block:
        files, lines = np.array(places, np.int64).T
        return _Block(texts, keys, files, lines, self._hashes(keys))

    def _hashes(self, keys: Sequence[str]) -> Array:
        seed = f"{self._rules.seed} ".encode()
        joined = b"".join(hashlib.sha256(seed + key.encode()).digest()[:16] for key in keys)
        return np.frombuffer(joined, "S16")

    def _excluded_texts(self) -> list[tuple[str, Seen]]:
        reader = Reader("line", 1 << 31, self._rules.encoding, self._rules.text, strict=False)
        found = []
        for name, each in zip(self._other_names, self._excluded, strict=True):
            texts, count, account = Seen(), 0, Account()
            pieces: Iterator[Piece] = reader.read(each, name, account)
            while keys := [hangul.key(text) for _, text in itertools.islice(pieces, _ROWS)]:
                texts.fresh(self._hashes(keys))
                count += len(keys)
            if not count:
                raise DataError(f"data.exclude: {each.path}: has no texts; leave it out")
            if account.rejected:
                bad = f"{account.rejected:,} texts cannot be read, so they are not left out"
                self._account.tell(name, f"{bad} ({account.listed[0].id})")
            found.append((name, texts))
        for name, others in self._parts.items():
            texts = Seen()
            texts.fresh(self._hashes([hangul.key(text) for text in others]))
            found.append((name, texts))
        return found

    def _stand_elsewhere(self, block: _Block, excluded: list[tuple[str, Seen]]) -> Array:
        """Return which passages equal an excluded text, or hold one as a line; count them."""
        lines = [
            (at, key)
            for at, text in enumerate(block.texts)
            if "\n" in text
            for line in text.split("\n")
            if (key := hangul.key(line))
        ]
        owners = np.array([at for at, _ in lines], np.int64)
        hashes = self._hashes([key for _, key in lines])
        found = np.zeros(len(block.texts), bool)
        for name, texts in excluded:
            stands = texts.has(block.hashes)
            stands[owners[texts.has(hashes)]] = True
            self._left_out[f"passages that stand in {name}"] += int((stands & ~found).sum())
            found |= stands
        return found

    # ------------------------------------------------------------ the account

    def _finish(self, writer: Writer) -> None:
        account = self._account
        if not writer.passages:
            raise DataError(self._nothing())
        about = {
            "passages": writer.passages,
            "left_out": self._left_out.total() + account.skipped["passages that are too short"],
            "rejected": account.rejected,
            "listed": [(row.id, row.reason) for row in account.listed],
            "notes": self._notes(writer),
        }
        writer.finish(self._names, about)

    def _nothing(self) -> str:
        reasons = [f"{count:,} {what}" for what, count in self._reasons()]
        if self._account.listed:
            first = self._account.listed[0]
            reasons.append(
                f"{self._account.rejected:,} unusable lines ({first.id}: {first.reason})"
            )
        why = ", ".join(reasons) or "the files are empty"
        return (
            f"data.paths: nothing is left of {len(self._found)} files such as {self._names[0]}:"
            f" {why}; check that these are the right files"
        )

    def _reasons(self) -> Iterator[tuple[str, int]]:
        counts = {**self._account.skipped, **self._left_out}
        yield from counts.items()
        if self._account.binary:
            yield f"binary files ({self._account.binary[0]})", len(self._account.binary)

    def _notes(self, writer: Writer) -> list[str]:
        account = self._account
        notes = [
            f"{len(self._found)} files: {writer.passages:,} passages,"
            f" {writer.characters:,} characters, {writer.bytes:,} bytes"
        ]
        for what, names in account.told.items():
            more = f" and {len(names) - 1} files more" if len(names) > 1 else ""
            notes.append(f"{names[0]}{more}: {what}")
        notes += [f"left out: {count:,} {what}" for what, count in self._reasons()]
        if account.rejected:
            first = account.listed[0]
            notes.append(
                f"left out: {account.rejected:,} lines or documents that cannot be used, the first"
                f" {first.id}: {first.reason}"
            )
        if self._decomposed:
            notes.append(
                f"not NFC, compared as if they were, kept as they are: {self._decomposed:,}"
            )
        return notes

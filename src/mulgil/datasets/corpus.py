"""Raw text to learn a language from: files and folders of any size, cleaned once, kept on disk.

Chosen: one pass over the files cuts them into passages, leaves out what repeats or stands in a test
set, and writes the rest into a store in the cache folder, under a hash of the files' content and of
every setting that matters; the next run finds it there, checks its sums and reads from it. So the
memory that is needed does not grow with the texts, only with the number of passages: 16 bytes a
passage to find copies, 28 for the index. A passage's part hangs on a hash of its own words and the
seed, so that a file more tomorrow moves nothing between training and test.

What that costs: disk space as large as the unpacked texts (twice that for a moment when
near-copies are looked for), kept for each combination of files and settings until the cache is
cleared; hashing the files at every use; and parts that are off their share by chance. Where a copy
or near-copy stands in two files the first in the order of the paths stays, so a new file that sorts
earlier may take over a passage from another, but only with the words it has itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from mulgil import fetch, registry
from mulgil.contracts import Dataset, DataSettings
from mulgil.datasets._corpus_files import Found, find
from mulgil.datasets._corpus_store import Maker, Rules
from mulgil.datasets._passages import Unit
from mulgil.errors import DataError, SettingError, nearest
from mulgil.examples import as_dict
from mulgil.flow import Array, Parts, Rejected
from mulgil.settings import PATHS


class Corpus(Dataset):
    """Passages from the user's own text files, without labels."""

    class Settings(DataSettings):
        """Which texts, how they are cut, and what is left out."""

        paths: Annotated[list[str], PATHS] = pydantic.Field(default_factory=list)
        """Files, folders (with all below them) and globs such as "news/**/*.txt.gz"; relative to
        the recipe. `$MULGIL_DATA` in front stands for the folder that the environment names."""
        text: str = ""
        """Column of the text in jsonl, parquet, csv and tsv; guessed when left out."""
        unit: Unit = "line"
        """What one passage of a plain text is: a line, a paragraph (up to a blank line), a file."""
        min_characters: int = pydantic.Field(2, ge=1, lt=1 << 31)
        """Passages with fewer characters (runs of white space count as one) are left out."""
        max_characters: int = pydantic.Field(100_000, ge=1, lt=1 << 31)
        """Longer passages are cut at line ends; a single line that is longer is left out."""
        encoding: str = "auto"
        """Encoding of text files, such as "cp949"; recognised for each file when "auto"."""
        duplicates: Literal["exact", "near", "keep"] = "exact"
        """Leave out passages that repeat: exact copies (after NFC, white space folded), near-copies
        too, or none."""
        near: float = pydantic.Field(0.8, ge=0.5, le=1)
        """Share of their five-character runs that two near-copies have in common (Jaccard)."""
        exclude: Annotated[list[str], PATHS] = pydantic.Field(default_factory=list)
        """Files, folders and globs of texts that must not be learnt, such as test sets: passages
        that equal one of them, or hold one as a line, are left out. A `.txt` has a text a line."""
        exclude_parts: list[str] = pydantic.Field(default_factory=list)
        """The same for parts of known data sets, such as "nsmc:test"."""
        train_rows: int | None = pydantic.Field(None, ge=1, lt=1 << 40)
        """Use only so many training passages, those with the least hashes."""
        test_rows: int | None = pydantic.Field(None, ge=1, lt=1 << 40)
        """Use only so many test passages, those with the least hashes."""
        valid_share: float = pydantic.Field(0.01, ge=0, lt=1)
        """Share of all passages that is kept from training for validation; 0 keeps none."""
        test_share: float = pydantic.Field(0.01, ge=0, lt=1)
        """Share of all passages that is kept from training for the test; 0 keeps none."""
        max_rejected: float = pydantic.Field(0.05, ge=0, le=1)
        """Refuse to go on when a larger share of the lines or documents cannot be used."""
        seed: int = pydantic.Field(7, ge=0, lt=1 << 31)
        """Seed of the hash that gives each passage its part."""

        @pydantic.model_validator(mode="after")
        def _leave_some(self) -> Corpus.Settings:
            if self.valid_share + self.test_share >= 1:
                raise ValueError("valid_share and test_share leave nothing for training")
            if self.min_characters > self.max_characters:
                raise ValueError("min_characters is more than max_characters, so nothing fits")
            return self

    title = "your own texts for pretraining (txt, jsonl, parquet, csv; gzipped or not)"
    shape = "passage"

    settings: Settings

    def files(self) -> tuple[Path, ...]:
        """Return the files that the passages come from, and those of `exclude` behind them."""
        found, excluded, _ = self._find()
        return tuple(each.path for each in (*found, *excluded))

    def read(self, files: Mapping[str, Path]) -> Parts:
        """Return the passages' parts, from the cache folder where they are kept already.

        Raises:
            SettingError: no path is named, or a variable of the environment is not set.
            DataError: a path brings up nothing, a file cannot be read, or nothing is left.
            StorageError: the cache folder has no room or cannot be written.
        """
        found, excluded, others = self._find()
        parts = {name: _texts(name) for name in self.settings.exclude_parts}
        store, notes = Maker(self._rules(), found, excluded, parts).store()
        self._check(store.about)
        if others:
            notes.append(
                f"{len(others)} files of other kinds passed over, such as {others[0].name}"
            )
        rows = self._parts(store.marks)
        counts = ", ".join(f"{name} {len(part):,}" for name, part in rows.items())
        notes.append(f"parts by hash: {counts} (seed {self.settings.seed})")
        return Parts(
            {name: store.part(part) for name, part in rows.items()},
            [Rejected(place, reason) for place, reason in store.about["listed"]],
            [*store.about["notes"], *notes],
        )

    def _rules(self) -> Rules:
        """Return what decides, with the files, which passages there are."""
        near = self.settings.near if self.settings.duplicates == "near" else 0.0
        values = self.settings.model_dump() | {"near": near}
        return Rules(**{field.name: values[field.name] for field in dataclasses.fields(Rules)})

    def _find(self) -> tuple[list[Found], list[Found], list[Path]]:
        if not self.settings.paths:
            raise SettingError(
                'data.paths is missing: name files, folders or globs, such as paths = ["texts"]'
            )
        found, others = find(self.settings.paths, "data.paths")
        excluded = find(self.settings.exclude, "data.exclude")[0] if self.settings.exclude else []
        return found, excluded, others

    def _check(self, about: dict[str, Any]) -> None:
        rejected, limit = about["rejected"], self.settings.max_rejected
        total = about["passages"] + about["left_out"] + rejected
        if rejected > limit * total:
            first = "; ".join(f"{place}: {reason}" for place, reason in about["listed"][:3])
            raise DataError(
                f"data: {rejected:,} of {total:,} lines or documents cannot be used ({first}); mend"
                f" the files or raise data.max_rejected (now {limit})"
            )

    def _parts(self, marks: Array) -> dict[str, Array]:
        """Return the rows of each part: the hash is a number between 0 and 1, cut at the shares."""
        options = self.settings
        test_end = int(options.test_share * 2**64)
        valid_end = int((options.test_share + options.valid_share) * 2**64)
        is_test, is_held_out = marks < np.uint64(test_end), marks < np.uint64(valid_end)
        rows = {
            "train": np.flatnonzero(~is_held_out),
            "valid": np.flatnonzero(is_held_out & ~is_test),
            "test": np.flatnonzero(is_test),
        }
        for name, limit in (("train", options.train_rows), ("test", options.test_rows)):
            if limit is not None and limit < len(rows[name]):
                least = np.argsort(marks[rows[name]], kind="stable")[:limit]
                rows[name] = np.sort(rows[name][least])
        return rows


def _texts(name: str) -> list[str]:
    """Return all texts of a part of a known data set, "nsmc:test".

    Raises:
        SettingError: there is no such data set or part.
    """
    known, _, part = name.partition(":")
    place = f'data.exclude_parts: "{name}"'
    if known not in registry.names("datasets"):
        remedy = nearest(known, registry.names("datasets"))
        raise SettingError(f"{place} is no part of a data set, such as nsmc:test; {remedy}")
    plugin = registry.load("datasets", known)
    rows = plugin(plugin.Settings()).read(fetch.collect(plugin)).rows
    if part not in rows:
        raise SettingError(f"{place} is no part of {known}; {nearest(part, rows)}")
    return [
        value
        for row in rows[part]
        for key, value in as_dict(row).items()
        if key not in {"id", "label"} and isinstance(value, str)
    ]

"""Passages that repeat: exact copies by hash, near-copies by MinHash, both in bounded memory.

Exact: 128 bits of a hash of the key, in sorted arrays that are merged as they grow (16 bytes a
passage, about 48 for the moment of a merge; a set of Python's would take 100). Two different
texts with one hash are not to be expected before 10^18 passages.

Near: Jaccard similarity of the sets of five successive characters. The smallest of a few hash
values stand for the set (MinHash), some of them together make a band (Broder 1997; Leskovec et
al. 2014), and passages that share a band are compared in full. Chosen: numpy of our own over
all characters of a block at once, because it is as fast as a library and needs none, and one band
after the other from files on disk, so that memory is 24 bytes a passage and not 24 a band. It
costs 8 bytes a band and passage on disk while it runs, some 200 in all, and one pair in a hundred
just at the threshold is not found; the more alike, the fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mulgil.flow import Array

GRAM = 5
"""Characters that are compared together."""

_HASHES = 128  # most MinHash values of a passage
_COMPARED = 32  # passages of one band that a further one is compared with


class Seen:
    """Which hashes have come before."""

    def __init__(self) -> None:
        self._runs: list[Array] = []

    def fresh(self, hashes: Array) -> Array:
        """Return, for each hash, whether it comes for the first time; remember them all.

        Args:
            hashes: S16 [N].

        Returns:
            bool [N].
        """
        own, first = np.unique(hashes, return_index=True)
        new = ~self.has(own)
        self._add(own[new])
        fresh = np.zeros(len(hashes), bool)
        fresh[first[new]] = True
        return fresh

    def has(self, hashes: Array) -> Array:
        """Return, for each hash (S16 [N]), whether it has come before, as bool [N]."""
        found = np.zeros(len(hashes), bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            found |= run[places] == hashes
        return found

    def _add(self, run: Array) -> None:
        """Keep a sorted run; runs of like length are merged, so that there are few of them."""
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        if len(run):
            self._runs.append(run)


def shape(threshold: float) -> tuple[int, int]:
    """Return (bands, hashes a band) that find 99 of 100 pairs at the threshold."""
    for rows in range(_HASHES, 0, -1):
        bands = _HASHES // rows
        for fewer in range(1, bands + 1):
            if (1 - threshold**rows) ** fewer <= 0.01:
                return fewer, rows
    return _HASHES, 1


class Bands:
    """The bands of all passages, on disk.

    Args:
        folder: where their files go; it must exist.
        threshold: least similarity of a near-copy, 0 to 1.
    """

    def __init__(self, folder: Path, threshold: float) -> None:
        self._threshold = threshold
        self._bands, self._rows = shape(threshold)
        self._folder = folder
        self._passages = 0
        self._files = [self._path(band).open("xb") for band in range(self._bands)]
        draw = np.random.default_rng(20)
        self._factors = draw.integers(1 << 32, size=self._bands * self._rows, dtype=np.uint32) | 1
        self._offsets = draw.integers(1 << 32, size=self._bands * self._rows, dtype=np.uint32)

    def _path(self, band: int) -> Path:
        return self._folder / f"band-{band}"

    def add(self, keys: Sequence[str]) -> None:
        """Append passages by their keys, none of them empty."""
        grams, starts = _grams(keys)
        self._passages += len(keys)
        number = 0
        for file in self._files:
            band = np.zeros(len(keys), np.uint64)
            for _ in range(self._rows):
                values = grams * self._factors[number] + self._offsets[number]
                least = np.minimum.reduceat(_mixed(values), starts)
                band = (band ^ least) * np.uint64(0x9E3779B97F4A7C15)
                band ^= band >> np.uint64(29)
                number += 1
            band.tofile(file)

    def copies(self, key: Callable[[int], str]) -> Array:
        """Return the numbers of passages that an earlier one is nearly the same as, sorted.

        Args:
            key: gives the key of a passage by its number.
        """
        for file in self._files:
            file.close()
        dropped = np.zeros(self._passages, bool)
        for band in range(self._bands):
            values = np.fromfile(self._path(band), np.uint64)
            for group in _groups(values, dropped):
                for member in self._near(group, key):
                    dropped[member] = True
            self._path(band).unlink()
        return np.flatnonzero(dropped)

    def _near(self, group: list[int], key: Callable[[int], str]) -> Iterator[int]:
        kept: list[set[str]] = []
        for member in group:
            grams = _set_of(key(member))
            if any(_alike(grams, other, self._threshold) for other in kept):
                yield member
            elif len(kept) < _COMPARED:
                kept.append(grams)


def _groups(values: Array, dropped: Array) -> Iterator[list[int]]:
    """Yield the passages that share a band and are still kept, each group in file order."""
    rows = np.flatnonzero(~dropped)
    rows = rows[np.argsort(values[rows], kind="stable")]
    ordered = values[rows]
    edges = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    several = np.flatnonzero(np.diff(edges) > 1)
    for start, end in zip(edges[several].tolist(), edges[several + 1].tolist(), strict=True):
        yield rows[start:end].tolist()


def _grams(keys: Sequence[str]) -> tuple[Array, Array]:
    """Return hashes of all runs of five characters (uint32), and where each key's begin.

    A shorter key is one run, filled up with zeros.
    """
    padding = "\0" * (GRAM - 1)
    characters = np.frombuffer((padding.join(keys) + padding).encode("utf-32-le"), "<u4")
    sizes = np.array([len(key) for key in keys])
    counts = np.maximum(sizes - GRAM + 1, 1)
    starts = np.cumsum(counts) - counts
    offsets = np.cumsum(sizes + GRAM - 1) - (sizes + GRAM - 1)
    hashes = np.zeros(len(characters) - GRAM + 1, np.uint32)
    for at in range(GRAM):
        hashes *= np.uint32(0x85EBCA6B)
        hashes += _mixed(characters[at : at + len(hashes)])
    places = np.arange(int(counts.sum())) + np.repeat(offsets - starts, counts)
    return _mixed(hashes[places]), starts


def _mixed(values: Array) -> Array:
    """Return a one-to-one scramble of 32-bit values."""
    values = values ^ (values >> np.uint32(16))
    values *= np.uint32(0x7FEB352D)
    values ^= values >> np.uint32(15)
    return values


def _set_of(key: str) -> set[str]:
    return {key[at : at + GRAM] for at in range(max(len(key) - GRAM + 1, 1))}


def _alike(one: set[str], other: set[str], threshold: float) -> bool:
    """Return whether the Jaccard similarity reaches the threshold."""
    few, many = sorted((len(one), len(other)))
    if few < threshold * many:
        return False
    both = len(one & other)
    return both >= threshold * (few + many - both)

"""Korean-English sentence pairs to learn translation from, either way, and news to test it on.

Chosen: a corpus is cut by a hash of its English side, so that either direction has the same parts;
Python's documentation is cut by whole documents, because its pages repeat themselves. A row whose
English or Korean also stands in the validation or the test part is rejected from what is learnt,
and so is one of the validation part that stands in the test. The default test, 2,000 rows of news,
is of another world than the manuals and short sentences that are learnt from; `test = "held-out"`
tests on more of the same, and a figure on it says nothing about other texts.

What costs: parts of whole documents are off their share by some rows, less than 1 % of the rows is
lost, and reST markup stays in the documentation. Two corpora cannot be downloaded unpacked; see
`_parallel`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic

from mulgil import hangul
from mulgil.contracts import Dataset, DataSettings
from mulgil.datasets._parallel import LEARNT, PARK_TEST, Corpus, Two, beside, learnt
from mulgil.datasets._writing import pair
from mulgil.examples import Example, WritingExample
from mulgil.flow import Parts, Rejected, Source

_ALL: tuple[Source, ...] = (*(s for sources in LEARNT.values() for s in sources), *PARK_TEST)
_LATER = {"train": ("valid", "test"), "valid": ("test",), "test": ()}


class Parallel(Dataset):
    """Korean-English parallel sentences for translation."""

    class Settings(DataSettings):
        """Which corpora, which way, and what the test is."""

        corpora: list[Corpus] = pydantic.Field(["python-docs", "tatoeba"], min_length=1)
        """Corpora to learn from: "python-docs", "park-news" (its development part), "tatoeba" or
        "jhe"."""
        direction: Literal["ko-en", "en-ko"] = "ko-en"
        """Which language is read, and which is written."""
        test: Literal["park-news", "held-out"] = "park-news"
        """Test on 2,000 sentences of news, or on `test_share` of the corpora that are learnt."""

        @pydantic.field_validator("corpora")
        @classmethod
        def _once(cls, corpora: list[Corpus]) -> list[Corpus]:
            if len(set(corpora)) < len(corpora):
                raise ValueError("names a corpus twice; name each once")
            return corpora

    title = "Korean-English parallel sentences"
    shape = "writing"
    licence = (
        "python-docs: PSF-2.0 and CC0; park-news, jhe: CC BY-SA 3.0; tatoeba: CC BY 2.0 FR"
        " (attribution in the file's third column)"
    )
    citation = (
        "python-docs-ko, https://github.com/python/python-docs-ko; Jungyeul Park et al.: Korean"
        " parallel corpora, https://github.com/jungyeul/korean-parallel-corpora; Tatoeba,"
        " https://tatoeba.org"
    )
    sources = _ALL

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        wanted = [source for corpus in settings.corpora for source in LEARNT[corpus]]
        if settings.test == "park-news":
            wanted += PARK_TEST
        # The class names every file; one data set asks only for those that its settings need.
        vars(self)["sources"] = tuple(wanted)

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = Parts(rows={})
        found: dict[str, list[Two]] = {"train": [], "valid": [], "test": []}
        for corpus in self.settings.corpora:
            pairs = _good(learnt(corpus, files), parts.rejected)
            for two in pairs:
                found[self._part(two)].append(two)
            parts.notes += _noted(corpus, len(pairs))
        if self.settings.test == "park-news":
            english, korean = (files[source.path] for source in PARK_TEST)
            found["test"] = _good(beside(english, korean, "park-news:test"), parts.rejected)
        before = len(parts.rejected)
        apart = _apart(found, parts.rejected)
        parts.rows.update({name: self._rows(twos) for name, twos in apart.items()})
        parts.notes.append(
            f"{len(parts.rejected) - before:,} rows left out of what is learnt or chosen by,"
            " because one side also stands in a later part"
        )
        sizes = ", ".join(f"{name} {len(rows):,}" for name, rows in parts.rows.items())
        parts.notes.append(f"cut by whole documents or by the English side: {sizes} rows")
        return parts

    def _part(self, two: Two) -> str:
        """Return the part that a hash of the document, or of the English side, falls into."""
        chosen = self.settings
        key = two.group or hangul.key(two.english)
        digest = hashlib.sha256(f"{chosen.seed}:{key}".encode("utf-8", "surrogatepass")).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        test = chosen.test_share if chosen.test == "held-out" else 0.0
        if place < test:
            return "test"
        return "valid" if place < test + (1 - test) * chosen.valid_share else "train"

    def _rows(self, twos: list[Two]) -> list[Example]:
        if self.settings.direction == "ko-en":
            return [WritingExample(two.id, two.korean, two.english) for two in twos]
        return [WritingExample(two.id, two.english, two.korean) for two in twos]


def _good(found: Iterable[Two | Rejected], rejected: list[Rejected]) -> list[Two]:
    """Return the pairs with two sides that differ, stripped; the others go to `rejected`."""
    kept = []
    for two in found:
        if isinstance(two, Rejected):
            rejected.append(two)
            continue
        row = pair(two.id, two.english, two.korean)
        if isinstance(row, Rejected):
            rejected.append(row)
        else:
            kept.append(two._replace(english=row.source, korean=row.target or ""))
    return kept


def _apart(found: dict[str, list[Two]], rejected: list[Rejected]) -> dict[str, list[Two]]:
    """Return the parts without rows of which a side stands in a later one."""
    sides = {name: {side for two in twos for side in _sides(two)} for name, twos in found.items()}
    parts: dict[str, list[Two]] = {}
    for name, twos in found.items():
        parts[name] = []
        for two in twos:
            later = [part for part in _LATER[name] if not sides[part].isdisjoint(_sides(two))]
            if later:
                rejected.append(Rejected(two.id, f"a side also stands in {later[-1]}"))
            else:
                parts[name].append(two)
    return parts


def _sides(two: Two) -> tuple[str, str]:
    return hangul.key(two.english), hangul.key(two.korean)


def _noted(corpus: Corpus, count: int) -> list[str]:
    cut = {
        "python-docs": "reST markup stays in; fuzzy and untranslated entries were left out",
        "park-news": "the development part",
        "tatoeba": "the column of attributions is left out",
        "jhe": "the development and the evaluation part",
    }
    return [f"{corpus}: {count:,} pairs; {cut[corpus]}"]

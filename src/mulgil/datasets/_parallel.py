"""Where Korean-English sentence pairs lie, and how each corpus' files become pairs.

    python-docs  30,586  Python's documentation, by hand; reST markup stays in
    park-news     3,000  news: 1,000 for development, 2,000 to test
    tatoeba       3,798  short everyday sentences
    jhe           1,440  a textbook-like mix, 720 and 720

Chosen: the files as one finds them unpacked. Two corpora are not published so, and have to be
brought below `MULGIL_DATA`: `park-news` is inside .tar.gz archives (the address is the archive's),
and `python-docs` is made of the .po files of branch 3.13, fuzzy and untranslated entries left out,
an object with `file`, `en` and `ko` a line (the address is the folder's). A download of either is
refused, with that path as the remedy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from mulgil.datasets._writing import numbered
from mulgil.errors import DataError
from mulgil.flow import Rejected, Source

Corpus = Literal["python-docs", "park-news", "tatoeba", "jhe"]

_RAW = "https://raw.githubusercontent.com/"
_PARK = _RAW + "jungyeul/korean-parallel-corpora/"
_PARK_DEV = (
    _PARK + "aaafd19c37024fe0a0c39c4007bbb0272fc6f21e/korean-english-v1/"
    "korean-english-park.dev.tar.gz"
)
_PARK_TEST = (
    _PARK + "db4863eeb051f6456fc86a1802dc1688f36e2a86/korean-english-news-v1/"
    "korean-english-park.test.tar.gz"
)
_JHE = _PARK + "7c91f68ba14c55320885068ecb43c08993c2003d/jhe-korean-english/"
_JHE_EVAL_EN = _PARK + "2cd5c05ddb8070355e149d76443fc815455439c1/korean-english-jhe/"

PARK_DEV = (
    Source(
        path="ko_en_park_news/korean-english-park.dev.en",
        url=_PARK_DEV,
        sha256="98e0d1284685328701410f9656098d9939ca69ab262bf69a9e1a7f9d716ef1dc",
        size=134_786,
    ),
    Source(
        path="ko_en_park_news/korean-english-park.dev.ko",
        url=_PARK_DEV,
        sha256="248e0dd8e560db90ea7b51e4959a33d67a7bba48872429bc90f416ea8acbac44",
        size=159_673,
    ),
)

PARK_TEST = (
    Source(
        path="ko_en_park_news/korean-english-park.test.en",
        url=_PARK_TEST,
        sha256="76e43f2ed5ce5d20e4187fb7bb167f5771db8d06ec34c66410ea044c35eed77c",
        size=278_586,
    ),
    Source(
        path="ko_en_park_news/korean-english-park.test.ko",
        url=_PARK_TEST,
        sha256="02d1445fcdcd26f99b29a7d5bf692688634571310c1f2d1093cfb2e2d1eb6be4",
        size=322_388,
    ),
)

_JHE_DEV = (
    Source(
        path="ko_en_jhe/jhe-koen-dev.en",
        url=_JHE + "jhe-koen-dev.en",
        sha256="ccf0c0ca7601b5cae37891ecf89c72c951ac162a20738ac894e3faf804c4c4af",
        size=47_582,
    ),
    Source(
        path="ko_en_jhe/jhe-koen-dev.ko",
        url=_JHE + "jhe-koen-dev.ko",
        sha256="2b02238c122aac40860aebfb191cfcdb46553e6b55b447f8188e04cabe00b828",
        size=63_794,
    ),
)

_JHE_EVAL = (
    Source(
        path="ko_en_jhe/jhe-koen-eval.en",
        url=_JHE_EVAL_EN + "jhe-koen-eval.en",
        sha256="dc4c0975092f3cfd5c60e3cea24e6b2a400e4373208cd9f3ed6b0cc44c01cc3b",
        size=46_596,
    ),
    Source(
        path="ko_en_jhe/jhe-koen-eval.ko",
        url=_JHE + "jhe-koen-eval.ko",
        sha256="531b18d6640aaf63b86753c631c8ee6d7d23c10b9f9c56cb99c9da086417cb86",
        size=63_319,
    ),
)

_PYTHON_DOCS = Source(
    path="ko_en_python_docs/python-docs-ko-3.13.jsonl",
    url="https://github.com/python/python-docs-ko/tree/d0c58403de22",
    sha256="92ce441f2000d37ee05ac51d4028b4121d56ef24ca57c270190cfa6af75306f5",
    size=11_628_677,
)

_TATOEBA = Source(
    path="ko_en_tatoeba/kor.txt",
    url=_RAW + "nate-koser/kor-eng-translator/a073cb5f7b819c73cbd46d19ceb6a42463041152/kor.txt",
    sha256="3988edfd32c892ccf4450772bc3a5906ebfcf3c8648f56012df204ddf27b8280",
    size=558_778,
)

LEARNT: dict[Corpus, tuple[Source, ...]] = {
    "python-docs": (_PYTHON_DOCS,),
    "park-news": PARK_DEV,
    "tatoeba": (_TATOEBA,),
    "jhe": _JHE_DEV + _JHE_EVAL,
}
"""The files of a corpus that may be learnt from."""


class Two(NamedTuple):
    """A sentence in both languages; `group` is what must not be cut apart, "" when it is alone."""

    id: str
    english: str
    korean: str
    group: str = ""


def learnt(corpus: Corpus, files: Mapping[str, Path]) -> Iterator[Two | Rejected]:
    """Yield the pairs of a corpus that may be learnt from.

    Raises:
        DataError: two files that belong together are of unequal length.
    """
    sources = LEARNT[corpus]
    if corpus == "python-docs":
        yield from _objects(files[sources[0].path], corpus)
    elif corpus == "tatoeba":
        yield from _columns(files[sources[0].path], corpus)
    else:
        for english, korean in zip(sources[::2], sources[1::2], strict=True):
            part = english.path.removesuffix(".en").replace("-", ".").rpartition(".")[2]
            yield from beside(files[english.path], files[korean.path], f"{corpus}:{part}")


def beside(english: Path, korean: Path, name: str) -> Iterator[Two]:
    """Yield the pairs of two files with a sentence a line.

    Raises:
        DataError: they are of unequal length.
    """
    first, second = ([line for _, line in numbered(path)] for path in (english, korean))
    if len(first) != len(second):
        raise DataError(
            f"{korean}: has {len(second):,} lines, but {english.name} has {len(first):,}, so they"
            " do not belong together; get both files again"
        )
    for number, (one, other) in enumerate(zip(first, second, strict=True), start=1):
        yield Two(f"{name}:{number}", one, other)


def _objects(path: Path, name: str) -> Iterator[Two | Rejected]:
    for number, line in numbered(path):
        place = f"{name}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            yield Rejected(place, "not JSON")
            continue
        fields = [row.get(key) for key in ("en", "ko", "file")] if isinstance(row, dict) else [None]
        if all(isinstance(field, str) for field in fields):
            yield Two(place, *map(str, fields))
        else:
            yield Rejected(place, "one of file, en, ko is missing or not a text")


def _columns(path: Path, name: str) -> Iterator[Two | Rejected]:
    """Yield English and Korean; the third column says whom to thank, and is left out."""
    for number, line in numbered(path):
        fields = line.split("\t")
        if len(fields) == 3:
            yield Two(f"{name}:{number}", fields[0], fields[1])
        else:
            yield Rejected(f"{name}:{number}", f"{len(fields)} fields instead of 3")

"""Shared by the data sets that use Kakao Brain's translations: XNLI-ko and KorSTS.

The files are pinned at one commit; both are licensed CC BY-SA 4.0. A row's id is the name of its
file and its line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mulgil.datasets._labelled import Made, pair, rated, table
from mulgil.flow import Source

_ADDRESS = (
    "https://raw.githubusercontent.com/kakaobrain/KorNLUDatasets/"
    "0df0fe7d496eb61b092e022e238c2230b29f1cbc/"
)
CITATION = (
    "Ham, Choe, Park, Choi, Soh 2020: KorNLI and KorSTS: New Benchmark Datasets for Korean Natural"
    " Language Understanding, arXiv:2004.03289, https://github.com/kakaobrain/KorNLUDatasets"
)
LICENCE = "CC BY-SA 4.0"

LABELS = {name: name for name in ("entailment", "neutral", "contradiction")}
"""What may hold between a premise and a hypothesis; KLUE has the same names."""

XNLI_DEV = Source(
    path="kornli/xnli.dev.ko.tsv",
    url=_ADDRESS + "KorNLI/xnli.dev.ko.tsv",
    sha256="821fb1c1c2e538ac2724a6132da36ffa379eb9a542ceb89243b3cf711377382c",
    size=511_383,
)
XNLI_TEST = Source(
    path="kornli/xnli.test.ko.tsv",
    url=_ADDRESS + "KorNLI/xnli.test.ko.tsv",
    sha256="0db53cf8e182283a0d0404ec3fe1b15d1e29236d23d22082dc20d43067254b3e",
    size=1_032_430,
)
STS_TRAIN = Source(
    path="korsts/sts-train.tsv",
    url=_ADDRESS + "KorSTS/sts-train.tsv",
    sha256="b5aaa7f957d6ff46f4b6834a8b0f024a9234a6eefe9289aed66746b4533da3b8",
    size=1_046_952,
)
STS_DEV = Source(
    path="korsts/sts-dev.tsv",
    url=_ADDRESS + "KorSTS/sts-dev.tsv",
    sha256="d835b65b424401fbcce6be28a78159df8d61f5b19977ea7a0b83b8cb6105f393",
    size=307_276,
)
STS_TEST = Source(
    path="korsts/sts-test.tsv",
    url=_ADDRESS + "KorSTS/sts-test.tsv",
    sha256="13f83a3440d9db52d134eb40303ce021b03264aa338fbf2871c8786ce04d2105",
    size=249_596,
)


def xnli(path: Path) -> Iterator[Made]:
    """Yield the pairs of a file of XNLI-ko: premise, hypothesis, label."""
    return table(path, "sentence1 sentence2 gold_label", _entailment)


def korsts(path: Path) -> Iterator[Made]:
    """Yield the rated pairs of a file of KorSTS."""
    return table(path, "genre filename year id score sentence1 sentence2", _similarity)


def _entailment(place: str, first: str, second: str, label: str) -> Made:
    return pair(place, first, second, label, LABELS)


def _similarity(place: str, *fields: str) -> Made:
    *_, score, first, second = fields
    return rated(place, first, second, score)

"""XQuAD in English: 1,190 questions of SQuAD v1.1 to 48 Wikipedia articles, cut by article.

Chosen: XQuAD is a test only, made of SQuAD's development part. So that a network can learn and be
tested on it, it is cut in the order that it has: the first 36 articles are for training, the last 4
of these for validation (826 and 99 questions), and the last 12 articles are the test (265).

What it costs: a score is over a part of XQuAD, learnt from the rest of it, and so not comparable
with published ones; with 826 questions it shows that the way works, not how far it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.datasets import _squad
from mulgil.flow import Parts, Source

_CUTS = {"train": slice(0, 32), "valid": slice(32, 36), "test": slice(36, None)}


class XquadEn(Dataset):
    """English questions whose answer is a stretch of the text."""

    title = "XQuAD, English, cut by article"
    shape = "question"
    licence = "CC BY-SA 4.0"
    citation = (
        "Artetxe, Ruder, Yogatama 2020: On the Cross-lingual Transferability of Monolingual"
        " Representations, arXiv:1910.11856, https://github.com/google-deepmind/xquad; questions"
        " of Rajpurkar et al. 2016: SQuAD, arXiv:1606.05250"
    )
    sources = (
        Source(
            path="en_xquad/xquad.en.json",
            url="https://raw.githubusercontent.com/google-deepmind/xquad/"
            "7d30520c717524000f0d9d2f9c10a069acd9d285/xquad.en.json",
            sha256="e4c57d1c9143aaa1c5d265ba5987a65f4e69528d2a98f29d6e75019b10344f29",
            size=609_383,
        ),
    )

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = _squad.read(files[self.sources[0].path], _CUTS)
        parts.notes.append(
            "all parts are cut by article from XQuAD, which is published as a test only: not"
            " comparable with published scores on the whole of it"
        )
        return parts

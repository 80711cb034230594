"""KorQuAD 1.0 development part: 5,774 questions to 140 Korean Wikipedia articles, cut by article.

Chosen: the official training file is not fetched here, so the development file is cut in the order
that it has: the first 112 articles are for training, the last 12 of these for validation (4,055 and
261 questions), and the last 28 articles are the test (1,458). The file is read as it is and never
written again, because its licence forbids derivatives. 241 answers start at character 0, which is a
place like any other.

What it costs: a score is over a part of the official development file, learnt from the rest of it,
and so not comparable with published ones; each question has one answer only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.datasets import _squad
from mulgil.flow import Parts, Source

_CUTS = {"train": slice(0, 100), "valid": slice(100, 112), "test": slice(112, None)}


class Korquad(Dataset):
    """Questions whose answer is a stretch of the text."""

    title = "KorQuAD 1.0 development questions, cut by article"
    shape = "question"
    licence = "CC BY-ND 2.0 KR (no derivatives: the file is used unmodified)"
    citation = (
        "Lim, Kim, Lee 2019: KorQuAD1.0: Korean QA Dataset for Machine Reading Comprehension,"
        " arXiv:1909.07005, https://korquad.github.io"
    )
    sources = (
        Source(
            path="korquad1/KorQuAD_v1.0_dev.json",
            url="https://raw.githubusercontent.com/monologg/KoELECTRA/"
            "024fbdd600e653b6e4bdfc64ceec84181b5ce6c4/finetune/data/korquad/KorQuAD_v1.0_dev.json",
            sha256="25ffeb51e6c51ec02c071b60a10188e10005c144110f0d876b26079d80a35bdf",
            size=3_881_058,
        ),
    )

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = _squad.read(files[self.sources[0].path], _CUTS)
        parts.notes.append(
            "all parts are cut by article from KorQuAD's development file: not comparable with"
            " published scores on the whole of it"
        )
        return parts

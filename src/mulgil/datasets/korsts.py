"""KorSTS: 8,628 pairs of Korean sentences, rated from 0 (unrelated) to 5 (the same).

Chosen: the files as published, with the official parts: 5,749 to train (translated by machine),
1,500 to validate and 1,379 to test (translated by people). Quotes are characters like others: the
files are not quoted, and a reader that thinks so merges rows.

What it costs: 3 training pairs stand in the development part too, and 49 stand twice in training.
They stay, because published scores are over them; the data check says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.datasets import _kakao
from mulgil.datasets._labelled import add
from mulgil.flow import Parts


class Korsts(Dataset):
    """How alike two sentences are, in the official parts."""

    title = "KorSTS"
    shape = "rated-pair"
    licence = _kakao.LICENCE
    citation = _kakao.CITATION
    sources = (_kakao.STS_TRAIN, _kakao.STS_DEV, _kakao.STS_TEST)

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = Parts(rows={})
        for name, source in zip(("train", "valid", "test"), self.sources, strict=True):
            add(parts, name, _kakao.korsts(files[source.path]))
        return parts

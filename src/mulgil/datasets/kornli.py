"""KorNLI without its machine translations: 7,500 pairs of XNLI-ko, three labels, in balance.

Chosen: only what people translated. train = the official development part (2,490 pairs), test =
the official test (5,010); the validation rows are cut from the training rows. First is the
premise, second the hypothesis.

What it costs: the official training part (942,854 pairs of SNLI and MNLI, translated by machine)
is not read, so a score is not comparable with those published for KorNLI. Each premise stands in
three pairs, and the cut for validation does not keep them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.datasets import _kakao
from mulgil.datasets._labelled import add
from mulgil.flow import Parts


class Kornli(Dataset):
    """What holds between two sentences: XNLI-ko's development part to train, its test to test."""

    title = "KorNLI: XNLI-ko development and test pairs"
    shape = "pair"
    licence = _kakao.LICENCE
    citation = _kakao.CITATION
    sources = (_kakao.XNLI_DEV, _kakao.XNLI_TEST)

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = Parts(
            rows={},
            notes=[
                "train is XNLI-ko's development part, without the 942,854 machine-translated"
                " pairs: not comparable with published KorNLI scores"
            ],
        )
        for name, source in zip(("train", "test"), self.sources, strict=True):
            add(parts, name, _kakao.xnli(files[source.path]))
        return parts

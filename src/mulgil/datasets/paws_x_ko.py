"""PAWS-X in Korean: 4,000 pairs with nearly the same words; 같음 (same meaning) or 다름.

Chosen: people's translations only. train = the official development part (2,000 pairs), test = the
official test (2,000); the validation rows are cut from the training rows. The file's labels 1 and
0 are given as 같음 and 다름.

What it costs: the official training part (translated by machine) is not read, so a score lies far
below published ones; a small model that counts words does no better than always saying 다름.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.datasets._labelled import Made, add, pair, table
from mulgil.flow import Parts, Source

_ADDRESS = (
    "https://raw.githubusercontent.com/monologg/KoELECTRA/"
    "024fbdd600e653b6e4bdfc64ceec84181b5ce6c4/finetune/data/paws/"
)
_LABELS = {"0": "다름", "1": "같음"}


class PawsXKo(Dataset):
    """Whether two sentences that share most of their words mean the same."""

    title = "PAWS-X, Korean development and test pairs"
    shape = "pair"
    licence = (
        "may be freely used for any purpose, although acknowledgement of Google LLC as the data"
        " source would be appreciated"
    )
    citation = (
        "Yang, Zhang, Tar, Baldridge 2019: PAWS-X: A Cross-lingual Adversarial Dataset for"
        " Paraphrase Identification, arXiv:1908.11828; data source: Google LLC"
    )
    sources = (
        Source(
            path="paws_x_ko/dev_2k.tsv",
            url=_ADDRESS + "dev_2k.tsv",
            sha256="ec6f963972f61f50b164bcf62c8ee06e6565c365d871d14d85e08f398d402b99",
            size=532_624,
        ),
        Source(
            path="paws_x_ko/test_2k.tsv",
            url=_ADDRESS + "test_2k.tsv",
            sha256="45bb61a9cda953047f4d0628f02555fef2d0c0b5dc05787be3e2c16965a2eef8",
            size=540_041,
        ),
    )

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = Parts(
            rows={},
            notes=[
                "train is PAWS-X's development part, without the machine-translated training"
                " pairs: not comparable with published scores"
            ],
        )
        for name, source in zip(("train", "test"), self.sources, strict=True):
            add(parts, name, table(files[source.path], "id sentence1 sentence2 label", _row))
        return parts


def _row(place: str, _number: str, first: str, second: str, label: str) -> Made:
    return pair(place, first, second, label, _LABELS)

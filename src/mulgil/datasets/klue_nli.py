"""KLUE-NLI development pairs as the test; XNLI-ko to train: entailment, neutral, contradiction.

Chosen: KLUE's training file is not fetched here, so the network learns from other people's pairs:
train = the test part of XNLI-ko (5,010 pairs, translated by people), valid = its development part
(2,490), test = the development part of KLUE-NLI (3,000 pairs, written in Korean). First is the
premise, second the hypothesis; a KLUE pair keeps the label that most of its five annotators gave.

What it costs: a score is not one of KLUE's leaderboard, whose networks learn from 24,998 pairs of
KLUE's own, and whoever trains here must not report a score on XNLI-ko's test. Each premise of
XNLI-ko stands in three pairs. 243 premises of KLUE-NLI also stand in Naver's film reviews.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mulgil.contracts import Dataset
from mulgil.datasets import _kakao, _klue
from mulgil.datasets._labelled import Made, pair
from mulgil.flow import Parts

_TEST = _klue.tested_on(
    "klue-nli-v1.1",
    sha256="0699db82be17766b26e199864e6260443e17ec6e91d1870e876419e388f245b1",
    size=1_498_298,
)


class KlueNli(Dataset):
    """What holds between two sentences: learnt from XNLI-ko, tested on KLUE-NLI."""

    title = "KLUE-NLI v1.1 development pairs, with XNLI-ko to train"
    shape = "pair"
    licence = _klue.LICENCE
    citation = f"{_klue.CITATION}; {_kakao.CITATION}"
    sources = (_kakao.XNLI_TEST, _kakao.XNLI_DEV, _TEST)

    def read(self, files: Mapping[str, Path]) -> Parts:
        note = (
            "train and valid are XNLI-ko's test and development pairs, the test is KLUE-NLI's"
            " development part: not comparable with KLUE's leaderboard"
        )
        return _klue.borrowed(files, self.sources, _kakao.xnli, _row, note)


def _row(guid: str, entry: dict[str, Any]) -> Made:
    first, second = entry.get("premise"), entry.get("hypothesis")
    return pair(guid, first, second, entry.get("gold_label"), _kakao.LABELS)

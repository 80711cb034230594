"""KLUE-STS development pairs as the test, KorSTS to train; rated from 0 to 5.

Chosen: KLUE's training file is not fetched here, so train and valid are those of KorSTS (5,749 and
1,500 pairs) and the test is the development part of KLUE-STS (519 pairs: lodging reviews, policy
news and requests to a smart speaker). The rating is the field `real-label`, the mean over the
annotators, and not `label`, the same number rounded to one digit.

What it costs: the test is out of domain. KorSTS is captions, news and forums, mostly translated by
machine; a score is not one of KLUE's leaderboard.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mulgil.contracts import Dataset
from mulgil.datasets import _kakao, _klue
from mulgil.datasets._labelled import Made, rated
from mulgil.flow import Parts

_TEST = _klue.tested_on(
    "klue-sts-v1.1",
    sha256="b6a0ae0c370e21687f7eef0fdea872a328bb2ecbdb020c546cb870d28606bf80",
    size=454_638,
)


class KlueSts(Dataset):
    """How alike two sentences are: learnt from KorSTS, tested on KLUE-STS."""

    title = "KLUE-STS v1.1 development pairs, with KorSTS to train"
    shape = "rated-pair"
    licence = _klue.LICENCE
    citation = f"{_klue.CITATION}; {_kakao.CITATION}"
    sources = (_kakao.STS_TRAIN, _kakao.STS_DEV, _TEST)

    def read(self, files: Mapping[str, Path]) -> Parts:
        note = (
            "train and valid are KorSTS, the test is KLUE-STS's development part: out of domain,"
            " and not comparable with KLUE's leaderboard"
        )
        return _klue.borrowed(files, self.sources, _kakao.korsts, _row, note)


def _row(guid: str, entry: dict[str, Any]) -> Made:
    labels = entry.get("labels")
    rating = labels.get("real-label") if isinstance(labels, dict) else None
    return rated(guid, entry.get("sentence1"), entry.get("sentence2"), rating)

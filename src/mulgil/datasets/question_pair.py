"""Question pairs of a Korean chatbot: 7,576 pairs, the same question (같음) or another (다름).

Chosen: the authors' second split, with 6,136 pairs to train, 682 to validate and 758 to test. The
column is called `is_duplicate`, and yet 0 is "the same" and 1 is "another": so the authors' page
says, and so it is for 944 of the 946 pairs of one and the same text. The labels are given by what
they mean, 같음 and 다름, so that nobody falls into it.

What it costs: 2 test pairs stand in training too, and 37 share a question with it. They stay,
because published scores are over them; the data check says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.datasets._labelled import Made, add, pair, table
from mulgil.flow import Parts, Source

_ADDRESS = (
    "https://raw.githubusercontent.com/songys/Question_pair/"
    "e84b6f0e784c10c6a22cbbc7b1e415b901baa877/"
)
_LABELS = {"0": "같음", "1": "다름"}


class QuestionPair(Dataset):
    """Whether two questions ask the same, in the official parts."""

    title = "Paired Question (질문쌍)"
    shape = "pair"
    licence = "MIT"
    citation = "Youngsook Song: Paired Question (질문쌍), https://github.com/songys/Question_pair"
    sources = (
        Source(
            path="question_pair/train.txt",
            url=_ADDRESS + "train.txt",
            sha256="addf4c88b19066ad55a09f466c5c3f6428b3f2bd5d55100d3ca5b93d9d8daff9",
            size=441_758,
        ),
        Source(
            path="question_pair/validation.txt",
            url=_ADDRESS + "validation.txt",
            sha256="3928c783f561f36547fd8e0c9d78a6e1d6013db3debcf559c4135aa5536badea",
            size=49_083,
        ),
        Source(
            path="question_pair/test.txt",
            url=_ADDRESS + "test.txt",
            sha256="0d5738107ea3742de4dcaf3a358b6bfa4818781bc6aec11a9956a3fbe35f8b61",
            size=54_395,
        ),
    )

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = Parts(rows={})
        for name, source in zip(("train", "valid", "test"), self.sources, strict=True):
            add(parts, name, table(files[source.path], "question1 question2 is_duplicate", _row))
        return parts


def _row(place: str, first: str, second: str, label: str) -> Made:
    return pair(place, first, second, label, _LABELS)

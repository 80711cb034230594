"""Chatbot data: 11,823 short Korean remarks, each with a kind answer, to be written.

Chosen: question to answer; the third column (daily life, parting or love) is left out. A question
may come with several answers (11,661 are different), and equal questions stay on one side of a
cut. One row answers with its own question and is rejected. There is no official split, so all
rows are one part, "all".

What costs: an answer is one of many good ones, so measures of overlap with it stay low; read what
was written.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.datasets._writing import numbered, pair, sifted
from mulgil.examples import WritingExample
from mulgil.flow import Parts, Rejected, Source

_ADDRESS = (
    "https://raw.githubusercontent.com/songys/Chatbot_data/"
    "157bfbd9c354191bb4c546a8938e3862638ca7a3/ChatbotData%20.csv"
)
_HEADER = "Q,A,label"


class Chatbot(Dataset):
    """Korean chatbot data: remark to answer."""

    title = "Korean chatbot data, 11,823 remarks and answers"
    shape = "writing"
    licence = "MIT"
    citation = "Youngsook Song: Chatbot data for Korean, https://github.com/songys/Chatbot_data"
    sources = (
        Source(
            path="chatbot/ChatbotData.csv",
            url=_ADDRESS,
            sha256="287eb129695b577321c80ad397bb3c2279164d4ca577874d129fd3db5b30afe2",
            size=889_842,
        ),
    )

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = Parts(rows={})
        found = (
            _row(line, f"line {number}")
            for number, line in numbered(files[self.sources[0].path])
            if (number, line) != (1, _HEADER)
        )
        parts.rows["all"] = sifted(found, parts.rejected)
        return parts


def _row(line: str, place: str) -> WritingExample | Rejected:
    """Parse a line by itself, so that a stray quote never swallows the next one."""
    try:
        fields = next(csv.reader([line], strict=True), [])
    except csv.Error:
        return Rejected(place, "broken CSV quotes")
    if len(fields) != 3:
        return Rejected(place, f"{len(fields)} fields instead of 3")
    return pair(place, source=fields[0], target=fields[1])

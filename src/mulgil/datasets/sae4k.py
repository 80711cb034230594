"""Sae4K: 30,837 Korean questions and commands, each with the argument it asks about.

Chosen: version 1; the utterance is read, and what it asks for or asks to be done is to be written,
as a short phrase. The third column, the kind of utterance, is left out. 41 rows repeat the
utterance and are rejected. There is no official split, so all rows are one part, "all"; the same
utterance may come with two arguments, and equal utterances stay on one side of a cut.

What costs: 28,927 utterances are those of the intention data 3i4K, so nobody should learn from
the one and test on the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mulgil.contracts import Dataset
from mulgil.datasets._writing import numbered, pair, sifted
from mulgil.examples import WritingExample
from mulgil.flow import Parts, Rejected, Source

_ADDRESS = (
    "https://raw.githubusercontent.com/warnikchow/sae4k/4d55f8f655a080b41943e642d55a8f7fa3cc09a2/"
)


class Sae4k(Dataset):
    """Structured argument extraction for Korean, version 1: utterance to argument."""

    title = "Sae4K version 1, 30,837 questions and commands with their arguments"
    shape = "writing"
    licence = "CC BY-SA 4.0"
    citation = (
        "Cho et al.: Machines getting with the program: understanding intent arguments of"
        " non-canonical directives, https://github.com/warnikchow/sae4k"
    )
    sources = (
        Source(
            path="sae4k/sae4k_v1.txt",
            url=_ADDRESS + "sae4k_v1.txt",
            sha256="529361e1aa760ca90db71fc70a93215f45938028735aba1291a907f764fe1f36",
            size=2_545_926,
        ),
    )

    def read(self, files: Mapping[str, Path]) -> Parts:
        parts = Parts(rows={})
        found = (
            _row(line, f"line {number}") for number, line in numbered(files[self.sources[0].path])
        )
        parts.rows["all"] = sifted(found, parts.rejected)
        return parts


def _row(line: str, place: str) -> WritingExample | Rejected:
    fields = line.split("\t")
    if len(fields) != 3:
        return Rejected(place, f"{len(fields)} fields instead of 3")
    return pair(place, source=fields[0], target=fields[1])

"""1,120 short Korean reviews written for this project, three classes: 긍정, 중립, 부정.

Films, books, games, food, shopping, travel and services, with slang, typos, emoji, negation and
irony. Written to try things out offline: too few rows to rank methods by, and one small team's
idea of a review. A text that is half praise, half complaint is 중립, and so is a bare fact or a
question.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import ClassVar

from mulgil.contracts import Dataset
from mulgil.examples import TextExample
from mulgil.flow import Parts


class Sample(Dataset):
    """The bundled reviews; the splits are cut from them by the data settings."""

    title: ClassVar[str] = "Bundled Korean sample reviews"
    licence: ClassVar[str] = "Apache-2.0"
    citation: ClassVar[str] = "Mulgil, bundled sample"

    def read(self, files: Mapping[str, Path]) -> Parts:
        text = (resources.files("mulgil") / "datasets" / "sample.tsv").read_text(encoding="utf-8")
        rows = [line.split("\t") for line in text.splitlines()[1:]]
        return Parts(
            {
                "all": [
                    TextExample(f"sample:{number}", text, label)
                    for number, (text, label) in enumerate(rows, start=1)
                ]
            }
        )

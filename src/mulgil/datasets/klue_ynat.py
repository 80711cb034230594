"""KLUE-YNAT headlines of Korean news in seven topics; the user brings the files.

    klue/ynat-v1.1_train.json   45,678 headlines as published, to train and to validate
    klue/ynat-v1.1_dev.json      9,107, the test

Chosen: the label is the one that the annotators agreed on, not the newspaper's own section, which
the files hold too and which is often another. The files lie below `MULGIL_DATA`, either may be
gzipped, and they are read unchecked, because no checksum of them is known.

What it costs: a score is not one of KLUE's leaderboard, whose test was never published.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from mulgil.datasets import _klue
from mulgil.datasets._labelled import Made
from mulgil.examples import TextExample
from mulgil.flow import Rejected

_TOPICS = ("IT과학", "경제", "사회", "생활문화", "세계", "스포츠", "정치")


class KlueYnat(_klue.Brought):
    """Headlines of news and their topics."""

    title = "KLUE-YNAT v1.1 topics of news, from your copy"
    shape = "text"
    name = "ynat-v1.1"

    def row(self, guid: str, entry: dict[str, Any]) -> Made:
        text, label = entry.get("title"), entry.get("label")
        if not isinstance(text, str) or not text.strip():
            return Rejected(guid, "the title is missing or empty")
        topic = unicodedata.normalize("NFC", str(label))
        if topic not in _TOPICS:
            return Rejected(guid, f'label "{topic[:40]}" is none of {", ".join(_TOPICS)}')
        return TextExample(guid, text, topic)

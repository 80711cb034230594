"""KLUE-NER development part: 5,000 Korean sentences with 14,257 names, times and amounts.

Chosen: the training file is not fetched here, so the development file is cut in the order of its
ids: 4,000 sentences to train, 500 to validate, 500 to test. The column of characters is the text
and the column of tags gives the entities: PS (person), LC (place), OG (organisation), DT (date), TI
(time), QT (amount). The markup of the header line serves as a check: a sentence whose characters
are not those of its header, or whose tags are not well-formed IOB2, is rejected and not mended. The
published file has no such sentence, so 5,000 of 5,000 are used.

What it costs: a score is not one of KLUE's leaderboard. 1,121 of the sentences also stand in
Naver's film reviews. 900 characters are conjoining jamo; places are those of the text as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mulgil import tagging
from mulgil.contracts import Dataset
from mulgil.datasets import _klue
from mulgil.datasets._labelled import Made, add
from mulgil.examples import EntitiesExample, Span
from mulgil.flow import Parts, Rejected, Source

_KINDS = ("PS", "LC", "OG", "DT", "TI", "QT")
_MARKUP = re.compile(rf"<([^<>]*):(?:{'|'.join(_KINDS)})>")
_CUTS = {"train": slice(0, 4000), "valid": slice(4000, 4500), "test": slice(4500, None)}


class KlueNer(Dataset):
    """Sentences with entities of six kinds, as stretches of characters."""

    title = "KLUE-NER v1.1 development sentences"
    shape = "entities"
    licence = _klue.LICENCE
    citation = _klue.CITATION
    sources = (
        Source(
            path="klue/klue-ner-v1.1_dev.tsv",
            url=_klue.ADDRESS + "klue-ner-v1.1/klue-ner-v1.1_dev.tsv",
            sha256="0f4d5e818f7b82d299c3a87856fc40a706f5943207580ddb252397e387050a54",
            size=2_635_045,
        ),
    )

    def read(self, files: Mapping[str, Path]) -> Parts:
        with files[self.sources[0].path].open(encoding="utf-8-sig", newline="\n") as file:
            blocks = [block for block in re.split("\n{2,}", file.read().strip("\n")) if block]
        parts = Parts(
            rows={},
            notes=[
                "all parts are cut from KLUE-NER's development file by the order of its ids: not"
                " comparable with KLUE's leaderboard"
            ],
        )
        for name, cut in _CUTS.items():
            numbers = range(1, len(blocks) + 1)[cut]
            add(parts, name, map(_sentence, blocks[cut], numbers))
        return parts


def _sentence(block: str, number: int) -> Made:
    """Return the sentence of a block: comments, the last one its header, and character lines."""
    lines = block.split("\n")
    comments = [line for line in lines if line.startswith("##")]
    guid, tab, marked = comments[-1].removeprefix("## ").partition("\t") if comments else ("",) * 3
    if not (guid and tab):
        return Rejected(f"sentence {number}", "a header line with an id is missing")
    characters, tags = [], []
    for line in lines[len(comments) :]:
        character, _, tag = line.rpartition("\t")
        if len(character) != 1:
            return Rejected(guid, f'line "{line[:40]}" is not one character, a tab and a tag')
        characters.append(character)
        tags.append(tag)
    text = "".join(characters)
    if text != _MARKUP.sub(r"\1", marked):
        return Rejected(guid, "the characters are not those of the header line")
    if not text.strip():
        return Rejected(guid, "empty text")
    spans = _spans(tags)
    return Rejected(guid, spans) if isinstance(spans, str) else EntitiesExample(guid, text, spans)


def _spans(tags: list[str]) -> tuple[Span, ...] | str:
    """Return the entities of IOB2 tags, or which tag is not well-formed."""
    try:
        spans = tagging.spans(tags, strict=True)
    except ValueError as error:
        return str(error)
    for place, (tag, rule) in enumerate(zip(tags, tagging.tags(spans, len(tags)), strict=True), 1):
        if tag != rule:
            return f'tag {place} is "{tag}", but no B of its kind begins it'
    unknown = {span.label for span in spans}.difference(_KINDS)
    return f'entity "{min(unknown)}" is none of {", ".join(_KINDS)}' if unknown else spans

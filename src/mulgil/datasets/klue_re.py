"""KLUE-RE: what holds between two marked names of a sentence, one of 30; the user brings the files.

    klue/klue-re-v1.1_train.json   32,470 sentences as published, to train and to validate
    klue/klue-re-v1.1_dev.json      7,765, the test

The two names are marked in the text itself, so that any model that classifies texts can learn it:

    <주어 사람: 이순신>은 <목적어 장소: 여수>에서 배를 만들었다.

Chosen: marks of plain text with role and kind in words (as the "typed entity markers" of Zhou and
Chen 2021), in ASCII signs and everyday Korean: no token is added to a model, and neither NFC nor
NFKC changes them. `<` and `>` are one token each in this package's own vocabularies, where a rarer
bracket such as `〔` falls into bytes. No space is put in or taken out around a mark, so that a
particle stays at its noun. Places that do not hold the word, leave the sentence, part a letter or
overlap make a rejected row; nothing is moved to where the word would be.

What it costs: some fifteen tokens a sentence. `<` and `>` of the sentence itself stay as they are.
A score is not one of KLUE's leaderboard, whose F1 leaves "no_relation" out; the files are read
unchecked, because no checksum of them is known.
"""

from __future__ import annotations

from typing import Any

from mulgil.datasets import _klue, _spans
from mulgil.datasets._labelled import Made
from mulgil.examples import TextExample
from mulgil.flow import Rejected

_KINDS = {
    "PER": "사람",
    "ORG": "단체",
    "LOC": "장소",
    "DAT": "날짜",
    "POH": "이름",  # any other proper noun
    "NOH": "수량",  # any other number
}
_ROLES = {"subject_entity": "주어", "object_entity": "목적어"}

_RELATIONS = frozenset(
    {
        "no_relation",
        *(
            f"org:{name}"
            for name in (
                *("alternate_names", "dissolved", "founded", "founded_by", "member_of", "members"),
                *("number_of_employees/members", "place_of_headquarters"),
                *("political/religious_affiliation", "product", "top_members/employees"),
            )
        ),
        *(
            f"per:{name}"
            for name in (
                *("alternate_names", "children", "colleagues", "date_of_birth", "date_of_death"),
                *("employee_of", "origin", "other_family", "parents", "place_of_birth"),
                *("place_of_death", "place_of_residence", "product", "religion"),
                *("schools_attended", "siblings", "spouse", "title"),
            )
        ),
    }
)


class KlueRe(_klue.Brought):
    """Sentences with two marked names, and the relation between these."""

    title = "KLUE-RE v1.1 relations between two names, from your copy"
    shape = "text"
    name = "klue-re-v1.1"

    def row(self, guid: str, entry: dict[str, Any]) -> Made:
        sentence, label = entry.get("sentence"), entry.get("label")
        if not isinstance(sentence, str) or not sentence.strip():
            return Rejected(guid, "the sentence is missing or empty")
        if not isinstance(label, str) or label not in _RELATIONS:
            return Rejected(guid, f"label {_spans.shown(label)} is none of KLUE-RE's 30")
        try:
            return TextExample(guid, _marked(sentence, entry), label)
        except _spans.UnusableError as error:
            return Rejected(guid, str(error))


def _marked(sentence: str, entry: dict[str, Any]) -> str:
    """Return the sentence with its two names marked.

    Raises:
        UnusableError: one of them does not stand where it should.
    """
    found = [_entity(entry.get(key), role) for key, role in _ROLES.items()]
    # From the end on, so that the places before a mark stay what they are.
    for span in reversed(_spans.entities(sentence, found, str)):
        name = sentence[span.start : span.end]
        sentence = f"{sentence[: span.start]}<{span.label}: {name}>{sentence[span.end :]}"
    return sentence


def _entity(given: Any, role: str) -> dict[str, Any]:
    """Return an entity as `_spans` knows it; KLUE's end is the last character itself."""
    fields = given if isinstance(given, dict) else {}
    word, start, end = (fields.get(key) for key in ("word", "start_idx", "end_idx"))
    if not isinstance(word, str) or type(start) is not int or type(end) is not int:
        raise _spans.UnusableError(f"{role}: no word, or no whole numbers for its place")
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        shown = _spans.shown(kind)
        raise _spans.UnusableError(f"{role}: type {shown} is none of {', '.join(_KINDS)}")
    return {"text": word, "start": start, "end": end + 1, "label": f"{role} {_KINDS[kind]}"}

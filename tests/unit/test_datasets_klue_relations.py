"""KLUE-RE from the user's own copy: two marked names of a sentence; own-written files.

Ids such as DA-06 name the faults that a test guards against.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from klue_files import SENTENCE, brought, entity, read, related

from mulgil.examples import TextExample
from mulgil.flow import Parts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return brought(tmp_path, monkeypatch)


def text_of(parts: Parts) -> str:
    (row,) = parts.rows["train"]
    assert isinstance(row, TextExample)
    return row.text


def test_both_names_are_marked_where_they_stand(folder: Path) -> None:
    parts = read(folder, "klue-re", related())
    marked = "<주어 사람: 나루>는 <목적어 장소: 봄마을>에서 배를 만든다."
    assert parts.rows["train"] == [TextExample("own-1", marked, "per:place_of_residence")]


def test_the_object_may_come_first_stand_beside_and_end_the_sentence(folder: Path) -> None:
    """Places behind a mark are not moved by it, and the end is the last character itself."""
    parts = read(
        folder,
        "klue-re",
        related(
            sentence="봄마을나루",
            subject_entity=entity("나루", 3, 4, "ORG"),
            object_entity=entity("봄마을", 0, 2, "POH"),
            label="no_relation",
        ),
    )
    assert text_of(parts) == "<목적어 이름: 봄마을><주어 단체: 나루>"


@pytest.mark.parametrize(
    ("kind", "word"), [("PER", "사람"), ("ORG", "단체"), ("DAT", "날짜"), ("NOH", "수량")]
)
def test_every_kind_is_a_word(folder: Path, kind: str, word: str) -> None:
    parts = read(folder, "klue-re", related(object_entity=entity("배", 10, 10, kind)))
    assert text_of(parts) == f"<주어 사람: 나루>는 봄마을에서 <목적어 {word}: 배>를 만든다."


def test_a_decomposed_sentence_is_marked_at_its_own_places(folder: Path) -> None:
    """DA-03, TK-09: in NFD the places count jamo, and composed it is the same sentence."""
    sentence = unicodedata.normalize("NFD", SENTENCE)
    first, second = (unicodedata.normalize("NFD", word) for word in ("나루", "봄마을"))
    at = sentence.index(second)
    fields = {
        "sentence": sentence,
        "subject_entity": entity(first, 0, len(first) - 1),
        "object_entity": entity(second, at, at + len(second) - 1, "LOC"),
    }
    found = text_of(read(folder, "klue-re", related(**fields)))
    assert found != unicodedata.normalize("NFC", found)
    assert unicodedata.normalize("NFC", found) == text_of(read(folder, "klue-re", related()))
    composed = read(folder, "klue-re", related(**fields | {"subject_entity": entity("나루", 0, 1)}))
    assert composed.rows["train"] == []
    assert 'entity 1 is "나루", but at 0 to 2 stands' in composed.rejected[0].reason
    parted = {"subject_entity": entity(first[:1], 0, 0)}
    parts = read(folder, "klue-re", related(**fields | parted))
    assert "parts a letter from its marks" in parts.rejected[0].reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"subject_entity": entity("나루", 1, 2)},
            'entity 1 is "나루", but at 1 to 3 stands "루는"',
        ),
        ({"subject_entity": entity("나루", 0, 2)}, 'entity 1 is "나루", but at 0 to 3'),
        ({"object_entity": entity("봄마을", 4, 99)}, "entity 2 (4 to 100) leaves the text of 17"),
        ({"object_entity": entity(".", -1, -1)}, "entity 2 (-1 to 0) leaves the text"),
        ({"object_entity": entity("", 4, 3)}, "entity 2 (4 to 4) is empty or backwards"),
        ({"object_entity": entity("나루는", 0, 2)}, 'entity "목적어 사람" at 0 to 3 overlaps'),
        ({"object_entity": entity("나루", 0, 1)}, 'entity "목적어 사람" at 0 to 2 overlaps'),
        ({"object_entity": entity("봄마을", "4", 6)}, "목적어: no word, or no whole numbers"),
        ({"object_entity": entity("루", True, 1)}, "목적어: no word, or no whole numbers"),
        ({"object_entity": entity(None, 4, 6)}, "목적어: no word, or no whole numbers"),
        ({"subject_entity": None}, "주어: no word, or no whole numbers"),
        (
            {"subject_entity": entity("나루", 0, 1, "사람")},
            '주어: type "사람" is none of PER, ORG,',
        ),
        ({"subject_entity": entity("나루", 0, 1, ["PER"])}, "주어: type"),
        ({"label": "per:place"}, 'label "per:place" is none of KLUE-RE\'s 30'),
        ({"label": ["no_relation"]}, "label"),
        ({"sentence": " "}, "the sentence is missing or empty"),
        ({"sentence": 3}, "the sentence is missing or empty"),
    ],
)
def test_a_sentence_that_cannot_be_used_is_rejected(
    folder: Path, fields: dict[str, Any], reason: str
) -> None:
    """TK-09, DA-12: a place that does not hold the word is said, and nothing is moved to it."""
    parts = read(folder, "klue-re", related(**fields), related(guid="good"))
    assert [row.id for row in parts.rows["train"]] == ["good"]
    (rejected,) = parts.rejected
    assert rejected.id == "own-1"
    assert rejected.reason.startswith(reason)


def test_there_are_30_relations(folder: Path) -> None:
    """The names are those that people have written down with this data set."""
    organisations = (
        "alternate_names dissolved founded founded_by member_of members product"
        " number_of_employees/members place_of_headquarters political/religious_affiliation"
        " top_members/employees"
    )
    people = (
        "alternate_names children colleagues date_of_birth date_of_death employee_of origin"
        " other_family parents place_of_birth place_of_death place_of_residence product religion"
        " schools_attended siblings spouse title"
    )
    labels = ["no_relation", *(f"org:{name}" for name in organisations.split())]
    labels += [f"per:{name}" for name in people.split()]
    assert len(set(labels)) == 30
    entries = [related(guid=str(i), label=label) for i, label in enumerate(labels)]
    parts = read(folder, "klue-re", *entries)
    assert parts.rejected == []
    assert [row.label for row in parts.rows["train"] if isinstance(row, TextExample)] == labels

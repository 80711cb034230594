"""Three data sets of KLUE that the user brings: topics, relations and questions; own-written files.

Ids such as DA-06 name the faults that a test guards against.
"""

from __future__ import annotations

import gzip
import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mulgil import api, registry, splits
from mulgil.contracts import Dataset
from mulgil.errors import DataError
from mulgil.examples import QuestionExample, Span, TextExample
from mulgil.flow import Parts, Rejected

NAMES = {"klue-ynat": "ynat-v1.1", "klue-re": "klue-re-v1.1", "klue-mrc": "klue-mrc-v1.1"}
"""The data sets, and what their files are called."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that MULGIL_DATA names, with `klue` in it."""
    monkeypatch.setenv("MULGIL_DATA", str(tmp_path))
    (tmp_path / "klue").mkdir()
    return tmp_path


def made(name: str) -> Dataset:
    plugin = registry.load("datasets", name)
    dataset: Dataset = plugin(plugin.Settings())
    return dataset


def write(folder: Path, name: str, part: str, content: Any) -> Path:
    """Write a file of a data set: text as it is, anything else as JSON."""
    path = folder / "klue" / f"{NAMES[name]}_{part}.json"
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, name: str, *entries: Any, test: Any = None) -> Parts:
    """Read a data set that has these entries to train; `test` is the other file, or nothing."""
    content: Any = list(entries)
    if name == "klue-mrc":
        content = articles(*entries)
        test = test or articles()
    write(folder, name, "train", content)
    write(folder, name, "dev", test or [])
    return made(name).read({})


def headline(**fields: Any) -> dict[str, Any]:
    own = {
        "guid": "own-1",
        "title": "호숫가 마을, 봄맞이 장터 연다",
        "predefined_news_category": "사회",
        "label": "생활문화",
        "annotations": {"annotators": ["1"]},
        "url": "",
        "date": "",
    }
    return own | fields


SENTENCE = "나루는 봄마을에서 배를 만든다."


def entity(word: Any, start: Any, end: Any, kind: Any = "PER") -> dict[str, Any]:
    return {"word": word, "start_idx": start, "end_idx": end, "type": kind}


def related(**fields: Any) -> dict[str, Any]:
    own = {
        "guid": "own-1",
        "sentence": SENTENCE,
        "subject_entity": entity("나루", 0, 1),
        "object_entity": entity("봄마을", 4, 6, "LOC"),
        "label": "per:place_of_residence",
        "source": "own",
    }
    return own | fields


RIVER = "너른내는 세 고을을 지난다. 너른내는 길다."


def asked(*answers: tuple[Any, Any], **fields: Any) -> dict[str, Any]:
    own = {
        "guid": "own-1",
        "question": "어느 내가 세 고을을 지나나?",
        "question_type": 1,
        "is_impossible": False,
        "answers": [{"text": text, "answer_start": start} for text, start in answers],
    }
    return own | fields


def articles(*questions: Any, context: Any = RIVER) -> dict[str, Any]:
    paragraphs = [{"context": context, "qas": list(questions)}]
    return {"version": "own", "data": [{"title": "내", "paragraphs": paragraphs}]}


def answered(**fields: Any) -> dict[str, Any]:
    return asked(("길다", 21), **fields)


Entry = Callable[..., dict[str, Any]]
ENTRIES: dict[str, Entry] = {"klue-ynat": headline, "klue-re": related, "klue-mrc": answered}


# ---------------------------------------------------------------- all three


@pytest.mark.parametrize("name", NAMES)
def test_two_files_are_train_and_test_and_nobody_calls_them_checked(
    folder: Path, name: str
) -> None:
    """The house cuts the validation part; each file is in the record of the run."""
    entry = ENTRIES[name]
    test = [entry(guid="dev-1")]
    parts = read(
        folder, name, entry(), entry(guid="own-2"), test=articles(*test) if name[5] == "m" else test
    )
    assert {part: [row.id for row in rows] for part, rows in parts.rows.items()} == {
        "train": ["own-1", "own-2"],
        "test": ["dev-1"],
    }
    files = (f"{NAMES[name]}_train.json", f"{NAMES[name]}_dev.json")
    assert parts.notes[0] == f"{files[0]}, {files[1]}: not checked: no published checksum is known"
    assert "leaderboard" in parts.notes[1]
    dataset = made(name)
    assert [path.name for path in dataset.files()] == [*files]
    assert {row.shape for rows in parts.rows.values() for row in rows} == {dataset.shape}


@pytest.mark.parametrize("name", NAMES)
def test_they_are_data_sets_like_others(name: str) -> None:
    assert name in registry.names("datasets")
    assert "brings the files" in registry.describe("datasets")[name]
    dataset = made(name)
    assert dataset.licence == "CC BY-SA 4.0"
    assert dataset.sources == ()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("own", [None, "here", "nowhere"])
def test_absent_files_are_one_line_with_path_address_and_remedy(
    name: str, own: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DL-13: both paths are named, whether MULGIL_DATA is unset, empty, or no folder at all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    if own:
        monkeypatch.setenv("MULGIL_DATA", str(tmp_path / own))
    else:  # what lies in the current folder by chance is not the user's data
        monkeypatch.delenv("MULGIL_DATA", raising=False)
        (tmp_path / "klue").mkdir()
        write(tmp_path, name, "train", [])
        write(tmp_path, name, "dev", [])
    with pytest.raises(DataError) as caught:
        made(name).files()
    message = str(caught.value)
    files = f"klue/{NAMES[name]}_train.json and klue/{NAMES[name]}_dev.json"
    assert "\n" not in message
    for part in (
        f"{files} not found below MULGIL_DATA",
        f"({tmp_path / own})" if own else "(not set)",
        f"klue_benchmark/{NAMES[name]} of https://github.com/KLUE-benchmark/KLUE",
        "name the folder in MULGIL_DATA",
    ):
        assert part in message


def test_only_the_file_that_is_absent_is_named(folder: Path) -> None:
    write(folder, "klue-ynat", "train", [headline()])
    with pytest.raises(DataError, match=r'": klue/ynat-v1\.1_dev\.json not found .* this path'):
        api.data_check("klue-ynat")


def test_a_file_may_be_gzipped(folder: Path) -> None:
    """The plain file is taken where both lie there."""
    packed = folder / "klue" / "ynat-v1.1_train.json.gz"
    packed.write_bytes(gzip.compress(json.dumps([headline(guid="packed")]).encode(), mtime=0))
    write(folder, "klue-ynat", "dev", [headline()])
    dataset = made("klue-ynat")
    assert dataset.files()[0] == packed
    assert [row.id for row in dataset.read({}).rows["train"]] == ["packed"]
    write(folder, "klue-ynat", "train", [headline(guid="plain")])
    assert [row.id for row in dataset.read({}).rows["train"]] == ["plain"]


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"[" * 999, mtime=0)[:-9], b""])
def test_a_broken_gzip_file_is_an_error_of_one_line(folder: Path, content: bytes) -> None:
    """DA-06: a copy that broke off is never taken for a short one."""
    (folder / "klue" / "ynat-v1.1_train.json.gz").write_bytes(content)
    write(folder, "klue-ynat", "dev", [headline()])
    with pytest.raises(DataError, match=r"ynat-v1\.1_train\.json\.gz: ") as caught:
        made("klue-ynat").read({})
    assert "\n" not in str(caught.value)


def test_a_pipe_is_refused_and_never_waited_for(folder: Path) -> None:
    """DA-11: a FIFO in the data folder."""
    os.mkfifo(folder / "klue" / "ynat-v1.1_train.json")
    write(folder, "klue-ynat", "dev", [headline()])
    with pytest.raises(DataError, match=r"ynat-v1\.1_train\.json: is a pipe"):
        made("klue-ynat").read({})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[" * 100_000,
        "3",
        '{"data": {}}',
        '{"data": [3]}',
        '{"data": [{"paragraphs": [3]}]}',
    ],
)
def test_another_form_is_an_error_of_one_line(folder: Path, name: str, content: str) -> None:
    """DA-13: the file is named, whatever is in it."""
    write(folder, name, "train", content)
    write(folder, name, "dev", [])
    with pytest.raises(DataError, match=rf"{NAMES[name]}_train\.json: ") as caught:
        made(name).read({})
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_list(folder: Path) -> None:
    """DA-02: the same rows as without it."""
    parts = read(folder, "klue-ynat", headline())
    write(folder, "klue-ynat", "train", "\ufeff" + json.dumps([headline()]))
    assert made("klue-ynat").read({}).rows == parts.rows


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("entry", [None, 3, [], {}, {"guid": 3}])
def test_an_entry_without_an_id_is_counted(folder: Path, name: str, entry: Any) -> None:
    """DA-06: rows in = rows used + rows rejected."""
    parts = read(folder, name, ENTRIES[name](), entry)
    assert len(parts.rows["train"]) == 1
    (rejected,) = parts.rejected
    assert rejected.id == f"{NAMES[name]}_train.json: row 2"
    assert rejected.reason == 'not an object with a "guid"'


# ---------------------------------------------------------------- topics


def test_a_headline_has_the_topic_that_people_gave_it(folder: Path) -> None:
    """Not the section of the newspaper, which the file holds too."""
    assert read(folder, "klue-ynat", headline(title=" 봄 장터 ")).rows["train"] == [
        TextExample("own-1", " 봄 장터 ", "생활문화")
    ]


def test_a_decomposed_headline_stays_and_its_topic_is_composed(folder: Path) -> None:
    """DA-03, DA-12: a topic is one class, however it is written."""
    title, label = (unicodedata.normalize("NFD", text) for text in ("봄 장터", "생활문화"))
    (row,) = read(folder, "klue-ynat", headline(title=title, label=label)).rows["train"]
    assert row == TextExample("own-1", title, "생활문화")


def test_unusable_headlines_are_rejected_with_a_reason(folder: Path) -> None:
    wrong: list[Any] = ["해당없음", "경재", "", None, ["경제"], 1]
    entries = [headline(guid=f"label-{i}", label=label) for i, label in enumerate(wrong)]
    entries += [headline(guid="title-0", title=" "), headline(guid="title-1", title=None)]
    parts = read(folder, "klue-ynat", *entries)
    assert parts.rows["train"] == []
    assert len(parts.rejected) == len(entries)
    known = "is none of IT과학, 경제, 사회, 생활문화, 세계, 스포츠, 정치"
    assert parts.rejected[0] == Rejected("label-0", f'label "해당없음" {known}')
    assert parts.rejected[-1] == Rejected("title-1", "the title is missing or empty")


def test_validation_is_cut_from_train_and_the_test_stays_whole(folder: Path) -> None:
    topics = ("경제", "세계")
    entries = [headline(guid=f"own-{i}", title=f"소식 {i}", label=topics[i % 2]) for i in range(40)]
    test = [headline(guid="dev-1", title="다른 소식"), headline(guid="dev-2", title="또 소식")]
    dataset = made("klue-ynat")
    made_parts = read(folder, "klue-ynat", *entries, test=test)
    cut = splits.complete(made_parts, dataset.settings, lambda row: getattr(row, "text", ""))
    assert (len(cut.train), len(cut.valid), len(cut.test)) == (36, 4, 2)
    assert {row.id[:3] for row in cut.valid} == {"own"}
    assert any("not checked" in note for note in cut.notes)


# ---------------------------------------------------------------- relations


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


# ---------------------------------------------------------------- questions


def test_an_answer_stands_at_its_character(folder: Path) -> None:
    """TK-09: 0 is a place, the same words elsewhere are another, equal answers count once."""
    parts = read(
        folder, "klue-mrc", asked(("너른내", 0)), asked(("너른내", 16), ("내", 18), ("내", 18))
    )
    spans = [row.answers for row in parts.rows["train"] if isinstance(row, QuestionExample)]
    assert spans == [(Span(0, 3),), (Span(16, 19), Span(18, 19))]
    assert len(parts.notes) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"is_impossible": True, "question_type": 3},
        {"is_impossible": True},
        {"question_type": 3},
        {"is_impossible": True, "plausible_answers": [{"text": "너른내", "answer_start": 0}]},
    ],
)
def test_an_impossible_question_has_no_answer_and_that_is_told(
    folder: Path, fields: dict[str, Any]
) -> None:
    """A plausible answer is none; the note names the setting."""
    parts = read(folder, "klue-mrc", asked(**fields), asked(("길다", 21), guid="own-2"))
    (first, second) = parts.rows["train"]
    assert first == QuestionExample("own-1", asked()["question"], RIVER, ())
    assert isinstance(second, QuestionExample)
    assert second.answers == (Span(21, 23),)
    assert parts.notes[2].startswith("train: 1 of 2 questions have no answer")
    assert "task.no_answer = true" in parts.notes[2]
    task = registry.load("tasks", "qa")
    refused, accepted = (task(task.Settings(no_answer=allowed)) for allowed in (False, True))
    assert "task.no_answer" in refused.problem(first, refused.schema([]))
    assert accepted.problem(first, accepted.schema([])) is None


def test_a_decomposed_context_keeps_its_own_places(folder: Path) -> None:
    """DA-03, TK-09: in NFD the places count jamo; an NFC answer is not in an NFD context."""
    context, answer = (unicodedata.normalize("NFD", text) for text in (RIVER, "고을"))
    at = context.index(answer)
    write(
        folder,
        "klue-mrc",
        "train",
        articles(
            asked((answer, at)),
            asked(("고을", at), guid="composed"),
            asked((answer[:-1], at), guid="parted"),
            context=context,
        ),
    )
    write(folder, "klue-mrc", "dev", articles())
    parts = made("klue-mrc").read({})
    (row,) = parts.rows["train"]
    assert isinstance(row, QuestionExample)
    assert (row.context, row.answers) == (context, (Span(at, at + len(answer)),))
    assert [row.id for row in parts.rejected] == ["composed", "parted"]


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (asked(("고을", 8)), 'answer "고을" is not at 8; there stands "을을"'),
        (asked(("고을", 7), ("바다", 0)), 'answer "바다" is not at 0'),
        (asked(("고을", -1)), "answer_start"),
        (asked(("고을", "7")), "an answer without a whole number"),
        (asked(("고을", True)), "an answer without a whole number"),
        (asked(("고을", None)), "an answer without a whole number"),
        (asked(("", 0)), "answer 1 has no text"),
        (asked(), "no answer is given, and it is not called impossible"),
        (asked(is_impossible="true"), "no answer is given"),
        (asked(("고을", 7), answers=None), "no answer is given"),
        (asked(("고을", 7), answers=["고을"]), "an answer without a whole number"),
        (asked(("고을", 7), question=" "), "empty text"),
        (asked(("고을", 7), question=3), "the question or the context is missing"),
    ],
)
def test_a_question_that_cannot_be_used_is_rejected(
    folder: Path, question: dict[str, Any], reason: str
) -> None:
    """TK-09, DA-06: an answer that is not there is said, and nobody searches for it elsewhere."""
    parts = read(folder, "klue-mrc", question, asked(("고을", 7), guid="good"))
    assert [row.id for row in parts.rows["train"]] == ["good"]
    (rejected,) = parts.rejected
    assert rejected.id == "own-1"
    assert rejected.reason.startswith(reason)


def test_questions_of_several_texts_are_counted_through_the_file(folder: Path) -> None:
    content = articles(asked(("고을", 7)))
    content["data"] += articles(3, asked(("길다", 21), guid="own-2"))["data"]
    content["data"] += articles(asked(("길다", 21), guid="own-3"), context=None)["data"]
    write(folder, "klue-mrc", "train", content)
    write(folder, "klue-mrc", "dev", articles())
    parts = made("klue-mrc").read({})
    assert [row.id for row in parts.rows["train"]] == ["own-1", "own-2"]
    assert parts.rejected == [
        Rejected("klue-mrc-v1.1_train.json: row 2", 'not an object with a "guid"'),
        Rejected("own-3", "the question or the context is missing"),
    ]

"""Pairs, ratings, entities and questions: own-written files, and counts of the real ones.

Ids such as DA-05 name the faults that a test guards against.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mulgil import fetch, registry
from mulgil.contracts import Dataset
from mulgil.errors import DataError, FetchError
from mulgil.examples import (
    EntitiesExample,
    Example,
    PairExample,
    QuestionExample,
    RatedPairExample,
    Span,
)
from mulgil.flow import Parts, Rejected

REAL = pytest.mark.usefixtures("data_folder")
"""Reads the published files, and is skipped where they are not at hand."""

ROWS = {
    "klue-nli": (5010, 2490, 3000),
    "kornli": (2490, None, 5010),
    "korsts": (5749, 1500, 1379),
    "klue-sts": (5749, 1500, 519),
    "klue-ner": (4000, 500, 500),
    "korquad": (4055, 261, 1458),
    "xquad-en": (826, 99, 265),
    "paws-x-ko": (2000, None, 2000),
    "question-pair": (6136, 682, 758),
}
"""Rows of the published files: train, valid (None is cut later), test."""

NLI = "sentence1\tsentence2\tgold_label\n"
STS = "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2\n"
ASKED = "question1\tquestion2\tis_duplicate\n"
LAKE = ("호수가 얼었다.", "물이 차갑다.")


def made(name: str) -> Dataset:
    plugin = registry.load("datasets", name)
    dataset: Dataset = plugin(plugin.Settings())
    return dataset


def read(folder: Path, name: str, *contents: str | bytes) -> Parts:
    """Read a data set whose files, in the order of its sources, hold this."""
    dataset, files = made(name), {}
    for source, content in zip(dataset.sources, contents, strict=True):
        path = folder / source.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        files[source.path] = path
    return dataset.read(files)


def published(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Parts:
    monkeypatch.setenv("MULGIL_CACHE", str(folder))
    dataset = made(name)
    return dataset.read(fetch.collect(dataset, download=False))


def everything(parts: Parts) -> list[Example]:
    return [row for part in parts.rows.values() for row in part]


# ---------------------------------------------------------------- pairs


def nli(folder: Path, lines: str, start: str = "") -> Parts:
    return read(folder, "kornli", start + NLI + lines, NLI)


def test_a_pair_keeps_both_texts_as_they_are_and_knows_its_line(tmp_path: Path) -> None:
    parts = nli(tmp_path, " 호수가 얼었다.\t물이 차갑다. \tentailment\n")
    assert parts.rows == {
        "train": [
            PairExample("xnli.dev.ko.tsv:2", " 호수가 얼었다.", "물이 차갑다. ", "entailment")
        ],
        "test": [],
    }
    assert parts.rejected == []


@pytest.mark.parametrize("text", ['"열기만 하고', 'a "중간" b', '"', '""', '"다 쌌다"'])
def test_a_quote_is_text_and_swallows_no_line(tmp_path: Path, text: str) -> None:
    """DA-05: a stray quote in a tab-separated file; rows in = rows used + rows rejected."""
    parts = nli(tmp_path, f"{text}\t물이 차갑다.\tneutral\n다음\t줄\tneutral\n")
    (first, second) = parts.rows["train"]
    assert isinstance(first, PairExample)
    assert (first.first, second.id) == (text, "xnli.dev.ko.tsv:3")


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    """DA-02: the same rows as without it."""
    line = "호수가 얼었다.\t물이 차갑다.\tneutral\n"
    assert nli(tmp_path, line, "\ufeff").rows == nli(tmp_path, line).rows


def test_decomposed_text_and_foreign_line_ends_stay_as_they_are(tmp_path: Path) -> None:
    """DA-03: what is normalised is the machine's copy, later; the row keeps the user's text."""
    text = unicodedata.normalize("NFD", "호수") + "\u2028얼음\x0b물\r\x85"
    (row,) = nli(tmp_path, f"{text}\t물이 차갑다.\tneutral\n").rows["train"]
    assert isinstance(row, PairExample)
    assert row.first == text


def test_unusable_pairs_are_rejected_with_a_reason(tmp_path: Path) -> None:
    """DA-06, DA-12: wrong columns, empty texts, a label with a typo; every line is counted."""
    lines = [
        "하나\t둘\tentailment",
        "하나\t둘",
        "하나\t둘\t셋\tneutral",
        "하나\t둘\tentailement",
        "하나\t둘\tneutral ",
        "하나\t \tneutral",
        "",
    ]
    parts = nli(tmp_path, "".join(f"{line}\n" for line in lines))
    known = "is none of entailment, neutral, contradiction"
    assert [row.id for row in parts.rows["train"]] == ["xnli.dev.ko.tsv:2"]
    assert parts.rejected == [
        Rejected("xnli.dev.ko.tsv:3", "2 fields instead of 3"),
        Rejected("xnli.dev.ko.tsv:4", "4 fields instead of 3"),
        Rejected("xnli.dev.ko.tsv:5", f'label "entailement" {known}'),
        Rejected("xnli.dev.ko.tsv:6", f'label "neutral " {known}'),
        Rejected("xnli.dev.ko.tsv:7", "empty text"),
        Rejected("xnli.dev.ko.tsv:8", "1 fields instead of 3"),
    ]


@pytest.mark.parametrize("content", ["", "하나\t둘\tneutral\n", "sentence1\tgold_label\n"])
def test_other_columns_are_an_error_of_one_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"xnli\.dev\.ko\.tsv:1: the columns are") as caught:
        read(tmp_path, "kornli", content, NLI)
    assert "\n" not in str(caught.value)


def test_question_pairs_are_named_by_what_the_number_means(tmp_path: Path) -> None:
    """In this file 0 is "the same", whatever the column is called."""
    parts = read(
        tmp_path,
        "question-pair",
        ASKED + "언제 여나요?\t몇 시에 여나요?\t0\n언제 여나요?\t어디서 여나요?\t1\n",
        ASKED,
        ASKED + "얼마예요?\t얼마죠?\t2\n",
    )
    labels = [row.label for row in parts.rows["train"] if isinstance(row, PairExample)]
    assert labels == ["같음", "다름"]
    assert parts.rejected == [Rejected("test.txt:2", 'label "2" is none of 0, 1')]


def test_paraphrases_are_named_by_what_the_number_means(tmp_path: Path) -> None:
    header = "id\tsentence1\tsentence2\tlabel\n"
    content = header + "7\t강이 산을 돈다.\t산을 강이 돈다.\t1\n8\t강이 돈다.\t산이 돈다.\t0\n"
    parts = read(tmp_path, "paws-x-ko", content, header)
    labels = [row.label for row in parts.rows["train"] if isinstance(row, PairExample)]
    assert labels == ["같음", "다름"]


def klue(**fields: Any) -> dict[str, Any]:
    first, second = LAKE
    own = {"guid": "own-1", "premise": first, "hypothesis": second, "gold_label": "neutral"}
    return own | fields


def test_the_test_part_of_nli_is_klue_and_the_rest_is_not(tmp_path: Path) -> None:
    entries: list[Any] = [
        klue(author="entailment"),
        klue(guid="own-2", gold_label="Neutral"),
        klue(guid="own-3", hypothesis=None),
        klue(guid="own-4", gold_label=["neutral"]),
        klue(guid=5),
        "no object",
    ]
    parts = read(
        tmp_path,
        "klue-nli",
        NLI + "하나\t둘\tneutral\n",
        NLI + "하나\t셋\tentailment\n",
        json.dumps(entries),
    )
    assert {name: [row.id for row in rows] for name, rows in parts.rows.items()} == {
        "train": ["xnli.test.ko.tsv:2"],
        "valid": ["xnli.dev.ko.tsv:2"],
        "test": ["own-1"],
    }
    assert parts.rows["test"] == [PairExample("own-1", *LAKE, "neutral")]
    assert [row.id for row in parts.rejected] == [
        *("own-2", "own-3", "own-4"),
        "klue-nli-v1.1_dev.json: row 5",
        "klue-nli-v1.1_dev.json: row 6",
    ]
    (note,) = parts.notes
    assert "XNLI-ko" in note


@pytest.mark.parametrize("content", ["[", "[" * 100_000, "{}", "\ufeff{}", '"text"', b"[\xff]"])
def test_a_broken_list_is_an_error_of_one_line(tmp_path: Path, content: str | bytes) -> None:
    """DA-13: the file is named, however it is broken."""
    with pytest.raises(DataError, match=r"klue-nli-v1\.1_dev\.json: is not") as caught:
        read(tmp_path, "klue-nli", NLI, NLI, content)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- ratings


def sts(*scores: str) -> str:
    first, second = LAKE
    return STS + "".join(f"g\tf\ty\t1\t{score}\t{first}\t{second}\n" for score in scores)


def test_a_rating_is_a_number_from_0_to_5(tmp_path: Path) -> None:
    """DA-12: what is no rating is rejected, and nothing is clipped to one."""
    parts = read(tmp_path, "korsts", sts("0.000", "5.000", "2.6"), sts("3.25").rstrip(), STS)
    ratings = [row.rating for row in everything(parts) if isinstance(row, RatedPairExample)]
    assert ratings == [0.0, 5.0, 2.6, 3.25]
    wrong = ["5.1", "-0.1", "nan", "inf", "", "셋"]
    parts = read(tmp_path, "korsts", sts(*wrong), STS, STS)
    assert parts.rows["train"] == []
    assert [row.reason for row in parts.rejected] == [
        f'rating "{score}" is no number from 0 to 5' for score in wrong
    ]


def test_the_rating_of_klue_is_the_exact_mean(tmp_path: Path) -> None:
    first, second = LAKE
    labels = [
        {"label": 1.4, "real-label": 1.428571428571429, "binary-label": 0},
        {"label": 1.4},
        {"real-label": True},
        {"real-label": 10**400},
        None,
    ]
    entries = [
        {"guid": f"own-{i}", "sentence1": first, "sentence2": second, "labels": label}
        for i, label in enumerate(labels)
    ]
    parts = read(tmp_path, "klue-sts", STS, STS, json.dumps(entries))
    assert parts.rows["test"] == [RatedPairExample("own-0", first, second, 1.428571428571429)]
    assert [row.id for row in parts.rejected] == ["own-1", "own-2", "own-3", "own-4"]
    assert "out of domain" in parts.notes[0]


# ---------------------------------------------------------------- entities


COMMENTS = "## 구분자 : \\t\n## 컬럼명 : CHAR\tNE_TAG\n"


def sentence(name: str, marked: str, text: str, tags: Sequence[str]) -> str:
    lines = [f"{character}\t{tag}" for character, tag in zip(text, tags, strict=True)]
    return "\n".join([f"## {name}\t{marked}", *lines]) + "\n\n"


def ner(folder: Path, *sentences: str) -> Parts:
    return read(folder, "klue-ner", COMMENTS + "".join(sentences))


def test_entities_are_stretches_of_the_characters(tmp_path: Path) -> None:
    """TK-10: spaces inside and between entities, neighbours, and an entity at either end."""
    tags = ["B-PS", "I-PS", "I-PS", "I-PS", "O", "B-LC", "B-LC"]
    parts = ner(tmp_path, sentence("a", "<나 우리:PS> <강:LC><산:LC>", "나 우리 강산", tags))
    assert parts.rows["train"] == [
        EntitiesExample("a", "나 우리 강산", (Span(0, 4, "PS"), Span(5, 6, "LC"), Span(6, 7, "LC")))
    ]


def test_a_sentence_without_entities_has_none_and_a_hash_is_a_character(tmp_path: Path) -> None:
    (row,) = ner(tmp_path, sentence("a", "# 비", "# 비", ["O"] * 3)).rows["train"]
    assert row == EntitiesExample("a", "# 비", ())


def test_decomposed_characters_are_counted_as_they_stand(tmp_path: Path) -> None:
    """DA-03: offsets are those of the user's own text, which is not composed."""
    text = unicodedata.normalize("NFD", "강가")
    tags = ["B-LC", "I-LC", "I-LC", "O", "O"]
    parts = ner(tmp_path, sentence("a", f"<{text[:3]}:LC>{text[3:]}", text, tags))
    assert parts.rows["train"] == [EntitiesExample("a", text, (Span(0, 3, "LC"),))]


@pytest.mark.parametrize(
    ("tags", "wrong"),
    [
        (["I-PS", "O", "O"], 'tag 1 is "I-PS", but no B'),
        (["B-PS", "I-LC", "O"], 'tag 2 is "I-LC", but no B'),
        (["B-PS", "O", "I-PS"], 'tag 3 is "I-PS", but no B'),
        (["B-PX", "O", "O"], 'entity "PX" is none of PS, LC'),
        (["B", "O", "O"], 'tag 1 is "B"'),
        (["O-PS", "O", "O"], 'tag 1 is "O-PS"'),
        (["O", "", "O"], 'tag 2 is ""'),
    ],
)
def test_tags_that_are_not_well_formed_are_rejected(
    tmp_path: Path, tags: list[str], wrong: str
) -> None:
    """EV-03: an entity is never guessed from a tag that cannot stand where it stands."""
    parts = ner(tmp_path, sentence("a", "강산들", "강산들", tags))
    assert parts.rows["train"] == []
    (rejected,) = parts.rejected
    assert (rejected.id, rejected.reason.startswith(wrong)) == ("a", True)


def test_sentences_that_are_not_aligned_are_rejected(tmp_path: Path) -> None:
    """DA-06: one character too few, two on a line, a line without a tag, no header."""
    good = sentence("e", "강", "강", ["O"])
    parts = ner(
        tmp_path,
        sentence("a", "<강:LC>가", "강", ["B-LC"]),
        "## b\t강가\n강가\tO\n\n",
        "## c\t강\n강\n\n",
        "강\tO\n\n",
        good,
        sentence("f", " ", " ", ["O"]),
    )
    assert [row.id for row in parts.rows["train"]] == ["e"]
    assert parts.rejected == [
        Rejected("a", "the characters are not those of the header line"),
        Rejected("b", 'line "강가\tO" is not one character, a tab and a tag'),
        Rejected("c", 'line "강" is not one character, a tab and a tag'),
        Rejected("sentence 4", "a header line with an id is missing"),
        Rejected("f", "empty text"),
    ]


def test_parts_are_cut_by_place_whatever_is_rejected(tmp_path: Path) -> None:
    wrong = {1, 4001, 4600}
    sentences = [sentence(str(i), "강", "강", ["I-LC" if i in wrong else "O"]) for i in range(5000)]
    parts = ner(tmp_path, *sentences)
    assert {name: len(rows) for name, rows in parts.rows.items()} == {
        "train": 3999,
        "valid": 499,
        "test": 499,
    }
    assert (parts.rows["valid"][0].id, parts.rows["test"][0].id) == ("4000", "4500")


# ---------------------------------------------------------------- questions


RIVER = "한강은 서울을 지난다. 한강은 길다."


def asked(*answers: tuple[str, Any], name: str = "q") -> dict[str, Any]:
    found = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": name, "question": "어느 강이 서울을 지나나?", "answers": found}


def squad(*questions: Any, context: Any = RIVER, articles: int = 1) -> str:
    paragraphs = [{"context": context, "qas": list(questions)}]
    return json.dumps({"version": "own", "data": [{"paragraphs": paragraphs}] * articles})


def test_an_answer_at_character_0_is_an_answer(tmp_path: Path) -> None:
    """TK-09, G19: 0 is a place, the same words elsewhere are another, the end is reached."""
    parts = read(
        tmp_path,
        "korquad",
        squad(asked(("한강", 0)), asked(("한강", 13)), asked((RIVER[-3:], len(RIVER) - 3))),
    )
    spans = [row.answers for row in parts.rows["train"] if isinstance(row, QuestionExample)]
    assert spans == [(Span(0, 2),), (Span(13, 15),), (Span(17, 20),)]
    assert parts.rejected == []


def test_several_answers_stay_in_order_and_equal_ones_count_once(tmp_path: Path) -> None:
    question = asked(("서울", 4), ("서울을", 4), ("서울", 4))
    (row,) = read(tmp_path, "xquad-en", squad(question)).rows["train"]
    assert row == QuestionExample("q", question["question"], RIVER, (Span(4, 6), Span(4, 7)))


def test_space_around_a_context_stays(tmp_path: Path) -> None:
    """TK-09: a strip would move every answer."""
    (row,) = read(tmp_path, "korquad", squad(asked(("한강", 2)), context=f" \n{RIVER} ")).rows[
        "train"
    ]
    assert isinstance(row, QuestionExample)
    assert (row.context, row.answers) == (f" \n{RIVER} ", (Span(2, 4),))


def test_a_decomposed_context_keeps_its_own_places(tmp_path: Path) -> None:
    """DA-03, TK-09: in NFD the places count jamo; an NFC answer is not in an NFD context."""
    context = unicodedata.normalize("NFD", RIVER)
    answer = unicodedata.normalize("NFD", "서울")
    place = context.index(answer)
    parts = read(
        tmp_path,
        "korquad",
        squad(asked((answer, place)), asked(("서울", place), name="composed"), context=context),
    )
    (row,) = parts.rows["train"]
    assert isinstance(row, QuestionExample)
    assert row.answers == (Span(place, place + len(answer)),)
    assert [row.id for row in parts.rejected] == ["composed"]


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (asked(("서울", 5)), 'answer "서울" does not stand at character 5 of the context'),
        (asked(("부산", 4)), 'answer "부산" does not stand at character 4 of the context'),
        (asked(("다", -2)), 'answer "다" does not stand at character -2 of the context'),
        (asked(("서울", 4), ("길다", 0)), 'answer "길다" does not stand at character 0'),
        (asked(("한\n강", 0)), 'answer "한\\n강" does not stand'),
        (asked(("", 0)), 'an answer without "text" or "answer_start"'),
        (asked(("서울", "4")), 'an answer without "text" or "answer_start"'),
        (asked(("강", True)), 'an answer without "text" or "answer_start"'),
        (asked(), "no answer is given"),
        (asked(("서울", 4)) | {"answers": None}, "no answer is given"),
        (asked(("서울", 4)) | {"question": " "}, "empty text"),
        (asked(("서울", 4)) | {"question": 3}, "the question or the context is missing"),
    ],
)
def test_a_question_that_cannot_be_used_is_rejected(
    tmp_path: Path, question: dict[str, Any], reason: str
) -> None:
    """TK-09: an answer that is not there is said, and nobody searches for it elsewhere."""
    parts = read(tmp_path, "korquad", squad(question, asked(("한강", 0), name="good")))
    assert [row.id for row in parts.rows["train"]] == ["good"]
    (rejected,) = parts.rejected
    assert rejected.id == "q"
    assert rejected.reason.startswith(reason)


@pytest.mark.parametrize("question", [3, {}, {"id": 3, "question": "?"}])
def test_a_question_without_an_id_is_counted(tmp_path: Path, question: Any) -> None:
    parts = read(tmp_path, "korquad", squad(question))
    assert [row.id for row in parts.rejected] == ["a question without an id"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"data": {}}', '{"data": [3]}', '{"data": [{"paragraphs": [{}]}]}'],
)
def test_another_form_is_an_error_of_one_line(tmp_path: Path, content: str) -> None:
    """DA-13: the file is named."""
    with pytest.raises(DataError, match=r"KorQuAD_v1\.0_dev\.json: ") as caught:
        read(tmp_path, "korquad", content)
    assert "\n" not in str(caught.value)


def test_questions_are_cut_by_article(tmp_path: Path) -> None:
    content = squad(asked(("한강", 0)), asked(("길다", 17)), articles=140)
    parts = read(tmp_path, "korquad", content)
    assert {name: len(rows) for name, rows in parts.rows.items()} == {
        "train": 200,
        "valid": 24,
        "test": 56,
    }


# ---------------------------------------------------------------- all


@pytest.mark.parametrize("name", ROWS)
def test_sources_are_pinned_and_named(name: str) -> None:
    dataset = made(name)
    assert all((dataset.title, dataset.licence, dataset.citation))
    for source in dataset.sources:
        assert source.url.startswith("https://raw.githubusercontent.com/")
        commit = source.url.split("/")[5]
        assert (len(commit), len(source.sha256)) == (40, 64)
        assert source.url.endswith(source.path.split("/")[1])
        assert source.size > 0


@REAL
@pytest.mark.parametrize("name", ROWS)
def test_published_files(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DA-05, DA-06: every row of the published files is there, in its part, with its own id."""
    parts = published(name, monkeypatch, tmp_path)
    counts = tuple(
        len(parts.rows[part]) if part in parts.rows else None for part in ("train", "valid", "test")
    )
    assert (counts, parts.rejected) == (ROWS[name], [])
    rows = everything(parts)
    assert {row.shape for row in rows} == {made(name).shape}
    assert len({row.id for row in rows}) == len(rows)


@REAL
def test_published_labels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def labels(name: str) -> Counter[str | None]:
        rows = everything(published(name, monkeypatch, tmp_path))
        return Counter(row.label for row in rows if isinstance(row, PairExample))

    assert labels("kornli") == dict.fromkeys(("entailment", "neutral", "contradiction"), 2500)
    assert labels("klue-nli") == dict.fromkeys(("entailment", "neutral", "contradiction"), 3500)
    assert labels("paws-x-ko") == {"같음": 1736, "다름": 2264}
    assert labels("question-pair") == {"같음": 5109, "다름": 2467}
    rows = everything(published("question-pair", monkeypatch, tmp_path))
    equal = [row for row in rows if isinstance(row, PairExample) if row.first == row.second]
    assert Counter(row.label for row in equal)["같음"] > 0.99 * len(equal) > 900


@REAL
def test_published_entities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TK-10, M23: all 14,257 entities, in order, apart, and in the order of the ids."""
    parts = published("klue-ner", monkeypatch, tmp_path)
    rows = [row for row in everything(parts) if isinstance(row, EntitiesExample)]
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    assert Counter(span.label for row in rows for span in row.entities or ()) == {
        "PS": 4418,
        "QT": 3151,
        "DT": 2312,
        "OG": 2182,
        "LC": 1649,
        "TI": 545,
    }
    for row in rows:
        ends = [place for span in row.entities or () for place in (span.start, span.end)]
        assert ends == sorted(ends)
        assert all(span.start < span.end <= len(row.text) for span in row.entities or ())


@REAL
def test_published_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """G19, M22: 5,774 of 5,774 answers are the file's text, the 241 at character 0 too."""
    rows = [
        row
        for row in everything(published("korquad", monkeypatch, tmp_path))
        if isinstance(row, QuestionExample)
    ]
    (path,) = tmp_path.glob("data/korquad1/*.json")
    texts = {
        entry["id"]: entry["answers"][0]["text"]
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for entry in paragraph["qas"]
    }
    found = {}
    for row in rows:
        (span,) = row.answers or ()
        found[row.id] = row.context[span.start : span.end]
    assert (len(rows), found) == (5774, texts)
    assert sum((row.answers or ())[0].start == 0 for row in rows) == 241


@REAL
@pytest.mark.parametrize("name", ["korquad", "xquad-en"])
def test_no_context_is_in_two_parts(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DA-07: a cut by article leaves no paragraph on both sides."""
    parts = published(name, monkeypatch, tmp_path)
    contexts = [
        {row.context for row in rows if isinstance(row, QuestionExample)}
        for rows in parts.rows.values()
    ]
    assert sum(map(len, contexts)) == len(set().union(*contexts))


def test_missing_files_are_all_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """DL-13: the files of both suppliers are listed when they are missing."""
    monkeypatch.setenv("MULGIL_CACHE", str(tmp_path))
    with pytest.raises(FetchError, match=r"kornli/xnli\.test.*klue/klue-nli"):
        fetch.collect(made("klue-nli"), download=False)

"""The user's own files with entities: spans, tagged tokens, and what is refused of them."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulgil import hangul
from mulgil.datasets import _spans, _tags
from mulgil.datasets.files import Files
from mulgil.errors import DataError
from mulgil.examples import EntitiesExample, Span
from mulgil.flow import Parts


def read(path, content: str, **options) -> Parts:
    path.write_bytes(content.encode())
    files = Files(Files.Settings(train=str(path), **options))
    files.asked = "entities"
    return files.read({})


def lines(*rows: dict) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def reasons(parts: Parts) -> list[str]:
    return [each.reason for each in parts.rejected]


# ---------------------------------------------------------------- spans


def test_spans_in_both_forms(tmp_path):
    parts = read(
        tmp_path / "a.jsonl",
        lines(
            {"text": "김철수는 서울에", "entities": [[5, 7, "곳"], [0, 3, " 사람 "]]},
            {"text": "서울", "entities": [{"start": 0, "end": 2, "label": "곳", "text": "서울"}]},
            {"text": "없다", "entities": []},
        ),
    )
    assert parts.rows["all"] == [
        EntitiesExample("a.jsonl:1", "김철수는 서울에", (Span(0, 3, "사람"), Span(5, 7, "곳"))),
        EntitiesExample("a.jsonl:2", "서울", (Span(0, 2, "곳"),)),
        EntitiesExample("a.jsonl:3", "없다", ()),
    ]
    assert not parts.rejected


TEXT = "김철수는 서울에"


@pytest.mark.parametrize(
    ("entities", "reason"),
    [
        ([[0, 9, "곳"]], "entity 1 (0 to 9) leaves the text of 8"),
        ([[-3, 2, "곳"]], "entity 1 (-3 to 2) leaves the text of 8"),
        ([[2, 2, "곳"]], "entity 1 (2 to 2) is empty or backwards"),
        ([[3, 2, "곳"]], "entity 1 (3 to 2) is empty or backwards"),
        ([[0, 3, "사람"], [2, 4, "곳"]], 'entity "곳" at 2 to 4 overlaps the one before it'),
        ([[0, 3, "사람"], [0, 3, "사람"]], 'entity "사람" at 0 to 3 overlaps the one before it'),
        ([[0, 3, ""]], "entity 1 has no label"),
        ([[0, 3, 7]], "entity 1 has no label"),
        ([[0, 3, "\0"]], "the label of entity 1 holds a NUL character"),
        ([[0, True, "곳"]], "entity 1 has no whole numbers as start and end"),
        ([["0", "3", "곳"]], "entity 1 has no whole numbers as start and end"),
        ([{"start": 0, "label": "곳"}], "entity 1 has no whole numbers as start and end"),
        ([[0, 3]], "entity 1 is neither an object nor [start, end, label]"),
        (
            [{"start": 5, "end": 7, "label": "곳", "surface": "부산"}],
            'entity 1 is "부산", but at 5 to 7 stands "서울"',
        ),
        ("서울", "its entities are a str, not a list; write such rows as .jsonl"),
        (None, "no entities"),
        (["B-곳"], "its tags have no list of tokens beside them"),
    ],
)
def test_spans_that_do_not_fit(tmp_path, entities, reason):
    """Never repaired: each costs its row, with line and reason (DA-06)."""
    good = {"text": TEXT, "entities": []}
    parts = read(tmp_path / "a.jsonl", lines(good, {"text": TEXT, "entities": entities}))
    assert [(each.id, each.reason) for each in parts.rejected] == [("a.jsonl:2", reason)]


def test_a_span_never_parts_a_letter(tmp_path):
    """DA-03: half a decomposed syllable, or a letter without its accent, has no place in NFC."""
    text = unicodedata.normalize("NFD", "한국")
    assert len(text) == 6
    parts = read(
        tmp_path / "a.jsonl",
        lines(
            {"text": text, "entities": [[0, 3, "곳"]]},
            {"text": text, "entities": [[0, 2, "곳"]]},
            {"text": text, "entities": [[4, 6, "곳"]]},
            {"text": "x\u0302y", "entities": [[0, 1, "곳"]]},
        ),
    )
    assert [row.entities for row in parts.rows["all"]] == [(Span(0, 3, "곳"),)]
    assert reasons(parts) == [
        'entity "곳" at 0 to 2 parts a letter from its marks at 2',
        'entity "곳" at 4 to 6 parts a letter from its marks at 4',
        'entity "곳" at 0 to 1 parts a letter from its marks at 1',
    ]


def test_a_row_of_spans_needs_a_text(tmp_path):
    rows = [{"text": "서울", "entities": []}, {"text": "", "entities": []}]
    parts = read(tmp_path / "a.jsonl", lines(*rows, {"text": 1.5, "entities": [[0, 3, "수"]]}))
    assert reasons(parts) == ["empty text", '"text" is a number, not a text']


def test_rows_without_entities(tmp_path):
    parts = read(tmp_path / "a.jsonl", lines({"text": "서울", "개체": [[0, 2, "곳"]]}))
    assert parts.rows["all"][0].entities == (Span(0, 2, "곳"),)
    assert 'entities = column "개체" (guessed)' in parts.notes
    row = {"글": "서울", "x": [[0, 2, "곳"]]}
    with pytest.raises(DataError, match=r'are the entities\? set data\.columns\.entities, or "-"'):
        read(tmp_path / "a.jsonl", lines(row))
    parts = read(tmp_path / "a.jsonl", lines(row), columns={"entities": "-"})
    assert parts.rows["all"] == [EntitiesExample("a.jsonl:1", "서울", None)]
    with pytest.raises(DataError, match=r"write such rows as \.jsonl"):
        read(tmp_path / "a.csv", 'text,entities\n서울,"[[0, 2]]"\n')


def test_parquet_spans(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    spans = [[{"start": 0, "end": 2, "label": "곳"}], []]
    parquet.write_table(arrow.table({"text": ["서울", "밤"], "entities": spans}), path)
    files = Files(Files.Settings(train=str(path)))
    files.asked = "entities"
    assert [row.entities for row in files.read({}).rows["all"]] == [(Span(0, 2, "곳"),), ()]


LETTER = st.sampled_from(
    [*"가한글a1 .,", "😀", "𝒳", "é", "\u0301", "ㅋ", "\u1112", "\u1161", "\u11ab"]
)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), text=st.lists(LETTER, max_size=25).map("".join), nfd=st.booleans())
def test_spans_are_read_back(tmp_path_factory, data, text, nfd):
    """TK-09 for entities: any spans that part no letter come back, in NFC, NFD and beyond."""
    text = unicodedata.normalize("NFD", f"글{text}") if nfd else f"글{text}"
    places = hangul.offsets(text) or [(at, at + 1) for at in range(len(text))]
    marks = {at for at in range(1, len(text)) if unicodedata.combining(text[at])}
    edges = sorted({0, len(text), *(start for start, _ in places)} - marks)
    cuts = sorted(data.draw(st.sets(st.sampled_from(edges), max_size=6)))
    wanted = [
        Span(start, end, data.draw(st.sampled_from(["사람", "LOC"])))
        for start, end in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    shuffled = data.draw(st.permutations([[s.start, s.end, s.label] for s in wanted]))
    path = tmp_path_factory.getbasetemp() / "spans.jsonl"
    parts = read(path, lines({"text": text, "entities": shuffled}))
    assert parts.rows["all"] == [EntitiesExample("spans.jsonl:1", text, tuple(wanted))]
    for at in {*range(1, len(text))} - {*edges}:
        with pytest.raises(_spans.UnusableError, match="parts a letter"):
            _spans.apart(text, [Span(0, at, "x")])


# ---------------------------------------------------------------- tagged tokens


WORDS = """# 머리말
김철수는\tB-사람
서울\tB-곳
강남에\tI-곳
산다\tO

## 둘째

비가\tO
온다\tO
"""


@pytest.mark.parametrize("ending", ["tsv", "txt"])
def test_tagged_words(tmp_path, ending):
    parts = read(tmp_path / f"a.{ending}", WORDS.replace("\n", "\r\n"))
    assert parts.rows["all"] == [
        EntitiesExample(
            f"a.{ending}:2", "김철수는 서울 강남에 산다", (Span(0, 4, "사람"), Span(5, 11, "곳"))
        ),
        EntitiesExample(f"a.{ending}:9", "비가 온다", ()),
    ]
    assert parts.notes == [
        f"a.{ending}: tags read as IOB2, tokens as words",
        f"a.{ending}: read as utf-8",
    ]


def test_tagged_characters(tmp_path):
    """TK-10: spaces are characters with tags, and stand where they stand."""
    content = "서\tB-곳\n울\tI-곳\n \tO\n밤\tO\n#\tO\n"
    parts = read(tmp_path / "a.tsv", content, tags="characters")
    assert parts.rows["all"] == [EntitiesExample("a.tsv:1", "서울 밤#", (Span(0, 2, "곳"),))]


def test_tags_parted_by_something_else(tmp_path):
    """By spaces, "# O" is a token and its tag, not a comment."""
    parts = read(tmp_path / "a.txt", "서울 B-곳\n# O\n", delimiter=" ")
    assert parts.rows["all"] == [EntitiesExample("a.txt:1", "서울 #", (Span(0, 2, "곳"),))]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("서울\tB-곳\n밤\n", "line 5 has 1 column, not a token and its tag"),
        ("서울\t_\tB-곳\n", "line 4 has 3 columns, not a token and its tag"),
        ("서울\tX-곳\n", 'tag 1 is "X-곳"; a tag is "O" or B-KIND or I-KIND'),
        ("서울\tb-곳\n", 'tag 1 is "b-곳"; a tag is "O" or B-KIND or I-KIND'),
        ("서울\tB-\n", 'tag 1 is "B-"; a tag is "O" or B-KIND or I-KIND'),
        ("서울\t\n", 'tag 1 is ""; a tag is "O" or B-KIND or I-KIND'),
        ("서울\tI-곳\n", 'tag 1 is "I-곳", but no "B-곳" begins it (IOB2)'),
        ("서울\tB-곳\n밤\tI-때\n", 'tag 2 is "I-때", but no "B-때" begins it (IOB2)'),
        ("서울\tB-곳\n밤\tO\n눈\tI-곳\n", 'tag 3 is "I-곳", but no "B-곳" begins it (IOB2)'),
        ("\tO\n", "token 1 is empty"),
        ("서\0울\tO\n", "line 4 holds a NUL character"),
    ],
)
def test_tags_that_break_the_rules(tmp_path, bad, reason):
    """EV-03: an illegal tag costs its sentence; none is mended in silence (M24)."""
    parts = read(tmp_path / "a.tsv", f"밤\tB-때\n\n\n{bad}\n끝\tO\n")
    assert [row.text for row in parts.rows["all"]] == ["밤", "끝"]
    assert [(each.id, each.reason) for each in parts.rejected] == [("a.tsv:4", reason)]


def test_half_a_letter_is_no_token_of_an_entity(tmp_path):
    syllable = unicodedata.normalize("NFD", "가")
    content = f"{syllable[0]}\tB-곳\n{syllable[1]}\tO\n\n밤\tO\n"
    parts = read(tmp_path / "a.tsv", content, tags="characters")
    assert reasons(parts) == ['entity "곳" at 0 to 1 parts a letter from its marks at 1']


def test_tags_along_tokens(tmp_path):
    rows = [
        {"text": "김철수는 산다", "tokens": ["김철수는", "산다"], "tags": ["B-사람", "O"]},
        {"tokens": ["가", "나"], "tags": ["O"]},
        {"tokens": ["가", "나"], "tags": []},
        {"tokens": ["가", 3], "tags": ["O", "O"]},
        {"tokens": ["가", "나"], "tags": ["O", 3]},
        {"tokens": [], "tags": []},
        {"tokens": ["\ud800"], "tags": ["O"]},
    ]
    path = tmp_path / "a.jsonl"
    parts = read(path, "\n".join(map(json.dumps, rows)))
    assert parts.rows["all"] == [
        EntitiesExample("a.jsonl:1", "김철수는 산다", (Span(0, 4, "사람"),))
    ]
    assert 'text = column "tokens" (guessed)' in parts.notes
    assert reasons(parts) == [
        "has 1 tags for 2 tokens",
        "has 0 tags for 2 tokens",
        "token 2 is a int, not a text",
        "entity 1 is neither an object nor [start, end, label]",
        "empty text",
        "holds half a character (a lone surrogate)",
    ]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("column", ["tags", "ner_tags"])
def test_tokens_and_tags_as_the_hub_has_them(tmp_path, ending, column):
    """Lists of a row; a tag that is a number has no name, and is refused with the remedy."""
    tokens = ["김철수는", "서울에", "산다"]
    for tags in (["B-PER", "B-LOC", "O"], [1, 3, 0]):
        path = tmp_path / f"{tags[0]}.{ending}"
        rows = [{"id": "0", "tokens": tokens, column: tags}]
        if ending == "jsonl":
            path.write_text(json.dumps(rows[0]) + "\n", "utf-8")
        else:
            arrow = pytest.importorskip("pyarrow", reason="reads Parquet")
            pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(rows), path)
        files = Files(Files.Settings(train=str(path)))
        files.asked = "entities"
        if tags[0] == "B-PER":
            (row,) = files.read({}).rows["all"]
            assert row.text == "김철수는 서울에 산다"
            assert row.entities == (Span(0, 4, "PER"), Span(5, 8, "LOC"))
        else:
            with pytest.raises(DataError, match=r'are numbers, .* write them as texts .* "B-PER"'):
                files.read({})


@pytest.mark.parametrize(
    ("written", "tags", "spans"),
    [
        ("IOB2", "B-가 I-가 B-가 O B-나", [(0, 2, "가"), (2, 3, "가"), (4, 5, "나")]),
        (
            "IOB1",
            "I-가 I-가 B-가 O I-나 I-가",
            [(0, 2, "가"), (2, 3, "가"), (4, 5, "나"), (5, 6, "가")],
        ),
        ("BIOES", "B-가 E-가 S-가 O B-나 I-나 E-나", [(0, 2, "가"), (2, 3, "가"), (4, 7, "나")]),
        ("IOB2", "O O", []),
    ],
)
def test_schemes(written, tags, spans):
    """The scheme is told from the tags; a kind may hold hyphens."""
    cut = tags.replace("가", "a-b").split()
    places = [(at, at + 1) for at in range(len(cut))]
    assert _tags.scheme([cut]) == written
    found = [
        (s.start, s.end, s.label.replace("a-b", "가")) for s in _tags.spans(cut, places, written)
    ]
    assert found == spans


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ("B-가 O", 'tag 2 is "O", but "E-가" is missing before'),
        ("B-가", 'the last tag is "B-가", and no "E-가" follows'),
        ("S-가 E-가", 'tag 2 is "E-가", but no "B-가" begins it (BIOES)'),
        ("B-가 S-가", 'tag 2 is "S-가", but "E-가" is missing before'),
        ("B-가 E-나", 'tag 2 is "E-나", but no "B-나" begins it (BIOES)'),
        ("L-가", 'tag 1 is "L-가"; a tag is "O" or B-KIND or I-KIND or E-KIND or S-KIND'),
    ],
)
def test_bioes_that_breaks_the_rules(tags, reason):
    """EV-03."""
    cut = tags.split()
    with pytest.raises(_spans.UnusableError) as caught:
        _tags.spans(cut, [(at, at + 1) for at in range(len(cut))], "BIOES")
    assert str(caught.value) == reason


def test_a_few_illegal_tags_make_no_iob1(tmp_path):
    """M24: one I without its B, in a file whose B stand everywhere, is a mistake and no scheme."""
    parts = read(tmp_path / "a.tsv", "서울\tB-곳\n\n부산\tI-곳\n")
    assert "a.tsv: tags read as IOB2, tokens as words" in parts.notes
    assert [each.id for each in parts.rejected] == ["a.tsv:3"]


def test_a_file_without_blank_lines_is_not_held(tmp_path):
    parts = read(tmp_path / "a.tsv", "밤\tO\n\n" + f"{'가' * 1000}\tO\n" * 1001)
    assert reasons(parts) == ["is longer than 1,000,000 characters; blank lines part sentences"]


KIND = st.sampled_from(["O", "B-가", "I-가", "B-나", "I-나", "S-가", "E-가", "X", "", "B-", "I"])


@settings(max_examples=200, deadline=None)
@given(tags=st.lists(KIND, max_size=8), written=st.sampled_from(["IOB2", "IOB1", "BIOES"]))
def test_any_tags_are_read_or_refused(tags, written):
    places = [(at, at + 1) for at in range(len(tags))]
    try:
        found = _tags.spans(tags, places, written)
    except _spans.UnusableError:
        return
    inside = {at for span in found for at in range(span.start, span.end)}
    assert inside == {at for at, tag in enumerate(tags) if tag != "O"}
    begun = sum(tag[:1] in ("B", "S") for tag in tags)
    assert len(found) == begun or written == "IOB1"

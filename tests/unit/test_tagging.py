"""Tags and spans: both readings against references written out by hand, and there and back."""

from __future__ import annotations

import gzip
import itertools
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulgil.examples import Span
from mulgil.tagging import spans, tags

TAGS = ("O", "B-가", "I-가", "B-나", "I-나")
TAGGED = st.lists(st.sampled_from((*TAGS, "B-다-라", "I-다-라")), max_size=20)

# ---------------------------------------------------------------- references


def conlleval(tagged: list[str]) -> list[Span]:
    """Read chunks as the published script does: is the chunk over, does one start, at each pair.

    A chunk is over between B or I and O, between B or I and B, and where the kind changes after
    B or I. One starts at B after B, I or O, at I after O, and where the kind changes before B or I.
    """
    found, start = [], None
    for place, (before, now) in enumerate(itertools.pairwise(["O", *tagged, "O"])):
        old, new, changed = before[0], now[0], before[2:] != now[2:]
        over = (old + new in {"BB", "IB", "BO", "IO"}) or (old != "O" and changed)
        begins = (old + new in {"BB", "IB", "OB", "OI"}) or (new != "O" and changed)
        if over and start is not None:
            found.append(Span(start, place, before[2:]))
            start = None
        if begins:
            start = place
    return found


def iob2(tagged: list[str]) -> list[Span]:
    """Read entities of strict IOB2 as a pattern: a B of a kind, then as many I of it as follow."""
    kinds = sorted({tag[2:] for tag in tagged} - {""})
    found = []
    for kind in kinds:
        line = "".join({f"B-{kind}": "B", f"I-{kind}": "I"}.get(tag, ".") for tag in tagged)
        found += [Span(*match.span(), kind) for match in re.finditer("BI*", line)]
    return sorted(found, key=lambda span: span.start)


def test_every_short_sequence_is_read_as_the_references_read_it() -> None:
    """EV-01, EV-03, G22: all 3,906 sequences of at most 5 tags of two kinds."""
    for size in range(6):
        for tagged in map(list, itertools.product(TAGS, repeat=size)):
            assert list(spans(tagged, strict=False)) == conlleval(tagged), tagged
            assert list(spans(tagged, strict=True)) == iob2(tagged), tagged


@given(TAGGED)
@settings(max_examples=200, deadline=None)
def test_long_sequences_are_read_as_the_references_read_them(tagged: list[str]) -> None:
    """EV-01, EV-03."""
    assert list(spans(tagged, strict=False)) == conlleval(tagged)
    assert list(spans(tagged, strict=True)) == iob2(tagged)


@pytest.mark.parametrize(
    ("tagged", "strict", "lenient"),
    [
        ("I-가 I-가", [], [(0, 2, "가")]),
        ("O I-가 O", [], [(1, 2, "가")]),
        ("B-가 I-나", [(0, 1, "가")], [(0, 1, "가"), (1, 2, "나")]),
        ("B-가 I-나 I-나 I-가", [(0, 1, "가")], [(0, 1, "가"), (1, 3, "나"), (3, 4, "가")]),
        ("B-가 O I-가", [(0, 1, "가")], [(0, 1, "가"), (2, 3, "가")]),
        ("B-가 B-가 I-가", [(0, 1, "가"), (1, 3, "가")], [(0, 1, "가"), (1, 3, "가")]),
    ],
)
def test_where_the_two_readings_part(
    tagged: str, strict: list[tuple], lenient: list[tuple]
) -> None:
    """EV-03, M21: an I that no B begins is an entity in one reading only."""
    assert list(spans(tagged.split(), strict=True)) == [Span(*of) for of in strict]
    assert list(spans(tagged.split(), strict=False)) == [Span(*of) for of in lenient]


# ---------------------------------------------------------------- there and back


@st.composite
def entities(draw: st.DrawFn) -> tuple[tuple[Span, ...], int]:
    """Return spans that do not overlap, some of them neighbours, and the size of their text."""
    found, place = [], 0
    for _ in range(draw(st.integers(0, 6))):
        start = place + draw(st.integers(0, 3))
        place = start + draw(st.integers(1, 4))
        found.append(Span(start, place, draw(st.sampled_from(("가", "나", "다-라")))))
    return tuple(found), place + draw(st.integers(0, 3))


@given(entities(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_spans_come_back_from_their_tags(made: tuple[tuple[Span, ...], int], strict: bool) -> None:
    """TK-10: neighbours of one kind stay two, white space is a place like any other."""
    found, size = made
    written = tags(reversed(found), size)
    assert len(written) == size
    assert spans(written, strict) == found


@given(TAGGED, st.booleans())
@settings(max_examples=200, deadline=None)
def test_tags_are_mended_once(tagged: list[str], strict: bool) -> None:
    """EV-03: what is written keeps the rules, so that both readings of it are the same."""
    mended = tags(spans(tagged, strict), len(tagged))
    assert spans(mended, True) == spans(mended, False) == spans(tagged, strict)
    legal = spans(tagged, True) == spans(tagged, False)
    assert (mended == tagged) == legal


@pytest.mark.parametrize("tag", ["B", "I-", "E-가", "b-가", "-가", "", "O-가", "가_B", " O"])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f'tag 2 is "{tag}"; a tag is "O"')):
        spans(["O", tag], strict=False)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([Span(0, 4, "가")], "of 3"),
        ([Span(-1, 1, "가")], "of 3"),
        ([Span(1, 1, "가")], "of 3"),
        ([Span(0, 2, "가"), Span(1, 3, "나")], "overlaps"),
        ([Span(2, 3, "가"), Span(2, 3, "가")], "overlaps"),
    ],
)
def test_what_is_no_span_is_refused(made: list[Span], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tags(made, 3)


# ---------------------------------------------------------------- real tags


def test_the_tags_of_klue_keep_the_rules(data_folder: Path) -> None:
    """M23: no illegal tag in 5,000 sentences, and as many entities as are published."""
    place = data_folder / "klue" / "klue-ner-v1.1_dev.tsv.gz"
    if not place.exists():
        pytest.skip("MULGIL_DATA has no klue/klue-ner-v1.1_dev.tsv.gz")
    lines = gzip.decompress(place.read_bytes()).decode("utf-8").split("\n")
    kinds: Counter[str] = Counter()
    sentences = 0
    for full, group in itertools.groupby(lines, key=lambda line: "\t" in line):
        tagged = [line.rpartition("\t")[2] for line in group if not line.startswith("##")]
        if not full or not tagged:
            continue
        sentences += 1
        found = spans(tagged, strict=True)
        assert found == spans(tagged, strict=False)
        assert tags(found, len(tagged)) == tagged
        kinds.update(span.label for span in found)
    assert sentences == 5_000
    assert kinds == {"PS": 4418, "QT": 3151, "DT": 2312, "OG": 2182, "LC": 1649, "TI": 545}

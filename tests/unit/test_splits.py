"""Cutting and drawing rows: stratified, disjoint, the same every time, equal texts together."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil import hangul, inspect, splits
from mulgil.contracts import DataSettings
from mulgil.errors import DataError
from mulgil.examples import (
    Example,
    PairExample,
    PassageExample,
    QuestionExample,
    Span,
    TextExample,
)
from mulgil.flow import Parts, Rejected
from mulgil.splits import Splits, complete, cut, draw
from mulgil.tasks.nli import Nli
from mulgil.tasks.qa import Qa


def text(row: Example) -> str:
    assert isinstance(row, TextExample)
    return row.text


def label(row: Example) -> Any:
    assert isinstance(row, TextExample)
    return row.label


def rows(n: int, labels: int = 3, part: str = "all") -> list[Example]:
    """Return rows with unequal labels: label 0 is the most frequent."""
    draw = np.random.default_rng(n)
    weights = np.arange(labels, 0, -1) / np.arange(labels, 0, -1).sum()
    return [
        TextExample(
            f"{part}:{i}", f"{part} 리뷰 {i}", "가나다라마바사"[draw.choice(labels, p=weights)]
        )
        for i in range(n)
    ]


def made(parts: dict[str, list[Example]], **settings: Any) -> Splits:
    return complete(Parts(parts), DataSettings(**settings), text)


def ids(part: list[Example]) -> list[str]:
    return [row.id for row in part]


# ---------------------------------------------------------------- cutting


def test_all_rows_become_three_parts_that_share_none() -> None:
    everything = rows(1000)
    found = made({"all": everything})
    assert [len(part) for _, part in found.items()] == pytest.approx([810, 90, 100], abs=3)
    assert sorted(i for _, part in found.items() for i in ids(part)) == sorted(ids(everything))
    assert len(found.notes) == 2
    for _, part in found.items():
        places = [int(i.partition(":")[2]) for i in ids(part)]
        assert places == sorted(places), "rows stay in their old order"


def test_cuts_are_stratified() -> None:
    everything = rows(2000, 4)
    whole = Counter(map(label, everything))
    for _, part in made({"all": everything}).items():
        for name, count in Counter(map(label, part)).items():
            assert count / len(part) == pytest.approx(whole[name] / 2000, abs=0.02)


def test_the_test_part_is_never_touched_by_the_validation() -> None:
    """The validation rows are cut from the training rows only, and test rows stay as they are."""
    train, test = rows(500, part="train"), rows(200, part="test")
    found = made({"train": train, "test": test})
    assert found.test == test
    assert sorted(ids(found.train + found.valid)) == sorted(ids(train))
    assert len(found.valid) == pytest.approx(50, abs=3)


def test_parts_that_are_there_are_left_alone() -> None:
    train, valid, test = rows(30, part="a"), rows(20, part="b"), rows(10, part="c")
    found = made({"train": train, "valid": valid, "test": test})
    assert (found.train, found.valid, found.test) == (train, valid, test)
    assert found.notes == []
    assert made({"train": train, "valid": [], "test": test}).valid == []


def test_the_seed_decides_and_nothing_else() -> None:
    everything = rows(300)
    assert made({"all": everything}) == made({"all": list(everything)})
    assert ids(made({"all": everything}, seed=8).test) != ids(made({"all": everything}).test)


def test_validation_rows_do_not_depend_on_the_limit_of_training_rows() -> None:
    few, many = made({"all": rows(400)}, train_rows=20), made({"all": rows(400)})
    assert (few.valid, few.test) == (many.valid, many.test)
    assert {*ids(few.train)} < {*ids(many.train)}


def test_equal_texts_stay_on_one_side() -> None:
    """DA-03, DA-07: equal after NFC and with white space folded; a cut of ours makes no leak."""
    everything: list[Example] = []
    for i in range(300):
        one = f"정말 재밌는 영화 {i // 3}"
        forms = (one, unicodedata.normalize("NFD", one), one.replace(" ", " \t "))
        everything.append(TextExample(str(i), forms[i % 3], "가나"[i % 2]))
    found = made({"all": everything}, test_share=0.3, valid_share=0.3)
    sides = [{hangul.key(text(row)) for row in part} for _, part in found.items()]
    assert [len(side) for side in sides] == pytest.approx([49, 21, 30], abs=8)
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from("가나다")), max_size=60),
    st.floats(0, 0.99),
    st.integers(0, 9),
)
def test_a_cut_loses_no_row(content: list[tuple[int, str]], share: float, seed: int) -> None:
    given_rows: list[Example] = [
        TextExample(str(i), f"글 {number}", name) for i, (number, name) in enumerate(content)
    ]
    rest, taken = cut(given_rows, share, seed, text)
    assert sorted(ids(rest + taken), key=int) == ids(given_rows)
    assert not {*map(text, rest)} & {*map(text, taken)}
    assert {label(row) for row in taken} <= {label(row) for row in given_rows}
    if share == 0:
        assert taken == []


def test_a_label_with_a_single_text_stays_in_training() -> None:
    rare: list[Example] = [TextExample("r", "하나뿐", "드묾")]
    for seed in range(20):
        assert "r" in ids(cut(rows(50) + rare, 0.5, seed, text)[0])


def test_sets_of_labels_that_are_all_different_are_cut_too() -> None:
    """Multi-label: with a stratum each, not one row would be taken."""
    everything: list[Example] = [
        TextExample(str(i), f"글 {i}", ("공통", f"고유 {i}")) for i in range(100)
    ]
    rest, taken = cut(everything, 0.2, 1, text)
    assert (len(rest), len(taken)) == (80, 20)


# ---------------------------------------------------------------- drawing


@pytest.mark.parametrize("limit", [1, 2, 7, 50, 99])
def test_drawn_rows_have_the_same_shares(limit: int) -> None:
    everything = rows(100, 4)
    found = draw(everything, limit, 3)
    assert len(found) == len({*ids(found)}) == limit
    whole = Counter(map(label, everything))
    for name, count in Counter(map(label, found)).items():
        assert abs(count - limit * whole[name] / 100) < 1
    assert draw(everything, limit, 3) == found
    assert [r for r in everything if r in found] == found


def test_limits_are_drawn_and_said() -> None:
    found = made({"all": rows(400)}, train_rows=31, test_rows=12)
    assert (len(found.train), len(found.test)) == (31, 12)
    assert any(note.startswith("train: 31 of 3") for note in found.notes)
    assert any(note.startswith("test: 12 of 4") for note in found.notes)
    assert made({"all": rows(40)}, train_rows=1000) == made({"all": rows(40)})


# ---------------------------------------------------------------- rejected rows


@pytest.mark.parametrize(
    ("bad", "limit", "passes"), [(5, 0.05, True), (6, 0.05, False), (0, 0, True), (1, 0, False)]
)
def test_too_many_rejected_rows_stop_the_run(bad: int, limit: float, passes: bool) -> None:
    """DA-06: the share is of all rows, the used and the rejected."""
    rejected = [Rejected(f"a.csv:{i}", "no label") for i in range(bad)]
    parts = Parts({"all": rows(100 - bad)}, rejected)
    if passes:
        assert complete(parts, DataSettings(max_rejected=limit), text).rejected == rejected
        return
    with pytest.raises(
        DataError, match=r"of 100 rows cannot be used: \d rows?: no label \(a.csv:0"
    ) as caught:
        complete(parts, DataSettings(max_rejected=limit), text)
    assert "data.max_rejected" in str(caught.value)


def test_no_rows_at_all() -> None:
    with pytest.raises(DataError, match="no rows"):
        made({})
    with pytest.raises(DataError, match="no training rows are left"):
        made({"test": rows(9)})


# ---------------------------------------------------------------- fingerprint


def test_a_fingerprint_is_of_content_and_order() -> None:
    """DA-08."""
    some = rows(5)
    same = splits.fingerprint(list(some))
    assert splits.fingerprint(some) == same
    others = [
        some[::-1],
        some[:4],
        [TextExample("x", text(some[0]), label(some[0])), *some[1:]],
        [TextExample(some[0].id, "다른 글", label(some[0])), *some[1:]],
        [TextExample(some[0].id, text(some[0]), "사"), *some[1:]],
        [TextExample(some[0].id, text(some[0]), (label(some[0]),)), *some[1:]],
    ]
    assert len({same, *map(splits.fingerprint, others)}) == 7
    assert splits.fingerprint([TextExample("a", "\ud800", None)])


# ---------------------------------------------------------------- rows that are read as asked for


class Kept(Sequence[Example]):
    """Rows that are not in memory; counts how many were read."""

    def __init__(self, count: int) -> None:
        self.count, self.read = count, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, at: Any) -> Any:
        self.read += 1
        return PassageExample(f"k:{at}", f"글 {at}")

    def fingerprint(self) -> str:
        return f"kept {self.count}"


def test_parts_that_are_not_in_memory_are_neither_cut_nor_read() -> None:
    """A corpus larger than memory has parted itself: shares and limits are its own business."""
    given = {name: Kept(count) for name, count in (("train", 10**9), ("valid", 5), ("test", 0))}
    found = complete(
        Parts(dict(given), [Rejected("a:1", "no text")], ["parted by hash"]),
        DataSettings(train_rows=3, test_rows=1, max_rejected=0.0),
        text,
    )
    assert [part for _, part in found.items()] == list(given.values())
    assert sum(part.read for part in given.values()) == 0
    assert (len(found.rejected), found.notes) == (1, ["parted by hash"])
    assert splits.fingerprint(found.train) == "kept 1000000000"
    with pytest.raises(DataError, match="no training rows are left"):
        complete(Parts({"train": Kept(0), "valid": Kept(2), "test": Kept(2)}), DataSettings(), text)


# ---------------------------------------------------------------- rows that share a text


def question(i: int, context: str) -> QuestionExample:
    return QuestionExample(f"q:{i}", f"질문 {i}", context, (Span(0, 1),))


def test_a_context_stands_on_one_side_of_a_cut() -> None:
    """DA-07: with a context in training, its other questions are no test."""
    everything: list[Example] = [question(i, f"글 {i // 3}") for i in range(300)]
    qa = Qa(Qa.Settings())
    found = complete(Parts({"all": everything}), DataSettings(), qa.text, qa.apart)
    assert [len(part) for _, part in found.items()] == pytest.approx([243, 27, 30], abs=3)
    assert not any(inspect.shared(found, qa).values())
    assert any("rows of one context together" in note for note in found.notes)
    before = complete(Parts({"all": everything}), DataSettings(), qa.text)
    assert inspect.shared(before, qa)["test context in train"] > 10


def pair_of(i: int, first: str, second: str) -> Example:
    return PairExample(f"p:{i}", first, second, "참거짓"[i % 2])


def test_pairs_that_hang_together_stay_together() -> None:
    """DA-07: by either text, on either side, in a chain."""
    everything = [pair_of(i, f"글 {i // 3}", f"글 {i // 3 + 500}") for i in range(300)]
    everything += [pair_of(300 + i, f"글 {i + 500}", f"새 글 {i}") for i in range(100)]
    nli = Nli(Nli.Settings())
    rest, part = cut(everything, 0.2, 7, nli.text, nli.apart)
    assert len(part) == pytest.approx(80, abs=8)
    assert not any(inspect.shared(Splits(rest, [], part, [], []), nli).values())


def test_pairs_that_all_hang_together_are_cut_by_what_is_left() -> None:
    """One hypothesis in every row: the premise alone decides, then the whole row."""
    nli = Nli(Nli.Settings())
    everything = [pair_of(i, f"글 {i // 2}", "좋다") for i in range(100)]
    rest, part = cut(everything, 0.2, 7, nli.text, nli.apart)
    assert len(part) == pytest.approx(20, abs=2)
    shared = inspect.shared(Splits(rest, [], part, [], []), nli)
    assert (shared["test first in train"], shared["test second in train"]) == (0, len(part))


def test_nothing_to_cut_is_said() -> None:
    found = made({"all": [TextExample(f"a:{i}", f"글 {i}", f"{i}") for i in range(30)]})
    assert (len(found.test), len(found.valid)) == (0, 0)
    assert any(note.startswith("test: no row could be cut from all rows") for note in found.notes)
    assert not any("0 rows cut" in note for note in found.notes)
    assert not [n for n in made({"all": rows(30)}, test_share=0).notes if "no row could" in n]

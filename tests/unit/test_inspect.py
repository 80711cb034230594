"""The data check: repeats, leaks, two labels for one text, odd characters (DA-03, DA-04, DA-07)."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pytest

from mulgil import fetch, inspect, planlines, registry
from mulgil.examples import Example, PairExample, PassageExample, TextExample
from mulgil.flow import Rejected, Schema
from mulgil.splits import Splits
from mulgil.tasks.causal_lm import CausalLm, CausalLmSettings
from mulgil.tasks.classification import Classification, ClassificationSettings
from mulgil.tasks.nli import Nli
from mulgil.tokenizers._ragged import Ragged, Windows

NFD = unicodedata.normalize("NFD", "또 보고 싶다")
TASK = Classification(ClassificationSettings())
SCHEMA = Schema("text", ("나쁨", "좋음"))


def part(*content: tuple[str, Any]) -> list[Example]:
    return [TextExample(f"{i}", text, label) for i, (text, label) in enumerate(content)]


SPLITS = Splits(
    train=part(
        ("또 보고 싶다", "좋음"),
        (NFD, "나쁨"),
        ("또  보고\t싶다 ", "좋음"),
        ("별로", "나쁨"),
        ("그냥\u200b", "나쁨"),
    ),
    valid=part(("별로", "나쁨"), ("새 글 \ufffd", "좋음")),
    test=part(
        (NFD, "좋음"), ("새 글 \ufffd", "좋음"), ("ﾡ 처음", "나쁨"), ("또 보고 싶다", "좋음")
    ),
    rejected=[Rejected(f"a:{i}", "no label" if i % 3 else "empty text") for i in range(12)],
    notes=["test: cut"],
)


def test_the_report_counts_what_is_there() -> None:
    found = inspect.report(SPLITS, TASK, SCHEMA)
    assert found["rows"] == {"train": 5, "valid": 2, "test": 4}
    assert found["labels"]["train"] == {"나쁨": 3, "좋음": 2}
    assert found["duplicates"] == {"train": 2, "valid": 0, "test": 1}
    assert found["conflicts"] == 1
    assert found["overlap"] == {"test in train": 2, "test in valid": 1, "valid in train": 1}
    assert found["odd"] == {
        "not NFC": 2,
        "zero-width or direction marks": 1,
        "replacement character U+FFFD": 2,
        "half-width jamo": 1,
    }
    assert found["rejected"]["count"] == 12
    assert found["rejected"]["reasons"] == {"no label": 8, "empty text": 4}
    assert len(found["rejected"]["first"]) == 10
    assert found["notes"] == ["test: cut"]


def test_rows_that_are_clean_have_nothing_odd() -> None:
    """DA-04: emoji that are joined count as joined, plain Korean and English as nothing."""
    assert inspect.odd(["영화 good 👍", "ㅋㅋㅋ", ""]) == {}
    assert inspect.odd(["👨\u200d👩"]) == {"zero-width or direction marks": 1}


def test_labels_of_several_and_of_none() -> None:
    rows = part(("가", ("좋음", "나쁨")), ("나", ()), ("다", None), ("라", ("좋음",)))
    splits = Splits(rows, [], [], [], [])
    found = inspect.report(splits, TASK, Schema("text", ("나쁨", "좋음", "빈"), multi_label=True))
    assert found["labels"]["train"] == {"나쁨": 1, "좋음": 2, "빈": 0}
    assert found["labels"]["test"] == {"나쁨": 0, "좋음": 0, "빈": 0}


def test_lengths_and_shares() -> None:
    """TK-08: how many rows were cut is said, with the share."""
    starts = np.concatenate([[0], np.arange(1, 101)]).cumsum()
    encoded = Ragged(np.zeros(starts[-1], np.int32), starts, 0, 3, 0.0123456)
    assert inspect.lengths(encoded) == {
        "median": 50.5,
        "p95": pytest.approx(95.05),
        "longest": 100.0,
        "truncated": 3,
        "truncated_share": 0.03,
        "unknown_share": 0.01235,
    }


def test_rows_without_labels_have_no_counts_of_them() -> None:
    """A corpus leaves copies out itself, so nothing is said of repeats and leaks."""
    rows: list[Example] = [PassageExample("a", NFD), PassageExample("b", "글 \ufffd")]
    splits = Splits(rows, [], rows[:1], [Rejected("c", "empty text")], ["by hash"])
    found = inspect.report(splits, CausalLm(CausalLmSettings()), Schema("passage", ()))
    assert {*found} == {"rows", "odd", "rejected", "notes"}
    assert found["rows"] == {"train": 2, "valid": 0, "test": 1}
    assert found["odd"] == {"not NFC": 2, "replacement character U+FFFD": 1}
    lines = planlines.rows({**found, "lengths": {"train": {}}})
    assert any(line.startswith("rejected   1") for line in lines)
    assert not any(line.startswith(("label", "repeats", "overlap")) for line in lines)


def test_windows_are_counted_with_their_tokens() -> None:
    arrays = {
        "tokens": np.arange(12, dtype=np.int32),
        "lengths": np.array([5, 4, 3]),
        "owners": np.array([0, 0, 2]),
        "bytes": np.array([9, 8, 7]),
        "lost": np.array([3]),
        "texts": np.array([3]),
    }
    found = inspect.lengths(Windows(arrays, 0))
    assert (found["tokens"], found["longest"], found["truncated"]) == (12, 5.0, 0)
    assert found["unknown_share"] == 0.25


@pytest.mark.usefixtures("data_folder")
def test_leaks_of_published_data_are_counted() -> None:
    """DA-07, M25: of the 1,571 test texts of NSMC that its training part has, 3 are empty."""
    plugin = registry.load("datasets", "nsmc")
    dataset = plugin(plugin.Settings())
    parts = dataset.read(fetch.collect(dataset, download=False))
    splits = Splits(parts.rows["train"], [], parts.rows["test"], parts.rejected, parts.notes)
    assert inspect.overlap(inspect.keys(splits, TASK))["test in train"] == 1_568


def test_faults_are_found_again() -> None:
    """DA-03, DA-07: the first places beside each count."""
    found = inspect.report(SPLITS, TASK, SCHEMA)
    assert found["places"] == {
        "conflicts": ["0 and 1"],
        "test in train": ["0 = 0", "3 = 0"],
        "test in valid": ["1 = 1"],
        "valid in train": ["0 = 3"],
    }
    lines = planlines.rows(found)
    assert "           several labels: such as 0 and 1" in lines
    assert "           test in train: such as 0 = 0, 3 = 0" in lines


def named(**counts: int) -> Splits:
    rows = [label for label, count in counts.items() for _ in range(count)]
    return Splits(part(*((f"글 {i}", label) for i, label in enumerate(rows))), [], [], [], [])


def test_a_slip_in_a_label_is_asked_about() -> None:
    found = inspect.misspelt(named(긍정=20, 부정=20, 긍졍=1, 부정적=1, 부저=2))
    assert found == [
        'label "긍졍" has 1 row (40); did you mean "긍정"?',
        'label "부저" has 2 rows (42, 43); did you mean "부정"?',
    ]
    assert inspect.report(named(긍정=20, 긍졍=1), TASK, None)["notes"] == [
        'label "긍졍" has 1 row (20); did you mean "긍정"?'
    ]


@pytest.mark.parametrize(
    "labels", [{"1점짜리": 20, "2점짜리": 1}, {"긍정": 9, "긍졍": 1}, {"가": 20, "나": 1}]
)
def test_labels_that_are_no_slip(labels: dict[str, int]) -> None:
    """Other digits are other labels; nothing is frequent; too short to tell."""
    assert inspect.misspelt(named(**labels)) == []


def test_many_labels_are_not_all_named() -> None:
    many = named(**{f"라벨{i:03}": 1 for i in range(50)})
    lines = planlines.rows(inspect.report(many, TASK, TASK.schema(many.train)))
    assert sum(line.startswith("label") for line in lines) == 20
    assert "           30 more labels" in lines


def test_what_pairs_share_is_told() -> None:
    """DA-07: a premise in training is told beside texts that repeat as a whole."""
    train: list[Example] = [PairExample("a:1", "비가 온다", "젖는다", "참")]
    test: list[Example] = [PairExample("b:1", "비가  온다", "마른다", "거짓")]
    splits, nli = Splits(train, [], test, [], []), Nli(Nli.Settings())
    found = inspect.report(splits, nli, None)
    assert found["overlap"]["test in train"] == 0
    assert found["overlap"]["test first in train"] == 1
    assert found["overlap"]["test second in train"] == 0
    assert "           test first in train 1" in planlines.rows(found)
    scored = {"n": 1, "interval": "x", "metrics": {}, "overlap": found["overlap"]}
    told = [line for line in planlines.figures(scored) if line.startswith("note")]
    assert told == ["note       1 test rows have a first that training has seen too"]

"""The page of entities: marks in the text, what was confused, the surest mistakes first."""

from __future__ import annotations

import itertools
import json
import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulgil.report.entities import BORDERS, INVENTED, MISSED, Entities
from mulgil.report.marks import REACH, Stretch, groups, marked, stretches

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fake_run import write_lines
from fake_tasks import KINDS, make_entities_run
from page_reader import Page, page, stored

TEXT = "어제 김하늘이 서울에 갔다"


def span(start: int, end: int, label: str, chance: float = 0.9, text: str = TEXT) -> dict[str, Any]:
    found = {"text": text[start:end], "label": label, "start": start, "end": end}
    return found | {"probability": chance}


def line(gold: list[Any], said: list[Any], text: str = TEXT) -> dict[str, Any]:
    return {"id": "a", "text": text, "gold": gold, "predicted": said}


def plain(markup: str) -> str:
    return re.sub("<[^>]+>", "", markup)


# ---------------------------------------------------------------- marks


@pytest.mark.parametrize(
    ("gold", "said", "state", "shown"),
    [
        ([(3, 6, "PS")], [(3, 6, "PS")], "right", "어제 김하늘PS이 서울에 갔다"),
        ([(3, 6, "PS")], [], "missed", "어제 김하늘– PS이 서울에 갔다"),
        ([], [(3, 6, "PS")], "invented", "어제 김하늘+ PS이 서울에 갔다"),
        ([(3, 6, "PS")], [(3, 6, "OG")], "kind", "어제 김하늘PS→OG이 서울에 갔다"),
        ([(3, 6, "PS")], [(3, 7, "PS")], "borders", "어제 [(김하늘]이)PS 서울에 갔다"),
        ([(3, 7, "PS")], [(4, 6, "OG")], "borders", "어제 [김(하늘)이]PS→OG 서울에 갔다"),
        ([(3, 6, "PS"), (8, 10, "LC")], [(3, 10, "OG")], "borders",
         "어제 [(김하늘]이 [서울])PS·LC→OG에 갔다"),
    ],
)  # fmt: skip
def test_each_state_has_its_own_sign(gold: Any, said: Any, state: str, shown: str) -> None:
    """What became of an entity is told without colours: by a sign, a letter and a kind of line."""
    found = groups([Stretch(*s) for s in gold], [Stretch(*s) for s in said])
    assert [group.state for group in found] == [state]
    drawn = marked(TEXT, found)
    assert plain(drawn) == shown
    assert f'class="mark {state}"' in drawn


def test_neighbours_are_two_marks() -> None:
    """Entities that meet without sharing a character stay apart."""
    found = groups([Stretch(0, 2, "DT")], [Stretch(2, 3, "PS")])
    assert [group.state for group in found] == ["missed", "invented"]


def test_far_text_is_left_out() -> None:
    """A long document shows what stands around its marks."""
    text = "가" * 1000 + "서울" + "나" * 1000 + "부산" + "다" * 1000
    shown = plain(marked(text, groups([Stretch(1000, 1002, "LC"), Stretch(2002, 2004, "LC")], [])))
    assert "가" * REACH + "서울" in shown
    assert "부산– LC" + "다" * REACH + " … " in shown
    assert len(shown) < 5 * REACH
    assert len(plain(marked(text, []))) < 2 * REACH


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=30),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5), st.sampled_from("AB")), max_size=6),
    st.integers(0, 6),
)
def test_any_marks_in_any_text(text: str, spans: list[tuple[int, int, str]], cut: int) -> None:
    """RP-01, RP-05: overlapping, nested or out of order; every group shows all of its text."""
    kept = [Stretch(s, min(s + n, len(text)), k) for s, n, k in spans if s < len(text)]
    found = groups(kept[:cut], kept[cut:])
    shown = Page(f"<body>{marked(text, found)}</body>")
    assert {tag for tag, _ in shown.elements} <= {"body", "span"}
    covered = {i for group in found for i in range(group.start, group.end)}
    assert covered == {i for stretch in kept for i in range(stretch.start, stretch.end)}
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


def test_stretches_must_fit_their_text() -> None:
    """RP-05: offsets count code points; astral letters and NFD texts are cut where they say."""
    text = "\U00020bb7野家 서울"
    assert stretches(text, [span(4, 6, "LC", text=text)]) == [Stretch(4, 6, "LC")]
    nfd = unicodedata.normalize("NFD", "강 서울")
    composed = {"start": 4, "end": len(nfd), "label": "LC", "text": "서울"}
    assert stretches(nfd, [composed]) == [Stretch(4, len(nfd), "LC")]
    for odd in ({"start": 3}, {"end": 99}, {"start": True}, {"text": "부산"}, {"label": 1}):
        with pytest.raises((TypeError, ValueError)):
            stretches(text, [span(4, 6, "LC", text=text) | odd])


# ---------------------------------------------------------------- counts


def test_each_gold_entity_is_counted_once() -> None:
    """By its kind, as borders, or as missed; what touches no gold entity is invented."""
    lines = [
        line([span(3, 6, "PS"), span(8, 10, "LC")], [span(3, 6, "PS"), span(8, 10, "OG")]),
        line([span(3, 6, "PS"), span(8, 10, "LC")], [span(3, 7, "PS"), span(0, 2, "DT")]),
    ]
    found = Entities(enumerate(lines), [])
    words = {"\0borders": BORDERS, "\0missed": MISSED, "\0invented": INVENTED}
    taken = {tuple(words.get(w, w) for w in key): count for key, count in found.taken.items()}
    assert taken == {
        ("PS", "PS"): 1,
        ("LC", "OG"): 1,
        ("PS", BORDERS): 1,
        ("LC", MISSED): 1,
        (INVENTED, "DT"): 1,
    }
    assert found.f1 == pytest.approx(2 * 1 / (4 + 4))


def test_surest_mistakes_come_first_and_missed_ones_last() -> None:
    """A sentence ranks by its surest wrong entity; one that is wholly right is not listed."""
    lines = [
        line([span(3, 6, "PS")], []),
        line([span(3, 6, "PS")], [span(3, 6, "PS", 0.99)]),
        line([span(3, 6, "PS")], [span(3, 6, "OG", 0.6), span(8, 10, "LC", 0.7)]),
        line([span(3, 6, "PS")], [span(3, 6, "PS", 0.99), span(8, 10, "LC", 0.2)]),
        line([], [span(0, 2, "DT", 0.8)]),
    ]
    found = Entities(enumerate(lines), [])
    assert [(rank, number) for rank, number, _ in found.worst] == [
        (0.8, 4),
        (0.7, 2),
        (0.2, 3),
        (-1.0, 0),
    ]


def test_confusions_add_up_to_the_stored_figures(tmp_path: Path) -> None:
    """RP-04: rows of the table are the support, its diagonal what precision and recall say."""
    run = make_entities_run(tmp_path / "run", 120)
    table = stored(run, "result.json")["metrics"]["per-entity"]
    counted = {
        tuple(a["data-of"].split(" taken for ")): float(a["value"])
        for a, _ in page(run).figures
        if " taken for " in a.get("data-of", "")
    }
    assert len(counted) == 6 * 8 + 6
    support: Counter[str] = Counter()
    for (gold, _), count in counted.items():
        support[gold] += int(count)
    for kind in KINDS:
        assert support[kind] == table[f"support:{kind}"]["value"]
        right = table[f"recall:{kind}"]["value"] * support[kind]
        assert counted[kind, kind] == pytest.approx(right)
    assert support[INVENTED] > 0


def test_kinds_that_are_named_like_a_column_stay_apart(tmp_path: Path) -> None:
    """A kind that is really called "missed" is a kind."""
    run = make_entities_run(tmp_path / "run", 60, kinds=("missed", "PS"))
    cells = Counter(a["data-of"] for a, _ in page(run).figures if " taken for " in str(a))
    assert cells["missed taken for missed"] == 2  # the kind's own, and the column's


def test_many_kinds_get_a_list(tmp_path: Path) -> None:
    """Above 20 columns a matrix cannot be read."""
    run = make_entities_run(tmp_path / "run", 200, kinds=tuple(f"K{i}" for i in range(30)))
    assert "Commonest confusions" in page(run).text


def test_page_marks_the_sentences(tmp_path: Path) -> None:
    """The first sentence shows its false entity; the kinds stand at the top, not their tags."""
    run = make_entities_run(tmp_path / "run", 40, ("나무가 <b>선다</b>",))
    shown = page(run)
    assert "나 + DT 무가 <b>선다</b> invented" in shown.text
    assert "Kinds 종류 DT , LC , OG" in shown.text
    assert "B-DT" not in shown.text
    legend = {a["class"] for tag, a in shown.elements if a.get("class", "").startswith("mark ")}
    assert legend == {f"mark {s}" for s in ("right", "missed", "invented", "kind", "borders")}


def test_unfinished_run_shows_what_predictions_there_are(tmp_path: Path) -> None:
    """RP-05: without result.json the kinds come from schema.json."""
    run = make_entities_run(tmp_path / "run", 40)
    (run / "result.json").unlink()
    shown = page(run)
    assert shown.body[0] == "Unfinished run."
    assert "Confusion" in shown.text
    assert "Precision" not in shown.text


def test_texts_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    """RP-05: a line whose entities are not in its text is left out, and that is said."""
    run = make_entities_run(tmp_path / "run", 10)
    rows = list(stored(run, "predictions.jsonl").values())
    rows[3]["text"] = "다른 글이다"
    rows[4]["predicted"] = [json.loads(json.dumps(rows[0]["gold"][0]))]  # no probability
    write_lines(run / "predictions.jsonl", rows)
    assert "predictions.jsonl: 2 rows lack entities that fit their text" in page(run).text

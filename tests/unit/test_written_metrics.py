"""Metrics of written text: against naive restatements, sacrebleu's public door, and by hand."""

from __future__ import annotations

import itertools
import math
import sys
import unicodedata
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.errors import ModelError
from mulgil.judged import Written
from mulgil.metrics import _rouge, _sacrebleu
from mulgil.metrics.bleu import Bleu
from mulgil.metrics.chrf import Chrf
from mulgil.metrics.distinct import Distinct
from mulgil.metrics.exact_match import ExactMatch
from mulgil.metrics.korquad_f1 import Korquad
from mulgil.metrics.rouge_l import Rouge
from mulgil.metrics.rouge_l_character import RougeCharacter
from mulgil.metrics.rouge_l_morpheme import RougeMorpheme
from mulgil.metrics.squad_f1 import Squad
from mulgil.objectives import Metric, RowMetric

ROUGES: list[type[RowMetric]] = [Rouge, RougeCharacter, RougeMorpheme]
BY_ROW: list[type[RowMetric]] = [ExactMatch, Squad, Korquad, *ROUGES, Bleu, Chrf]
ALL: list[type[Metric]] = [*BY_ROW, Distinct]
TEXTS = (
    "강가에 앉아 물길이 굽이치는 모습을 오래 바라보았다.",
    "아침 일찍 시장에 가서 사과 세 개와 배 두 개를 샀다!",
    "The library opens at nine, and closes at 6 p.m. on Fridays.",
    "동생은 “내일 비가 온다”고 말했지만 하늘은 맑았다.",
    "새로 생긴 도서관(3층)에는 어린이 책이 많이 있다.",
)
HEADLINES = {
    ExactMatch: ["exact-match"],
    Squad: ["squad-f1", "squad-em"],
    Korquad: ["korquad-f1", "korquad-em"],
    Rouge: ["rouge-l", "rouge-1", "rouge-2"],
    RougeCharacter: ["rouge-l-character", "rouge-1-character", "rouge-2-character"],
    RougeMorpheme: ["rouge-l-morpheme", "rouge-1-morpheme", "rouge-2-morpheme"],
    Bleu: ["bleu", "bleu-character"],
    Chrf: ["chrf"],
    Distinct: ["distinct-1", "distinct-2", "distinct-1-character", "distinct-2-character"],
}


@cache
def made(kind: type[Metric]) -> Metric:
    return kind()


def figures(kind: type[Metric], scored: Written) -> dict[str, float]:
    return made(kind).compute(scored)


def row(predicted: str, *gold: str) -> Written:
    return Written((gold,), (predicted,))


def first(kind: type[Metric], predicted: str, *gold: str) -> float:
    """Return the headline of one row."""
    return next(iter(figures(kind, row(predicted, *gold)).values()))


def mixed() -> Written:
    """Return rows that are right, partly right, wrong, silent, and without a right text."""
    others = tuple(text[: len(text) // 2] for text in TEXTS)
    return Written(
        gold=(*((text, other) for text, other in zip(TEXTS, others, strict=True)), (), (), ("가",)),
        predicted=(TEXTS[0], TEXTS[1][3:], TEXTS[3], "", others[4] + "하나", "", "없는 답", ""),
    )


# ---------------------------------------------------------------- what holds for each


@pytest.mark.parametrize("kind", ALL)
def test_figures_have_their_names_headline_first(kind: type[Metric]) -> None:
    assert list(figures(kind, mixed())) == HEADLINES[kind]  # type: ignore[index]


@pytest.mark.parametrize("kind", BY_ROW)
def test_the_same_text_scores_one(kind: type[RowMetric]) -> None:
    """EV-04: a perfect answer is never 0; the common ROUGE gives Korean 0.0 here."""
    same = Written(tuple((text,) for text in TEXTS), TEXTS)
    assert figures(kind, same) == pytest.approx(dict.fromkeys(HEADLINES[kind], 1.0))


@pytest.mark.parametrize("kind", BY_ROW)
def test_another_text_scores_zero(kind: type[RowMetric]) -> None:
    assert figures(kind, row("바다", "산골짜기")) == dict.fromkeys(HEADLINES[kind], 0.0)


@pytest.mark.parametrize("kind", ALL)
def test_a_decomposed_text_is_the_same_text(kind: type[Metric]) -> None:
    """DA-03: text in NFD scores as it does in NFC."""
    scored = mixed()
    apart = tuple(unicodedata.normalize("NFD", text) for text in scored.predicted)
    assert apart != scored.predicted
    assert figures(kind, Written(scored.gold, apart)) == figures(kind, scored)


@pytest.mark.parametrize("kind", ALL)
def test_the_order_of_rows_changes_nothing(kind: type[Metric]) -> None:
    """EV-05."""
    scored = mixed()
    order = np.random.default_rng(5).permutation(len(scored))
    assert figures(kind, scored.take(order)) == pytest.approx(figures(kind, scored), abs=1e-12)


@pytest.mark.parametrize("kind", BY_ROW)
def test_rows_add_up_to_the_figures_of_a_resample(kind: type[RowMetric]) -> None:
    """What an interval is made of: sums over drawn rows equal the figures of those rows."""
    metric, scored = made(kind), mixed()
    assert isinstance(metric, RowMetric)
    drawn = np.array([0, 0, 1, 2, 4, 4, 6, 7])
    total = metric.rows(scored)[drawn].sum(0)
    expected = metric.compute(scored.take(drawn))
    assert metric.figures(total, len(drawn)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    "scored",
    [
        Written((), ()),
        row("", "답"),
        row("답", ""),
        row("답"),
        row(""),
        row(" \n\t", "…"),
        row("...", "?!"),
        row("네", "네"),
        row("\ud800 깨진 글자", "\ud800 깨진 글자"),
    ],
    ids=[
        "no rows",
        "silent",
        "gold silent",
        "no gold",
        "both",
        "blank",
        "marks",
        "short",
        "surrogate",
    ],
)
def test_every_figure_is_defined(kind: type[Metric], scored: Written) -> None:
    """EV-04: a number between 0 and 1 whatever is missing, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = figures(kind, scored)
    assert list(found) == HEADLINES[kind]  # type: ignore[index]
    assert all(math.isfinite(figure) and 0 <= figure <= 1 for figure in found.values())


@pytest.mark.parametrize("kind", [ExactMatch, Squad, Korquad, *ROUGES])
def test_silence_is_right_where_no_answer_is(kind: type[Metric]) -> None:
    """EV-04."""
    names = HEADLINES[kind]  # type: ignore[index]
    assert figures(kind, row("")) == dict.fromkeys(names, 1.0)
    assert figures(kind, row("아무 말")) == dict.fromkeys(names, 0.0)


@pytest.mark.parametrize("kind", [ExactMatch, Squad, Korquad, *ROUGES])
def test_empty_predictions_stay_in_the_denominator(kind: type[Metric]) -> None:
    """EV-12."""
    scored = Written(((TEXTS[0],),) * 4, (TEXTS[0], "", "", ""))
    assert set(figures(kind, scored).values()) == {0.25}


@pytest.mark.parametrize("kind", BY_ROW)
def test_the_best_of_several_right_texts_counts(kind: type[RowMetric]) -> None:
    scored = row(TEXTS[1], TEXTS[0], TEXTS[1], TEXTS[3])
    assert figures(kind, scored) == pytest.approx(dict.fromkeys(HEADLINES[kind], 1.0))


# ---------------------------------------------------------------- SQuAD and KorQuAD


PIECES = [*"가나 다\t.,-'\"《》<>〈〉()‘’·Ab", "the", " a ", "an", "학교", "1998년"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def naive_squad(text: str) -> list[str]:
    kept = "".join(letter for letter in text.lower() if letter not in "!\"#$%&'()*+,-./:;<=>?@[]")
    found, word = [], ""
    for letter in kept + " ":  # articles go where letters that are no word's end on both sides
        if letter.isalnum() or letter == "_":
            word += letter
        else:
            found += [" " if word in {"a", "an", "the"} else word, letter]
            word = ""
    return "".join(found).split()


def naive_korquad(text: str) -> list[str]:
    for mark in "'\"《》<>〈〉()‘’":
        text = text.replace(mark, " ")
    return "".join(letter for letter in text.lower() if letter not in ".,-").split()


def naive_f1(ours: Sequence[str], theirs: Sequence[str]) -> float:
    if not ours or not theirs:
        return float(not ours and not theirs)
    left, same = list(theirs), 0
    for unit in ours:
        if unit in left:
            left.remove(unit)
            same += 1
    precision, recall = same / len(ours), same / len(theirs)
    return 2 * precision * recall / (precision + recall) if same else 0.0


@given(TEXT, st.lists(TEXT, min_size=1, max_size=3))
def test_squad_agrees_with_the_official_rules(predicted: str, gold: list[str]) -> None:
    """EV-01, G22: evaluate-v2.0.py, restated step by step."""
    ours = naive_squad(predicted)
    theirs = [words for text in gold if (words := naive_squad(text))] or [[]]
    expected = [max(naive_f1(ours, words) for words in theirs), float(ours in theirs)]
    found = figures(Squad, row(predicted, *gold))
    assert list(found.values()) == pytest.approx(expected)


@given(TEXT, st.lists(TEXT, min_size=1, max_size=3))
def test_korquad_agrees_with_the_official_rules(predicted: str, gold: list[str]) -> None:
    """EV-01, G22: evaluate-v1.0.py, restated step by step."""
    ours, theirs = naive_korquad(predicted), list(map(naive_korquad, gold))
    f1 = max(naive_f1("".join(ours), "".join(words)) for words in theirs)
    found = figures(Korquad, row(predicted, *gold))
    assert list(found.values()) == pytest.approx([f1, float(ours in theirs)])


def test_squad_by_hand() -> None:
    assert first(Squad, "The Cat sat.", "a cat, sat!") == 1.0
    assert figures(Squad, row("in the old town", "old town")) == pytest.approx(
        {"squad-f1": 0.8, "squad-em": 0.0}
    )
    assert first(Squad, "theme", "me") == 0.0  # an article within a word stays
    assert first(Squad, "학교에서", "학교") == 0.0  # why Korean wants korquad


def test_korquad_by_hand() -> None:
    """Brackets and quotes part words, other marks close up, spaces count for exact match only."""
    assert figures(Korquad, row("학교에서", "학교")) == pytest.approx(
        {"korquad-f1": 2 / 3, "korquad-em": 0.0}
    )
    assert figures(Korquad, row("《봄》 봄", "봄 봄"))["korquad-em"] == 1.0
    assert figures(Korquad, row("서울(한양)", "서울 한양"))["korquad-em"] == 1.0
    assert figures(Korquad, row("1,998년", "1998년"))["korquad-em"] == 1.0
    assert figures(Korquad, row("새 해", "새해")) == {"korquad-f1": 1.0, "korquad-em": 0.0}
    assert figures(Korquad, row("산·강", "산강"))["korquad-em"] == 0.0  # not among its marks
    assert figures(Korquad, row("“봄”", "봄"))["korquad-em"] == 0.0  # neither are these quotes


def test_exact_match_folds_white_space_and_nothing_else() -> None:
    assert first(ExactMatch, " 물길은\n 흐른다. ", "물길은 흐른다.") == 1.0
    assert first(ExactMatch, "물길은 흐른다", "물길은 흐른다.") == 0.0
    assert first(ExactMatch, "seoul", "Seoul") == 0.0


# ---------------------------------------------------------------- ROUGE


def naive_common(one: Sequence[str], other: Sequence[str]) -> int:
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, j in itertools.product(range(len(one)), range(len(other))):
        longest = max(table[i][j + 1], table[i + 1][j])
        table[i + 1][j + 1] = table[i][j] + 1 if one[i] == other[j] else longest
    return table[-1][-1]


UNITS = st.lists(st.sampled_from("가나다라"), max_size=12)


@given(UNITS, UNITS)
def test_rouge_agrees_with_a_naive_table(one: list[str], other: list[str]) -> None:
    """EV-01."""
    assert _rouge.common(one, other) == naive_common(one, other)
    if one != other and one and other:
        pairs = [[a + b for a, b in itertools.pairwise(units)] for units in (one, other)]
        expected = [
            2 * naive_common(one, other) / (len(one) + len(other)),
            naive_f1(one, other),
            naive_f1(*pairs) if any(pairs) else 0.0,
        ]
        assert list(_rouge.scores(one, other)) == pytest.approx(expected)


def test_rouge_by_hand() -> None:
    """Order matters to rouge-l and rouge-2; punctuation and case do not matter at all."""
    found = figures(Rouge, row("나는 어제 학교에 갔다", "어제 나는 학교에 갔다."))
    assert found == pytest.approx({"rouge-l": 0.75, "rouge-1": 1.0, "rouge-2": 1 / 3})
    assert first(Rouge, "(학교), KBS", "학교 kbs!") == 1.0
    assert first(Rouge, "C++ 3.5", "C 3.5") == 0.5
    assert first(Rouge, "학교에 갔다", "학교는 갔다") == 0.5
    assert first(RougeCharacter, "학교에 갔다", "학교는 갔다.") == pytest.approx(0.8)
    assert first(RougeMorpheme, "학교에 갔다", "학교는 갔다.") == pytest.approx(0.8)


@pytest.mark.parametrize("kind", ROUGES)
def test_what_is_too_short_for_a_pair_can_still_be_right(kind: type[RowMetric]) -> None:
    """EV-04: rouge_score gives rouge-2 of 0 to one equal word."""
    assert set(figures(kind, row("네", "네")).values()) == {1.0}
    assert set(figures(kind, row("!!!", "!!!")).values()) == {1.0}
    assert set(figures(kind, row("!!!", "?")).values()) == {0.0}


def test_a_missing_analyser_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(ModelError, match=r'^metric "rouge-l-morpheme" needs .*mulgil\[korean\].*$'):
        RougeMorpheme()


# ---------------------------------------------------------------- sacrebleu


def test_sums_of_rows_agree_with_sacrebleus_public_door() -> None:
    """EV-01: the two methods that are not public still mean what `corpus_score` means."""
    from sacrebleu.metrics import BLEU, CHRF

    scored = mixed()
    texts, references = _sacrebleu.prepared(scored)
    public = {
        "bleu": BLEU(),
        "bleu-character": BLEU(tokenize="char"),
        "chrf": CHRF(word_order=2),
    }
    found = figures(Bleu, scored) | figures(Chrf, scored)
    for name, scorer in public.items():
        expected = scorer.corpus_score(texts, references).score / 100
        assert 0 < expected < 1
        assert found[name] == pytest.approx(expected, abs=1e-12)


def test_sacrebleus_signatures_are_those_of_the_docstrings() -> None:
    """G22: the rule stands beside the figure."""
    from mulgil.metrics import bleu, chrf

    for kind, page, scorers in (
        (Bleu, bleu, list(made(Bleu)._scorers.values())),  # type: ignore[attr-defined]
        (Chrf, chrf, [made(Chrf)._scorer]),  # type: ignore[attr-defined]
    ):
        for scorer in scorers:
            scorer.corpus_score([TEXTS[0]], [[TEXTS[0]]])
            signature = str(scorer.get_signature()).partition("|version")[0]
            assert signature in str(page.__doc__), kind


def test_a_missing_sacrebleu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    for kind, name in ((Bleu, "bleu"), (Chrf, "chrf")):
        with pytest.raises(ModelError, match=rf'^metric "{name}" needs .*mulgil\[writing\].*$'):
            kind()


# ---------------------------------------------------------------- distinct


def test_distinct_by_hand() -> None:
    """Li et al. 2016 divide pairs by units: three words give two pairs, so 2 / 3."""
    found = figures(Distinct, Written((("",),) * 2, ("가나 다 가나", "가나 다")))
    assert found == pytest.approx(
        {
            "distinct-1": 2 / 5,
            "distinct-2": 2 / 5,
            "distinct-1-character": 3 / 8,
            "distinct-2-character": 3 / 8,
        }
    )


@given(st.lists(st.text("가나 다", max_size=8), max_size=5))
def test_distinct_agrees_with_a_naive_count(texts: list[str]) -> None:
    """EV-01; equal texts are counted once a row, never once for all."""
    found = figures(Distinct, Written((("",),) * len(texts), tuple(texts)))
    for suffix, cut in (("", str.split), ("-character", lambda text: list("".join(text.split())))):
        units = [cut(text) for text in texts]
        pairs = Counter(pair for unit in units for pair in itertools.pairwise(unit))
        written = sum(map(len, units))
        expected = [len(set().union(*units)) / written, len(pairs) / written] if written else [0, 0]
        assert [found["distinct-1" + suffix], found["distinct-2" + suffix]] == expected

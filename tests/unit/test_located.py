"""Spans through windows and back: every character keeps its place, whatever the vocabulary does."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from mulgil import hangul
from mulgil.errors import ModelError
from mulgil.examples import EntitiesExample, QuestionExample, Span
from mulgil.tasks import _spans
from mulgil.tasks.ner import Ner, NerSettings
from mulgil.tasks.qa import Qa, QaSettings
from mulgil.tokenizers._located import LocatedRows
from mulgil.tokenizers.subword import Subword, SubwordSettings
from span_rows import entity_rows, every_tokenizer, lost_answers, lost_entities, question_rows, text

LENGTH, STRIDE = 64, 24
NAMES = (
    *("wordpiece", "bpe", "bpe with bytes", "unigram", "unigram with bytes"),
    *("syllable", "jamo", "byte-level", "dropping", "folding"),
)
CHECKPOINT = Path(os.environ.get("MULGIL_ME5", ".cache/me5-small"))
NER = Ner(NerSettings(stride=STRIDE))
QA = Qa(QaSettings(stride=STRIDE, max_answer=40, no_answer=True))


@pytest.fixture(scope="module")
def learnt(korean_texts: list[str]) -> dict[str, Subword]:
    """Return a tokenizer of each sort."""
    return every_tokenizer(korean_texts[:150], LENGTH)


def located(tokenizer: Subword, texts: list[Any], stride: int = STRIDE) -> LocatedRows:
    found = tokenizer.located(texts, stride)
    assert isinstance(found, LocatedRows)
    return found


def windows(encoded: LocatedRows, owner: int) -> list[tuple[list[int], list[tuple[int, ...]]]]:
    """Return ids and units (token, place, character) of each window of a text."""
    found = []
    for number in np.flatnonzero(encoded.owners == owner):
        ids = encoded.flat[encoded.starts[number] : encoded.starts[number + 1]].tolist()
        a, b = encoded._begins[number : number + 2]
        found.append((ids, [tuple(unit) for unit in encoded._units[a:b].tolist()]))
    return found


def plain(text: str) -> list[int]:
    """Return the characters of a composed text that are no white space."""
    return [i for i, character in enumerate(text) if not character.isspace()]


# ---------------------------------------------------------------- there and back


def check(tokenizer: Subword, count: int, seed: int, words: list[str]) -> None:
    """Send rows there and back: a third with answers, two thirds with entities."""
    entities = entity_rows(count - count // 3, seed, words)
    questions = question_rows(count // 3, seed, words)
    schema = NER.schema(entities)
    assert [row for row in entities if NER.problem(row, schema)] == []
    assert [row for row in questions if QA.problem(row, QA.schema([]))] == []
    assert sum(len(row.entities or ()) for row in entities) > count // 3
    assert lost_entities(tokenizer, entities, NER) == []
    assert lost_answers(tokenizer, questions, QA) == []


@pytest.mark.parametrize("name", NAMES)
def test_spans_come_back(name: str, learnt: dict[str, Subword], korean_texts: list[str]) -> None:
    """TK-01, TK-09, TK-10, G18, M19: 3,000 generated rows over all sorts of tokenizers."""
    words = [word for text in korean_texts[:200] for word in text.split()]
    check(learnt[name], 300, 11 + NAMES.index(name), words)


@pytest.mark.real
@pytest.mark.parametrize("name", [*NAMES, "me5", "morpheme"])
def test_spans_of_many_rows_come_back(
    name: str, learnt: dict[str, Subword], korean_texts: list[str]
) -> None:
    """G18: 0 wrong in 100,000 rows and more."""
    words = [word for text in korean_texts for word in text.split()]
    tokenizer = learnt.get(name)
    if name == "me5":
        if not (CHECKPOINT / "tokenizer.json").exists():
            pytest.skip(f"no checkpoint at {CHECKPOINT}; name one in MULGIL_ME5")
        tokenizer = Subword.make(SubwordSettings(max_length=LENGTH), CHECKPOINT.resolve(), [], 1)
    if name == "morpheme":
        pytest.importorskip("kiwipiepy")
        from mulgil.tokenizers.morpheme import Morpheme, MorphemeSettings

        chosen = MorphemeSettings(vocab_size=1200, max_length=LENGTH)
        tokenizer = Morpheme.make(chosen, None, korean_texts[:150], 7)
    assert tokenizer is not None
    for part in range(17):
        check(tokenizer, 500, 1000 * part + len(name), words)


@hypothesis.given(data=strategies.data())
@hypothesis.settings(max_examples=60)
def test_any_text_comes_back(data: strategies.DataObject, learnt: dict[str, Subword]) -> None:
    """TK-01, TK-09: texts that nobody thought of, every span of one character in them."""
    letters = strategies.one_of(
        strategies.characters(),
        strategies.sampled_from([*"가각힣\u1112\u1161\u11ab\u0301\u0323 \u200b\u200d\ufe0f👍.[]"]),
    )
    own = data.draw(strategies.text(letters, min_size=1, max_size=30))
    tokenizer = learnt[data.draw(strategies.sampled_from(NAMES))]
    edges = list(dict.fromkeys(hangul.offsets(own) or [(i, i + 1) for i in range(len(own))]))
    spans = tuple(
        Span(a, b, "곳") for a, b in edges if own[a:b].strip() and own[a:b] == own[a:b].strip()
    )
    hypothesis.assume(spans)
    row = EntitiesExample("1", own, spans)
    assert _spans.fault(own, spans) is None
    assert lost_entities(tokenizer, [row], NER) == []
    for span in spans[:3]:
        asked = QuestionExample("1", "어디?", own, (Span(span.start, span.end),))
        assert lost_answers(tokenizer, [asked], QA) == []


# ---------------------------------------------------------------- units and windows


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stride", [0, STRIDE])
def test_every_character_has_a_unit(
    name: str, stride: int, learnt: dict[str, Subword], korean_texts: list[str]
) -> None:
    """TK-10: also one that a normaliser drops, at the beginning, at the end, between two windows.

    A unit's token is one of the window's own, and the text's tokens are those of `encode`.
    """
    import random

    draw = random.Random(5)
    texts = [text(draw, korean_texts[:30], 30) for _ in range(25)]
    texts += ["\u200b가", "가.\u200b", "\u200b", "가 " * 80, "\u200b가" * 70, "\u0301", ".", "\x00"]
    tokenizer = learnt[name]
    single, double = (
        located(tokenizer, texts, stride),
        located(tokenizer, [("네?", each) for each in texts], stride),
    )
    whole = [*map(tokenizer.ids, map(hangul.normalise, texts))]
    for owner, own in enumerate(texts):
        for encoded, before in ((single, 1), (double, 0)):
            found = windows(encoded, owner)
            assert all(units[0] == (0, 0, -1) for _, units in found)
            seen = set()
            for ids, units in found:
                characters = [character for _, _, character in units[1:]]
                assert characters == sorted(set(characters))
                assert all(place >= 0 and 0 <= token < len(ids) for token, place, _ in units)
                seen |= {*characters}
            assert sorted(seen) == plain(hangul.normalise(own)), own
            if before:  # the text's tokens are whole and in order
                rebuilt = list(found[0][0][1:-1])
                for ids, _ in found[1:]:
                    rebuilt += ids[1:-1][min(stride, (LENGTH - 2) // 2) :]
                assert rebuilt == whole[owner]


def test_a_unit_is_read_off_the_token_that_holds_it(learnt: dict[str, Subword]) -> None:
    """TK-10: characters of one token differ by their place in it; later parts of one get none."""
    units = windows(located(learnt["syllable"], ["나라 말"]), 0)[0][1]
    assert units == [(0, 0, -1), (1, 0, 0), (2, 0, 1), (4, 0, 3)]
    tokenizer = learnt["jamo"]
    ((ids, units),) = windows(located(tokenizer, ["각 나"]), 0)
    assert [tokenizer.backend.id_to_token(ids[token])[0] for token, _, _ in units] == [
        "[",
        "\u1100",
        "\u1102",
    ]
    backend = learnt["dropping"]
    ((ids, units),) = windows(located(backend, ["\u200b\u200b12\u200b3\u200b"]), 0)
    assert [character for _, _, character in units] == [-1, *range(7)]
    assert [token for token, _, _ in units[:3]] == [0, 0, 0], "what stands before all tokens"
    assert units[-1][0] == len(ids) - 2


def test_windows_share_the_stride(learnt: dict[str, Subword]) -> None:
    """As many tokens as was asked for, half of the room at most; the last ends with the text."""
    tokenizer = learnt["syllable"]
    letters = "".join(chr(0xAC00 + i) for i in range(300))
    for stride, expected in ((0, 0), (10, 10), (31, 31), (400, 31)):
        found = windows(located(tokenizer, [letters], stride), 0)
        parts = [[character for _, _, character in units[1:]] for _, units in found]
        assert parts[0][0] == 0
        assert parts[-1][-1] == 299
        for one, two in itertools.pairwise(parts):
            assert len({*one} & {*two}) == expected
            assert len(one) == LENGTH - 2
    assert len(windows(located(tokenizer, [letters[:62]], 10), 0)) == 1
    assert len(windows(located(tokenizer, [letters[:63]], 10), 0)) == 2


def test_a_question_stands_whole_in_every_window(learnt: dict[str, Subword]) -> None:
    """But for one that would take more than half of the room: it is cut there, and counted."""
    tokenizer = learnt["syllable"]
    context = "가나다라마바사" * 20
    for asked, kept, cut in (("누가?", 3, 0), ("누" * 30, 30, 0), ("누" * 31, 30, 1)):
        encoded = located(tokenizer, [(asked, context)])
        assert encoded.truncated == cut
        question = tokenizer.ids(asked)[:kept]
        found = windows(encoded, 0)
        assert len(found) > 3
        for ids, _ in found:
            assert len(ids) <= LENGTH
            assert ids[: kept + 2] == [2, *question, 3]
            assert ids[-1] == 3
    kinds = encoded.take(np.array([1, 0]), 8).kinds
    assert kinds is not None
    assert kinds[0].tolist() == [0] * 32 + [1] * 32


def test_batches_say_where_each_unit_is(learnt: dict[str, Subword]) -> None:
    """Of windows in any order: tokens count through the batch as it is padded."""
    tokenizer = learnt["syllable"]
    encoded = located(tokenizer, ["가나다", "라 마" * 30, "바"])
    rows = np.array([3, 1, 0])
    batch = encoded.take(rows, 16)
    ids = batch.ids.reshape(-1)[batch.tokens]
    expected = []
    for row in rows:
        units = encoded.units(int(row))
        own = ("가나다", "라 마" * 30, "바")[encoded.owners[row]]
        expected += [2, *(tokenizer.ids(own[character])[0] for character in units[1:])]
    assert ids.tolist() == expected
    assert batch.counts.tolist() == [len(encoded.units(int(row))) for row in rows]
    assert batch.places.max() == 0
    assert (batch.kinds, batch.targets) == (None, None)


def test_too_little_room(korean_texts: list[str]) -> None:
    tokenizer = Subword.make(
        SubwordSettings(max_length=4, vocab_size=600), None, korean_texts[:50], 7
    )
    assert len(located(tokenizer, ["가나다 라마바"], 64)) > 2
    with pytest.raises(ModelError, match=r"max_length is 4, but a window needs 5") as caught:
        tokenizer.located([("가", "나")], 64)
    assert "\n" not in str(caught.value)
    assert tokenizer.backend.truncation["max_length"] == 4, "the limit is back in its place"


@pytest.mark.parametrize("name", ["wordpiece", "unigram", "byte-level"])
def test_nothing_that_looks_special_is_special(name: str, learnt: dict[str, Subword]) -> None:
    """TK-03: in a question and in a text, and the spans around it are right."""
    context = "[SEP] 서울 [CLS]에서[MASK] </s>부산"
    encoded = located(learnt[name], [("[SEP]어디[PAD]?", context)])
    special = learnt[name]._special
    for ids, _ in windows(encoded, 0):
        assert sum(number in special for number in ids) in {3, 4}
    start = context.index("서울")
    row = QuestionExample("1", "[SEP]어디?", context, (Span(start, start + 2),))
    assert lost_answers(learnt[name], [row], QA) == []


def test_the_unknown_share_of_located_texts(learnt: dict[str, Subword]) -> None:
    tokenizer = learnt["syllable"]
    assert located(tokenizer, ["가𠮷"]).unknown == 0.5
    assert located(tokenizer, ["   "]).unknown == 0.0
    assert len(located(tokenizer, [])) == 0


def test_long_answers_across_windows(learnt: dict[str, Subword]) -> None:
    """TK-09: an answer whose two ends are better seen in different windows is still one answer."""
    context = "".join(chr(0xAC00 + i) for i in range(160))
    rows = [
        QuestionExample("1", "네", context, (Span(start, start + size),))
        for size in (1, 2, 12, 23)
        for start in range(0, 160 - size, 3)
    ]
    assert lost_answers(learnt["syllable"], rows, QA) == []


# ---------------------------------------------------------------- the user's places


@pytest.mark.parametrize(
    "sample", ["각나", "e\u0301a", "\u1100\u1161\u11a8나", "가\u0301\u0323 나", "가나"]
)
def test_places_of_the_user_become_those_of_the_composed_text(sample: str) -> None:
    """TK-01: there and back for every span of whole letters; an edge within one moves outward."""
    edges = hangul.offsets(sample)
    clean = hangul.normalise(sample)
    whole = list(dict.fromkeys(edges or [(i, i + 1) for i in range(len(sample))]))
    for start in range(len(sample)):
        for end in range(start + 1, len(sample) + 1):
            span = hangul.from_user((start, end), edges)
            assert 0 <= span[0] < span[1] <= len(clean)
            wider = hangul.to_user(span, edges)
            first = max(a for a, _ in whole if a <= start)
            last = min(b for _, b in whole if b >= end)
            assert wider == (first, last)
            assert clean[slice(*span)] == hangul.normalise(sample[slice(*wider)])

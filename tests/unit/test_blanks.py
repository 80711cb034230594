"""What masked-lm hides and asks for: shares by counts, in training and in an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pydantic
import pytest

from mulgil.errors import ModelError
from mulgil.flow import UNASKED, Array, Blanks, Template
from mulgil.tasks.masked_lm import MaskedLm, MaskedLmSettings
from mulgil.tokenizers._ragged import TokenInputs
from mulgil.tokenizers._written import put_together

SIZE = 1000
MASK = 4


class Letters:
    """A tokenizer of 5 special tokens and 995 pieces; even ones begin a word."""

    special_ids: ClassVar[dict[str, int]] = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": MASK}
    size = SIZE

    def byte_lengths(self) -> Array:
        sizes = np.arange(SIZE) % 7 + 1.0
        sizes[:5] = 0
        return sizes

    def begins(self) -> Array:
        found: Array = np.arange(SIZE) % 2 == 0
        return found


def asker(**settings: Any) -> Any:
    return MaskedLm(MaskedLmSettings(**settings)).asker(Letters())


def inputs(lengths: Sequence[int], seed: int = 1, width: int = 0) -> TokenInputs:
    """Return framed rows of random pieces, with a stray special token in the longer ones."""
    draw = np.random.default_rng(seed)
    ids = np.zeros((len(lengths), width or max(lengths)), np.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = draw.integers(5, SIZE, length)
        ids[row, 0], ids[row, length - 1] = 2, 3
        if length > 20:
            ids[row, 10] = draw.integers(0, 5)
    return TokenInputs(ids, np.array(lengths))


FULL = inputs([128] * 64)


def rows_of(inputs: TokenInputs) -> Array:
    return np.arange(len(inputs.ids))


def asked_of(blanks: Blanks) -> Array:
    found: Array = blanks.targets != UNASKED
    return found


# ---------------------------------------------------------------- masked-lm in training


def test_the_share_asked_for_is_the_rate_and_what_becomes_of_it_80_10_10() -> None:
    """Devlin et al. 2019, by counts over twenty draws; a batch of a size always asks as many."""
    ask = asker()
    candidates = int((FULL.ids >= 5).sum())
    hidden = swapped = kept = total = 0
    replaced = []
    for draw in range(20):
        blanks = ask(FULL, rows_of(FULL), (7, 0, draw))
        asked = asked_of(blanks)
        assert asked.sum() == round(0.15 * candidates)
        assert (blanks.targets[asked] == FULL.ids[asked]).all()
        assert (blanks.ids[~asked] == FULL.ids[~asked]).all(), "only what is asked for changes"
        seen, meant = blanks.ids[asked], blanks.targets[asked]
        hidden += int((seen == MASK).sum())
        kept += int((seen == meant).sum())
        other = (seen != MASK) & (seen != meant)
        swapped += int(other.sum())
        replaced.append(seen[other])
        total += len(seen)
    assert total > 20_000
    assert hidden / total == pytest.approx(0.8, abs=0.01)
    assert swapped / total == pytest.approx(0.1, abs=0.01)
    assert kept / total == pytest.approx(0.1, abs=0.01)
    words = np.concatenate(replaced)
    assert words.min() >= 5, "a random token is never a special one"
    assert words.max() < SIZE
    assert words.mean() == pytest.approx((5 + SIZE) / 2, rel=0.03), "any piece is as likely"


@pytest.mark.parametrize("whole_words", [False, True])
def test_special_tokens_and_padding_are_never_asked_for(whole_words: bool) -> None:
    ask, ragged = asker(rate=0.8, whole_words=whole_words), inputs([3, 40, 7, 25, 60], width=64)
    for draw in (None, *((7, 0, number) for number in range(30))):
        blanks = ask(ragged, rows_of(ragged), draw)
        asked = asked_of(blanks)
        assert asked.any()
        assert (ragged.ids[asked] >= 5).all()
        assert blanks.ids[asked].min() >= MASK


def test_every_token_is_asked_for_at_some_time() -> None:
    """Also the first and the last of a text: nothing is out of reach of the draws."""
    ask, small = asker(), inputs([30] * 4)
    ever = np.zeros(small.ids.shape, bool)
    for draw in range(150):
        ever |= asked_of(ask(small, rows_of(small), (1, 2, draw)))
    assert (ever == (small.ids >= 5)).all()


def test_whole_words_are_asked_for_all_or_none() -> None:
    """The rate is a share of words then; words of two rows are never one."""
    ask = asker(whole_words=True)
    begins, share = Letters().begins(), []
    for draw in (None, *((3, 1, number) for number in range(10))):
        asked = asked_of(ask(FULL, rows_of(FULL), draw))
        words = chosen = 0
        for row, ids in zip(asked, FULL.ids, strict=True):
            places = np.flatnonzero(ids >= 5)
            starts = np.flatnonzero(begins[ids[places]])
            starts = np.union1d([0], starts)
            for word in np.split(row[places], starts[1:]):
                assert word.all() or not word.any()
                words, chosen = words + 1, chosen + int(word[0])
        share.append(chosen / words)
    assert np.mean(share) == pytest.approx(0.15, abs=0.01)


def test_the_draw_decides_the_blanks() -> None:
    """RS-02: (seed, epoch, place) is all that a resume must know."""
    ask, rows = asker(), rows_of(FULL)
    first, again = ask(FULL, rows, (7, 0, 3)), asker()(FULL, rows, (7, 0, 3))
    assert (first.ids == again.ids).all()
    assert (first.targets == again.targets).all()
    for other in ((8, 0, 3), (7, 1, 3), (7, 0, 4)):
        assert (asked_of(ask(FULL, rows, other)) != asked_of(first)).any()
    before = repr(np.random.get_state())
    ask(FULL, rows, (7, 0, 3))
    assert repr(np.random.get_state()) == before


def test_shares_may_be_all_or_nothing() -> None:
    for hidden, random in ((1.0, 0.0), (0.0, 0.0), (0.0, 1.0)):
        blanks = asker(hidden=hidden, random=random)(FULL, rows_of(FULL), (1, 1, 1))
        asked = asked_of(blanks)
        assert ((blanks.ids[asked] == MASK).mean() == 1) == (hidden == 1)
        same = (blanks.ids[asked] == blanks.targets[asked]).mean()
        assert same == 1 if hidden + random == 0 else same < 0.01
    with pytest.raises(pydantic.ValidationError, match="shares of the same tokens"):
        MaskedLmSettings(hidden=0.9, random=0.2)


# ---------------------------------------------------------------- masked-lm in an evaluation


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("rate", [0.02, 0.15])
def test_an_evaluation_asks_by_the_row_alone(whole_words: bool, rate: float) -> None:
    """EV-05: batch, order and padding change no question, in short rows neither."""
    ask = asker(whole_words=whole_words, rate=rate)
    ragged = inputs([5, 90, 3, 12, 60, 4, 7, 33])
    numbers = np.array([31, 7, 100_000, 0, 5, 6, 4, 2])
    whole = ask(ragged, numbers, None)
    for chosen in ([0], [2], [5], [7, 3], [6, 5, 4, 3, 2, 1, 0], [2, 0]):
        width = int(ragged.lengths[chosen].max()) + 2
        part = TokenInputs(ragged.ids[chosen, :width], ragged.lengths[chosen])
        if part.ids.shape[1] < width:
            part = TokenInputs(np.pad(part.ids, ((0, 0), (0, 2))), part.lengths)
        blanks = ask(part, numbers[chosen], None)
        for place, row in enumerate(chosen):
            length = ragged.lengths[row]
            assert blanks.targets[place, :length].tolist() == whole.targets[row, :length].tolist()
            assert blanks.ids[place, :length].tolist() == whole.ids[row, :length].tolist()
        assert blanks.bytes.tolist() == whole.bytes[chosen].tolist()


def test_an_evaluation_asks_for_the_share_too() -> None:
    asked = asked_of(asker()(FULL, rows_of(FULL), None))
    assert asked.sum() / (FULL.ids >= 5).sum() == pytest.approx(0.15, abs=0.01)


# ---------------------------------------------------------------- masked-lm, the rest


def test_bytes_are_those_of_what_is_asked_for() -> None:
    sizes = Letters().byte_lengths()
    for draw in (None, (1, 2, 3)):
        blanks = asker()(FULL, rows_of(FULL), draw)
        wanted = [sizes[row[row != UNASKED]].sum() for row in blanks.targets]
        assert blanks.bytes.tolist() == wanted


def test_windows_with_nothing_to_ask_for() -> None:
    """A text of unknown characters alone: no question, no crash."""
    empty = TokenInputs(np.array([[2, 1, 3, 0], [2, 3, 0, 0]]), np.array([3, 2]))
    for whole_words in (False, True):
        for draw in (None, (1, 2, 3)):
            blanks = asker(whole_words=whole_words)(empty, np.arange(2), draw)
            assert not asked_of(blanks).any()
            assert blanks.bytes.tolist() == [0, 0]
            assert (blanks.ids == empty.ids).all()


def test_a_short_batch_is_asked_for_one_token_at_least() -> None:
    """A batch without a question would be a step without a gradient."""
    short = inputs([3])
    for whole_words in (False, True):
        for draw in range(5):
            blanks = asker(rate=0.01, whole_words=whole_words)(short, np.arange(1), (0, 0, draw))
            assert asked_of(blanks).sum() == 1


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    class NoMask(Letters):
        special_ids: ClassVar[dict[str, int]] = {"pad": 0, "bos": 2, "eos": 3}

    with pytest.raises(ModelError, match="no mask token") as caught:
        MaskedLm(MaskedLmSettings()).asker(NoMask())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("two", [False, True])
def test_a_target_that_is_cut_has_no_end(two: bool) -> None:
    """Of 4 tokens at most: 3 and their end, or the first 4; nobody learns to stop too early."""
    targets = [[11, 12, 13], [11, 12, 13, 14], [11, 12, 13, 14, 15], []]
    rows = put_together(
        [("글", "가나다라마"[: len(ids)]) for ids in targets],
        ([], []),
        [[7]] * 4,
        targets,
        Template(((2,), ()), ((0,), ()), (0,)),
        3,
        two=two,
        most=4,
        max_length=9,
        pad=0,
        unknown=None,
    )
    found = rows.take(np.arange(4), 1)
    asked = [[*row[row != UNASKED]] for row in found.targets]
    assert asked == [[11, 12, 13, 3], [11, 12, 13, 14], [11, 12, 13, 14], [3]]
    assert rows.truncated == 2
    assert found.bytes.tolist() == pytest.approx([9, 12, 15 * 4 / 5, 0])

"""Batches: every row once, under both budgets, in an order that a resume can find again."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulgil.flow import Array, Batch
from mulgil.loader import BULK, BatchLoader
from mulgil.recipe import LoaderSettings

Width = Literal["longest", "sum", "none"]


class Rows:
    """Encoded rows of given lengths; remembers what was taken."""

    owners: Array | None = None

    def __init__(self, lengths: list[int], width: Width = "longest") -> None:
        self.lengths: Array = np.array(lengths, np.int64)
        self.width = width
        self.texts = len(lengths)
        self.truncated, self.unknown = 0, 0.0
        self.taken: list[Array] = []
        self.bad = -1

    def take(self, rows: Array, multiple: int) -> tuple[int, int]:
        """Return the shape of the batch."""
        if self.bad in rows:
            raise ValueError("row 5 is damaged")
        self.taken.append(rows)
        width = -(-int(self.lengths[rows].max(initial=1)) // multiple) * multiple
        return len(rows), width

    def arrays(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self.lengths)


def loader(
    lengths: list[int], seed: int = 7, width: Width = "longest", **settings: Any
) -> BatchLoader:
    return BatchLoader(Rows(lengths, width), None, LoaderSettings(**settings), seed)


def rows(batches: Any) -> list[int]:
    return [int(row) for batch in batches for row in batch.rows]


LENGTHS = st.lists(st.integers(0, 200), max_size=120)
SETTINGS = st.fixed_dictionaries(
    {
        "rows": st.integers(1, 20),
        "tokens": st.integers(8, 600),
        "multiple": st.sampled_from([1, 8, 16]),
        "window": st.integers(1, 5),
        "prefetch": st.just(0),
    }
)


@given(LENGTHS, SETTINGS, st.integers(0, 3), st.integers(0, 99))
def test_every_row_once_under_both_budgets(
    lengths: list[int], settings: dict[str, Any], epoch: int, start: int
) -> None:
    """Also the property that a resume rests on: from `start` on is the rest of the same epoch."""
    made = loader(lengths, **settings)
    batches = list(made.epoch(epoch))
    assert sorted(rows(batches)) == list(range(len(lengths)))
    assert len(batches) == made.batches(epoch)
    for count, width in [batch.inputs for batch in batches]:
        assert 1 <= count <= settings["rows"]
        assert width % settings["multiple"] == 0
        assert count == 1 or count * width <= settings["tokens"]
    again = loader(lengths, **settings)
    suffix = [batch.rows.tolist() for batch in again.epoch(epoch, start)]
    assert suffix == [batch.rows.tolist() for batch in batches[start:]]
    assert sorted(rows(again.in_order())) == list(range(len(lengths)))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    """TR-07: not of what was asked before, nor of the prefetching."""
    lengths = [i % 37 for i in range(500)]
    first = loader(lengths)
    orders = [rows(first.epoch(epoch)) for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert rows(loader(lengths, prefetch=0).epoch(1)) == orders[1]
    assert rows(loader(lengths, seed=8).epoch(0)) != orders[0]
    before = repr(np.random.get_state())
    list(loader(lengths).epoch(0))
    assert repr(np.random.get_state()) == before


def test_rows_are_mixed_over_the_whole_part() -> None:
    """Bucketing orders by length within a window only: the first batch is no sorted slice."""
    lengths = list(range(2000))
    order = rows(loader(lengths, rows=8, tokens=1 << 24, window=4).epoch(0))
    assert order != sorted(order)
    seen = np.array(order[:400])
    assert seen.mean() == pytest.approx(1000, abs=100)
    assert seen.max() - seen.min() > 1800


def test_bucketing_saves_padding() -> None:
    lengths = [int(x) for x in np.random.default_rng(1).integers(4, 128, 3000)]

    def cells(window: int) -> int:
        made = loader(lengths, tokens=2048, window=window)
        return sum(count * width for count, width in (b.inputs for b in made.epoch(0)))

    real = sum(lengths)
    assert cells(1) > 1.4 * real
    assert cells(64) < 1.15 * real


def test_lengths_make_few_shapes() -> None:
    """A new width costs a kernel build: at most one a multiple."""
    lengths = [int(x) for x in np.random.default_rng(1).integers(1, 129, 3000)]
    widths = {batch.inputs[1] for batch in loader(lengths, multiple=16).epoch(0)}
    assert widths <= set(range(16, 129, 16))


def test_in_order_goes_from_the_longest_down() -> None:
    """What needs the most memory comes first, so that a run fails at once or not at all."""
    made = loader([3, 9, 9, 1, 50], rows=2)
    batches = list(made.in_order())
    assert rows(batches) == [4, 1, 2, 0, 3]
    assert [batch.inputs for batch in batches] == [(2, 56), (2, 16), (1, 8)]


def test_rows_without_a_width_come_in_bulk() -> None:
    made = loader([100_000] * (BULK + 1), width="none", tokens=8)
    assert [len(batch.rows) for batch in made.in_order()] == [BULK, 1]


@given(st.lists(st.integers(1, 200), max_size=120), SETTINGS, st.integers(0, 3))
def test_packed_rows_fill_the_budget_in_the_drawn_order(
    lengths: list[int], settings: dict[str, Any], epoch: int
) -> None:
    """Windows cost their own length: no row limit, no padding, no batch that could hold more."""
    made, budget = loader(lengths, width="sum", **settings), settings["tokens"]
    for batches in (list(made.epoch(epoch)), list(made.in_order())):
        assert sorted(rows(batches)) == list(range(len(lengths)))
        for batch in batches:
            assert len(batch.rows) == 1 or made.encoded.lengths[batch.rows].sum() <= budget
    if lengths:
        order = np.random.default_rng([7, epoch]).permutation(len(lengths))
        size = settings["rows"] * settings["window"]
        for batch in made.epoch(epoch):
            places = [order.tolist().index(row) for row in batch.rows]
            assert places == list(range(places[0], places[0] + len(places)))
            assert places[0] // size == places[-1] // size


def test_a_packed_batch_takes_all_that_fits() -> None:
    made = loader([5, 4, 3, 2, 1, 20], width="sum", tokens=10)
    assert [batch.rows.tolist() for batch in made.in_order()] == [[5], [0, 1], [2, 3, 4]]


# ---------------------------------------------------------------- what is asked


class Recording:
    """Asks nothing: says of what it was to be asked."""

    def __call__(self, inputs: Any, rows: Array, draw: Any) -> Any:
        return inputs, rows.tolist(), draw


@pytest.mark.parametrize("prefetch", [0, 2])
def test_blanks_are_drawn_by_seed_epoch_and_place(prefetch: int) -> None:
    """RS-05: a resumed epoch asks what it would have asked; an evaluation has no draw at all."""
    settings = LoaderSettings(rows=4, prefetch=prefetch)
    made = BatchLoader(Rows([5] * 22), None, settings, 9, Recording())  # type: ignore[arg-type]
    batches = list(made.epoch(2))
    assert [batch.inputs[2] for batch in batches] == [(9, 2, number) for number in range(6)]
    assert all(batch.inputs[1] == batch.rows.tolist() for batch in batches)
    later = [batch.inputs for batch in made.epoch(2, 4)]
    assert later == [batch.inputs for batch in batches[4:]]
    assert [batch.inputs[2] for batch in made.in_order()] == [None] * 6


def test_targets_go_with_their_rows() -> None:
    targets = np.arange(50) * 10
    made = BatchLoader(Rows([5] * 50), targets, LoaderSettings(rows=7), 1)
    for batch in itertools.chain(made.epoch(0), made.in_order()):
        assert batch.targets is not None
        assert (batch.targets == batch.rows * 10).all()


def test_no_rows_are_no_batches() -> None:
    made = loader([])
    assert (len(made), made.batches(0), list(made.epoch(0)), list(made.in_order())) == (
        0,
        0,
        [],
        [],
    )


# ---------------------------------------------------------------- the thread


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "mulgil-prefetch"]


def gone() -> bool:
    """Wait for the prefetching threads to end, a second at most."""
    until = time.monotonic() + 1
    while threads() and time.monotonic() < until:
        time.sleep(0.01)
    return not threads()


@pytest.mark.parametrize("prefetch", [1, 2, 64])
def test_the_thread_ends_when_the_reader_stops_early(prefetch: int) -> None:
    """TR-12: a signal, an error or `break` in the loop leaves no thread behind."""
    batches = loader([5] * 1000, rows=1, prefetch=prefetch).epoch(0)
    assert isinstance(next(batches), Batch)
    assert threads()
    batches.close()  # type: ignore[attr-defined]
    assert gone()


def test_the_thread_ends_when_the_reader_is_done() -> None:
    assert len(list(loader([5] * 100, rows=1).epoch(0))) == 100
    assert gone()


def test_the_thread_makes_no_more_than_was_asked() -> None:
    made = loader([5] * 100, rows=1, prefetch=3)
    batches = made.epoch(0)
    next(batches)
    time.sleep(0.2)
    assert len(made.encoded.taken) <= 1 + 3 + 1  # type: ignore[attr-defined]
    batches.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_in_the_thread_is_raised_in_the_loop(prefetch: int) -> None:
    """TR-06: never a hang, never a batch that is silently left out."""
    made = loader([5] * 10, rows=1, window=1, prefetch=prefetch)
    made.encoded.bad = 5  # type: ignore[attr-defined]
    place = rows(loader([5] * 10, rows=1, window=1).epoch(0)).index(5)
    seen: list[Batch] = []
    with pytest.raises(ValueError, match="row 5 is damaged"):
        seen.extend(made.epoch(0))
    batches = made.epoch(0)
    for _ in range(place):
        next(batches)
    with pytest.raises(ValueError, match="row 5 is damaged"):
        next(batches)
    assert gone()


def test_a_slow_reader_gets_every_batch() -> None:
    made = loader([5] * 20, rows=2, prefetch=1)
    found = []
    for batch in made.epoch(0):
        time.sleep(0.002)
        found.append(batch)
    assert sorted(rows(found)) == list(range(20))
    assert len(found) == 10

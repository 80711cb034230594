"""Bootstrap intervals: seeded, about as wide as they should be, defined at the edges."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from judged_rows import READ, Maker, ratings, several, single

from mulgil import statistics
from mulgil.flow import Array
from mulgil.judged import Scored
from mulgil.metrics.auc import Auc
from mulgil.metrics.ece import Ece
from mulgil.metrics.spearman import Spearman
from mulgil.objectives import Metric, RowMetric
from mulgil.statistics import Interval, at_edge, bootstrap, bootstrap_sums


def mean_of(values: Array, **more: float) -> object:
    return lambda rows: {"mean": float(values[rows].mean()), **more}


def interval(values: Array, seed: int = 1, **keywords: float) -> Interval:
    return bootstrap(mean_of(values), len(values), seed=seed, **keywords)["mean"]  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).normal(size=80)
    assert interval(values) == interval(values)
    assert interval(values) != interval(values, seed=2)
    assert interval(values).value == pytest.approx(values.mean())


def test_it_is_as_wide_as_the_normal_theory_says() -> None:
    """For a mean of many rows the percentile interval is the mean +- 1.96 standard errors."""
    values = np.random.default_rng(3).normal(5, 2, size=2_000)
    found = interval(values)
    error = values.std() / math.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.25 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.25 * error)
    narrow = interval(values, level=0.5)
    assert narrow.high - narrow.low == pytest.approx(2 * 0.674 * error, rel=0.15)


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    """300 test sets of 100 rows from a model that is right 8 times in 10: 95 % intervals."""
    draw = np.random.default_rng(11)
    hits = 0
    for trial in range(300):
        right = (draw.random(100) < 0.8).astype(float)
        found = interval(right, seed=trial, resamples=300)
        hits += found.low <= 0.8 <= found.high
    assert 0.89 <= hits / 300 <= 0.985


@pytest.mark.parametrize("values", [[1.0], [0.0] * 50, [1.0, 1.0]])
def test_rows_that_are_all_alike_leave_no_doubt(values: list[float]) -> None:
    found = interval(np.array(values))
    assert found == Interval(values[0], values[0], values[0])


def test_a_figure_that_is_not_always_there() -> None:
    """One that no resample has keeps its value; one that only a resample has is left out."""
    values = np.arange(10.0)

    def compute(rows: Array) -> dict[str, float]:
        found = {"mean": float(values[rows].mean())}
        whole = len(set(rows.tolist())) == 10
        return found | ({"rare": 3.0} if whole else {"new": 1.0})

    found = bootstrap(compute, 10, seed=1, resamples=50)
    assert set(found) == {"mean", "rare"}
    assert found["rare"] == Interval(3.0, 3.0, 3.0)


def test_a_figure_that_leans_is_inside_its_interval() -> None:
    """Calibration error of few rows is higher in every resample than in the rows themselves."""
    draw = np.random.default_rng(5)
    share = draw.uniform(0.4, 1.0, size=200)
    shares = np.stack([1 - share, share], axis=1)
    gold = (draw.random(200) < share).astype(np.int64)
    scored = Scored(gold, shares.argmax(axis=1), shares, ("no", "yes"))
    found = bootstrap(lambda rows: Ece().compute(scored.take(rows)), 200, seed=1)["ece"]
    assert 0.0 <= found.low < found.value < found.high <= 1.0


def test_shares_at_the_edge_have_wilsons_interval() -> None:
    """20 of 20: from 20 / (20 + 1.96^2) on; a figure that is no share stays as it is."""
    assert at_edge(Interval(1.0, 1.0, 1.0), 20) == Interval(
        1.0, pytest.approx(0.838875, abs=1e-6), 1.0
    )
    assert at_edge(Interval(0.0, 0.0, 0.0), 20) == Interval(
        0.0, 0.0, pytest.approx(0.161125, abs=1e-6)
    )
    for found, trials in ((Interval(0.9, 0.7, 1.0), 20), (Interval(1.0, 1.0, 1.0), 0)):
        assert at_edge(found, trials) == found


@pytest.mark.parametrize(("metric", "make"), [(Auc, single), (Auc, several), (Spearman, ratings)])
def test_what_ranks_gives_the_figures_of_the_slow_way(metric: type[Metric], make: Maker) -> None:
    """EV-11: the order is found once; each draw has the figures of rows taken out and ranked."""
    for seed in range(20):
        draw = np.random.default_rng(seed)
        scored, made = make(draw), metric()
        figures = made.drawn(scored)
        for _ in range(5):
            rows = draw.integers(0, len(scored), len(scored))
            assert figures(rows) == made.compute(scored.take(rows))


# ---------------------------------------------------------------- figures that are sums


@pytest.mark.parametrize(
    ("metric", "make"), [(metric, make) for metric, make in READ if issubclass(metric, RowMetric)]
)
def test_sums_give_the_intervals_of_the_slow_way(metric: type[RowMetric], make: Maker) -> None:
    """EV-11: the same resamples, so the same interval of each figure."""
    for seed in range(5):
        scored, made = make(np.random.default_rng(seed)), metric()
        parts = {"it": (made.rows(scored), made.figures)}
        assert len(parts["it"][0]) == len(scored)
        quick = bootstrap_sums(parts, len(scored), seed=seed, resamples=40)["it"]
        slow = bootstrap(
            lambda rows, scored=scored: metric().compute(scored.take(rows)),  # type: ignore[misc]
            len(scored),
            seed=seed,
            resamples=40,
        )
        assert quick.keys() == slow.keys()
        for name, found in slow.items():
            assert quick[name].as_dict() == pytest.approx(found.as_dict(), rel=1e-9, abs=1e-9)


def sums(rows: int, resamples: int) -> dict[str, Interval]:
    values = np.random.default_rng(0).normal(size=(rows, 2))
    parts = {
        "mean": (values[:, :1], lambda total, count: {"mean": float(total[0] / count)}),
        "other": (values, lambda total, count: {"other": float(total[1] / count)}),
    }
    found = bootstrap_sums(parts, rows, seed=1, resamples=resamples)
    assert list(found) == ["mean", "other"]
    assert found["mean"]["mean"] != found["other"]["other"]
    assert found["mean"]["mean"].value == pytest.approx(values[:, 0].mean())
    return found["mean"] | found["other"]


@pytest.mark.parametrize("chunk", [1, 8 * 50 * 7, 8 * 50 * 30])
def test_chunks_change_nothing(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the last one is short."""
    whole = sums(50, 30)
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    assert {name: found.as_dict() for name, found in sums(50, 30).items()} == {
        name: pytest.approx(found.as_dict(), rel=1e-12) for name, found in whole.items()
    }


def test_many_rows_and_resamples_take_little_memory() -> None:
    """100 resamples of 100,000 rows are 80 MB at once; they are never there at once."""
    tracemalloc.start()
    sums(100_000, 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


def test_no_figure_and_no_row_need_no_resample() -> None:
    """EV-04."""
    assert bootstrap_sums({}, 10, seed=1) == {}
    none = bootstrap_sums({"none": (np.zeros((0, 1)), lambda *_: {"it": 0.0})}, 0, seed=1)
    assert none == {"none": {"it": Interval(0.0, 0.0, 0.0)}}


def test_how_it_reads() -> None:
    found = Interval(0.5, 0.25, 0.75)
    assert str(found) == "0.5000 [0.2500, 0.7500]"
    assert found.as_dict() == {"value": 0.5, "low": 0.25, "high": 0.75}
    assert statistics.describe(50_000, 7) == (
        "95% bootstrap over 50,000 test rows, 1,000 resamples, seed 7, shifted by its bias;"
        " Wilson's where all or none are right"
    )

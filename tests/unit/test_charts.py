"""The small charts: round ticks, honest thinning and smoothing, nothing drawn that is no number."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mulgil.report import charts


@pytest.mark.parametrize(
    ("least", "most"), [(0, 1), (0.8, 0.873), (0, 0), (5, 5), (-3, 7), (0, 1234567), (1e-6, 5e-5)]
)
def test_ticks_are_round_and_reach_around(least: float, most: float) -> None:
    marks = charts.ticks(least, most)
    assert 2 <= len(marks) <= 8
    assert marks[0] <= least
    assert marks[-1] >= most
    assert np.allclose(np.diff(marks), marks[1] - marks[0])


def test_thinning_keeps_spikes() -> None:
    points = [(float(i), 1.0) for i in range(10_000)]
    points[4321] = (4321.0, 99.0)
    kept = charts.thin(points)
    assert len(kept) <= charts.MOST_POINTS
    assert (4321.0, 99.0) in kept
    assert kept == sorted(kept)


def test_smoothing_is_the_centred_mean() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=200)
    means = charts.smooth([(float(i), float(v)) for i, v in enumerate(values)])
    assert means[100][1] == pytest.approx(values[95:106].mean())
    assert means[0][1] == pytest.approx(values[:6].mean())


def test_what_is_not_a_number_is_not_drawn() -> None:
    drawn = charts.lines([charts.Series("raw", [(1, math.nan), (2, math.inf), (3, 1.0)])], "loss")
    assert drawn is not None
    assert "nan" not in drawn
    assert "inf" not in drawn
    assert charts.lines([charts.Series("raw", [(1, math.nan)])], "loss") is None


def test_grid_figures_share_their_decimals() -> None:
    assert charts.labels([0.75, 0.8, 0.85], share=False) == ["0.75", "0.80", "0.85"]
    assert charts.labels([0, 500, 1000], share=False) == ["0", "500", "1,000"]
    assert charts.labels([0.25, 1], share=True) == ["25%", "100%"]

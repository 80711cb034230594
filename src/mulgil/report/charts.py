"""Small charts as inline SVG: lines, a reliability diagram, bars, an interval, a spark line.

Chosen: some hundred lines that write SVG text, coloured by the page's style sheet, so that a
report needs no script and follows light and dark; a drawing library costs 60 MB of wheels and a
megabyte of script in each report. It costs interaction: nothing zooms, so the figures stand
beside the lines.

Every chart is drawn on a canvas of a phone's width, so that its letters stay legible there; long
series are thinned to the least and greatest of each stretch, so that spikes stay visible.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from markupsafe import Markup, escape

Point = tuple[float, float]

WIDTH, HEIGHT, TALL = 420, 250, 400
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 36
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_POINTS = 400
"""Points that a line is drawn with at most."""


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart.

    Attributes:
        kind: class for the style sheet: "raw", "smooth" or "valid".
        points: (x, y), x ascending; points that are not finite are left out.
        dots: whether each point gets a dot.
    """

    kind: str
    points: Sequence[Point]
    dots: bool = False


@dataclasses.dataclass(slots=True)
class Bin:
    """Answers whose confidence lies in one stretch.

    Attributes:
        rows: how many.
        right: how many of them were right.
        confidence: the sum of their confidences.
    """

    rows: int = 0
    right: int = 0
    confidence: float = 0.0


class _Canvas:
    """A drawing with a scale: data in, SVG coordinates out."""

    def __init__(self, x: Point, y: Point, label: str, height: int = HEIGHT) -> None:
        self.x, self.y, self.label, self.height = x, y, label, height
        self.parts: list[str] = []

    def at(self, x: float, y: float) -> Point:
        (x0, x1), (y0, y1) = self.x, self.y
        across = (x - x0) / ((x1 - x0) or 1)
        up = (y - y0) / ((y1 - y0) or 1)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            self.height - BOTTOM - up * (self.height - TOP - BOTTOM),
        )

    def line(self, kind: str, points: Sequence[Point]) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*p) for p in points))
        self.parts.append(f'<polyline class="{kind}" points="{path}"/>')

    def dot(self, kind: str, point: Point, radius: float) -> None:
        x, y = self.at(*point)
        self.parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>')

    def bar(self, kind: str, x: Point, y: Point) -> None:
        (left, bottom), (right, top) = self.at(x[0], y[0]), self.at(x[1], y[1])
        self.parts.append(
            f'<rect class="{kind}" x="{left + 1:.1f}" y="{top:.1f}"'
            f' width="{max(right - left - 2, 1):.1f}" height="{max(bottom - top, 0):.1f}"/>'
        )

    def text(self, kind: str, x: float, y: float, words: str, anchor: str = "middle") -> None:
        self.parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}'
            "</text>"
        )

    def axes(
        self,
        across: Sequence[float],
        up: Sequence[float],
        name: str,
        shares: str,
        side: str = "",
    ) -> None:
        """Draw grid lines with their figures.

        Args:
            across: where lines cross the axis below.
            up: where they cross the axis at the side.
            name: of the axis below.
            shares: names the axes that are percentages.
            side: name of the axis at the side.
        """
        for y, figure in zip(up, labels(up, "y" in shares), strict=True):
            self.line("grid", [(self.x[0], y), (self.x[1], y)])
            self.text("tick", LEFT - 8, self.at(0, y)[1] + 4, figure, "end")
        for x, figure in zip(across, labels(across, "x" in shares), strict=True):
            self.text("tick", self.at(x, 0)[0], self.height - BOTTOM + 17, figure)
        self.text("axis", (LEFT + WIDTH - RIGHT) / 2, self.height - 3, name)
        if side:
            self.text("axis", LEFT + 6, TOP + 12, side, "start")

    def drawn(self) -> Markup:
        # Every part was built here from numbers, fixed words and escaped text.
        return Markup(
            f'<svg class="chart" viewBox="0 0 {WIDTH} {self.height}" role="img"'
            f' aria-label="{escape(self.label)}">{"".join(self.parts)}</svg>'
        )


def lines(series: Sequence[Series], label: str, best: Point | None = None) -> Markup | None:
    """Draw lines over steps, or return None when there is no finite point.

    Args:
        series: drawn in this order, the last on top.
        label: what the chart shows, for screen readers.
        best: a point to mark with a ring and its figure.
    """
    shown = [dataclasses.replace(s, points=thin(finite(s.points))) for s in series]
    points = [point for s in shown for point in s.points]
    if not points:
        return None
    across = ticks(0, max(x for x, _ in points))
    up = ticks(min(y for _, y in points), max(y for _, y in points))
    most = max(max(x for x, _ in points), across[0] + 1)
    canvas = _Canvas((0, most), (up[0], up[-1]), label)
    canvas.axes([x for x in across if x <= most], up, "step", shares="")
    for s in shown:
        if len(s.points) > 1:
            canvas.line(s.kind, s.points)
        if s.dots or len(s.points) == 1:
            for point in s.points:
                canvas.dot(f"{s.kind} dot", point, 2.5)
    if best:
        canvas.dot("best", best, 5.5)
        x, y = canvas.at(*best)
        anchor = "end" if x > WIDTH * 0.8 else "start" if x < LEFT + 40 else "middle"
        canvas.text("best", x, y - 11 if y > TOP + 16 else y + 21, f"{best[1]:.3f}", anchor)
    return canvas.drawn()


def reliability(bins: Sequence[Bin]) -> Markup:
    """Draw the share that is right over the confidence; on the dashed line the two agree.

    A dot's area tells how many answers its bin holds, its stem how far it is from the line.
    """
    canvas = _Canvas((0, 1), (0, 1), "Reliability diagram: share right over confidence")
    canvas.axes(QUARTERS, QUARTERS, "confidence", shares="xy")
    canvas.line("ideal", [(0, 0), (1, 1)])
    most = max((b.rows for b in bins), default=0)
    for b in bins:
        if b.rows:
            sure, right = b.confidence / b.rows, b.right / b.rows
            canvas.line("stem", [(sure, sure), (sure, right)])
            canvas.dot("bin", (sure, right), 2.5 + 8 * math.sqrt(b.rows / most))
    return canvas.drawn()


def sureness(bins: Sequence[Bin]) -> Markup:
    """Draw how many answers have which confidence, right ones below and wrong ones on top."""
    up = ticks(0, max(4, *(b.rows for b in bins)))
    canvas = _Canvas((0, 1), (0, up[-1]), "Number of right and wrong answers over confidence")
    canvas.axes(QUARTERS, up, "confidence", shares="x")
    for i, b in enumerate(bins):
        span = (i / len(bins), (i + 1) / len(bins))
        canvas.bar("right", span, (0, b.right))
        canvas.bar("wrong", span, (b.right, b.rows))
    return canvas.drawn()


def histogram(counts: Sequence[int], across: Point, middle: float, name: str) -> Markup:
    """Draw how many fall into each of the equal stretches of a scale.

    Args:
        counts: how many, a figure a stretch.
        across: where the scale begins and ends.
        middle: the median, marked by a line.
        name: of the scale.
    """
    up = ticks(0, max(4, *counts))
    marks = ticks(*across, about=6)
    canvas = _Canvas(across, (0, up[-1]), f"How many over {name}")
    canvas.axes([x for x in marks if across[0] <= x <= across[1]], up, name, shares="")
    width = (across[1] - across[0]) / len(counts)
    for i, count in enumerate(counts):
        left = across[0] + i * width
        canvas.bar("right", (left, left + width), (0, count))
    canvas.line("middle", [(middle, 0), (middle, up[-1])])
    return canvas.drawn()


def scatter(points: Sequence[Point], name: str, other: str) -> Markup | None:
    """Draw a dot a row, both axes on one scale; None when there is no finite point.

    Args:
        points: (x, y) of each row; dots are see-through, so that a crowd looks dark.
        name: of the axis across.
        other: of the axis upwards.
    """
    shown = finite(points)
    if not shown:
        return None
    both = [value for point in shown for value in point]
    marks = ticks(min(both), max(both), about=5)
    ends = (marks[0], marks[-1])
    canvas = _Canvas(ends, ends, f"{other} over {name}, a dot a row", TALL)
    canvas.axes(marks, marks, name, shares="", side=other)
    canvas.line("ideal", [(ends[0], ends[0]), (ends[1], ends[1])])
    for point in shown:
        canvas.dot("point", point, 2.6)
    return canvas.drawn()


def interval(value: float, low: float, high: float) -> Markup:
    """Draw a share with its interval on a scale from 0 to 1, as wide as the table cell."""
    at, left, right = (100 * min(max(v, 0.0), 1.0) for v in (value, low, high))
    style = f"--at:{at:.2f};--low:{left:.2f};--high:{right:.2f}"
    return Markup('<span class="interval" style="{}" aria-hidden="true"></span>').format(style)


def spark(points: Sequence[Point]) -> Markup | None:
    """Draw a bare line, without figures; None for fewer than two finite points."""
    shown = thin(finite(points))
    if len(shown) < 2:
        return None
    least, most = min(y for _, y in shown), max(y for _, y in shown)
    span, first = (most - least) or 1, shown[0][0]
    width = (shown[-1][0] - first) or 1
    path = " ".join(
        f"{2 + 196 * (x - first) / width:.1f},{38 - 34 * (y - least) / span:.1f}" for x, y in shown
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 200 42" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{path}"/></svg>'
    )


def finite(points: Sequence[Point]) -> list[Point]:
    """Return the points that can be drawn."""
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def thin(points: Sequence[Point]) -> list[Point]:
    """Return at most `MOST_POINTS` points: the least and the greatest of each stretch, in order."""
    if len(points) <= MOST_POINTS:
        return list(points)
    kept: list[Point] = []
    stretches = MOST_POINTS // 2
    for i in range(stretches):
        part = points[i * len(points) // stretches : (i + 1) * len(points) // stretches]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return kept


def smooth(points: Sequence[Point]) -> list[Point]:
    """Return the centred mean over a twentieth of the points; it does not lag behind them."""
    kept = finite(points)
    reach = max(len(kept) // 40, 1)
    sums = [0.0]
    for _, y in kept:
        sums.append(sums[-1] + y)
    means = []
    for i, (x, _) in enumerate(kept):
        start, end = max(i - reach, 0), min(i + reach + 1, len(kept))
        means.append((x, (sums[end] - sums[start]) / (end - start)))
    return means


def ticks(least: float, most: float, about: int = 4) -> list[float]:
    """Return round figures, at least two, that reach from below `least` to above `most`."""
    span = most - least or abs(most) or 1.0
    power = 10 ** math.floor(math.log10(span / about))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power * about >= span * 0.999)
    first = math.floor(least / step + 1e-9)
    last = max(math.ceil(most / step - 1e-9), first + 1)
    return [round(i * step, 12) for i in range(first, last + 1)]


def labels(values: Sequence[float], share: bool) -> list[str]:
    """Return the figures beside grid lines, with as many decimals as the longest: 0.80, 0.85."""
    if share:
        return [f"{value:.0%}" for value in values]
    short = [f"{value:g}" for value in values]
    if any("e" in figure for figure in short):
        return [f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}" for value in values]
    decimals = max(len(figure.partition(".")[2]) for figure in short)
    return [f"{value:,.{decimals}f}" for value in values]

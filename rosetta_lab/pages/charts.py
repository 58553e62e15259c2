"""Charts as inline SVG that takes its colours from the page.

Every chart is a scale for each direction, an axis along each, and marks of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup
from torch import Tensor

from rosetta_lab.pages.axis import (
    CHARACTER,
    Scale,
    axis,
    breadth,
    element,
    line,
    number,
    numbered,
    shorten,
    svg,
    ticks,
    word,
)

POINTS = 200  # of a course that are drawn
WRITTEN = 8  # values of a parameter that are written out at most


def growth(places: Sequence[float], named: Mapping[str, Sequence[float]], title: str) -> Markup:
    """Counts that grow with something: a line for each name, which stands at its end.

    Args:
        places: along the horizontal axis, increasing.
        named: counts at these places.
        title: of the horizontal axis.
    """
    left, right, top, bottom = 50.0, 330.0, 10.0, 150.0
    most = max(max(counts) for counts in named.values()) or 1.0
    x, y = Scale(0.0, places[-1], left, right), Scale(0.0, most, bottom, top)
    parts = [
        axis(
            y,
            [(v, number(v)) for v in ticks(0.0, most)],
            left,
            upright=True,
            reach=right,
            title="count",
        ),
        axis(x, [(v, f"{v:,.0f}") for v in ticks(0.0, places[-1])], bottom, title=title),
    ]
    for kind, (name, counts) in zip(
        ("growth", "growth second", "chance"), named.items(), strict=True
    ):
        points = [(x(place), y(count)) for place, count in zip(places, counts, strict=True)]
        text = element("text", f"{name}: {counts[-1]:,.4g}", x=right + 8, y=points[-1][1] + 4)
        parts += [line(points, kind), text]
    return svg(right + 190, bottom + 36, f"Counts by {title}", parts)


# Rows and tables of named values


def bars(values: Sequence[tuple[str, float]], label: str, title: str = "") -> Markup:
    """A bar from zero for each value, one under the other.

    Args:
        values: names and values.
        label: for those who cannot see it.
        title: what the values are, with their unit.
    """
    x, y, parts = _rows([name for name, _ in values], [v for _, v in values], 22, 240, title)
    for place, (name, value) in enumerate(values):
        tip, ends = element("title", f"{name}: {value:.3g}"), sorted((x(0.0), x(value)))
        box = {"x": ends[0], "y": y(place) + 3, "width": ends[1] - ends[0], "height": 16}
        parts.append(element("rect", tip, class_="bar", **box))
    return svg(x.end + 16, y.end + 36, label, parts)


class Interval(NamedTuple):
    """A mean and where it may lie."""

    name: str
    mean: float
    low: float
    high: float


def intervals(rows: Sequence[Interval], label: str, title: str = "") -> Markup:
    """A dot and a line for each row, around zero; arguments as for :func:`bars`."""
    ends = [end for row in rows for end in (row.low, row.high)]
    x, y, parts = _rows([row.name for row in rows], ends, 24, 190, title, margin=0.04)
    for place, row in enumerate(rows):
        middle = y(place + 0.5)
        tip = f"{row.name}: {row.mean:+.4g} ({row.low:+.4g} to {row.high:+.4g})"
        line = {"x1": x(row.low), "x2": x(row.high), "y1": middle, "y2": middle}
        parts.append(
            element(
                "g", element("title", tip), element("line", class_="interval", **line),
                element("circle", class_="bar", cx=x(row.mean), cy=middle, r=4.5),
            )
        )  # fmt: skip
    return svg(x.end + 8, y.end + 36, label, parts)


def _rows(
    names: Sequence[str], values: Sequence[float], tall: int, wide: int, title: str,
    margin: float = 0.0,
) -> tuple[Scale, Scale, list[Markup]]:  # fmt: skip
    """Scales and axes of rows of ``tall`` pixels with a name each, over values around zero."""
    low, high = min(0.0, *values), max(0.0, *values)
    spare = margin * (high - low)
    if low == high:
        low, high = low - 1.0, high + 1.0
    left = 16 + breadth(names)
    x = Scale(low - spare, high + spare, left, left + wide)
    y = Scale(0, len(names), 0, tall * len(names))
    places = [(place + 0.5, name) for place, name in enumerate(names)]
    parts = [axis(y, places, left - 2, upright=True)]
    return x, y, [*parts, axis(x, numbered(x.low, x.high), y.end, reach=0.0, title=title)]


def meetings(
    counts: Sequence[Sequence[int]], rows: Sequence[str], columns: Sequence[str]
) -> Markup:
    """A table of counts as a heatmap with its numbers.

    Args:
        counts: rows x columns.
        rows: names of the reference model's layers.
        columns: names of the model's layers.
    """
    wide, tall = 38, 24
    depth = 14 + 0.71 * breadth(columns)  # they run down to the left: as deep as wide
    left = max(10 + breadth(rows), depth - wide / 2)
    x = Scale(0, len(columns), left, left + wide * len(columns))
    y = Scale(0, len(rows), 0, tall * len(rows))
    highest = max((max(row, default=0) for row in counts), default=0) or 1
    parts = [
        axis(y, [(i + 0.5, name) for i, name in enumerate(rows)], left - 2, upright=True),
        axis(x, [(j + 0.5, name) for j, name in enumerate(columns)], y.end, slanted=True),
    ]
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            share = count / highest
            # Such that the number reads on the cell's colour.
            ink = "none" if share == 0 else "strong" if share > 0.5 else "weak"
            parts.append(
                element(
                    "g", element("title", f"{rows[i]} and {columns[j]}: {count:,}"),
                    element("rect", class_="cell", style=f"--v:{share:.3f}", x=round(x(j)) + 1,
                            y=round(y(i)) + 1, width=wide - 2, height=tall - 2, rx=2),
                    element("text", str(count or "·"), class_=ink, x=round(x(j + 0.5)),
                            y=round(y(i + 0.5)) + 4, text_anchor="middle"),
                )
            )  # fmt: skip
    label = "Best buddies per reference layer (down) and model layer (across)"
    return svg(x.end + 2, y.end + depth, label, parts)


# Courses


def course(values: Tensor, label: str) -> Markup:
    """The mean course of a loss over the steps, and the middle half of the images.

    Args:
        values: (images, steps).
        label: what it is the course of.
    """
    steps = values.shape[1]
    shown = sorted({round(i * (steps - 1) / (POINTS - 1)) for i in range(POINTS)})
    picked = values[:, shown].double()
    mean, lower, upper = picked.mean(dim=0), picked.quantile(0.25, 0), picked.quantile(0.75, 0)
    low, high = float(min(mean.min(), lower.min())), float(max(mean.max(), upper.max()))
    x, y = Scale(0, max(steps - 1, 1), 62, 310), Scale(low, high, 136, 8)

    def path(line: Tensor) -> list[str]:
        heights = line.tolist()
        return [f"{x(s):.1f},{y(v):.1f}" for s, v in zip(shown, heights, strict=True)]

    whole = [(t, f"{t:,.0f}") for t in ticks(0, steps - 1) if t == round(t)]
    parts = [
        axis(y, numbered(low, high), x.start, upright=True, reach=x.end, title=label),
        axis(x, whole, y.start, title="step"),
        element("polygon", class_="band", points=" ".join([*path(upper), *path(lower)[::-1]])),
        element("polyline", class_="course", points=" ".join(path(mean))),
    ]
    text = f"{label}: mean from {mean[0]:.3g} to {mean[-1]:.3g}"
    return svg(x.end + 10, y.start + 36, text, parts)


# Sweeps: parallel coordinates


@dataclass
class Column:
    """An upright axis with a value of every run.

    Attributes:
        title: above it.
        heights: of every run, 0 at the bottom to 1; None where the run has no value.
        marks: what is written beside it: height and text.
        values: of every run, as text.
    """

    title: str
    heights: list[float | None]
    marks: list[tuple[float, str]]
    values: list[str]


def parameter_column(title: str, values: Sequence[str]) -> Column:
    """A parameter: its values in order, numbers by size, at equal distances."""

    def rank(value: str) -> tuple[int, float, str]:
        try:
            return 0, float(value), value
        except ValueError:
            return 1, 0.0, value

    distinct = sorted(set(values), key=rank)
    spread = max(len(distinct) - 1, 1)
    place = {value: i / spread if len(distinct) > 1 else 0.5 for i, value in enumerate(distinct)}
    stride = -(-len(distinct) // WRITTEN)
    marks = [(place[value], value) for value in distinct[::stride]]
    return Column(title, [place[value] for value in values], marks, list(values))


def figure_column(title: str, values: Sequence[float | None], *, higher: bool) -> Column:
    """A figure, on which better is up."""
    known = [value for value in values if value is not None]
    worst, best = sorted((min(known), max(known)), reverse=not higher)
    height = Scale(worst, best, 0.0, 1.0) if worst != best else Scale(worst, best, 0.5, 0.5)
    return Column(
        title,
        [None if value is None else height(value) for value in values],
        [(height(value), number(value)) for value in dict.fromkeys((worst, best))],
        ["none" if value is None else number(value) for value in values],
    )


def parallel(columns: Sequence[Column], names: Sequence[str], shade: int) -> Markup:
    """Parallel coordinates: a line for every run of a sweep.

    Args:
        columns: from left to right.
        names: of the runs.
        shade: number of the column that lines take their strength from.
    """
    gap, side, top, bottom, longest = 118, 64, 40, 284, 16
    x, y = Scale(0, 1, side, side + gap), Scale(0, 1, bottom, top)
    strength = [columns[shade].heights[run] or 0.0 for run in range(len(names))]
    parts = []
    for run in sorted(range(len(names)), key=strength.__getitem__):  # the best on top
        tip = "\n".join([names[run], *(f"{c.title}: {c.values[run]}" for c in columns)])
        heights = [column.heights[run] for column in columns]
        points = " ".join(f"{x(i):.1f},{y(h):.1f}" for i, h in enumerate(heights) if h is not None)
        strong = f"--v:{strength[run]:.3f}"
        parts.append(
            element("polyline", element("title", tip), class_="run", style=strong, points=points)
        )
    for place, column in enumerate(columns):
        at = x(place)
        ends = {"x1": at, "x2": at, "y1": y.start, "y2": y.end}
        head = word(column.title, longest + 1, class_="title", x=at, y=14, text_anchor="middle")
        parts += [element("line", class_="axis", **ends), head]
        for height, text in column.marks:  # on plates, so that no line runs through them
            wide = CHARACTER * len(shorten(text, longest)) + 8
            box = {"x": at - wide / 2, "y": y(height) - 8, "width": wide, "height": 16}
            parts.append(element("rect", class_="plate", **box))
            where = {"x": at, "y": y(height) + 4}
            parts.append(word(text, longest, class_="mark", text_anchor="middle", **where))
    label = f"{len(names)} runs by parameters and figures"
    return svg(x(len(columns) - 1) + side, bottom + 12, label, parts)

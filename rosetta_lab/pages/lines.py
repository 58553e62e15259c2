"""Plots of courses, differences and parameters, as inline SVG that takes the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from torch import Tensor

from rosetta_lab.pages.plots import shorten, svg

POINTS = 200  # of a course that are drawn


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About ``count`` round numbers in [low, high]."""
    span = high - low
    if span <= 0.0:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= min((1.0, 2.0, 2.5, 5.0, 10.0), key=lambda factor: abs(span / (factor * step) - count))
    first = math.ceil(low / step - 1e-9)
    return [place * step for place in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A number on an axis."""
    return f"{value:.3g}"


def course(values: Tensor, label: str) -> str:
    """The mean course of a loss over the steps, and the middle half of the images.

    Args:
        values: (images, steps).
        label: for those who cannot see it.
    """
    width, height, left, right, bottom, top = 300, 160, 42, 10, 24, 8
    steps = values.shape[1]
    shown = [round(i * (steps - 1) / (POINTS - 1)) for i in range(POINTS)]
    shown = sorted(set(shown if steps > POINTS else range(steps)))
    picked = values[:, shown].double()
    mean, lower, upper = picked.mean(dim=0), picked.quantile(0.25, 0), picked.quantile(0.75, 0)
    low, high = float(min(mean.min(), lower.min())), float(max(mean.max(), upper.max()))
    span = high - low or 1.0

    def x(step: float) -> float:
        return left + (width - left - right) * step / max(steps - 1, 1)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / span

    def path(line: Tensor, places: Sequence[int]) -> str:
        return " ".join(f"{x(shown[i]):.1f},{y(float(line[i])):.1f}" for i in places)

    order = range(len(shown))
    parts = [
        f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{left - 6}" y="{y(t) + 3.5:.1f}" text-anchor="end">{number(t)}</text>'
        for t in ticks(low, high)
    ]
    parts += [
        f'<text x="{x(t):.1f}" y="{height - 7}" text-anchor="middle">{t:,.0f}</text>'
        for t in ticks(0, steps - 1)
        if t == round(t)
    ]
    parts.append(
        f'<polygon class="band" points="{path(upper, order)} {path(lower, order[::-1])}"/>'
        f'<polyline class="course" points="{path(mean, order)}"/>'
    )
    return svg(width, height, f"{label}: mean from {mean[0]:.3g} to {mean[-1]:.3g}", parts)


class Interval(NamedTuple):
    """A mean and where it may lie."""

    name: str
    mean: float
    low: float
    high: float


def intervals(rows: Sequence[Interval], label: str) -> str:
    """A dot and a line for each row, around zero."""
    row_height, bottom, plot_width = 24, 24, 250
    left = round(16 + 6.7 * max(len(shorten(row.name)) for row in rows))
    low = min(0.0, *(row.low for row in rows))
    high = max(0.0, *(row.high for row in rows))
    margin = 0.04 * (high - low) or 1.0
    low, high = low - margin, high + margin
    height = row_height * len(rows)

    def x(value: float) -> float:
        return left + plot_width * (value - low) / (high - low)

    parts = [
        f'<line class="{"grid" if t else "axis"}" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="0" '
        f'y2="{height}"/><text x="{x(t):.1f}" y="{height + 16}" text-anchor="middle">'
        f"{number(t)}</text>"
        for t in ticks(low, high)
    ]
    for place, row in enumerate(rows):
        y = (place + 0.5) * row_height
        tip = f"{escape(row.name)}: {row.mean:+.4g} ({row.low:+.4g} to {row.high:+.4g})"
        parts.append(
            f'<g><title>{tip}</title><text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{escape(shorten(row.name))}</text>"
            f'<line class="interval" x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<circle class="bar" cx="{x(row.mean):.1f}" cy="{y:.1f}" r="4.5"/></g>'
        )
    return svg(left + plot_width + 8, height + bottom, label, parts)


def distribution(values: Tensor, label: str, limit: float, bins: int = 24) -> str:
    """Histogram of values around zero.

    Args:
        values: (N,).
        label: for those who cannot see it.
        limit: bins cover [-limit, limit]; what lies outside counts in the outermost ones.
        bins: an even number, so that zero lies between two.
    """
    width, height, left, bottom, top = 290, 130, 34, 24, 8
    places = ((values.double() / limit + 1.0) * bins / 2).floor().clamp(0, bins - 1).long()
    counts: list[int] = places.bincount(minlength=bins).tolist()
    most = max(counts)
    step = (width - left - 8) / bins

    def y(count: float) -> float:
        return height - bottom - (height - bottom - top) * count / most

    parts = [
        f'<line class="grid" x1="{left}" x2="{width - 8}" y1="{y(most):.1f}" y2="{y(most):.1f}"/>'
        f'<text x="{left - 6}" y="{y(most) + 3.5:.1f}" text-anchor="end">{most:,}</text>'
    ]
    for place, count in enumerate(counts):
        low, high = (limit * (2 * (place + side) / bins - 1) for side in (0, 1))
        kind = "bar" if place >= bins // 2 else "bar worse"
        parts.append(
            f'<rect class="{kind}" x="{left + place * step + 0.5:.1f}" y="{y(count):.1f}" '
            f'width="{step - 1:.1f}" height="{height - bottom - y(count):.1f}">'
            f"<title>{low:+.3g} to {high:+.3g}: {count:,}</title></rect>"
        )
    parts.append(
        f'<line class="axis" x1="{left}" x2="{width - 8}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>'
    )
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x = left + share * bins * step
        parts.append(
            f'<text x="{x:.1f}" y="{height - 7}" text-anchor="{anchor}">'
            f"{number(limit * (2 * share - 1))}</text>"
        )
    return svg(width, height, label, parts)

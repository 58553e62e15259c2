"""Bars of a few named values, as inline SVG that takes the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rosetta_lab.pages.lines import number, ticks
from rosetta_lab.pages.plots import shorten, svg


def bars(values: Sequence[tuple[str, float]], label: str) -> str:
    """A bar from zero for each value, one under the other.

    Args:
        values: names and values.
        label: for those who cannot see it.
    """
    height, bottom, width = 22, 22, 320
    left = round(16 + 6.7 * max(len(shorten(name)) for name, _ in values))
    low = min(0.0, *(value for _, value in values))
    high = max(0.0, *(value for _, value in values))
    span = (high - low) or 1.0
    end = height * len(values)

    def x(value: float) -> float:
        return left + width * (value - low) / span

    parts = [
        f'<line class="{"grid" if t else "axis"}" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="0" '
        f'y2="{end}"/><text x="{x(t):.1f}" y="{end + 15}" text-anchor="middle">{number(t)}</text>'
        for t in ticks(low, high)
    ]
    for place, (name, value) in enumerate(values):
        y = place * height
        parts.append(
            f"<g><title>{escape(name)}: {value:.3g}</title>"
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(shorten(name))}</text>'
            f'<rect class="bar" x="{min(x(0.0), x(value)):.1f}" y="{y + 3}" '
            f'width="{abs(x(value) - x(0.0)):.1f}" height="{height - 6}"/></g>'
        )
    return svg(left + width + 16, end + bottom, label, parts)

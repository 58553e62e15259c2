"""The overview's plots, as inline SVG that takes its colours from the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_LABEL = 22  # longest layer name that is written out
_CHARACTER = 6.7  # pixels of one character of the labels


def shorten(name: str, length: int = _LABEL) -> str:
    """A name with its middle left out where it is too long; both ends tell layers apart."""
    if len(name) <= length:
        return name
    tail = length // 2
    return f"{name[: length - tail - 1]}…{name[-tail:]}"


def histogram_range(histograms: Sequence[Sequence[int]]) -> tuple[int, int]:
    """The bins worth showing for all of several histograms, in whole steps of four bins."""
    used = [place for counts in histograms for place, count in enumerate(counts) if count]
    if not used:
        return 0, max((len(counts) for counts in histograms), default=0)
    return min(used) // 4 * 4, -(-(max(used) + 1) // 4) * 4


def histogram(counts: Sequence[int], shown: tuple[int, int]) -> str:
    """Bars of a histogram over r in [-1, 1].

    Args:
        counts: pairs per bin, equal bins over [-1, 1].
        shown: first bin and one past the last bin to draw.
    """
    width, height, left, bottom, top = 290, 150, 34, 26, 12
    first, last = shown
    top_count = max(max(counts, default=0), 1)
    step = (width - left - 8) / (last - first)

    def edge(place: int) -> float:
        return -1.0 + 2.0 * place / len(counts)

    def x(place: int) -> float:
        return left + (place - first) * step

    def y(count: int) -> float:
        return height - bottom - (height - bottom - top) * count / top_count

    parts = [
        f'<line class="grid" x1="{left}" x2="{width - 8}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        f'<text x="{left - 6}" y="{y(value) + 3.5:.1f}" text-anchor="end">{value:,}</text>'
        for value in sorted({top_count // 2, top_count})
    ]
    parts += [
        f'<rect class="bar" x="{x(place) + 0.5:.1f}" y="{y(counts[place]):.1f}" '
        f'width="{step - 1:.1f}" height="{height - bottom - y(counts[place]):.1f}">'
        f"<title>r from {edge(place):.2f} to {edge(place + 1):.2f}: {counts[place]:,}</title>"
        "</rect>"
        for place in range(first, last)
        if counts[place]
    ]
    parts.append(
        f'<line class="axis" x1="{left}" x2="{width - 8}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>'
    )
    parts += [
        f'<text x="{x(place):.1f}" y="{height - 9}" text-anchor="middle">{edge(place):.1f}</text>'
        for place in range(first, last + 1, 4)
    ]
    label = f"Histogram of r: {sum(counts):,} pairs from {edge(first):.1f} to {edge(last):.1f}"
    return svg(width, height, label, parts)


def meetings(counts: Sequence[Sequence[int]], rows: Sequence[str], columns: Sequence[str]) -> str:
    """A table of counts as a heatmap with its numbers.

    Args:
        counts: rows x columns.
        rows: names of the generator's layers.
        columns: names of the model's layers.
    """
    cell_width, cell_height = 38, 24
    left = 10 + _CHARACTER * max(len(shorten(name)) for name in rows)
    # Column names run down to the left at 45 degrees: as deep as wide.
    depth = 14 + 0.71 * _CHARACTER * max(len(shorten(name)) for name in columns)
    left = max(left, depth - cell_width / 2)
    grid_height = cell_height * len(rows)
    highest = max((max(row, default=0) for row in counts), default=0) or 1
    parts = []
    for i, (name, row) in enumerate(zip(rows, counts, strict=True)):
        middle = (i + 0.5) * cell_height + 4
        parts.append(
            f'<text x="{left - 8:.0f}" y="{middle:.0f}" text-anchor="end">{_name(name)}</text>'
        )
        for j, count in enumerate(row):
            share = count / highest
            tip = f"{escape(name)} and {escape(columns[j])}: {count:,}"
            parts.append(
                f'<g><title>{tip}</title><rect class="cell" style="--v:{share:.3f}" '
                f'x="{left + j * cell_width + 1:.0f}" y="{i * cell_height + 1}" '
                f'width="{cell_width - 2}" height="{cell_height - 2}" rx="2"/>'
                f'<text class="{_ink(share)}" x="{left + (j + 0.5) * cell_width:.0f}" '
                f'y="{middle:.0f}" text-anchor="middle">{count or "·"}</text></g>'
            )
    for j, name in enumerate(columns):
        x, y = left + (j + 0.5) * cell_width + 4, grid_height + 12
        parts.append(
            f'<text transform="translate({x:.0f} {y}) rotate(-45)" text-anchor="end">'
            f"{_name(name)}</text>"
        )
    width = left + cell_width * len(columns) + 2
    label = "Best buddies per generator layer (down) and model layer (across)"
    return svg(round(width), round(grid_height + depth), label, parts)


def _ink(share: float) -> str:
    """The class of a cell's number, so that it reads on the cell's colour."""
    return "none" if share == 0 else "strong" if share > 0.5 else "weak"


def _name(name: str) -> str:
    short = shorten(name)
    return escape(short) if short == name else f"<title>{escape(name)}</title>{escape(short)}"


def svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    """A drawing of parts that stand in pixels."""
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )

"""A parallel-coordinates plot, as inline SVG: one line for every run of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rosetta_lab.pages.lines import number
from rosetta_lab.pages.plots import shorten, svg

WRITTEN = 8  # values of a parameter that are written out at most


@dataclass
class Axis:
    """An upright axis.

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


def parameter_axis(title: str, values: Sequence[str]) -> Axis:
    """An axis of a parameter: its values in order, numbers by size, at equal distances."""
    distinct = sorted(set(values), key=_rank)
    spread = max(len(distinct) - 1, 1)
    place = {value: i / spread if len(distinct) > 1 else 0.5 for i, value in enumerate(distinct)}
    stride = -(-len(distinct) // WRITTEN)
    marks = [(place[value], value) for value in distinct[::stride]]
    return Axis(title, [place[value] for value in values], marks, list(values))


def figure_axis(title: str, values: Sequence[float | None], *, higher: bool) -> Axis:
    """An axis of a figure, on which better is up."""
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    worst, best = (low, high) if higher else (high, low)
    span = best - worst

    def height(value: float) -> float:
        return (value - worst) / span if span else 0.5

    marks = [(height(value), number(value)) for value in dict.fromkeys((worst, best))]
    return Axis(
        title,
        [None if value is None else height(value) for value in values],
        marks,
        ["none" if value is None else number(value) for value in values],
    )


def _rank(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value


def parallel(axes: Sequence[Axis], names: Sequence[str], shade: int) -> str:
    """The plot.

    Args:
        axes: from left to right.
        names: of the runs.
        shade: number of the axis that lines take their strength from.
    """
    gap, top, bottom, tall, side = 118, 34, 14, 250, 64
    height, width = top + tall + bottom, 2 * side + gap * (len(axes) - 1)

    def y(share: float) -> float:
        return top + tall * (1.0 - share)

    parts = []
    strength = [axes[shade].heights[run] or 0.0 for run in range(len(names))]
    for run in sorted(range(len(names)), key=strength.__getitem__):  # the best on top
        points = " ".join(
            f"{side + gap * place:.0f},{y(axis.heights[run]):.1f}"  # type: ignore[arg-type]
            for place, axis in enumerate(axes)
            if axis.heights[run] is not None
        )
        tip = "\n".join(f"{axis.title}: {axis.values[run]}" for axis in axes)
        parts.append(
            f'<polyline class="run" style="--v:{strength[run]:.3f}" points="{points}">'
            f"<title>{escape(names[run])}\n{escape(tip)}</title></polyline>"
        )
    for place, axis in enumerate(axes):
        x = side + gap * place
        parts.append(
            f'<line class="axis" x1="{x}" x2="{x}" y1="{top}" y2="{top + tall}"/>'
            f'<text class="title" x="{x}" y="14" text-anchor="middle">'
            f"<title>{escape(axis.title)}</title>{escape(shorten(axis.title, 17))}</text>"
        )
        parts += [
            f'<text class="mark" x="{x + 6}" y="{y(share) + 4:.1f}">{escape(shorten(text, 16))}'
            "</text>"
            for share, text in axis.marks
        ]
    return svg(width, height, f"Parameters and figures of {len(names)} runs", parts)

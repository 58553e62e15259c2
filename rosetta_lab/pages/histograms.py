"""Histograms as inline SVG that takes its colours from the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from torch import Tensor

from rosetta_lab.pages.axis import Scale, axis, element, line, number, svg

BINS = 24  # of a distribution; an even number, so that zero lies between two


def histograms(
    named: Mapping[str, Sequence[float]],
    chance: Mapping[str, Sequence[float]] | None = None,
    lowest: Mapping[str, float | None] | None = None,
) -> dict[str, Markup]:
    """Best buddies by r, a histogram for each name, all on the same scales.

    Args:
        named: pairs per bin, equal bins over [-1, 1]. Only the bins in use are drawn, in whole
            steps of four.
        chance: the same of what chance finds, drawn as an outline.
        lowest: the lowest r that is accepted, drawn as a line; None where nothing is.
    """
    if not named:
        return {}
    every = [*named.values(), *(chance or {}).values()]
    used = [place for counts in every for place, count in enumerate(counts) if count]
    bins = max(map(len, named.values()))
    first, last = (min(used) // 4 * 4, -(-(max(used) + 1) // 4) * 4) if used else (0, bins)
    edges = [-1.0 + 2.0 * place / bins for place in range(first, last + 1)]
    marks = [(edge, f"{edge:.1f}".replace("-", "\u2212")) for edge in edges[::4]]
    shown = {name: counts[first:last] for name, counts in named.items()}
    beside = {name: counts[first:last] for name, counts in (chance or {}).items()}
    tip = "r from {:.2f} to {:.2f}: {:,.4g}"
    return _histograms(edges, shown, marks, ("r", "pairs"), tip, beside, lowest or {})


def distributions(named: Mapping[str, Tensor]) -> dict[str, Markup]:
    """Images by their gain (N,), a histogram for each name, all on the same scales.

    The outermost bins hold what lies outside, so that a few extremes do not squeeze the rest.
    """
    limit = max(float(values.abs().quantile(0.98)) for values in named.values()) or 1.0
    edges = [limit * (2 * place / BINS - 1) for place in range(BINS + 1)]
    shown = {}
    for name, values in named.items():
        places = ((values.double() / limit + 1.0) * BINS / 2).floor().clamp(0, BINS - 1).long()
        shown[name] = places.bincount(minlength=BINS).tolist()
    marks = [(end, number(end)) for end in (-limit, 0.0, limit)]
    return _histograms(edges, shown, marks, ("gain", "images"), "{:+.3g} to {:+.3g}: {:,}")


def _histograms(
    edges: Sequence[float],
    named: Mapping[str, Sequence[float]],
    marks: Sequence[tuple[float, str]],
    titles: tuple[str, str],
    tip: str,
    beside: Mapping[str, Sequence[float]] | None = None,
    lines: Mapping[str, float | None] | None = None,
) -> dict[str, Markup]:
    """Histograms of counts per bin: a column for each bin with something in it.

    ``beside`` are outlined, ``lines`` are upright at a value.
    """
    left, right, top, bottom = 50.0, 288.0, 10.0, 120.0
    beside, lines = beside or {}, lines or {}
    most = round(max(max(counts) for counts in [*named.values(), *beside.values()])) or 1
    x, y = Scale(edges[0], edges[-1], left, right), Scale(0, most, bottom, top)
    heights = [(0.0, ""), *((float(n), f"{n:,}") for n in sorted({most // 2, most} - {0}))]
    axes = [axis(y, heights, left, upright=True, reach=right, title=titles[1])]
    axes.append(axis(x, marks, bottom, title=titles[0]))
    drawn = {}
    for name, counts in named.items():
        columns = [
            element(
                "rect", element("title", tip.format(low, high, count)),
                class_="bar" if low + high > 0 else "bar worse",
                x=x(low) + 0.5, y=y(count), width=x(high) - x(low) - 1, height=bottom - y(count),
            )
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
            if count
        ]  # fmt: skip
        label = f"{name}: {sum(counts):,} {titles[1]} by {titles[0]}"
        if name in beside:
            steps = zip(edges[:-1], edges[1:], beside[name], strict=True)
            points = [(x(end), y(n)) for low, high, n in steps for end in (low, high)]
            columns.append(line(points, "chance"))
            label += f"; {sum(beside[name]):,.4g} by chance"
        if (value := lines.get(name)) is not None:
            columns.append(line([(x(value), top), (x(value), bottom)], "threshold"))
        drawn[name] = svg(right + 8, bottom + 36, label, [*axes, *columns])
    return drawn

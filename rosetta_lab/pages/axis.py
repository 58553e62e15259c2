"""What every chart is made of: elements of inline SVG, a scale, and an axis along it.

Names come from outside; all text is escaped where elements are made, in :func:`element`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

CHARACTER = 6.7  # pixels of one character of the labels
LABEL = 22  # characters of a name that is written out


class Scale(NamedTuple):
    """Values from ``low`` to ``high`` at pixels from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value stands, in pixels."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + (self.end - self.start) * share


def element(kind: str, *inside: str, **attributes: str | float) -> Markup:
    """An element; text and attributes are escaped, elements inside it are kept."""
    words = "".join(
        f' {name.rstrip("_").replace("_", "-")}="'
        f'{f"{value:.1f}" if isinstance(value, float) else escape(value)}"'
        for name, value in attributes.items()
    )
    return Markup(f"<{kind}{words}>{''.join(map(escape, inside))}</{kind}>")


def svg(width: float, height: float, label: str, parts: Iterable[Markup]) -> Markup:
    """A drawing of parts that stand in pixels; ``label`` is for those who cannot see it."""
    across, down = round(width), round(height)
    return element(
        "svg", *parts, viewBox=f"0 0 {across} {down}", width=across, height=down, role="img",
        aria_label=label,
    )  # fmt: skip


def shorten(name: str, length: int = LABEL) -> str:
    """A name with its middle left out where it is too long; both ends tell layers apart."""
    if len(name) <= length:
        return name
    tail = length // 2
    return f"{name[: length - tail - 1]}…{name[-tail:]}"


def word(name: str, length: int = LABEL, **attributes: str | float) -> Markup:
    """A name, shortened; the whole of it shows when pointed at."""
    short = shorten(name, length)
    whole = [] if short == name else [element("title", name)]
    return element("text", *whole, short, **attributes)


def breadth(names: Iterable[str]) -> float:
    """Pixels that the longest of some names takes."""
    return CHARACTER * max(len(shorten(name)) for name in names)


def number(value: float) -> str:
    """A number on an axis."""
    return f"{value:.3g}".replace("-", "\u2212")


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About ``count`` round numbers in [low, high]."""
    span = high - low
    if span <= 0.0:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / count))
    step *= min((1.0, 2.0, 2.5, 5.0, 10.0), key=lambda factor: abs(span / (factor * step) - count))
    first = math.ceil(low / step - 1e-9)
    return [place * step for place in range(first, math.floor(high / step + 1e-9) + 1)]


def axis(
    scale: Scale,
    marks: Iterable[tuple[float, str]],
    at: float,
    *,
    upright: bool = False,
    reach: float | None = None,
    title: str = "",
    slanted: bool = False,
) -> Markup:
    """An axis: what is written along it, and lines across the plot.

    Args:
        scale: along the axis.
        marks: values, and what is written there.
        at: where the axis stands: its x if it is upright, else its y.
        upright: written to the left of it, else below it.
        reach: where the lines end that begin at the axis; None draws none.
        title: what the axis shows, with its unit.
        slanted: whether long names below it run down to the left.
    """
    across, along = ("x", "y") if upright else ("y", "x")
    drawn = []
    for value, text in marks:
        place = scale(value)
        if reach is not None:
            kind = "grid" if value else "axis"
            ends = {f"{across}1": at, f"{across}2": reach, f"{along}1": place, f"{along}2": place}
            drawn.append(element("line", class_=kind, **ends))
        if not text:
            continue
        if upright:
            drawn.append(word(text, x=at - 6, y=place + 4, text_anchor="end"))
        elif slanted:
            turn = f"translate({place + 4:.0f} {at + 12:.0f}) rotate(-45)"
            drawn.append(word(text, transform=turn, text_anchor="end"))
        else:
            drawn.append(word(text, x=place, y=at + 16, text_anchor="middle"))
    middle = (scale.start + scale.end) / 2
    if title and upright:
        turn = f"translate(11 {middle:.0f}) rotate(-90)"
        drawn.append(word(title, transform=turn, text_anchor="middle"))
    elif title:
        drawn.append(word(title, 60, x=middle, y=at + 31, text_anchor="middle"))
    return element("g", *drawn)


def numbered(low: float, high: float) -> list[tuple[float, str]]:
    """Marks at round numbers."""
    return [(value, number(value)) for value in ticks(low, high)]


def line(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    """A line through points, of a kind that the style sheet knows."""
    return element("polyline", class_=kind, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))

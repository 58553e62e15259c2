"""What is lost on average, with intervals, and how much more than with other units."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from rosetta_lab.ablate.losses import SCALE, Losses
from rosetta_lab.ablate.units import ROSETTA, Chosen
from rosetta_lab.functional.bootstrap import bootstrap_means

TITLES = {  # of figures; others are distances
    "accuracy": "accuracy lost (%)",
    "similarity": "output changed (1 \u2212 cosine)",
    "pixels": "pixels changed (mean)",
    "recognised": "class no longer recognised (%)",
    "garment": "garment gone (%)",
    "centre": "centre moved (of the picture)",
    "hue": "hue changed (°)",
}
SHARES = ("accuracy", "recognised", "garment")  # of the images
DIGITS = {"similarity": 4, "hue": 1, **dict.fromkeys(SHARES, 1)}
MINUS, NONE = "\u2212", "\u2013"


def title(figure: str) -> str:
    """A figure's name for people, with its unit."""
    return TITLES.get(figure, figure)


def scaled(figure: str, value: float) -> float:
    """A value in the unit of its figure's title."""
    return 100.0 * value if figure in SHARES else value


def number(figure: str, value: float, sign: str = "") -> str:
    """A value of a figure for people, in the unit of its title."""
    words = f"{scaled(figure, value):{sign}.{DIGITS.get(figure, 3)}f}"
    return words.replace("-", MINUS)


@dataclass
class Mean:
    """A mean with its interval over those images, of so many, that show a figure."""

    mean: float
    low: float
    high: float
    images: int
    of: int


def interval(figure: str, found: Mean | None, sign: str = "") -> str:
    """A mean of a figure with its interval for people; with ``+`` for a sign, gains have one."""
    if found is None:
        return NONE
    mean, low, high = (number(figure, x, sign) for x in (found.mean, found.low, found.high))
    some = "" if found.images == found.of else f", {found.images:,} of {found.of:,} images"
    return f"{mean} [{low}, {high}]{some}"


@dataclass
class Row:
    """What one model loses of one figure with one arm's units at their means.

    Attributes:
        model: discriminative model, or the generator.
        figure: what is lost.
        arm: see :data:`rosetta_lab.ablate.units.ARMS`.
        units: how many were at their means, in every draw.
        scale: what to read it by: the intact network's figure, where it is a share of the images;
            for ``similarity``, how far the outputs for two images are apart.
        lost: mean over draws and images, interval over images; None where no image shows it.
        draws: mean over images of every draw.
        beyond: how much more Rosetta units lose, image by image; None for themselves, and where no
            image shows both.
    """

    model: str
    figure: str
    arm: str
    units: int
    scale: float | None
    lost: Mean | None
    draws: list[float]
    beyond: Mean | None

    def text(self) -> str:
        """What is lost, for people; in parentheses the least and the most of several draws."""
        words = interval(self.figure, self.lost)
        if self.lost is None or len(self.draws) < 2:
            return words
        ends = (number(self.figure, end) for end in (min(self.draws), max(self.draws)))
        return f"{words} ({' to '.join(ends)})"


def rows_of(
    model: str,
    chosen: Chosen,
    losses: Losses,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Row]:
    """The rows of one model.

    Intervals are over images, which all arms share, so that differences are paired; what the choice
    of units does shows in the draws.

    Args:
        model: its name.
        chosen: its units.
        losses: of them; NaN where an image does not show a figure.
        resamples: of the bootstrap.
        level: of the intervals.
        seed: of the bootstrap.
    """

    def mean(values: Tensor) -> Mean | None:
        known = values[values.isfinite()]
        if not len(known):
            return None
        found = bootstrap_means(known[:, None], resamples, level, seed)
        return Mean(float(found.mean), float(found.low), float(found.high), len(known), len(values))

    rows = []
    for figure, arms in losses.items():
        own = arms[ROSETTA].double().nanmean(dim=0)  # (N,)
        for arm, draws in chosen.arms.items():
            values = arms[arm].double()  # (draws, N)
            images = values.nanmean(dim=0)
            rows.append(
                Row(
                    model,
                    figure,
                    arm,
                    len(draws[0]),
                    float(arms[SCALE].mean()) if SCALE in arms else None,
                    mean(images),
                    [draw for draw in values.nanmean(dim=1).tolist() if math.isfinite(draw)],
                    None if arm == ROSETTA else mean(own - images),
                )
            )
    return rows

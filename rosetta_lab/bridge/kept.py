"""What transferred images keep of the images that they come from, beside chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from rosetta_lab.bridge.transfer import ARMS, BRIDGE, Transferred
from rosetta_lab.data.fashion.readings import hue_error, read_scenes
from rosetta_lab.functional.bootstrap import bootstrap_means
from rosetta_lab.models.discriminative.base import DiscriminativeModel

OTHER, START = "other", "start"
COMPARED = {**ARMS, START: "the common start", OTHER: "bridge, another image"}
FIGURES = {  # with their titles
    "class": "same class (%)",
    "centre": "centre off (of the picture)",
    "scale": "scale off (of the picture)",
    "hue": "hue off (°)",
}
DIGITS = {"class": 0, "centre": 3, "scale": 3, "hue": 0}


@dataclass
class Mean:
    """A mean with its interval, over so many images that show a figure."""

    mean: float
    low: float
    high: float
    images: int

    def text(self, figure: str, sign: str = "") -> str:
        """For people, in the unit of the figure's title."""
        unit, digits = (100.0 if figure == "class" else 1.0), DIGITS[figure]
        words = (f"{unit * x:{sign}.{digits}f}" for x in (self.mean, self.low, self.high))
        mean, low, high = (word.replace("-", "\u2212") for word in words)
        return f"{mean} [{low}, {high}]"


@dataclass
class Kept:
    """One figure of one arm of one direction.

    Attributes:
        source: generator of the images.
        target: of what they became.
        arm: of ``COMPARED``: pairs of units; ``start``, what all begin with; ``other``, the
            bridge's result for another image, which tells what two images have in common anyway.
        figure: of ``FIGURES``.
        pairs: of units, where the arm has some.
        value: mean over the images; None where none shows it.
        beyond: how much more than the bridge's, image by image; None for the bridge itself.
    """

    source: str
    target: str
    arm: str
    figure: str
    pairs: int | None
    value: Mean | None
    beyond: Mean | None


def figures_of(
    images: Tensor, results: Tensor, judge: DiscriminativeModel | None
) -> dict[str, Tensor]:
    """How far results are from images (N, 3, R, R) in [0, 1], by figure (N,); NaN where unknown."""
    one, other = read_scenes(images), read_scenes(results)
    found = {
        "centre": (one.centre - other.centre).norm(dim=1),
        "scale": (one.scale - other.scale).abs(),
        "hue": hue_error(one.hue, other.hue),
    }
    if judge is None:
        return found
    with torch.no_grad():
        device = next(judge.parameters()).device
        seen = [judge(x.to(device)).argmax(dim=1).cpu() for x in (images, results)]
    return {"class": (seen[0] == seen[1]).float(), **found}


def keeping(
    transferred: Transferred, judge: DiscriminativeModel | None, resamples: int, level: float,
    seed: int = 0,
) -> list[Kept]:  # fmt: skip
    """The figures of one direction, every arm's.

    Args:
        transferred: the images.
        judge: with the logits of classes, which no pair of units has seen; None for no classes.
        resamples: of the bootstrap over images.
        level: of the intervals.
        seed: of the bootstrap.
    """
    images = transferred.images
    results = dict(transferred.results)
    results[START] = transferred.start.expand_as(images)
    results[OTHER] = results[BRIDGE].roll(1, dims=0)
    found = {arm: figures_of(images, made, judge) for arm, made in results.items()}

    def mean(values: Tensor) -> Mean | None:
        known = values[values.isfinite()]
        if not len(known):
            return None
        means = bootstrap_means(known[:, None], resamples, level, seed)
        return Mean(float(means.mean), float(means.low), float(means.high), len(known))

    own = found[BRIDGE]
    return [
        Kept(
            transferred.source,
            transferred.target,
            arm,
            figure,
            transferred.pairs.get(arm),
            mean(values),
            None if arm == BRIDGE else mean(values - own[figure]),
        )
        for arm, figures in found.items()
        for figure, values in figures.items()
    ]


def records(rows: list[Kept]) -> list[dict[str, Any]]:
    """As plain JSON values."""
    return [asdict(row) for row in rows]


def table(rows: list[Kept]) -> list[list[str]]:
    """For people: a line for every arm of every direction, figures as columns; heads first."""
    figures = [figure for figure in FIGURES if any(row.figure == figure for row in rows)]
    lines: dict[tuple[str, str, str], Mapping[str, Kept]] = {}
    for row in rows:
        key = (row.source, row.target, row.arm)
        lines[key] = {**lines.get(key, {}), row.figure: row}
    body = []
    for (source, target, arm), cells in lines.items():
        pairs = next(iter(cells.values())).pairs
        values = [cells[figure].value for figure in figures]
        texts = [
            "\u2013" if value is None else value.text(figure)
            for figure, value in zip(figures, values, strict=True)
        ]
        images = min((value.images for value in values if value is not None), default=0)
        count = "" if pairs is None else f"{pairs:,}"
        body.append([f"{source} to {target}: {COMPARED[arm]}", count, str(images), *texts])
    return [["", "pairs", "images", *(FIGURES[figure] for figure in figures)], *body]

"""What the figures of an inversion are called, and which way each of them is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rosetta_lab.errors import RosettaError

LOSS = "loss/"
BEFORE = "start_"  # before a figure of what an inversion started from
AFTER = "tuned_"  # before a figure of what pivotal tuning made of it


@dataclass(frozen=True)
class Figure:
    """A figure of every image.

    Attributes:
        name: in ``result.json`` and the tables.
        title: on pages, with its unit.
        higher: whether more is better; errors, distances and losses are better when small.
        digits: after the point.
    """

    name: str
    title: str
    higher: bool = False
    digits: int = 3

    def text(self, value: float) -> str:
        """A value in this figure's digits."""
        return f"{value:.{self.digits}f}"

    def gain(self, value: float, baseline: float) -> float:
        """How much better a value is than the baseline's; negative where it is worse."""
        return value - baseline if self.higher else baseline - value


_KNOWN = {
    figure.name: figure
    for figure in (
        Figure("psnr", "PSNR (dB)", higher=True, digits=2),
        Figure("ssim", "SSIM", higher=True),
        Figure("recognised", "recognised", higher=True, digits=2),
        Figure("centre_error", "error of centre"),
        Figure("scale_error", "error of scale"),
        Figure("hue_error", "error of hue (°)", digits=1),
    )
}


def figure(name: str) -> Figure:
    """The figure of a name; one that is not known is an error, a distance or a loss."""
    if name.startswith(AFTER):
        plain = figure(name.removeprefix(AFTER))
        return replace(plain, name=name, title=f"{plain.title}, tuned")
    return _KNOWN.get(name) or Figure(name, name.replace("_", " "))


def known(values: Mapping[str, float]) -> dict[str, float]:
    """Those figures that are finite: nothing can be read from some images, and JSON has no NaN."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def figures(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the figures that any record has, in order; losses last."""
    names = dict.fromkeys(
        name for record in records for name in record if name not in ("id", "label")
    )
    return sorted(names, key=lambda name: name.startswith(LOSS))


def judged(records: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Figures that judge images, without the losses."""
    return [figure(name) for name in figures(records) if not name.startswith(LOSS)]


def means(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of every figure over the records that have it."""
    return {
        name: sum(values) / len(values)
        for name in figures(records)
        if (values := [record[name] for record in records if name in record])
    }


def objective(records: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """The mean of the figure that a sweep improves; None without images.

    Raises:
        RosettaError: there is no such figure.
    """
    mean = means(records)
    if mean and name not in mean:
        raise RosettaError(
            f"objective={name}: there is no such figure.\nChoose from {', '.join(mean)}."
        )
    return mean.get(name)

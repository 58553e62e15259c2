"""Runs on the same images: which is how much better."""

from __future__ import annotations

import filecmp
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rosetta_lab.compare.runs import ComparedRun, find_baselines
from rosetta_lab.data.images import BrokenImage
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.bootstrap import bootstrap_means
from rosetta_lab.invert.figures import BEFORE, Figure, figure, figures
from rosetta_lab.invert.results import TARGET

log = logging.getLogger("rosetta_lab")
OF_LOSS_WEIGHTS = "loss/total"  # its parts are weighted differently by different runs


@dataclass
class Row:
    """A figure of an arm over the images.

    Attributes:
        images: how many have this figure in every arm: nothing can be read from some images.
        mean, low, high: of the figure.
        gain, gain_low, gain_high: mean improvement on the baseline, image by image; positive is
            better, whichever way the figure goes; None for the baseline.
        wins, ties: images on which the arm is better than the baseline, or equal.
    """

    arm: ComparedRun
    figure: Figure
    images: int
    mean: float
    low: float
    high: float
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    wins: int | None = None
    ties: int | None = None


@dataclass
class Comparison:
    """Arms on the same images.

    Attributes:
        arms: all of them, the baseline among them.
        baselines: number of the arm that each is compared with; a baseline's is its own.
        ids: images that every arm has.
        rows: arm by arm, figure by figure.
    """

    arms: list[ComparedRun]
    baselines: list[int]
    ids: list[str]
    rows: list[Row]

    @property
    def figures(self) -> list[Figure]:
        """Those that every arm has, losses last."""
        return list(dict.fromkeys(row.figure for row in self.rows))

    @property
    def groups(self) -> list[list[ComparedRun]]:
        """Arms with a common baseline, which stands first."""
        return [
            sorted(
                (arm for arm, own in zip(self.arms, self.baselines, strict=True) if own == base),
                key=lambda arm: arm is not self.arms[base],
            )
            for base in dict.fromkeys(self.baselines)
        ]

    def row(self, arm: ComparedRun, name: str) -> Row | None:
        """An arm's row of a figure."""
        return next((r for r in self.rows if r.arm is arm and r.figure.name == name), None)


def compare(
    arms: list[ComparedRun],
    baselines: list[int] | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare arms on the images that all of them have, figure by figure on those which have it.

    Args:
        arms: all of them.
        baselines: see :class:`Comparison`; by default :func:`find_baselines`.
        resamples: of the bootstrap.
        level: of the intervals.
        seed: of the bootstrap.

    Raises:
        RosettaError: there is no such image.
    """
    baselines = find_baselines(arms) if baselines is None else baselines
    first = arms[0].records
    ids = [name for name in first if all(name in arm.records for arm in arms)]
    if not ids:
        raise RosettaError("The runs have no image in common. Compare runs on the same images.")
    most = max(len(arm.records) for arm in arms)
    if len(ids) < most:
        log.warning("%d images that not every run has are left out.", most - len(ids))
    warn_of_other_targets(arms, ids)
    names = [
        name
        for name in figures([first[i] for i in ids])
        if name != OF_LOSS_WEIGHTS and not name.startswith(BEFORE)
    ]
    rows: list[Row] = []
    for name in names:
        having = [i for i in ids if all(name in arm.records[i] for arm in arms)]
        if not having:
            continue
        kind = figure(name)
        values = torch.tensor(
            [[arm.records[i][name] for arm in arms] for i in having], dtype=torch.float64
        )  # (N, A)
        gains = (1.0 if kind.higher else -1.0) * (values - values[:, baselines])
        found = bootstrap_means(torch.cat([values, gains], dim=1), resamples, level, seed)
        for place, arm in enumerate(arms):
            mean, low, high = (float(column[place]) for column in found)
            row = Row(arm, kind, len(having), mean, low, high)
            if place != baselines[place]:
                column = len(arms) + place
                row.gain, row.gain_low, row.gain_high = (float(c[column]) for c in found)
                row.wins = int((gains[:, place] > 0).sum())
                row.ties = int((gains[:, place] == 0).sum())
            rows.append(row)
    return Comparison(arms, baselines, ids, rows)


def warn_of_other_targets(arms: Sequence[ComparedRun], ids: Sequence[str]) -> None:
    """Say so where runs inverted different images under the same names."""
    for name in ids:
        first, *others = (arm.results.root / name / TARGET for arm in arms)
        if not all(path.is_file() for path in (first, *others)):
            raise BrokenImage(first, f"not every run has this {TARGET}")
        if not all(filecmp.cmp(first, other, shallow=False) for other in others):
            log.warning(
                "'%s' is not the same image in all runs (other data.seed=, data.style= or size?).\n"
                "Gains then compare inversions of different images.",
                name,
            )
            return

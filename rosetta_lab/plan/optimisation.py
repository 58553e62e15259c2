"""What inversions and edits need, before they run: memory and time, from a few steps of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from omegaconf import DictConfig

from rosetta_lab.dictionary.mined import load_mined
from rosetta_lab.edit.recipe import load_edit
from rosetta_lab.edit.setup import (
    agreement_of,
    chosen_units,
    filled_in,
    load_sources,
    pose,
    space_of,
)
from rosetta_lab.errors import check_count
from rosetta_lab.invert.optimise import Problem, descend
from rosetta_lab.invert.problem import TargetBatches
from rosetta_lab.invert.setup import load_inversion
from rosetta_lab.invert.units import target_units
from rosetta_lab.models.images import load_targets
from rosetta_lab.run.device import best, chosen_device, peak_of
from rosetta_lab.run.memory import available_memory

PAPER = (5_000, 1_000)  # images of the paper's Table 1, and steps for each of its baseline
FEW = 4  # images at a time, to measure with
MEASURED = "Measuring some steps of Adam, with {} image(s) at a time."
Pose = Callable[[int], Problem]  # of the first so many images


@dataclass(frozen=True)
class OptimisationPlan:
    """Of a command that optimises latents.

    Attributes:
        command: ``invert`` or ``edit``.
        generator: whose latents they are.
        images: how many.
        steps: of Adam that each image takes, over all the optimisations that it takes part in.
        batch_size: images at a time.
        device: where.
        available: bytes that are free there.
        memory: bytes at most, for one image at a time, and for each more.
        seconds: of a step, for one image at a time, and for each more.
    """

    command: str
    generator: str
    images: int
    steps: int
    batch_size: int
    device: str
    available: int
    memory: tuple[float, float]
    seconds: tuple[float, float]

    @property
    def peak(self) -> float:
        """Bytes of a whole batch."""
        return self.memory[0] + (min(self.batch_size, self.images) - 1) * self.memory[1]

    @property
    def fits(self) -> bool:
        """Whether so much is free."""
        return self.peak <= self.available

    def duration(self, images: int, steps: int) -> float:
        """Seconds for so many images and steps."""
        batches = math.ceil(images / self.batch_size)
        return steps * (batches * (self.seconds[0] - self.seconds[1]) + images * self.seconds[1])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, derived figures included."""
        return asdict(self) | {
            "peak": self.peak,
            "fits": self.fits,
            "seconds_per_image": self.duration(self.images, self.steps) / self.images,
            "seconds_of_the_run": self.duration(self.images, self.steps),
            "seconds_of_the_papers_table": self.duration(*PAPER),
        }


def plan_inversion(cfg: DictConfig, device: str | None, measure: float) -> OptimisationPlan:
    """Of ``rosetta_lab.invert``, its config given; pivotal tuning is not counted."""
    device = chosen_device(device)
    available = available_memory(device)
    check_count("steps", cfg.steps)
    mined = load_mined(cfg.dictionary, device, cfg.trust_sources)
    cfg = mined.filled_in(cfg)
    inversion, targets = load_inversion(cfg, mined), load_targets(cfg, mined.generator.resolution)
    memory, seconds = measured(
        lambda images: inversion(TargetBatches(targets, images)[0]), len(targets), device, measure
    )
    return OptimisationPlan(
        "invert",
        mined.dictionary.reference.name,
        len(targets),
        cfg.steps,
        cfg.batch_size,
        device,
        available,
        memory,
        seconds,
    )


def plan_edit(cfg: DictConfig, device: str | None, measure: float) -> OptimisationPlan:
    """Of ``rosetta_lab.edit``, its config given, all pictures of which are edited at a time."""
    device = chosen_device(device)
    available = available_memory(device)
    check_count("steps", cfg.steps)
    mined = load_mined(cfg.dictionary, device, cfg.trust_sources)
    cfg = filled_in(cfg, mined)
    inverted = cfg.inversion.steps if cfg.images is not None else 0
    cfg.inversion.steps = 0  # what an inversion finds takes no other memory or time
    edit = load_edit(cfg)
    sources, space = load_sources(cfg, mined, space_of(edit))
    how = agreement_of(cfg, edit)
    units = (target_units(cfg, mined, pairs, how) for pairs in chosen_units(cfg, mined))
    editing = pose(cfg, mined, edit, space, *units)
    memory, seconds = measured(
        lambda images: editing(sources.first(images)), len(sources.ids), device, measure
    )
    return OptimisationPlan(
        "edit",
        mined.dictionary.reference.name,
        len(sources.ids),
        inverted + cfg.steps * (2 if cfg.controls else 1),
        len(sources.ids),
        device,
        available,
        memory,
        seconds,
    )


def measured(
    pose: Pose, images: int, device: str, seconds: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Bytes and seconds of a step: for one image at a time, and for each more."""
    taken: list[tuple[int, float, float]] = []
    for number in sorted({1, min(images, FEW)}):
        print(MEASURED.format(number), file=sys.stderr)
        # Of no rate, lest latents get to where it is slower.
        step = partial(next, descend(pose(number), sys.maxsize, lr=0.0))
        taken.append((number, peak_of(step, device), best(step, device, seconds)))
    (first, *least), (last, *most) = taken[0], taken[-1]
    more = [max(0.0, (b - a) / max(1, last - first)) for a, b in zip(least, most, strict=True)]
    if last == first:  # nothing to tell how it grows by: as if nothing were shared
        more = least
    return (least[0], more[0]), (least[1], more[1])

"""Editing a generated image through the target maps of its Rosetta units (paper, section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from rosetta_lab.edits import Edit
from rosetta_lab.functional.agreement import (
    Agreement,
    Joint,
    Normalization,
    TargetMaps,
    standardize,
)
from rosetta_lab.functional.resize import Size
from rosetta_lab.hooks import record
from rosetta_lab.latent_code import LatentCode, MeanLatents, Space, random_z
from rosetta_lab.models.base import Generator
from rosetta_lab.modules.inversion import Problem
from rosetta_lab.objective import Objective
from rosetta_lab.rosetta_units import RosettaUnits, Statistics
from rosetta_lab.units import UnitIndex

Origin = Literal["generator", "models"]


@dataclass
class Sources:
    """Images to edit, as latents.

    Attributes:
        ids: names, which also seed random starts.
        latent: in the space of the edit: (N, z_dim), (N, D) or (N, slots, D).
        c: class weights (N, classes), None for an unconditional generator.
    """

    ids: list[str]
    latent: Tensor
    c: Tensor | None


class OwnUnits:
    """Units of the generator as their own targets: what they do on the source image.

    Args:
        generator: fixed.
        units: the numbers of its units.
        chosen: numbers of the units to use (U,).
        statistics: of its layers over the mined images.
        sizes: of its layers' maps.
        normalization: see :mod:`rosetta_lab.functional.agreement`.
    """

    def __init__(
        self,
        generator: Generator,
        units: UnitIndex,
        chosen: Tensor,
        statistics: Statistics,
        sizes: Mapping[str, Size],
        normalization: Normalization = "cosine",
    ) -> None:
        self.generator, self.statistics, self.sizes = generator, statistics, sizes
        self.normalization: Normalization = normalization
        channels: dict[str, list[int]] = {}
        for number in chosen.tolist():
            unit = units[number]
            channels.setdefault(unit.layer, []).append(unit.channel)
        self.channels = {layer: torch.tensor(own) for layer, own in channels.items()}

    @torch.no_grad()
    def targets(self, code: LatentCode) -> list[TargetMaps]:
        """What the units do for these latents, standardised."""
        with record(self.generator, list(self.channels)) as raw:
            code.images()
        targets = []
        for layer, channels in self.channels.items():
            maps = self.generator.align(layer, raw[layer])[:, channels]
            mean, var = (x.to(maps)[channels] for x in self.statistics[layer])
            targets.append(TargetMaps(layer, channels, standardize(maps, mean, var)))
        return targets

    def agreement(self, targets: Sequence[TargetMaps]) -> Agreement:
        """The activation loss's inside, for these targets."""
        return Agreement(targets, self.statistics, self.sizes, self.normalization)


class SeenUnits:
    """Units that models see in the source image, as targets of the generator's matched units.

    Args:
        units: the models and the matches.
    """

    def __init__(self, units: RosettaUnits) -> None:
        self.units = units

    @torch.no_grad()
    def targets(self, code: LatentCode) -> list[TargetMaps]:
        """What the models' units do on the images of these latents, standardised."""
        return self.units.targets(code.images().clamp(0.0, 1.0))

    def agreement(self, targets: Sequence[TargetMaps]) -> Agreement:
        """The activation loss's inside, for these targets."""
        return self.units.agreement(targets)


class Editing:
    """Poses the edit of a batch of images as a problem.

    Args:
        generator: fixed.
        edit: what happens to the target maps of the edited units.
        edited: the units that the edit is for.
        kept: units that are to stay as they are; None for none.
        reference: latents that show how low every unit gets.
        loss: weights of the parts: ``activation``, ``latent_l1``, ``latent_l2``.
        keep: weight of the kept units' agreement.
        space: of the latents.
        psi: truncation while mapping z.
        seed: of random starts.
        distribution: of z, see :func:`rosetta_lab.data.latents.sample_z`.
    """

    def __init__(
        self,
        generator: Generator,
        edit: Edit,
        edited: OwnUnits | SeenUnits,
        kept: OwnUnits | SeenUnits | None,
        reference: Sources,
        loss: Mapping[str, float],
        *,
        keep: float = 1.0,
        space: Space = "z",
        psi: float = 1.0,
        seed: int = 0,
        distribution: Mapping[str, Any] | None = None,
    ) -> None:
        self.generator, self.edit, self.keep = generator, edit, keep
        self.edited, self.kept = edited, kept
        self.loss, self.space, self.psi = dict(loss), space, psi
        self.seed, self.distribution = seed, dict(distribution or {})
        self.means = MeanLatents(generator, psi=psi, seed=seed, **self.distribution)
        self.floors = [t.maps.amin(dim=(0, 2, 3)) for t in edited.targets(self.code(reference))]

    def code(self, sources: Sources) -> LatentCode:
        """The sources' own latents."""
        return LatentCode(self.generator, self.space, sources.latent, sources.c, self.psi)

    def targets(self, sources: Sources) -> tuple[list[TargetMaps], list[TargetMaps]]:
        """Target maps of the edited units, before and after the edit."""
        before = self.edited.targets(self.code(sources))
        after = [
            replace(target, maps=self.edit(target.maps, floor))
            for target, floor in zip(before, self.floors, strict=True)
        ]
        return before, after

    def __call__(self, sources: Sources) -> Problem:
        code = self.code(sources)
        agreements = [self.edited.agreement(self.targets(sources)[1])]
        if self.kept is not None:
            agreements.append(self.kept.agreement(self.kept.targets(code)))
        weights = [1.0, self.keep][: len(agreements)]
        if self.edit.start == "random":
            with torch.no_grad():
                code.value.copy_(self.random_start(sources))
                code.anchor.copy_(self.means.in_space(self.space, sources.c, len(code)))
        return code, Objective(self.loss, agreement=Joint(agreements, weights))

    def random_start(self, sources: Sources) -> Tensor:
        """Random latents in the space of the edit."""
        z = random_z(self.generator, sources.ids, self.seed, **self.distribution)
        return in_space(self.generator, self.space, z, sources.c, self.psi)


@torch.no_grad()
def in_space(
    generator: Generator, space: Space, z: Tensor, c: Tensor | None, psi: float = 1.0
) -> Tensor:
    """z (N, z_dim) as a latent of a space."""
    if space == "z":
        return z
    latent = generator.map(z, c, psi)
    if space == "w" and latent.dim() == 3:
        return latent[:, 0]
    return latent

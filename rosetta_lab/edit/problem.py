"""Editing a generated image through the target maps of its Rosetta units (paper, section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rosetta_lab.edit.edits import Edit
from rosetta_lab.functional.agreement import (
    Joint,
    TargetMaps,
)
from rosetta_lab.invert.latent_code import LatentCode, MeanLatents, Space, random_z
from rosetta_lab.invert.objective import Objective
from rosetta_lab.invert.sources import Sources, in_space
from rosetta_lab.invert.units import OwnUnits, SeenUnits
from rosetta_lab.models.base import Generator


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
        before = self.edited.targets(self.code(sources), sources.pictures)
        after = [
            replace(target, maps=self.edit(target.maps, floor))
            for target, floor in zip(before, self.floors, strict=True)
        ]
        return before, after

    def __call__(self, sources: Sources) -> tuple[LatentCode, Objective]:
        code = self.code(sources)
        agreements = [self.edited.agreement(self.targets(sources)[1])]
        if self.kept is not None:
            agreements.append(self.kept.agreement(self.kept.targets(code, sources.pictures)))
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

"""From images to optimisation problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset

from rosetta_lab.data.images import BrokenImage, Target
from rosetta_lab.errors import RosettaError
from rosetta_lab.latent_code import (
    LatentCode,
    MeanLatents,
    Space,
    random_z,
    slots,
    spread_over_slots,
)
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.perceptual import Perceptual
from rosetta_lab.modules.inversion import Problem
from rosetta_lab.objective import Objective
from rosetta_lab.rosetta_units import RosettaUnits


@dataclass
class TargetBatch:
    """Images to invert at the same time: names, images (N, 3, R, R) in [0, 1], what is known."""

    ids: list[str]
    images: Tensor
    labels: list[int | None]
    truth: list[dict[str, float]]


class TargetBatches(Dataset[TargetBatch]):
    """A data set of targets in batches that are always the same, whatever a run still has to do.

    Args:
        targets: see :mod:`rosetta_lab.data.images`; with ``ids``.
        batch_size: targets of a batch.
        batches: numbers of the batches to take; None for all.

    Attributes:
        broken: id to what was wrong with the file, of those met so far.
    """

    def __init__(self, targets: Any, batch_size: int, batches: Sequence[int] | None = None) -> None:
        self.targets, self.batch_size = targets, batch_size
        every = range(-(-len(targets) // batch_size))
        self.batches = list(every if batches is None else batches)
        self.broken: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.batches)

    def ids(self, batch: int) -> list[str]:
        """Names in a batch, broken ones too."""
        start = batch * self.batch_size
        return list(self.targets.ids[start : start + self.batch_size])

    def __getitem__(self, index: int) -> TargetBatch:
        found: list[Target] = []
        start = self.batches[index] * self.batch_size
        for place in range(start, min(start + self.batch_size, len(self.targets))):
            try:
                found.append(self.targets[place])
            except BrokenImage as error:
                self.broken[self.targets.ids[place]] = error.reason
        return TargetBatch(
            [target.id for target in found],
            torch.stack([target.image for target in found]) if found else torch.empty(0, 3, 1, 1),
            [target.label for target in found],
            [target.truth for target in found],
        )


class Inversion:
    """Poses the inversion of a batch of images as a problem (paper, Eq. 5).

    Args:
        generator: fixed.
        units: matched units that look at the images; None for none.
        perceptual: distance of the loss; None for none.
        loss: weights of the parts, see :class:`Objective`.
        space: of the latents.
        start: ``mean`` of the class, ``random``, or a safetensors file with ``latent``.
        psi: truncation while mapping z.
        label: ``given`` by the data, ``inferred``, or one class for all.
        classifier: infers classes: its outputs are their logits.
        optimize_class: see :class:`LatentCode`.
        seed: of random starts and means.
        distribution: of z, see :func:`rosetta_lab.data.latents.sample_z`.
    """

    def __init__(
        self,
        generator: Generator,
        units: RosettaUnits | None,
        perceptual: Perceptual | None,
        loss: Mapping[str, float],
        *,
        space: Space = "w",
        start: str = "mean",
        psi: float = 1.0,
        label: str | int = "given",
        classifier: DiscriminativeModel | None = None,
        optimize_class: bool = False,
        seed: int = 0,
        distribution: Mapping[str, Any] | None = None,
    ) -> None:
        self.generator, self.units, self.perceptual = generator, units, perceptual
        self.loss, self.space, self.start, self.psi = dict(loss), space, start, psi
        self.label, self.classifier, self.optimize_class = label, classifier, optimize_class
        self.seed, self.distribution = seed, dict(distribution or {})
        self.means = MeanLatents(generator, psi=psi, seed=seed, **self.distribution)
        self.slots = slots(generator)

    def __call__(self, batch: TargetBatch) -> Problem:
        device = next(self.generator.parameters()).device
        images = batch.images.to(device)
        c = self.class_weights(batch.labels, images)
        value = self.starting_point(batch.ids, c)
        code = LatentCode(self.generator, self.space, value, c, self.psi, self.optimize_class)
        if self.space == "z" or self.start == "random":
            code.anchor.copy_(self.means.in_space(self.space, c, len(value)))
        agreement = None
        if self.units is not None:
            agreement = self.units.agreement(self.units.targets(images))
        return code, Objective(self.loss, images, agreement, self.perceptual)

    @torch.no_grad()
    def class_weights(self, labels: Sequence[int | None], images: Tensor) -> Tensor | None:
        """Class weights (N, classes); None for an unconditional generator.

        Raises:
            RosettaError: classes are neither given nor can they be inferred.
        """
        classes = self.generator.num_classes
        if not classes:
            return None
        if self.label == "given" and None not in labels:
            chosen = torch.tensor(labels)
        elif self.label in ("given", "inferred"):
            if self.classifier is None:
                raise RosettaError(
                    "The images come without classes and there is no classifier to infer them.\n"
                    "Choose label=NUMBER, or classifier=NAME of a model with class logits."
                )
            logits = self.classifier(images)
            if logits.shape[1] != classes:
                raise RosettaError(
                    f"The classifier knows {logits.shape[1]} classes, the generator {classes}.\n"
                    "Choose another classifier=NAME, or label=NUMBER."
                )
            weights: Tensor = logits.softmax(dim=1)
            return weights
        else:
            chosen = torch.full((len(images),), int(self.label))
            if not 0 <= int(self.label) < classes:
                raise RosettaError(f"label={self.label}: expected 0 to {classes - 1}.")
        return torch.nn.functional.one_hot(chosen, classes).to(images)

    @torch.no_grad()
    def starting_point(self, ids: list[str], c: Tensor | None) -> Tensor:
        """Where the optimisation begins, in the space of the latents.

        Raises:
            RosettaError: the file does not hold latents for these images.
        """
        if self.start == "random":
            z = random_z(self.generator, ids, self.seed, **self.distribution)
            return z if self.space == "z" else self._in_space(self.generator.map(z, c, self.psi))
        if self.start == "mean":
            return self.means.in_space(self.space, c, len(ids))
        stored = load_file(self.start)["latent"].to(next(self.generator.parameters()))
        if len(stored) not in (1, len(ids)):
            raise RosettaError(
                f"start={self.start}: it holds {len(stored)} latents for {len(ids)} images.\n"
                "Name a file with one latent, or with one for each image of a batch."
            )
        stored = stored.expand(len(ids), *stored.shape[1:])
        return stored if self.space == "z" else self._in_space(stored)

    def _in_space(self, w: Tensor) -> Tensor:
        if self.space == "w+" and w.dim() == 2:
            return spread_over_slots(w, self.slots)
        return w.mean(dim=1) if self.space == "w" and w.dim() == 3 else w

"""From images to optimisation problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from rosetta_lab.data.images import BrokenImage, Target
from rosetta_lab.errors import RosettaError, check_choice, check_count
from rosetta_lab.files import path_of
from rosetta_lab.invert.latent_code import (
    SPACES,
    LatentCode,
    MeanLatents,
    Space,
    check_class,
    check_class_optimizable,
    default_start,
    random_z,
    slots,
    spread_over_slots,
)
from rosetta_lab.invert.latent_files import LATENT, RESULTS, read_latents
from rosetta_lab.invert.objective import Objective
from rosetta_lab.invert.units import RosettaUnits
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.perceptual import Perceptual


@dataclass
class TargetBatch:
    """Images to invert at the same time.

    Attributes:
        ids: their names.
        images: (N, 3, R, R) in [0, 1].
        labels: their classes, where known.
        truth: what else is known of each.
        number: of the batch among all of the data's.
    """

    ids: list[str]
    images: Tensor
    labels: list[int | None]
    truth: list[dict[str, float]]
    number: int = 0


class TargetBatches(Dataset[TargetBatch]):
    """A data set of targets in batches that are always the same, whatever a run still has to do.

    Args:
        targets: see :mod:`rosetta_lab.data.images`; with ``ids``.
        batch_size: targets of a batch.

    Attributes:
        batches: numbers of the batches to take, all at first.
    """

    def __init__(self, targets: Any, batch_size: int) -> None:
        check_count("batch_size", batch_size)
        self.targets, self.batch_size = targets, batch_size
        self.batches = list(range(-(-len(targets) // batch_size)))

    def __len__(self) -> int:
        return len(self.batches)

    def ids(self, batch: int) -> list[str]:
        """Names in a batch, broken ones too."""
        start = batch * self.batch_size
        return list(self.targets.ids[start : start + self.batch_size])

    def __getitem__(self, index: int) -> TargetBatch:
        found: list[Target] = []
        number = self.batches[index]
        start = number * self.batch_size
        for place in range(start, min(start + self.batch_size, len(self.targets))):
            try:
                found.append(self.targets[place])
            except BrokenImage:  # told at the end, when it is known what has no result
                continue
        return one_batch(found, number)


def one_batch(targets: Sequence[Target], number: int = 0) -> TargetBatch:
    """Targets of one size as a batch, perhaps an empty one."""
    return TargetBatch(
        [target.id for target in targets],
        torch.stack([target.image for target in targets]) if targets else torch.empty(0, 3, 1, 1),
        [target.label for target in targets],
        [target.truth for target in targets],
        number,
    )


class Inversion:
    """Poses the inversion of a batch of images as a problem (paper, Eq. 5).

    Args:
        generator: fixed.
        units: matched units that look at the images; None for none.
        perceptual: distance of the loss; None for none.
        loss: weights of the parts, see :class:`Objective`.
        space: of the latents.
        start: ``mean`` of the class, ``random``, a safetensors file with one ``latent`` (of
            ``space`` unless it says otherwise), or the folder of a run that inverted these images;
            None: see :func:`default_start`.
        psi: truncation while mapping z.
        label: ``given`` by the data, ``inferred``, or one class for all.
        classifier: infers classes: its outputs are their logits.
        optimize_class: see :class:`LatentCode`.
        seed: of random starts and means.
        distribution: of z, see :func:`rosetta_lab.data.latents.sample_z`.

    Raises:
        RosettaError: there is no such space, start or class, or nothing to optimise a class with.
    """

    def __init__(
        self,
        generator: Generator,
        units: RosettaUnits | None,
        perceptual: Perceptual | None,
        loss: Mapping[str, float],
        *,
        space: Space = "w",
        start: str | None = None,
        psi: float = 1.0,
        label: str | int = "given",
        classifier: DiscriminativeModel | None = None,
        optimize_class: bool = False,
        seed: int = 0,
        distribution: Mapping[str, Any] | None = None,
    ) -> None:
        check_choice("space", space, SPACES)
        start = default_start(generator, space) if start is None else str(start)
        if start not in ("mean", "random") and not path_of(start).exists():
            raise RosettaError(
                f"start={start}: there is no such file or folder.\n"
                "Choose mean, random, a safetensors file with one latent, or a run's folder."
            )
        if start == "mean" and space == "z" and generator.z_direction_only:
            raise RosettaError(
                "start=mean, space=z: the mean of z is 0, without the direction that alone counts "
                "for this generator.\nChoose start=random, or space=w."
            )
        if label not in ("given", "inferred"):
            check_class("label", label, generator.num_classes, "given", "inferred")
        if optimize_class:
            check_class_optimizable(generator, space)
        self.generator, self.units, self.perceptual = generator, units, perceptual
        self.loss, self.space, self.start, self.psi = dict(loss), space, start, psi
        self.label, self.classifier, self.optimize_class = label, classifier, optimize_class
        self.seed, self.distribution = seed, dict(distribution or {})
        self.means = MeanLatents(generator, psi=psi, seed=seed, **self.distribution)
        self.slots = slots(generator)

    def __call__(self, batch: TargetBatch) -> tuple[LatentCode, Objective]:
        device = next(self.generator.parameters()).device
        images = batch.images.to(device)
        c = self.class_weights(batch.labels, images)
        value = self.starting_point(batch.ids, c)
        code = LatentCode(self.generator, self.space, value, c, self.psi, self.optimize_class)
        code.anchor.copy_(self.means.in_space(self.space, c, len(value)))
        agreement = None
        if self.units is not None:
            agreement = self.units.agreement(self.units.targets(images))
        return code, Objective(self.loss, images, agreement, self.perceptual)

    @torch.no_grad()
    def class_weights(self, labels: Sequence[int | None], images: Tensor) -> Tensor | None:
        """Class weights (N, classes); None for an unconditional generator.

        Raises:
            RosettaError: classes are neither given nor can they be inferred, or the generator has
                no such class.
        """
        classes = self.generator.num_classes
        if not classes:
            return None
        if self.label == "inferred":
            labels = [None] * len(images)
        elif self.label != "given":
            labels = [int(self.label)] * len(images)
        weights = images.new_zeros(len(images), classes)
        unknown = [place for place, label in enumerate(labels) if label is None]
        if unknown and self.classifier is None:
            raise RosettaError(
                "Images come without classes and there is no classifier to infer them.\n"
                "Choose label=NUMBER, or classifier=NAME of a model with class logits."
            )
        if unknown:
            assert self.classifier is not None
            weights[unknown] = self.classifier(images[unknown]).softmax(dim=1).to(weights)
        for place, label in enumerate(labels):
            if label is not None:
                check_class("An image's class", label, classes, "label=inferred")
                weights[place, label] = 1.0
        return weights

    @torch.no_grad()
    def starting_point(self, ids: list[str], c: Tensor | None) -> Tensor:
        """Where the optimisation begins, in the space of the latents.

        Raises:
            RosettaError: a file does not hold one latent of this generator.
        """
        if self.start == "random":
            z = random_z(self.generator, ids, self.seed, **self.distribution)
            return z if self.space == "z" else self._in_space(self.generator.map(z, c, self.psi))
        if self.start == "mean":
            return self.means.in_space(self.space, c, len(ids))
        return self._stored(ids, c)

    def _stored(self, ids: list[str], c: Tensor | None) -> Tensor:
        start = path_of(self.start)
        files = [start / RESULTS / name / LATENT for name in ids] if start.is_dir() else [start]
        found = [
            read_latents(self.generator, file, key="start", unsaid=self.space) for file in files
        ]
        for file, one in zip(files, found, strict=True):
            if len(one.latent) != 1:
                raise RosettaError(
                    f"start={file}: it holds {len(one.latent)} latents, expected one.\n"
                    "Name the folder of a run that inverted these images, or another file."
                )
            if one.space != found[0].space:
                raise RosettaError(
                    f"start={file}: its latent is of {one.space}, others are of {found[0].space}.\n"
                    "Name the folder of one run."
                )
        latent = torch.cat([one.latent for one in found])
        latent = latent.expand(len(ids), *latent.shape[1:])
        if found[0].space == self.space == "z":
            return latent
        if self.space == "z":
            raise RosettaError(
                f"start={self.start}: its latents are of {found[0].space}, and none of z is known "
                f"to give them.\nChoose space={found[0].space}, or another start."
            )
        mapped = found[0].space != "z"
        return self._in_space(latent if mapped else self.generator.map(latent, c, self.psi))

    def _in_space(self, w: Tensor) -> Tensor:
        if self.space == "w+" and w.dim() == 2:
            return spread_over_slots(w, self.slots)
        return w.mean(dim=1) if self.space == "w" and w.dim() == 3 else w

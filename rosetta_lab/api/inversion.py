"""Inverting images from Python (paper, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rosetta_lab.api.dictionary import Dictionary
from rosetta_lab.api.images import Given, Pictures, as_images, gallery
from rosetta_lab.api.options import configured
from rosetta_lab.invert.latent_code import Space
from rosetta_lab.invert.optimise import Inverted, optimise
from rosetta_lab.invert.problem import TargetBatches
from rosetta_lab.invert.setup import load_inversion, load_judge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOW = ("steps", "lr", "rampup", "rampdown")


@dataclass
class Inversions:
    """Images and the latents that were found for them.

    Attributes:
        dictionary: by whose units.
        targets: the images (N, 3, R, R) in [0, 1].
        images: what the generator makes of the latents, likewise.
        latents: (N, ...), in ``space``.
        class_weights: (N, classes), None for a generator without classes.
        space: z, w or w+.
        psi: truncation.
        figures: by image, ``psnr`` in dB, ``ssim``, perceptual distances.
        curves: part of the loss to its course (N, steps).
    """

    dictionary: Dictionary
    targets: Tensor
    images: Tensor
    latents: Tensor
    class_weights: Tensor | None
    space: Space
    psi: float
    figures: list[dict[str, float]]
    curves: dict[str, Tensor]

    def show(self) -> Figure:
        """A figure: every image, and what was found."""
        return gallery({"image": self.targets, "inverted": self.images})

    def __repr__(self) -> str:
        decibels = sum(row["psnr"] for row in self.figures) / max(1, len(self.figures))
        return f"{len(self.figures)} inversions in {self.space}, PSNR {decibels:.2f} dB on average"


def invert(
    images: Given,
    dictionary: Dictionary,
    *,
    labels: list[int | None] | None = None,
    progress: bool = False,
    **options: Any,
) -> Inversions:
    """Find latents whose images are like the given ones.

    Args:
        images: see :func:`rosetta_lab.api.images.as_images`; squares of the generator's resolution
            are cut from their centres.
        dictionary: whose generator's latents, and by whose units.
        labels: the images' classes, None where unknown, which are inferred.
        progress: show a bar over the steps.
        options: keys of ``python -m rosetta_lab.invert``, such as ``matches="all"``, ``steps=500``,
            ``loss__l2=1.0``.

    Raises:
        RosettaError: there is no such key, or the dictionary has no generator.
    """
    mined = dictionary.mined
    cfg = mined.filled_in(configured("invert", **{"dictionary": dictionary.folder, **options}))
    inversion = load_inversion(cfg, mined)
    judge = load_judge(cfg, inversion.classifier, mined.device)
    targets = as_images(images, mined.generator.resolution)
    batches = TargetBatches(Pictures(targets, labels), cfg.batch_size)
    found: list[Inverted] = []
    figures: list[dict[str, float]] = []
    for batch in (batches[number] for number in range(len(batches))):
        one = optimise(inversion(batch), **{key: cfg[key] for key in HOW}, progress=progress)
        found.append(one)
        figures += judge(one.images, batch.images.to(one.images), batch.truth)
    weights = [one.class_weights for one in found if one.class_weights is not None]
    return Inversions(
        dictionary,
        targets,
        torch.cat([one.images for one in found]).cpu(),
        torch.cat([one.latent for one in found]).cpu(),
        torch.cat(weights).cpu() if weights else None,
        cfg.space,
        float(cfg.psi),
        figures,
        {key: torch.cat([one.curves[key] for one in found]).cpu() for key in found[0].curves},
    )

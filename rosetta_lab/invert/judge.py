"""How near inverted images are to their targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio as psnr
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from rosetta_lab.data.fashion.readings import hue_error, read_scenes
from rosetta_lab.invert.figures import BEFORE
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.perceptual import Perceptual

PERFECT = 100.0  # dB; identical images have no finite PSNR


class Judge:
    """How near inverted images are to their targets.

    Args:
        distances: perceptual; their figures have their names.
        classifier: with the logits of the generator's classes; None for no figure of it.
    """

    def __init__(
        self, distances: Iterable[Perceptual], classifier: DiscriminativeModel | None = None
    ) -> None:
        self.distances = {distance.name: distance for distance in distances}
        self.classifier = classifier

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        targets: Tensor,
        truth: Sequence[Mapping[str, float]],
        starts: Tensor | None = None,
        class_weights: Tensor | None = None,
    ) -> list[dict[str, float]]:
        """Figures of every image.

        Args:
            images: (N, 3, R, R) in [0, 1].
            targets: (N, 3, R, R) in [0, 1].
            truth: see :func:`true_errors`.
            starts: what the optimisation began with (N, 3, R, R); None for the images themselves.
            class_weights: that the generator was given (N, classes); None without classes.

        Returns:
            ``psnr`` in dB, at most 100; ``ssim`` in [-1, 1]; every distance by its name;
            ``recognised``, 1 where the classifier sees the class that has the largest weight,
            else 0; and, where the truth is known, the errors of what is read from the image, and
            of the start.
        """
        decibels = psnr(images, targets, data_range=1.0, reduction="none", dim=(1, 2, 3))
        columns = {
            "psnr": decibels.clamp(max=PERFECT),
            "ssim": ssim(images, targets, data_range=1.0, reduction="none"),
        }
        columns |= {name: metric(images, targets) for name, metric in self.distances.items()}
        if self.classifier is not None and class_weights is not None:
            seen = self.classifier(images).argmax(dim=1)
            columns["recognised"] = (seen == class_weights.argmax(dim=1)).float()
        rows = [
            {name: float(values[place]) for name, values in columns.items()}
            for place in range(len(images))
        ]
        for place, (error, start) in enumerate(
            zip(true_errors(images, truth), true_errors(starts, truth), strict=True)
        ):
            rows[place] |= error | {f"{BEFORE}{name}": value for name, value in start.items()}
        return rows


def true_errors(
    images: Tensor | None, truth: Sequence[Mapping[str, float]]
) -> list[dict[str, float]]:
    """How far what is read from images is from the truth.

    Args:
        images: (N, 3, R, R) in [0, 1]; None for no errors at all.
        truth: of garment scenes: ``hue`` in degrees, ``centre_x``, ``centre_y`` and ``scale`` as
            fractions of the picture, as far as known.

    Returns:
        ``centre_error`` and ``scale_error``, fractions of the picture, ``hue_error`` in degrees;
        NaN where no garment was found in the image.
    """
    if images is None or not any(truth):
        return [{} for _ in truth]
    read, rows = read_scenes(images), []
    for place, true in enumerate(truth):
        row = {}
        if "centre_x" in true:
            centre = torch.tensor([true["centre_x"], true["centre_y"]]).to(read.centre)
            row["centre_error"] = float((read.centre[place] - centre).norm())
        if "scale" in true:
            row["scale_error"] = abs(float(read.scale[place]) - true["scale"])
        if "hue" in true:
            row["hue_error"] = float(hue_error(read.hue[place], torch.tensor(true["hue"])))
        rows.append(row)
    return rows

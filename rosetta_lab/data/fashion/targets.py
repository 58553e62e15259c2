"""Scenes of ``fashion_scenes`` to invert, as they are or as something a generator never makes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from rosetta_lab.data.fashion.scenes import CLASSES, FashionScenes, Split
from rosetta_lab.data.images import Target, check_selection
from rosetta_lab.errors import RosettaError

Style = Literal["scene", "sketch", "original"]


def sketch(images: Tensor) -> Tensor:
    """Dark lines on white where images (N, 3, H, W) have edges: a Sobel filter, (N, 3, H, W)."""
    grey = F.pad(images.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
    kernels = torch.stack([across, across.t()])[:, None].to(images)  # (2, 1, 3, 3)
    strength = F.conv2d(grey, kernels).norm(dim=1, keepdim=True)  # (N, 1, H, W)
    strength = strength / strength.amax(dim=(2, 3), keepdim=True).clamp(min=1e-6)
    lines: Tensor = 1.0 - (2.0 * strength).clamp(max=1.0)
    return lines.expand(-1, 3, -1, -1)


class FashionTargets(Dataset[Target]):
    """Some scenes of every class of ``fashion_scenes``, first one of each class and so on.

    Their ``truth`` has ``hue`` (degrees in [0, 360)), ``centre_x`` and ``centre_y`` (of the
    garment's box, fractions of the canvas) and ``scale`` (side of the box, the same); of sketches,
    only place and size.

    Args:
        size: R of the images, in pixels.
        per_class: scenes of each class.
        start: how many of a class's scenes to pass over, for disjoint selections.
        seed: see :class:`FashionScenes`.
        split: see :class:`FashionScenes`.
        root: see :func:`rosetta_lab.data.fashion.scenes.find_fashion_mnist`.
        style: ``scene``; ``sketch``, the scene's edges, dark on white; ``original``, the garment as
            Fashion-MNIST has it: grey, centred, on black.
        classes: only these; None for all.

    Attributes:
        indices, ids: of the selected scenes.

    Raises:
        RosettaError: a class has too few scenes, or there is no such class or style.
    """

    def __init__(
        self,
        size: int = 64,
        per_class: int = 5,
        start: int = 0,
        seed: int = 0,
        split: Split = "test",
        root: str | os.PathLike[str] | None = None,
        style: Style = "scene",
        classes: Sequence[int] | None = None,
    ) -> None:
        if style not in get_args(Style):
            raise RosettaError(f"style={style}: expected one of {', '.join(get_args(Style))}.")
        self.scenes = FashionScenes(split, seed, size, root)
        self.style: Style = style
        rows = []
        for label in range(len(CLASSES)) if classes is None else classes:
            if not 0 <= label < len(CLASSES):
                raise RosettaError(f"classes={list(classes or ())}: expected 0 to 9.")
            own = (self.scenes.labels == label).nonzero()[:, 0].tolist()
            check_selection(CLASSES[label], len(own), per_class, start)
            rows.append(own[start : start + per_class])
        self.indices: list[int] = [row[place] for place in range(per_class) for row in rows]
        names = [CLASSES[label].replace(" ", "_") for label in self.scenes.labels[self.indices]]
        self.ids = [f"{i:05d}_{name}" for i, name in zip(self.indices, names, strict=True)]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Target:
        scene = self.scenes[self.indices[index]]
        (x, y), hue, scale = scene.centre[0].tolist(), scene.hue.item(), scene.scale.item()
        truth, image = {"hue": hue, "centre_x": x, "centre_y": y, "scale": scale}, scene.image
        if self.style == "sketch":
            image = sketch(image)
            del truth["hue"]
        elif self.style == "original":
            grey = self.scenes.garments[self.indices[index]][None, None].float() / 255.0
            image = F.interpolate(grey, image.shape[2:], mode="bilinear").expand(-1, 3, -1, -1)
            truth = {"centre_x": 0.5, "centre_y": 0.5, "scale": 1.0}  # larger than any scene's
        return Target(self.ids[index], image[0].contiguous(), int(scene.label), truth)

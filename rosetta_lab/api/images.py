"""Images as users have them, and figures of what models see in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from rosetta_lab.data.images import ImageFolder, Target
from rosetta_lab.errors import RosettaError
from rosetta_lab.files import path_of
from rosetta_lab.pages.overlays import normalise, overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INCHES = 1.6  # of a picture in a figure
Given = Any  # see :func:`as_images`


def as_images(given: Given, size: int | None = None) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] of what a user has.

    Args:
        given: (N, 3, H, W) or (3, H, W), or with one channel, floats in [0, 1] or bytes; PIL
            images; an array (H, W, 3) or (H, W); files or folders; or a list of any of these.
        size: brings the centre square of each to so many pixels, antialiased; None to leave them,
            which then have to be of one size.

    Raises:
        RosettaError: it is something else, or there are none, or values are out of range.
    """
    if isinstance(given, Tensor) and given.dim() == 4:
        return _resized(_checked(given), size)
    if isinstance(given, str | Path):
        folder = ImageFolder(path_of(str(given)), size or 256)
        return torch.stack([folder[place].image for place in range(len(folder))])
    if isinstance(given, Tensor | np.ndarray | Image.Image):
        return _resized(_checked(_one(given)[None]), size)
    if isinstance(given, Sequence) and len(given):
        found = [as_images(one, size) for one in given]
        if len({images.shape[1:] for images in found}) > 1:
            shapes = ", ".join(sorted({str(tuple(images.shape[2:])) for images in found}))
            raise RosettaError(f"images: of several sizes, {shapes}.\nPass size= to make them one.")
        return torch.cat(found)
    raise RosettaError(
        f"images: {type(given).__name__}: expected tensors (N, 3, H, W) in [0, 1], PIL images, "
        "arrays (H, W, 3), or the names of files or folders."
    )


def _one(given: Tensor | np.ndarray[Any, Any] | Image.Image) -> Tensor:
    """One image (C, H, W)."""
    if isinstance(given, Tensor):
        return given if given.dim() == 3 else given[None]
    values = torch.from_numpy(
        np.array(given.convert("RGB") if isinstance(given, Image.Image) else given)
    )
    return values[None] if values.dim() == 2 else values.movedim(-1, 0)


def _checked(images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        images = images.float() / 255.0
    if images.dim() != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
        raise RosettaError(
            f"images: {tuple(images.shape)} of {images.dtype}: expected (N, 3, H, W), floats in "
            "[0, 1] or bytes."
        )
    if len(images) and not (images.amin() >= -1e-3 and images.amax() <= 1.0 + 1e-3):
        raise RosettaError(
            f"images: values from {images.amin():.3g} to {images.amax():.3g}: expected [0, 1].\n"
            "Undo the normalisation; every model has its own."
        )
    return images.float().clamp(0.0, 1.0).expand(-1, 3, -1, -1)


def _resized(images: Tensor, size: int | None) -> Tensor:
    if size is None or images.shape[2:] == (size, size):
        return images
    side = min(images.shape[2:])
    top, left = ((length - side) // 2 for length in images.shape[2:])
    square = images[:, :, top : top + side, left : left + side]
    return F.interpolate(square, (size, size), mode="bicubic", antialias=True).clamp(0.0, 1.0)


class Pictures:
    """Images as a data set of :class:`rosetta_lab.data.images.Target`.

    Args:
        images: (N, 3, R, R) in [0, 1].
        labels: classes, None where unknown.
    """

    def __init__(self, images: Tensor, labels: Sequence[int | None] | None = None) -> None:
        self.images = images
        self.labels = [None] * len(images) if labels is None else list(labels)
        self.ids = [f"{number:05d}" for number in range(len(images))]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> Target:
        return Target(self.ids[place], self.images[place], self.labels[place])


def heatmaps(images: Tensor, maps: Mapping[str, Tensor], titles: Mapping[str, str]) -> Figure:
    """A row for every image: itself, and every map laid over it.

    Args:
        images: (N, 3, H, W) in [0, 1].
        maps: name to maps (N, h, w); every column has a scale of its own.
        titles: of the columns.
    """
    over = {name: overlay(images.cpu(), normalise(values.cpu())) for name, values in maps.items()}
    return gallery({"image": images, **over}, titles)


def gallery(columns: Mapping[str, Tensor], titles: Mapping[str, str] | None = None) -> Figure:
    """Images (N, 3, H, W) in [0, 1] side by side, a column for every name."""
    rows = len(next(iter(columns.values())))
    size = (INCHES * len(columns), INCHES * rows + 0.4)
    figure = _new_figure(size)
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for column, (name, images) in enumerate(columns.items()):
        for row, image in enumerate(images.detach().cpu().clamp(0.0, 1.0)):
            axes[row][column].imshow(image.permute(1, 2, 0).numpy())
            axes[row][column].set_axis_off()
        axes[0][column].set_title((titles or {}).get(name, name), fontsize=8)
    return figure


def _new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure of so many inches.

    Raises:
        RosettaError: Matplotlib is not installed.
    """
    try:
        from rosetta_lab.api.figures import Figure
    except ImportError:
        raise RosettaError(
            "Figures need matplotlib, which is not installed.\npip install 'rosetta-lab[notebook]'"
        ) from None
    return Figure(figsize=size, layout="tight")

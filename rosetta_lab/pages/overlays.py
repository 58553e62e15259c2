"""Heatmaps laid over images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.pages.colormap import colourise

CELL = 128  # pixels of an example image's longer side
OPACITY = 0.6  # of the heatmap over the image
_LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722]).reshape(3, 1, 1)  # Rec. 709


def strongest(maps: Tensor, count: int) -> list[int]:
    """The images on which a unit fires most: by its highest value, best first.

    Args:
        maps: activation maps (E, h, w).
        count: how many.
    """
    peaks = maps.flatten(1).amax(dim=1)  # (E,)
    return peaks.argsort(descending=True, stable=True)[:count].tolist()


def normalise(maps: Tensor) -> Tensor:
    """A unit's maps (E, h, w) scaled to [0, 1] over the whole gallery; 0 if they never vary."""
    low, high = maps.amin(), maps.amax()
    return (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)


def overlay(images: Tensor, values: Tensor) -> Tensor:
    """Lay heatmaps over images.

    The image below turns grey: were its own colours mixed with the map's, a yellow shirt would
    look like an active one, and pale backgrounds would swallow the bright end.

    Args:
        images: (N, 3, H, W) in [0, 1].
        values: (N, h, w) in [0, 1], of any size; bilinear interpolation brings them to H x W.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    full = F.interpolate(values[:, None], images.shape[-2:], mode="bilinear", antialias=True)
    grey = (images * _LUMINANCE).sum(dim=1, keepdim=True)  # (N, 1, H, W)
    return torch.lerp(grey.expand_as(images), colourise(full[:, 0]), OPACITY)

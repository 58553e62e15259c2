"""The pictures of an edit's page: animations, a grid of all images, target maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from rosetta_lab.data.images import write_image
from rosetta_lab.files import replacing
from rosetta_lab.pages.colormap import colourise
from rosetta_lab.pages.overlays import normalise

LONGEST = 256  # pixels of a side in animations and the grid, at most
FRAME_MS, LAST_MS = 80, 1500  # how long frames stay, and the last one
MAP_PIXELS = 96  # of a target map's picture, at least
_GAP = 2  # pixels between the pictures of the grid


def write_animation(frames: Sequence[Tensor], path: Path) -> None:
    """Write images (3, H, W) in [0, 1] as a GIF that repeats and rests on the last one."""
    first, *others = (_pillow(_fit(frame[None])[0]) for frame in frames)
    times = [FRAME_MS] * len(others) + [LAST_MS]
    with replacing(path) as temporary:
        first.save(
            temporary,
            "GIF",
            save_all=True,
            append_images=others,
            duration=times,
            loop=0,
            disposal=1,
        )


def write_grid(columns: Sequence[Tensor], path: Path) -> None:
    """Write all images as one PNG: a row for each image, a column for each way to edit.

    Args:
        columns: (N, 3, R, R) in [0, 1] each.
        path: where to.
    """
    cells = torch.stack([_fit(images) for images in columns], dim=1)  # (N, columns, 3, r, r)
    cells = F.pad(cells, (0, _GAP, 0, _GAP), value=1.0)
    rows = [torch.cat(list(row), dim=2) for row in cells]
    write_image(torch.cat(rows, dim=1)[:, :-_GAP, :-_GAP], path)


def map_pictures(before: Tensor, asked: Tensor, reached: Tensor) -> list[Tensor]:
    """A unit's maps (h, w) in colours of one scale, with their cells as they are.

    Returns:
        Three images (3, H, W) in [0, 1].
    """
    scaled = normalise(torch.stack([before, asked, reached]).float().cpu())
    times = max(1, MAP_PIXELS // max(scaled.shape[1:]))
    return list(colourise(scaled.repeat_interleave(times, 1).repeat_interleave(times, 2)))


def _fit(images: Tensor) -> Tensor:
    """Images (N, 3, H, W), made smaller where a side is longer than ``LONGEST``."""
    images = images.detach().float().cpu()
    longest = max(images.shape[-2:])
    if longest <= LONGEST:
        return images
    size = [round(side * LONGEST / longest) for side in images.shape[-2:]]
    return F.interpolate(images, size, mode="bicubic", antialias=True).clamp(0.0, 1.0)


def _pillow(image: Tensor) -> Image.Image:
    pixels = (image.detach().float().cpu().clamp(0.0, 1.0) * 255.0).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())

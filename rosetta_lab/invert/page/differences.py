"""Pictures of where an inverted image differs from its target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from rosetta_lab.data.images import BrokenImage
from rosetta_lab.errors import printable
from rosetta_lab.files import replacing
from rosetta_lab.pages.colormap import colourise

DIFFERENCE = "difference.png"
MOST_PIXELS = 1 << 23  # of a result
LARGEST = 0.5  # difference that gets the lightest colour; the same for all, so that they compare


def _pixels(path: Path) -> npt.NDArray[np.float32]:
    """A picture that a run wrote (H, W, 3), which may be anybody's."""
    try:
        with Image.open(path, formats=["PNG"]) as file:
            if file.width * file.height > MOST_PIXELS:
                raise ValueError(f"{file.width} x {file.height} pixels")
            return np.asarray(file.convert("RGB"), dtype=np.float32)
    except Exception as error:  # any kind, since the file may hold anything
        raise BrokenImage(path, f"unreadable ({printable(error)})") from error


def write_difference(target: Path, inverted: Path, path: Path) -> None:
    """Write the map of absolute differences of two images, unless it is there.

    Args:
        target: an RGB image.
        inverted: one of the same size.
        path: where to write the map, a PNG with 256 colours: the mean over the three colours.
    """
    if path.exists():
        return
    a, b = _pixels(target), _pixels(inverted)
    if a.shape != b.shape:
        raise BrokenImage(inverted, f"not of the size of {target.name}")
    difference = np.abs(a - b).mean(axis=2) / (255.0 * LARGEST)  # (H, W)
    image = Image.fromarray((difference.clip(0.0, 1.0) * 255.0).round().astype(np.uint8), mode="P")
    colours = colourise(torch.linspace(0.0, 1.0, 256)[None])[:, 0].t()  # (256, 3)
    image.putpalette((colours * 255.0).round().byte().flatten().tolist())
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")

"""Pictures of where an inverted image differs from its target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rosetta_lab.files import replacing
from rosetta_lab.pages.colormap import colourise

DIFFERENCE = "difference.png"
LARGEST = 0.5  # difference that gets the lightest colour; the same for all, so that they compare


def write_difference(target: Path, inverted: Path, path: Path) -> None:
    """Write the map of absolute differences of two images, unless it is there.

    Args:
        target: an RGB image.
        inverted: one of the same size.
        path: where to write the map, a PNG with 256 colours: the mean over the three colours.
    """
    if path.exists():
        return
    a, b = (np.asarray(Image.open(p).convert("RGB"), dtype=np.float32) for p in (target, inverted))
    difference = np.abs(a - b).mean(axis=2) / (255.0 * LARGEST)  # (H, W)
    image = Image.fromarray((difference.clip(0.0, 1.0) * 255.0).round().astype(np.uint8), mode="P")
    colours = colourise(torch.linspace(0.0, 1.0, 256)[None])[:, 0].t()  # (256, 3)
    image.putpalette((colours * 255.0).round().byte().flatten().tolist())
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")

"""Photographs for ``real_images``: a folder of crops.

    pip install scikit-image
    python experiments/real_photos.py FOLDER

scikit-image (BSD licence) carries some photographs. COUNT squares of 64 to 256 pixels are cut from
them at random places, from each photograph in turn, and written as JPEG files.
"""

from __future__ import annotations

import argparse
import random
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
SIDES = (64, 256)


def crop(photograph: Image.Image, source: random.Random) -> Image.Image:
    """A square of a photograph."""
    side = source.randint(*SIDES)
    left, top = (source.randint(0, length - side) for length in photograph.size)
    return photograph.crop((left, top, left + side, top + side))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=400)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise SystemExit("There is no scikit-image.\nInstall it: pip install scikit-image")
    data = Path(found.origin).parent / "data"
    photographs = [Image.open(data / name).convert("RGB") for name in PHOTOGRAPHS]
    source = random.Random(0)
    for number in range(asked.count):
        square = crop(photographs[number % len(photographs)], source)
        square.save(asked.folder / f"crop_{number:04}.jpg", quality=95)

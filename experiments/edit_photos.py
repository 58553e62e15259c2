"""Photographs for ``edit_photos``, and its table and picture.

    python experiments/edit_photos.py photos FOLDER
    python experiments/edit_photos.py table SWEEP

``photos`` writes test scenes of ``fashion_scenes`` that have room to their right, from START on of
each class, in turn, until there are COUNT. ``table`` compares the pools of a sweep, by reading the
pictures: means with 95 % bootstrap intervals, and paired differences from the first pool; and it
draws ``edit_photos.png`` into the sweep's folder: photographs, and what every pool makes of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from rosetta_lab.data.fashion.readings import hue_error, read_scenes
from rosetta_lab.data.fashion.targets import FashionTargets
from rosetta_lab.data.images import write_image
from rosetta_lab.files import asset_root
from rosetta_lab.functional.bootstrap import bootstrap_means

ROOM = 0.29  # of the picture, to the right of the garment
ASKED = 0.25  # of the picture, to the right
SHOWN = 10  # photographs in the picture
TITLES = ("part of the way", "size", "hue", "class kept")


def photos(folder: Path, start: int, count: int) -> None:
    """Write the scenes."""
    scenes = FashionTargets(per_class=40, start=start)
    found = 0
    for target in (scenes[place] for place in range(len(scenes))):
        right = float(read_scenes(target.image[None]).box[0, 2])
        if found < count and right <= 1.0 - ROOM:
            write_image(target.image, folder / f"{target.id}.png")
            found += 1
    print(f"{found} photographs in {folder}")


def pictures(run: Path, name: str) -> Tensor:
    """One of every photograph's pictures (N, 3, R, R) in [0, 1]."""
    found = []
    for path in sorted(run.glob(f"results/*/{name}.png")):
        with Image.open(path) as image:
            found.append(pil_to_tensor(image.convert("RGB")) / 255.0)
    return torch.stack(found)


@torch.no_grad()
def figures(photographs: Tensor, results: Tensor) -> Tensor:
    """What became of photographs (N, titles); NaN where no garment is seen."""
    judge = instantiate(OmegaConf.load(asset_root() / "conf" / "disc" / "judge_fashion.yaml"))
    one, two = read_scenes(photographs), read_scenes(results)
    same = judge(photographs).argmax(dim=1) == judge(results).argmax(dim=1)
    way = (two.centre - one.centre)[:, 0] / ASKED
    columns = [way, two.scale / one.scale, hue_error(one.hue, two.hue), same.float()]
    return torch.stack(columns, dim=1).double()


def table(sweep: Path) -> None:
    """Print means and differences, and draw the picture."""
    runs = {}
    for recipe in sorted(sweep.glob("*/recipe.yaml")):
        pool = yaml.safe_load(recipe.read_text(encoding="utf-8"))["pool"]
        runs[pool] = pictures(recipe.parent, "rosetta")
    photographs = pictures(recipe.parent, "picture")
    start = pictures(recipe.parent, "before")
    found = {
        name: figures(photographs, images) for name, images in {**runs, "start": start}.items()
    }
    first = next(iter(found))
    for name, values in found.items():
        for kind, shown in ((name, values), (f"{name} - {first}", values - found[first])):
            cells = []
            for title, column in zip(TITLES, shown.unbind(dim=1), strict=True):
                known = column[column.isfinite()][:, None]
                mean, low, high = (float(x) for x in bootstrap_means(known))
                cells.append(f"{title} {mean:.2f} [{low:.2f}, {high:.2f}] ({len(known)})")
            print(f"{kind:<22}" + "  ".join(cells))
    rows = [images[:SHOWN] for images in (photographs, *runs.values())]
    grid = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    write_image(grid.repeat_interleave(2, 1).repeat_interleave(2, 2), sweep / "edit_photos.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=("photos", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", type=int, default=400, help="photos of each class to pass over")
    parser.add_argument("--count", type=int, default=40)
    asked = parser.parse_args()
    if asked.what == "photos":
        asked.folder.mkdir(parents=True, exist_ok=True)
        photos(asked.folder, asked.start, asked.count)
    else:
        table(asked.folder)

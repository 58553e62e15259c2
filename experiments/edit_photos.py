"""Photographs for ``edit_photos``, and its table.

    python experiments/edit_photos.py photos FOLDER
    python experiments/edit_photos.py table SWEEP

``photos`` writes test scenes of ``fashion_scenes`` that have room to their right, from START on of
each class, in turn, until there are COUNT. ``table`` compares the pools of a sweep: means over the
photographs with 95 % bootstrap intervals, and paired differences from the first pool.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch
import yaml

from rosetta_lab.data.fashion.readings import read_scenes
from rosetta_lab.data.fashion.targets import FashionTargets
from rosetta_lab.data.images import write_image
from rosetta_lab.functional.bootstrap import bootstrap_means

ROOM = 0.29  # of the picture, to the right of the garment
FIGURES = ("moved_share", "moved_y", "scale", "hue_change", "class_kept")


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


def rows(run: Path) -> torch.Tensor:
    """The figures of a run's images (N, figures)."""
    with (run / "results.csv").open(newline="", encoding="utf-8") as stream:
        found = [row for row in csv.DictReader(stream) if row["arm"] == "rosetta"]
    values = [[float(row[name] or "nan") for name in FIGURES] for row in found]
    return torch.tensor(values, dtype=torch.float64)


def table(sweep: Path) -> None:
    """Print means and differences."""
    runs = {}
    for recipe in sorted(sweep.glob("*/recipe.yaml")):
        pool = yaml.safe_load(recipe.read_text(encoding="utf-8"))["pool"]
        runs[pool] = rows(recipe.parent)
    first = next(iter(runs.values()))
    for pool, values in runs.items():
        for kind, shown in (("", values), ("less the first", values - first)):
            cells = []
            for name, column in zip(FIGURES, shown.unbind(dim=1), strict=True):
                known = column[column.isfinite()][:, None]
                mean, low, high = (float(x) for x in bootstrap_means(known))
                cells.append(f"{name} {mean:.3f} [{low:.3f}, {high:.3f}] of {len(known)}")
            print(f"{pool:<13}{kind:<16}" + "; ".join(cells))


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

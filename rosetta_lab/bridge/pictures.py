"""What joined units do: images of either generator, with the units' maps laid over them."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.bridge.joined import only
from rosetta_lab.data.images import write_image
from rosetta_lab.dictionary.mined import Mined
from rosetta_lab.functional.joins import Joins
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.invert.sources import reference
from rosetta_lab.pages.overlays import CELL, normalise, overlay, strongest

SIDE = 4  # cells of a picture, along each side: images beside their overlays
EXAMPLES = 64  # images that those of a unit are chosen from


def leading(joins: Joins, count: int) -> Joins:
    """The first so many joins, none of which shares a unit with one before it."""
    chosen: list[int] = []
    seen: tuple[set[int], set[int]] = (set(), set())
    for place, pair in enumerate(joins.pairs.tolist()):
        if len(chosen) < count and all(x not in own for x, own in zip(pair, seen, strict=True)):
            chosen.append(place)
            for unit, own in zip(pair, seen, strict=True):
                own.add(unit)
    return only(joins, torch.tensor(chosen, dtype=torch.long))


@torch.no_grad()
def draw_units(folder: Path, side: str, mined: Mined, units: Tensor) -> list[str]:
    """Write a picture for each of a generator's units: where it fires most, and where there.

    Args:
        folder: the run folder.
        side: ``first`` or ``second``, in the pictures' names.
        mined: with the generator.
        units: numbers of its units (U,).

    Returns:
        Paths of the pictures, seen from the folder.
    """
    generator, psi = mined.generator, float(mined.config.psi)
    index = mined.dictionary.reference.units
    wanted: dict[str, list[int]] = {}
    for number in units.tolist():
        wanted.setdefault(index[number].layer, []).append(index[number].channel)
    sources = reference(generator, EXAMPLES, "w", **mined.prior(psi))
    code = LatentCode(generator, "w", sources.latent, sources.c, psi)
    images, maps = code.images_and_maps(list(wanted), lambda layer, x: x[:, wanted[layer]].cpu())
    shown = F.interpolate(images.clamp(0.0, 1.0).cpu(), (CELL, CELL), mode="bilinear")
    names = []
    for number in units.tolist():
        layer, channel = index[number]
        own = maps[layer][:, wanted[layer].index(channel)].float()
        best = strongest(own, SIDE * SIDE // 2)
        cells = torch.stack([shown[best], overlay(shown[best], normalise(own)[best])], dim=1)
        names.append(f"pictures/{side}-{number}.png")
        write_image(_grid(cells.flatten(0, 1)), folder / names[-1])
    return names


def _grid(cells: Tensor) -> Tensor:
    """Cells (SIDE * SIDE, 3, h, w) as one picture (3, SIDE * h, SIDE * w), row by row."""
    rows = cells.reshape(SIDE, SIDE, *cells.shape[1:])
    return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)

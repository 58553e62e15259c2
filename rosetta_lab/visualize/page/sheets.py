"""Sheets: images beside each other, and under them the maps of units laid over the same images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rosetta_lab.dictionary.schema import Match, RosettaDictionary
from rosetta_lab.mine.page.sprites import Sprite
from rosetta_lab.models.units import Unit
from rosetta_lab.pages.overlays import CELL, overlay
from rosetta_lab.visualize.view import Maps, Seen

Scales = dict[tuple[str, Unit], tuple[float, float]]


def scales(seen: Iterable[Seen]) -> Scales:
    """Lowest and highest value of every unit over all images that a page shows."""
    found: dict[tuple[str, Unit], list[Tensor]] = {}
    for one in seen:
        for key, maps in one.maps.items():
            found.setdefault(key, []).append(torch.stack([maps.amin(), maps.amax()]))
    return {
        key: (float(torch.stack(ends).amin()), float(torch.stack(ends).amax()))
        for key, ends in found.items()
    }


def join(one: Seen, other: Seen) -> Seen:
    """The images of both, beside each other."""
    maps: Maps = {key: torch.cat([maps, other.maps[key]]) for key, maps in one.maps.items()}
    return Seen([*one.names, *other.names], torch.cat([one.images, other.images]), maps)


def sheet(seen: Seen, scale: Scales, above: Sequence[Tensor] = ()) -> Sprite:
    """The picture of a sheet: a row of images, then a row for each unit.

    Args:
        seen: images and maps.
        scale: values with the darkest and the lightest colour.
        above: rows of other images (N, 3, R, R) before them.
    """
    *others, images = (_small(row) for row in (*above, seen.images))
    rows = [*others, images]
    for key, maps in seen.maps.items():
        low, high = scale[key]
        rows.append(overlay(images, (maps - low) / max(high - low, 1e-12)))
    pixels = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    return Sprite(pixels, list(range(len(seen.names))))


def _small(images: Tensor) -> Tensor:
    return F.interpolate(
        images.float(), (CELL, CELL), mode="bicubic", antialias=True
    ).clamp(0.0, 1.0)  # fmt: skip


@dataclass
class Sheet:
    """A sheet's picture, and what stands beside its rows.

    Attributes:
        picture: its address.
        names: of the images.
        heads: what the rows of images are, from above.
        units: model, unit, and its match with the generator's unit above (None for its own).
        sizes: how many cells the maps of these units have.
    """

    picture: str
    names: list[str]
    heads: tuple[str, ...]
    units: list[tuple[str, Unit, Match | None]]
    sizes: list[str]


def describe(picture: str, seen: Seen, dictionary: RosettaDictionary, *heads: str) -> Sheet:
    """What a sheet shows.

    Args:
        picture: its address.
        seen: what is on it.
        dictionary: with the units' matches.
        heads: what the rows of images are, from above.
    """
    known = {
        (neuron.unit, name, match.unit): match
        for neuron in dictionary.neurons
        for name, matches in neuron.matches.items()
        for match in matches
    }
    units: list[tuple[str, Unit, Match | None]] = []
    current = None
    for model, unit in seen.maps:
        own = model == dictionary.reference.name
        current = unit if own else current
        match = None if current is None or own else known[current, model, unit]
        units.append((model, unit, match))
    sizes = [" \u00d7 ".join(map(str, maps.shape[-2:])) for maps in seen.maps.values()]
    return Sheet(picture, seen.names, heads, units, sizes)

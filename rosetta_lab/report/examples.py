"""Example images with the activation maps of a dictionary's units, for the page."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rosetta_lab.units import Unit


@dataclass
class Examples:
    """A gallery of generated images and what the dictionary's units make of them.

    Attributes:
        images: (E, 3, H, W) in [0, 1].
        captions: one short text per image (its number, its class).
        maps: model name and unit to activation maps (E, h, w), raw values. Holds every Rosetta
            neuron's generator unit and its best match in every model. Maps may be non-square and
            smaller than the image; they always cover exactly the image.
    """

    images: Tensor
    captions: list[str]
    maps: dict[tuple[str, Unit], Tensor]

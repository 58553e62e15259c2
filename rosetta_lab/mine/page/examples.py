"""Example images with the activation maps of a dictionary's units, for the page."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_lab.data.inputs import Inputs
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Unit


@dataclass
class Examples:
    """A gallery of images and what the dictionary's units make of them.

    Attributes:
        images: (E, 3, H, W) in [0, 1].
        captions: one short text per image (its number, its class; its name).
        maps: model name and unit to activation maps (E, h, w), raw values. Holds every Rosetta
            neuron's own unit and its best match in every model. Maps may be non-square and
            smaller than the image; they always cover exactly the image.
    """

    images: Tensor
    captions: list[str]
    maps: dict[tuple[str, Unit], Tensor]


def collect_examples(
    observer: Observer,
    inputs: Inputs,
    dictionary: RosettaDictionary,
    count: int = 64,
    batch_size: int = 16,
) -> Examples:
    """Show the first ``count`` images once more and keep the maps that the page shows."""
    wanted: dict[str, dict[str, set[int]]] = {}  # channels by model and layer
    for neuron in dictionary.candidates:
        best = {name: matches[0].unit for name, matches in neuron.matches.items()}
        for name, unit in {observer.reference: neuron.unit, **best}.items():
            wanted.setdefault(name, {}).setdefault(unit.layer, set()).add(unit.channel)

    names = (dictionary.config.get("gen") or {}).get("class_names")
    images, captions = [], []
    maps: dict[tuple[str, Unit], list[Tensor]] = {}

    def keep(model: str, layer: str, activation: Tensor) -> None:
        for channel in wanted.get(model, {}).get(layer, ()):
            shown = activation[:, channel].to("cpu", torch.float32, copy=True)
            maps.setdefault((model, Unit(layer, channel)), []).append(shown)

    numbers = range(min(count, len(inputs)))
    for start in range(0, len(numbers), batch_size):
        batch = inputs.batch(list(numbers[start : start + batch_size]))
        images.append(observer(batch, keep).images.cpu())
        for place, index in enumerate(batch.index.tolist()):
            label = None if batch.label is None else int(batch.label[place])
            captions.append(inputs.caption(index, label, names))
    return Examples(
        torch.cat(images), captions, {key: torch.cat(parts) for key, parts in maps.items()}
    )

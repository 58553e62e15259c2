"""``correlation=spearman``: Pearson's correlation of ranks.

A unit's ranks among all its activations would need all of these at once. They are taken in a sample
instead: some values from each of some images, spread over the run, in a look before the pass. Maps
are ranked as networks put them out; whatever follows sees ranks in place of activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rosetta_lab.data.inputs import Batch
from rosetta_lab.functional.ranks import edges_of, mid_ranks
from rosetta_lab.metrics.activations import UnitGroups
from rosetta_lab.models.observer import Observation, OnModelMap

IMAGES, VALUES = 256, 1024  # that are looked at before the pass, and values of a unit from them
MEAN = 0.5  # of ranks, in the sample


class Ranks:
    """Puts ranks in the place of activations.

    Args:
        samples: values of every model's units (U, S), float32.
        groups: the models' units.

    Attributes:
        samples: as they are given.
        edges: by model, where its units' ranks change (U, 2 S).
        values: the models' units, to be shifted as activations rather than ranks.
    """

    def __init__(self, samples: Mapping[str, Tensor], groups: Mapping[str, UnitGroups]) -> None:
        self.samples = samples
        self.values = {
            name: UnitGroups(groups[name].index.layers, sample.double().mean(dim=1).float())
            for name, sample in samples.items()
        }
        self.edges = {name: edges_of(sample) for name, sample in samples.items()}

    def to(self, device: torch.device) -> Ranks:
        """The same on a device, in place."""
        self.edges = {name: edges.to(device) for name, edges in self.edges.items()}
        return self

    def __call__(self, model: str, layer: str, maps: Tensor) -> Tensor:
        """Ranks (N, C, H, W) in [0, 1] of a layer's maps (N, C, H, W)."""
        return mid_ranks(maps, self.edges[model][self.values[model].index.units(layer)])


def sampled_images(images: int) -> list[int]:
    """Numbers of the images that are sampled from, spread over a run of so many."""
    few = min(IMAGES, images)
    return [images * number // few for number in range(few)]


def values_of(images: int) -> int:
    """How many values of a unit are sampled from each of so many images."""
    return -(-VALUES // images)


def take_sample(
    show: Callable[[Batch, OnModelMap], Observation], images: Batch, batch_size: int
) -> dict[str, Tensor]:
    """Values of every model's units (U, S) at random positions of some images, float32.

    Args:
        show: shows images to the models.
        images: to sample from.
        batch_size: images at a time.
    """
    each = values_of(len(images))
    places = torch.rand(len(images), each, generator=torch.Generator().manual_seed(0))
    parts: dict[str, list[Tensor]] = {}
    for batch, where in zip(images.split(batch_size), places.split(batch_size), strict=True):

        def pick(model: str, layer: str, maps: Tensor, where: Tensor = where) -> Tensor:
            flat = maps.flatten(2)  # (n, C, H W)
            index = (where.to(maps.device) * flat.shape[2]).long().clamp_(max=flat.shape[2] - 1)
            found = flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1))
            return found.transpose(0, 1).flatten(1).float().cpu()  # (C, n each)

        for name, layers in show(batch, pick).maps.items():
            parts.setdefault(name, []).append(torch.cat(list(layers.values())))
    return {name: torch.cat(found, dim=1) for name, found in parts.items()}

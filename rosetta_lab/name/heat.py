"""Where images make a dictionary's concepts fire, as its models see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from rosetta_lab.dictionary.mined import MinedModels
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.agreement import standardize
from rosetta_lab.invert.problem import TargetBatch, TargetBatches

GRID = 16  # rows and columns of a heatmap
FADED = 0.5  # how much of an image is its mean colour where the heat is lowest
Channels = dict[str, list[list[int]]]  # layer to every concept's channels


@dataclass
class Shown:
    """Images and what they do to concepts.

    Attributes:
        images: (N, 3, R, R) in [0, 1].
        heat: of every concept (N, C, GRID, GRID), in standard deviations over the mined images.
        batches: what is known of the images.
    """

    images: Tensor
    heat: Tensor
    batches: list[TargetBatch]


def look(mined: MinedModels, targets: Any, batch_size: int, *, progress: bool = False) -> Shown:
    """Show images to all models of a dictionary.

    A concept's heat is the mean over the models of the mean over its neurons of their best match's
    map, standardised over the mined images.

    Raises:
        RosettaError: the dictionary has no concepts, or no image can be read.
    """
    dictionary = mined.dictionary
    if not dictionary.concepts:
        raise RosettaError(
            "This dictionary has no concepts to name.\nMine more images, or with null=none."
        )
    models = mined.models(dictionary.discriminative)
    batches = TargetBatches(targets, batch_size)
    seen, images, heat = [], [], []
    for number in tqdm(range(len(batches)), "Looking", leave=False, disable=not progress):
        batch = batches[number]
        if not batch.ids:  # none of them can be read
            continue
        shown = batch.images.to(mined.device)
        total = torch.zeros(len(shown), len(dictionary.concepts), GRID, GRID)
        for name, model in models.items():
            total += _of_model(mined, name, model, shown).cpu()
        seen.append(batch)
        images.append(batch.images)
        heat.append(total / len(models))
    if not seen:
        raise RosettaError(f"None of the {len(targets)} images can be read.\nName others: images=.")
    return Shown(torch.cat(images), torch.cat(heat), seen)


def channels_of(dictionary: RosettaDictionary, name: str) -> Channels:
    """Every concept's channels in a model: the best matches of its neurons, each once."""
    found: Channels = {}
    for place, concept in enumerate(dictionary.concepts):
        units = {dictionary.neurons[n].matches[name][0].unit for n in concept.neurons}
        for layer, channel in sorted(units):
            of_layer = found.setdefault(layer, [[] for _ in dictionary.concepts])
            of_layer[place].append(channel)
    return found


@torch.no_grad()
def _of_model(mined: MinedModels, name: str, model: Any, images: Tensor) -> Tensor:
    """One model's share of every concept's heat (N, C, GRID, GRID)."""
    card = mined.dictionary.discriminative[name]
    statistics = load_statistics(mined.folder, name, card.layers)
    channels = channels_of(mined.dictionary, name)
    maps = model.maps(images, list(channels), partial(_condense, statistics, channels))
    units = torch.tensor([sum(len(c[place]) for c in channels.values())
                          for place in range(len(mined.dictionary.concepts))])  # fmt: skip
    heat: Tensor = torch.stack(list(maps.values())).sum(dim=0)
    return heat / units.to(heat)[:, None, None]


def _condense(
    statistics: Mapping[str, tuple[Tensor, Tensor]],
    channels: Channels,
    layer: str,
    maps: Tensor,
) -> Tensor:
    """A layer's maps (N, K, H, W), standardised and summed by concept (N, C, GRID, GRID)."""
    known = standardize(maps.float(), *statistics[layer])
    by_concept = torch.stack([known[:, own].sum(dim=1) for own in channels[layer]], dim=1)
    return F.interpolate(by_concept, (GRID, GRID), mode="bilinear")


def weighted(images: Tensor, heat: Tensor) -> Tensor:
    """Images as their heat weights them: where it is low, they fade half way to their mean colour.

    What is cut out is like nothing that a text-image model has seen, and tells no places.

    Args:
        images: (N, 3, R, R) in [0, 1].
        heat: of one concept (N, h, w); where it is highest, an image stays as it is.
    """
    low, high = (f(heat.flatten(1), dim=1)[:, None, None] for f in (torch.amin, torch.amax))
    weight = 1.0 - (high - heat) / (high - low).clamp(min=1e-12)  # 1 where heat is flat
    weight = F.interpolate(weight[:, None], images.shape[-2:], mode="bilinear")
    mean = images.mean(dim=(2, 3), keepdim=True)
    return torch.lerp(mean.expand_as(images), images, 1.0 - FADED + FADED * weight)


def peaks(heat: Tensor) -> Tensor:
    """The highest heat of every image, by concept (N, C)."""
    return heat.flatten(2).amax(dim=2)


def halves(images: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Numbers of images in two halves, drawn at random: data come in the order of their classes."""
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    one, other = order.tensor_split(2)
    return one.sort().values.tolist(), other.sort().values.tolist()


def strongest(heat: Tensor, count: int, among: Sequence[int]) -> Tensor:
    """Of some images, those that make each concept fire most, best first (C, count)."""
    places = torch.tensor(list(among))
    order = peaks(heat[places]).argsort(dim=0, descending=True, stable=True)
    return places[order[:count].t()]

"""A look at a few images before the pass: shapes of the layers, and means to subtract."""

from __future__ import annotations

import torch
from torch import Tensor

from rosetta_lab.data.inputs import Batch
from rosetta_lab.models.observer import Observer, Show
from rosetta_lab.models.units import Layer


def shapes_of(observer: Observer, batch: Batch) -> dict[str, list[Layer]]:
    """Every model's layers, with the sizes of their maps, from any inputs."""
    return observer.shapes(observer(batch, lambda model, layer, maps: maps.to("meta")))


def pilot_run(show: Show, pilot: Batch, batch_size: int) -> dict[str, Tensor]:
    """Means of every model's units over the pilot images, float32 (U,)."""
    means: dict[str, Tensor] = {}
    for part in pilot.split(batch_size):
        seen = show(part, lambda model, layer, maps: pilot_mean(maps))
        share = len(part) / len(pilot)
        for name, layers in seen.maps.items():
            mean = share * torch.cat(list(layers.values())).double()
            means[name] = means[name] + mean if name in means else mean
    return {name: mean.float() for name, mean in means.items()}


def pilot_mean(maps: Tensor) -> Tensor:
    """Mean of every unit (C,) over maps (N, C, H, W), float32, exact for constant units."""
    return maps.double().mean(dim=(0, 2, 3)).float().cpu()

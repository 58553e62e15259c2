"""Models for images that are given: units that agree in content, and others only in place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.preprocess import Preprocess

CONTENT, PLACED = 30, 8
SIZE = 16


class PlacedNetwork(nn.Module):
    """``units``: the first are the same functions of an image's colours in every such network; the
    last like a place, the same in every network, and otherwise fire as no other network does."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        shared = torch.Generator().manual_seed(0)
        own = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(3.0 * torch.randn(CONTENT, 3, generator=shared))
        self.places = nn.Parameter((torch.rand(PLACED, SIZE, SIZE, generator=shared) > 0.8).float())
        self.own = nn.Parameter(60.0 * torch.randn(PLACED, 3, generator=own))
        self.noise = nn.Parameter(torch.randn(CONTENT, 3, generator=own))
        self.units = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.tanh(torch.einsum("uc,nchw->nuhw", self.weight, x - 0.5))
        seen = seen + 0.1 * torch.einsum("uc,nchw->nuhw", self.noise, x).sin()
        alone = torch.einsum("uc,nchw->nuhw", self.own, x).sin()
        places = F.interpolate(self.places[None], x.shape[2:])
        units: Tensor = self.units(torch.cat([seen, places + 0.3 * alone], dim=1))
        return units.mean(dim=(2, 3))


class PlacedModel(DiscriminativeModel):
    """See :class:`PlacedNetwork`."""

    def __init__(self, seed: int = 1, weights: str = "random") -> None:
        super().__init__(PlacedNetwork(seed), Preprocess((SIZE, SIZE)), ("units",))

"""Models whose units are the colours of an image, moved about: what is shared is known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.preprocess import Preprocess

MOVES = 8  # units of every colour: moved by so many pixels, one after the other


class Moved(nn.Module):
    """Every colour as it is, and moved around the image by one pixel, by two and so on."""

    def __init__(self, colours: Sequence[int]) -> None:
        super().__init__()
        self.colours = list(colours)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        moved = [x[:, [c]].roll(move, dims=3) for c in self.colours for move in range(MOVES)]
        return torch.cat(moved, dim=1) * self.scale


class MovedNetwork(nn.Module):
    def __init__(self, colours: Sequence[int]) -> None:
        super().__init__()
        self.moved = Moved(colours)

    def forward(self, x: Tensor) -> Tensor:
        return self.moved(x).mean(dim=(2, 3))


class MovedColours(DiscriminativeModel):
    """Sees some of the three colours; unit ``MOVES * i + move`` is the i-th of them, moved."""

    def __init__(self, colours: Sequence[int] = (0, 1, 2), weights: str = "random") -> None:
        super().__init__(MovedNetwork(colours), Preprocess((16, 16)), ["moved"])

"""Tiny models of one unit, and generators whose images are not RGB or not square."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from toy import ToyGenerator, ToyModel

IMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "grey": lambda rgb: rgb[:, :1],
    "rgba": lambda rgb: torch.cat([rgb, rgb[:, :1]], dim=1),
    "high": lambda rgb: torch.cat([rgb, rgb], dim=2),
    "low": lambda rgb: rgb[:, :, 2:],
    "small": lambda rgb: rgb[:, :, ::2, ::2],
    "flat": lambda rgb: rgb.flatten(1),
}


class OneUnitGenerator(ToyGenerator):
    """``early`` and one unit in ``single``."""

    def __init__(self) -> None:
        super().__init__()
        self.single = nn.Conv2d(6, 1, 1)
        self.late.register_forward_hook(lambda _module, _inputs, maps: self._paint(maps))

    def _paint(self, maps: Tensor) -> Tensor:
        return torch.cat([self.single(maps), maps[:, 1:]], dim=1)


class OneUnitModel(ToyModel):
    """One unit in ``mix``."""

    def __init__(self, weights: str = "random") -> None:
        super().__init__(layers=("mix",))
        self.network.mix = nn.Sequential(nn.Conv2d(3, 1, 3, stride=2), nn.Sigmoid())
        self.network.head = nn.Linear(1, 2)


class Other(ToyGenerator):
    """Makes images of another kind."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def synthesize(self, latent: Tensor, psi: float = 1.0) -> Tensor:
        return IMAGES[self.kind](super().synthesize(latent, psi))

"""Tiny networks with known answers, also as an example of models from outside the package."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.preprocess import Preprocess


class ToyGenerator(Generator):
    """Paints three of its own units (``late``, channels 0 to 2) as the colours of an 8x8 image."""

    def __init__(self, z_dim: int = 12, num_classes: int = 0, seed: int = 0) -> None:
        super().__init__(z_dim, num_classes, 8, (0.0, 1.0))
        torch.manual_seed(seed)
        self.early = nn.Linear(z_dim + num_classes, 4 * 16)
        self.fold = nn.Unflatten(1, (4, 4, 4))
        self.up = nn.Upsample(scale_factor=2)
        self.late = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.Sigmoid())

    def map(self, z, c=None, psi=1.0, cutoff=None) -> Tensor:
        return z * psi if c is None else torch.cat([z * psi, c], dim=1)

    def synthesize(self, latent: Tensor, psi: float = 1.0) -> Tensor:
        return self.late(self.up(self.fold(self.early(latent))))[:, :3]


class ToyNetwork(nn.Module):
    """``copy`` passes the colours on: its units are the generator's; ``mix`` mixes them."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.copy = nn.Identity()
        self.mix = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.ReLU())
        self.unused = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.copy(x)).mean(dim=(2, 3)))


class ToyModel(DiscriminativeModel):
    """Looks at the image at another size than the generator made it."""

    def __init__(
        self,
        size: int = 12,
        layers: tuple[str, ...] = ("copy", "mix"),
        seed: int = 1,
        weights: str = "random",
    ) -> None:
        preprocess = Preprocess((size, size), "bilinear", antialias=False)
        super().__init__(ToyNetwork(seed), preprocess, layers)


class NaNModel(ToyModel):
    """One channel of one layer is NaN for some images."""

    def __init__(self, weights: str = "random") -> None:
        super().__init__()
        self.network.mix.register_forward_hook(_poison)


def _poison(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    output = output.clone()
    output[-1, 3, 1, 1] = torch.nan
    return output


class TenWide(ToyModel):
    """Puts out ten numbers."""

    def __init__(self, weights: str = "random") -> None:
        super().__init__()
        self.network.head = nn.Linear(5, 10)


class TenClasses(TenWide):
    """Says that they are the logits of classes."""

    num_classes = 10

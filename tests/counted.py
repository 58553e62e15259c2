"""A model that counts which of its modules run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.layouts import Kind
from rosetta_lab.models.preprocess import Preprocess

IMAGES = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Counted(nn.Module):
    """Three convolutions, and whatever else a test does; counts how often each runs."""

    def __init__(self, body: Callable[[Counted, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.relu = nn.ReLU(inplace=True)
        self.body = body or (lambda net, x: net.third(net.second(net.first(x))))
        self.ran: list[str] = []
        for name in ("first", "second", "third"):
            # Of this object, and of a copy in a copy.
            self.get_submodule(name).register_forward_hook(partial(self.count, name))

    def count(self, name: str, *_: Any) -> None:
        self.ran.append(name)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def model(
    body: Callable[[Counted, Tensor], Tensor] | None = None,
    declared: Mapping[str, Kind] | None = None,
) -> DiscriminativeModel:
    preprocess = Preprocess((12, 12), "bilinear", antialias=False)
    return DiscriminativeModel(Counted(body), preprocess, (), declared=declared)


def network(of: DiscriminativeModel) -> Any:
    return of.network


def hooks(root: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in root.modules())

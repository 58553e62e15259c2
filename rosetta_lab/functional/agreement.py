"""How well a generator's units fire where matched units fire on an image (paper, Eq. 6).

For a matched pair, A is the generator unit's map and B the target's, both centred and scaled with
the mining statistics, and compared at the larger of their two sizes, T positions:

    cosine:   sum(A * B) / (|A| |B|), in [-1, 1];
    dataset:  sum(A * B) / T, Eq. 6 to the letter, unbounded;
    distance: -sum((A - B)^2) / T, at most 0: how strongly units fire, and no further.

Nothing is ever upsampled (see :mod:`rosetta_lab.functional.resize`): the larger map is carried down
to the smaller one's grid by the adjoint. Targets are fixed during an optimisation, so whatever
concerns only them is computed once; and since the sum is linear in B, all targets of one generator
unit on one grid are added up beforehand.

Inside, maps are (N, H, W, C): that is how convolutions leave them in memory on a CPU, and what both
steps of the adjoint want.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rosetta_lab.functional.resize import Size, interpolation_matrix, larger, smaller

Normalization = Literal["cosine", "dataset", "distance"]
EPSILON = 1e-8


@dataclass
class TargetMaps:
    """What some units of one generator layer should look like.

    Attributes:
        layer: the generator's.
        channels: of that layer, one for each target; may repeat (P,).
        maps: targets, centred and scaled with the mining statistics (N, P, h, w).
    """

    layer: str
    channels: Tensor
    maps: Tensor


def standardize(maps: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """Maps (N, C, H, W) centred and scaled with statistics (C,) over the data set (paper, Eq. 1).

    Units that do not vary come out as zero.
    """
    scale = torch.where(var > 0, var, torch.inf).rsqrt()
    return (maps - mean.to(maps)[:, None, None]) * scale.to(maps)[:, None, None]


def _along_axes(maps: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    """A matrix along each axis of maps (N, H, W, C); None leaves an axis as it is."""
    n, height, width, channels = maps.shape
    if rows is not None:
        maps = rows @ maps.reshape(n, height, width * channels)  # (N, h, W * C)
        maps = maps.reshape(n, len(rows), width, channels)
    if columns is not None:
        maps = columns @ maps  # (N, h, w, C)
    return maps


def _grams(size: Size, common: Size, like: Tensor) -> list[Tensor | None]:
    """U^T U for both axes: <A, (U_h^T U_h) A (U_w^T U_w)> is the squared norm of U_h A U_w^T."""
    return [
        None if a == t else (u := interpolation_matrix(a, t).to(like)).t() @ u
        for a, t in zip(size, common, strict=True)
    ]


def _adjoints(size: Size, grid: Size, like: Tensor) -> list[Tensor | None]:
    """Matrices that carry maps of ``size`` down to ``grid``; None for an axis that stays."""
    return [
        None if g == a else interpolation_matrix(g, a).t().to(like)
        for g, a in zip(grid, size, strict=True)
    ]


def _inverse_norms(maps: Tensor, grams: list[Tensor | None]) -> Tensor:
    """1 / |A| (N, C) of maps (N, H, W, C), interpolated to the size that the Gram matrices know."""
    squares = (maps * _along_axes(maps, *grams)).sum(dim=(1, 2))
    return squares.clamp(min=EPSILON**2).rsqrt()


class _Group:
    """The targets of one generator layer that come in one size.

    Args:
        channels: the generator's (P,).
        maps: targets (N, P, h, w).
        size: of the generator's maps.
        weights: of the generator's channels (C,).
        normalization: see :class:`Agreement`.
    """

    def __init__(
        self,
        channels: Tensor,
        maps: Tensor,
        size: Size,
        weights: Tensor,
        normalization: Normalization,
    ) -> None:
        own = (maps.shape[2], maps.shape[3])
        self.normalization: Normalization = normalization
        self.common, grid = larger(size, own), smaller(size, own)
        maps = maps.permute(0, 2, 3, 1)  # (N, h, w, P)
        if normalization == "cosine":
            maps = maps * _inverse_norms(maps, _grams(own, self.common, maps))[:, None, None]
        else:
            maps = maps / (self.common[0] * self.common[1])
        squares = (maps * _along_axes(maps, *_grams(own, self.common, maps))).sum(dim=(1, 2, 3))
        self.constant = squares * (self.common[0] * self.common[1])  # sum of |B|^2 / T (N,)
        maps = _along_axes(maps * weights[channels], *_adjoints(own, grid, maps))
        self.channels, places, self.counts = channels.unique(
            return_inverse=True, return_counts=True
        )
        self.weights = weights[self.channels]
        target = maps.new_zeros(len(maps), *grid, len(self.channels))
        self.target = target.index_add(3, places, maps)  # (N, *grid, U)
        self.down = _adjoints(size, grid, maps)
        self.grams = _grams(size, self.common, maps)

    def squares(self, maps: Tensor) -> Tensor:
        """Squared norms (N, C) of centred maps (N, H, W, C), interpolated to the common size."""
        return (maps * _along_axes(maps, *self.grams)).sum(dim=(1, 2))

    def agreement(self, maps: Tensor, squares: Tensor | None) -> Tensor:
        """Sum (N,) of the agreements.

        Args:
            maps: of the generator, centred (N, H, W, C).
            squares: see :meth:`squares`; ``dataset`` does without.
        """
        moved = _along_axes(maps, *self.down).index_select(3, self.channels)
        products: Tensor = (moved * self.target).sum(dim=(1, 2))  # (N, U)
        if squares is None:
            return products.sum(dim=1)
        squares = squares.index_select(1, self.channels)
        if self.normalization == "cosine":
            return (products * squares.clamp(min=EPSILON**2).rsqrt()).sum(dim=1)
        own = squares * self.weights.square() * self.counts / (self.common[0] * self.common[1])
        distances: Tensor = own - 2.0 * products
        return -(distances.sum(dim=1) + self.constant)


class Agreement:
    """Mean agreement over all pairs, as a function of the generator's maps alone.

    Args:
        targets: what the units should look like.
        statistics: generator layer to mean and variance of its units over the data set, (C,) each.
        sizes: generator layer to the size of its maps.
        normalization: ``cosine``, ``dataset`` or ``distance``.
    """

    def __init__(
        self,
        targets: Sequence[TargetMaps],
        statistics: Mapping[str, tuple[Tensor, Tensor]],
        sizes: Mapping[str, Size],
        normalization: Normalization = "cosine",
    ) -> None:
        self.normalization: Normalization = normalization
        self.pairs = sum(len(target.channels) for target in targets)
        alike: dict[tuple[str, int, int], list[TargetMaps]] = defaultdict(list)
        for target in targets:
            height, width = target.maps.shape[-2:]
            alike[target.layer, height, width].append(target)
        self.groups: dict[str, list[_Group]] = defaultdict(list)
        self.means: dict[str, Tensor] = {}
        for (layer, *_), members in alike.items():
            mean, var = (x.to(members[0].maps) for x in statistics[layer])
            # A unit's scale cancels in the cosine; one that does not vary has no say.
            weights = (var > 0).to(var)
            if normalization != "cosine":
                weights = weights * var.clamp(min=torch.finfo(var.dtype).tiny).rsqrt()
            channels = torch.cat([target.channels for target in members]).to(mean.device)
            maps = torch.cat([target.maps for target in members], dim=1)
            group = _Group(channels, maps, sizes[layer], weights, normalization)
            self.groups[layer].append(group)
            self.means[layer] = mean

    @property
    def layers(self) -> list[str]:
        """The generator's layers that have targets."""
        return list(self.groups)

    def __call__(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Mean agreement over the pairs for every image.

        Args:
            maps: generator layer to activation maps (N, C, H, W), as recorded.

        Returns:
            (N,); zero where there are no pairs at all.
        """
        if not self.groups:
            some = next(iter(maps.values()))
            return some.new_zeros(len(some))
        totals = []
        for layer, groups in self.groups.items():
            centred = maps[layer].permute(0, 2, 3, 1) - self.means[layer]
            squares: dict[Size, Tensor] = {}  # groups of one size share them
            for group in groups:
                if self.normalization != "dataset" and group.common not in squares:
                    squares[group.common] = group.squares(centred)
                totals.append(group.agreement(centred, squares.get(group.common)))
        return torch.stack(totals).sum(dim=0) / self.pairs


class Joint:
    """Weighted sum of several agreements, each a mean over its own pairs.

    A few edited units are not outvoted by the many that are to stay as they are.

    Args:
        parts: the agreements.
        weights: of the parts.
    """

    def __init__(self, parts: Sequence[Agreement], weights: Sequence[float]) -> None:
        self.parts, self.weights = list(parts), list(weights)
        self.pairs = sum(part.pairs for part in parts)

    @property
    def layers(self) -> list[str]:
        """The generator's layers that have targets."""
        return list(dict.fromkeys(layer for part in self.parts for layer in part.layers))

    def __call__(self, maps: Mapping[str, Tensor]) -> Tensor:
        """The sum (N,); see :class:`Agreement`."""
        weighted = [w * part(maps) for w, part in zip(self.weights, self.parts, strict=True)]
        return torch.stack(weighted).sum(dim=0)

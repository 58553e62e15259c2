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
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rosetta_lab.functional.resize import Size, interpolation_matrix, larger, smaller

Normalization = Literal["cosine", "dataset", "distance"]
EPSILON = 1e-8
CACHED = 2**19  # numbers of a large map that a CPU's cache holds


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


class _Products(torch.autograd.Function):
    """Inner products of a layer's maps with its targets, and their squared norms.

    The large maps are read once going down to the targets' grids, and their gradient is written
    once coming back up; everything else happens on small grids. On a CPU a few images at a time,
    so that they stay in its cache.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, layer: _Layer) -> tuple[Tensor, ...]:
        """Maps (N, H, W, C) to products (N, C) by group, then squares (N, C) by size."""
        ctx.layer = layer
        ctx.save_for_backward(maps)
        parts = [layer.products(maps[part], part) for part in layer.parts(maps)]
        return tuple(torch.cat(results) for results in zip(*parts, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Gradient (N, H, W, C) of the maps."""
        (maps,) = ctx.saved_tensors
        layer: _Layer = ctx.layer
        total = maps.new_empty(maps.shape)  # in the order of the axes, whatever that of maps
        for part in layer.parts(maps):
            layer.gradient(maps[part], part, [g[part] for g in gradients], out=total[part])
        return total, None


class _Group:
    """The targets of one generator layer that come in one size.

    Args:
        channels: the generator's (P,).
        maps: targets (N, P, h, w).
        size: of the generator's maps.
        weights: of the generator's channels (C,).
        normalization: see :class:`Agreement`.
    """

    rows: slice | None = None  # of the layer's stacked matrix; None where rows stay as they are

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
        target = maps.new_zeros(len(maps), *grid, len(weights))
        self.target = target.index_add(3, channels, maps)  # (N, *grid, C)
        counts = channels.bincount(minlength=len(weights))
        self.own = weights.square() * counts / (self.common[0] * self.common[1])  # (C,)
        self.down, self.columns = _adjoints(size, grid, maps)

    def agreement(self, products: Tensor, squares: Tensor | None) -> Tensor:
        """Sum (N,) of the agreements.

        Args:
            products: of the generator's maps with the targets (N, C).
            squares: squared norms of the generator's maps at the common size (N, C); ``dataset``
                does without.
        """
        if squares is None:
            return products.sum(dim=1)
        if self.normalization == "cosine":
            return (products * squares.clamp(min=EPSILON**2).rsqrt()).sum(dim=1)
        distances: Tensor = squares * self.own - 2.0 * products
        return -(distances.sum(dim=1) + self.constant)


class _Layer:
    """All targets of one generator layer.

    Args:
        mean: of the layer's units over the data set (C,).
        groups: the targets, by their size.
        size: of the layer's maps.
        norms: whether squared norms are needed.
    """

    def __init__(self, mean: Tensor, groups: list[_Group], size: Size, norms: bool) -> None:
        self.mean, self.groups = mean, groups
        stack = [group.down for group in groups if group.down is not None]
        self.rows = torch.cat(stack) if stack else mean.new_zeros(0, size[0])
        end = 0
        for group in groups:
            if group.down is not None:
                start, end = end, end + len(group.down)
                group.rows = slice(start, end)
        commons = dict.fromkeys(group.common for group in groups) if norms else {}
        self.grams = {common: _grams(size, common, mean) for common in commons}

    def parts(self, maps: Tensor) -> list[slice]:
        """Which images (N, H, W, C) to take together."""
        count = len(maps)
        step = max(1, CACHED // maps[0].numel()) if maps.device.type == "cpu" else count
        return [slice(start, min(start + step, count)) for start in range(0, count, step)]

    def products(self, maps: Tensor, part: slice) -> list[Tensor]:
        """Products and squares of the maps (n, H, W, C) of some images."""
        centred = maps - self.mean
        n, _, width, channels = maps.shape
        if len(self.rows):
            lowered = self.rows @ centred.reshape(n, -1, width * channels)
        results = []
        for group in self.groups:
            moved = centred
            if group.rows is not None:
                moved = lowered[:, group.rows].unflatten(2, (width, channels))
            moved = _along_axes(moved, None, group.columns)
            results.append((moved * group.target[part]).sum(dim=(1, 2)))
        for grams in self.grams.values():
            results.append((centred * _along_axes(centred, *grams)).sum(dim=(1, 2)))
        return results

    def gradient(self, maps: Tensor, part: slice, gradients: list[Tensor], out: Tensor) -> None:
        """Gradient (n, H, W, C) of the maps of some images, given those of their results."""
        lowered: list[Tensor] = []
        own: list[Tensor] = []  # parts that need no interpolation of rows
        for group, gradient in zip(self.groups, gradients, strict=False):
            target = group.target[part] * gradient[:, None, None]
            columns = None if group.columns is None else group.columns.t()
            target = _along_axes(target, None, columns)
            if group.rows is None:
                own.append(target)
            else:
                lowered.append(target.flatten(2))
        if lowered:
            torch.matmul(self.rows.t(), torch.cat(lowered, dim=1), out=out.view(*out.shape[:2], -1))
        else:
            out.zero_()
        for target in own:
            out += target
        if self.grams:
            centred = maps - self.mean
            squares = gradients[len(self.groups) :]
            for grams, gradient in zip(self.grams.values(), squares, strict=True):
                out.addcmul_(_along_axes(centred, *grams), 2.0 * gradient[:, None, None])

    def __call__(self, maps: Tensor) -> Tensor:
        """Sum (N,) of the agreements of maps (N, C, H, W)."""
        results = _Products.apply(maps.permute(0, 2, 3, 1), self)
        products = results[: len(self.groups)]
        squares = dict(zip(self.grams, results[len(self.groups) :], strict=True))
        totals = [
            group.agreement(inner, squares.get(group.common))
            for group, inner in zip(self.groups, products, strict=True)
        ]
        return torch.stack(totals).sum(dim=0)


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
        groups: dict[str, list[_Group]] = defaultdict(list)
        for (layer, *_), members in alike.items():
            var = statistics[layer][1].to(members[0].maps)
            # A unit's scale cancels in the cosine; one that does not vary has no say.
            weights = (var > 0).to(var)
            if normalization != "cosine":
                weights = weights * var.clamp(min=torch.finfo(var.dtype).tiny).rsqrt()
            channels = torch.cat([target.channels for target in members]).to(var.device)
            maps = torch.cat([target.maps for target in members], dim=1)
            group = _Group(channels, maps, sizes[layer], weights, normalization)
            groups[layer].append(group)
        self._layers = {
            layer: _Layer(
                statistics[layer][0].to(members[0].target),
                members,
                sizes[layer],
                norms=normalization != "dataset",
            )
            for layer, members in groups.items()
        }

    @property
    def layers(self) -> list[str]:
        """The generator's layers that have targets."""
        return list(self._layers)

    def __call__(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Mean agreement over the pairs for every image.

        Args:
            maps: generator layer to activation maps (N, C, H, W), as recorded.

        Returns:
            (N,); zero where there are no pairs at all.
        """
        if not self._layers:
            some = next(iter(maps.values()))
            return some.new_zeros(len(some))
        totals = [layer(maps[name]) for name, layer in self._layers.items()]
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

"""How well a generator's units fire where matched units fire on an image (paper, Eq. 6).

For a matched pair, A is the generator unit's map and B the target's, both centred and scaled with
the mining statistics, and compared at the larger of their two sizes, T positions:

    cosine:   sum(A * B) / (|A| |B|), in [-1, 1];
    dataset:  sum(A * B) / T, Eq. 6 to the letter, unbounded;
    distance: -sum((A - B)^2) / T, at most 0: how strongly units fire, and no further.

Generator maps are never resized: <U A, B> = <A, U^T B>, so a larger target is carried down to the
generator's grid by the adjoint (:mod:`rosetta_lab.functional.resize`), a smaller one up to it by
interpolation. Targets are fixed during an optimisation and the sum is linear in them: all targets
of a unit that are compared at one size are added up beforehand, and a step costs the same however
many there are. They take the memory of one more copy of the maps.

Inside, maps are (N, H, W, C): that is how convolutions leave them in memory on a CPU, and what both
steps of an interpolation want.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rosetta_lab.functional.resize import Size, interpolation_matrix, larger

Normalization = Literal["cosine", "dataset", "distance"]
EPSILON = 1e-8
CACHED = 2**18  # numbers of maps that a CPU takes at once


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


def _onto(size: Size, own: Size, like: Tensor) -> list[Tensor]:
    """What carries targets of size ``own`` to the maps' ``size``: interpolation, or its adjoint."""
    return [
        (interpolation_matrix(b, a) if b < a else interpolation_matrix(a, b).t()).to(like)
        for a, b in zip(size, own, strict=True)
    ]


def _squares(maps: Tensor, grams: Sequence[Tensor | None]) -> Tensor:
    """|A|^2 (N, C) of maps (N, H, W, C), interpolated to the size that the Gram matrices know."""
    return (maps * _along_axes(maps, *grams)).sum(dim=(1, 2))


def _inverse_norms(squares: Tensor) -> Tensor:
    """1 / |A|, finite where nothing fires."""
    return squares.clamp(min=EPSILON**2).rsqrt()


class _Comparison:
    """All that one generator layer is compared with at one common size.

    Args:
        targets: of the layer, all of which are compared at this size.
        size: of the layer's maps.
        common: where they are compared.
        weights: of the layer's channels (C,).
        normalization: see :class:`Agreement`.

    Attributes:
        target: every channel's targets, added up on the layer's own grid (N, H, W, C).
    """

    def __init__(
        self,
        targets: Sequence[TargetMaps],
        size: Size,
        common: Size,
        weights: Tensor,
        normalization: Normalization,
    ) -> None:
        self.normalization: Normalization = normalization
        self.grams = _grams(size, common, weights)
        positions, cosine = common[0] * common[1], normalization == "cosine"
        count, channels = len(targets[0].maps), len(weights)
        self.target = weights.new_zeros(count, *size, channels)
        self.constant = weights.new_zeros(count)  # sum of |B|^2 / T
        self.shares = weights.new_zeros(channels)  # of |A|^2 in the distances
        for target in targets:
            own = (target.maps.shape[2], target.maps.shape[3])
            chosen = target.channels.to(weights.device)
            maps = target.maps.permute(0, 2, 3, 1)  # (N, h, w, P)
            squares = _squares(maps, _grams(own, common, maps))  # (N, P)
            scale = _inverse_norms(squares)[:, None, None] if cosine else 1.0 / positions
            scaled = maps * scale * weights[chosen]
            added = maps.new_zeros(count, *own, channels).index_add_(3, chosen, scaled)
            self.target += _along_axes(added, *_onto(size, own, maps))
            self.constant += squares.sum(dim=1) / positions
            self.shares += weights.square() * chosen.bincount(minlength=channels) / positions

    def agreement(self, products: Tensor, squares: Tensor) -> Tensor:
        """Sum (N,) of the agreements.

        Args:
            products: of the generator's maps with the targets (N, C).
            squares: squared norms of the generator's maps at the common size (N, C).
        """
        if self.normalization == "dataset":
            return products.sum(dim=1)
        if self.normalization == "cosine":
            return (products * _inverse_norms(squares)).sum(dim=1)
        distances: Tensor = squares * self.shares - 2.0 * products
        return -(distances.sum(dim=1) + self.constant)


class _Sums(torch.autograd.Function):
    """Inner products of a layer's maps with its targets, and their squared norms."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, layer: _Layer) -> tuple[Tensor, ...]:
        """Maps (N, H, W, C) to products (N, C) by comparison, then their squares (N, C)."""
        ctx.layer = layer
        ctx.save_for_backward(maps)
        parts = [layer.sums(maps[part], part) for part in layer.parts(maps)]
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


class _Layer:
    """All targets of one generator layer.

    Args:
        mean: of the layer's units over the data set (C,).
        comparisons: with its targets, one for each size.
    """

    def __init__(self, mean: Tensor, comparisons: list[_Comparison]) -> None:
        width = comparisons[0].target.shape[2]
        self.mean = mean.repeat(width, 1)  # (W, C): long rows are subtracted faster than short ones
        self.comparisons = comparisons

    def parts(self, maps: Tensor) -> list[slice]:
        """Which images (N, H, W, C) to take together: few on a CPU, for its cache."""
        count = len(maps)
        step = max(1, CACHED // maps[0].numel()) if maps.device.type == "cpu" else count
        return [slice(start, min(start + step, count)) for start in range(0, count, step)]

    def sums(self, maps: Tensor, part: slice) -> list[Tensor]:
        """Products and squares of the maps (n, H, W, C) of some images."""
        maps = maps - self.mean
        products = [(maps * c.target[part]).sum(dim=(1, 2)) for c in self.comparisons]
        return products + [_squares(maps, c.grams) for c in self.comparisons]

    def gradient(self, maps: Tensor, part: slice, gradients: list[Tensor], out: Tensor) -> None:
        """Gradient (n, H, W, C) of the maps of some images, given those of their sums."""
        wide = [g[:, None, None].repeat(1, 1, maps.shape[2], 1) for g in gradients]  # (n, 1, W, C)
        first, *others = self.comparisons
        torch.mul(first.target[part], wide[0], out=out)
        for comparison, gradient in zip(others, wide[1:], strict=False):
            out.addcmul_(comparison.target[part], gradient)
        maps = maps - self.mean
        for comparison, gradient in zip(self.comparisons, wide[len(others) + 1 :], strict=True):
            out.addcmul_(_along_axes(maps, *comparison.grams), gradient, value=2.0)

    def __call__(self, maps: Tensor) -> Tensor:
        """Sum (N,) of the agreements of maps (N, C, H, W)."""
        sums = _Sums.apply(maps.permute(0, 2, 3, 1), self)
        products, squares = sums[: len(self.comparisons)], sums[len(self.comparisons) :]
        each = zip(self.comparisons, products, squares, strict=True)
        return torch.stack([c.agreement(p, s) for c, p, s in each]).sum(dim=0)


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
        self.pairs = sum(len(target.channels) for target in targets)
        together: dict[str, dict[Size, list[TargetMaps]]] = {}
        for target in targets:
            common = larger(sizes[target.layer], (target.maps.shape[2], target.maps.shape[3]))
            together.setdefault(target.layer, {}).setdefault(common, []).append(target)
        self._layers: dict[str, _Layer] = {}
        for layer, by_size in together.items():
            mean, var = (x.to(targets[0].maps) for x in statistics[layer])
            # A unit's scale cancels in the cosine; one that does not vary has no say.
            weights = (var > 0).to(var)
            if normalization != "cosine":
                weights = weights * var.clamp(min=torch.finfo(var.dtype).tiny).rsqrt()
            comparisons = [
                _Comparison(members, sizes[layer], common, weights, normalization)
                for common, members in by_size.items()
            ]
            self._layers[layer] = _Layer(mean, comparisons)

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

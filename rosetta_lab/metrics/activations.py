"""What correlations need of one batch of activation maps, from one reading of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from rosetta_lab.functional.condense import Condensed, condense
from rosetta_lab.functional.resize import Size, larger, smaller
from rosetta_lab.models.units import Layer, UnitIndex
from rosetta_lab.run.precision import without_autocast


class UnitGroups:
    """A model's units grouped by the size of their maps, so that one size is one product.

    Args:
        layers: recorded layers.
        shift: subtracted from every unit's activations before anything is summed (U,), float32.
    """

    def __init__(self, layers: Sequence[Layer], shift: Tensor) -> None:
        self.index = UnitIndex(layers)
        self.shift = shift
        self.sizes: list[Size] = sorted({layer.size for layer in layers})
        self.layers = {s: [layer for layer in layers if layer.size == s] for s in self.sizes}
        numbers = torch.arange(len(self.index), device="cpu")
        self.units = {
            size: torch.cat([numbers[self.index.units(layer.name)] for layer in members])
            for size, members in self.layers.items()
        }
        self.channels = {layer.name: slice(None) for layer in layers}
        self.within: dict[str, slice] = {}  # a layer's units among those of its size
        for members in self.layers.values():
            ends = [0, *accumulate(layer.channels for layer in members)]
            for layer, (start, stop) in zip(members, pairwise(ends), strict=True):
                self.within[layer.name] = slice(start, stop)

    def part(self, units: range) -> UnitGroups:
        """Some of the units, numbered from 0; the shift is the same memory.

        Args:
            units: their numbers.
        """
        layers, channels = [], {}
        for layer in self.index.layers:
            own = self.index.units(layer.name)
            start, stop = max(own.start, units.start), min(own.stop, units.stop)
            if start < stop:
                layers.append(replace(layer, channels=stop - start))
                channels[layer.name] = slice(start - own.start, stop - own.start)
        found = UnitGroups(layers, self.shift[units.start : units.stop])
        found.channels = channels
        return found


class ActivationBatch:
    """What the tables need of one batch of activation maps, from one pass over them.

    Maps of half precision, such as networks under autocast give, are read as they are; all
    arithmetic is in float32 and float64.

    Args:
        groups: the model's units.
        activations: layer name to maps (N, C, H, W); the others are given to :meth:`add`.
        partners: the units that these will be correlated with.
        totals: also sum every unit's maps over the images, which nulls need.
        images: of the batch, where it comes in parts.
    """

    def __init__(
        self,
        groups: UnitGroups,
        activations: Mapping[str, Tensor],
        partners: Iterable[UnitGroups],
        totals: bool = False,
        images: int | None = None,
    ) -> None:
        self.groups, self.totals = groups, totals
        self.images = images or 0
        self.done = self._images_of_part = 0  # of them, in finished parts, and in this one
        others = {size for partner in partners for size in partner.sizes}
        self._grids = {
            size: sorted({smaller(size, other) for other in others}) for size in groups.sizes
        }
        self._targets = {
            size: sorted({larger(size, other) for other in others} | {size})
            for size in groups.sizes
        }
        self._maps: dict[tuple[Size, Size], Tensor] = {}  # all layers of a size, on a grid
        self._reordered: dict[tuple[Size, Size], Tensor] = {}
        self._pairing = 0
        self._part: dict[str, Condensed] = {}
        self._sums: dict[str, Tensor] = {}
        self._total: dict[str, Tensor] = {}
        self._orders: Mapping[int, Tensor] = {}
        for layer, maps in activations.items():
            self.add(layer, maps)
        if activations:
            self.finish_part()

    def add(self, layer: str, maps: Tensor) -> None:
        """Take a layer's maps (N, C, H, W) in, of all its units; they are not needed any more.

        Maps of the same layer take the place of those before, until :meth:`finish_part`.
        """
        if layer not in self.groups.channels:
            return
        size: Size = (maps.shape[2], maps.shape[3])
        self._images_of_part = len(maps)
        self.images = self.images or len(maps)
        rows = slice(self.done, self.done + len(maps))
        columns = self.groups.within[layer]
        into = [
            self._room(size, grid, maps.device)[rows, ..., columns] for grid in self._grids[size]
        ]
        shift = self.groups.shift[self.groups.index.units(layer)]
        maps = maps[:, self.groups.channels[layer]]
        with without_autocast(maps.device.type):
            self._part[layer] = condense(
                maps, shift, self._grids[size], self._targets[size], self.totals, into
            )

    def _room(self, size: Size, grid: Size, device: torch.device) -> Tensor:
        """Memory for all maps of a size on a grid (N, h, w, C)."""
        if (size, grid) not in self._maps:
            shape = (self.images, *grid, len(self.groups.units[size]))
            self._maps[size, grid] = torch.empty(shape, device=device)
        return self._maps[size, grid]

    def finish_part(self) -> None:
        """All layers have given the maps of the next images of the batch."""
        for layer, (_, sums, total) in self._part.items():
            self._sums[layer] = sums + self._sums[layer] if self.done else sums
            if total is not None:
                self._total[layer] = total.add_(self._total[layer]) if self.done else total
        self.done += self._images_of_part
        self._part = {}

    def on_grid(self, size: Size, grid: Size, pairing: int | None = None) -> Tensor:
        """Maps of ``size`` carried to a smaller grid by the adjoint, as (N * positions, C).

        Args:
            size: of the maps.
            grid: smaller or equal along each axis.
            pairing: in which order of images, see :meth:`reorder`; None for their own. One order's
                copies are kept at a time.
        """
        maps = self._maps[size, grid]
        if pairing is None or pairing not in self._orders:
            return maps.flatten(0, 2)
        if pairing != self._pairing:
            self._reordered, self._pairing = {}, pairing
        if (size, grid) not in self._reordered:
            self._reordered[size, grid] = maps[self._orders[pairing]].flatten(0, 2)
        return self._reordered[size, grid]

    def reorder(self, orders: Mapping[int, Tensor]) -> None:
        """Tell :meth:`on_grid` the order of images (N,) of pairings with other images."""
        self._orders = orders

    def sums(self, size: Size, target: Size) -> Tensor:
        """Sums and sums of squares (2, C) of maps of ``size`` as if upsampled to ``target``."""
        place = self._targets[size].index(target)
        layers = self.groups.layers[size]
        return torch.cat([self._sums[layer.name][:, place] for layer in layers], dim=1)

    def total(self, size: Size) -> Tensor:
        """Maps of ``size`` summed over the images (H, W, C), float32, where asked for."""
        return torch.cat([self._total[layer.name] for layer in self.groups.layers[size]], dim=2)

"""What correlations need of one batch of activation maps, from one reading of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

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
        self.units = {
            size: torch.cat(
                [
                    torch.arange(len(self.index), device="cpu")[self.index.units(x.name)]
                    for x in members
                ]
            )
            for size, members in self.layers.items()
        }
        self.channels = {layer.name: slice(None) for layer in layers}

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
    """

    def __init__(
        self,
        groups: UnitGroups,
        activations: Mapping[str, Tensor],
        partners: Iterable[UnitGroups],
        totals: bool = False,
    ) -> None:
        self.groups, self.totals = groups, totals
        self.images = 0
        others = {size for partner in partners for size in partner.sizes}
        self._grids = {
            size: sorted({smaller(size, other) for other in others}) for size in groups.sizes
        }
        self._targets = {
            size: sorted({larger(size, other) for other in others} | {size})
            for size in groups.sizes
        }
        self._parts: dict[str, Condensed] = {}
        self._joined: dict[tuple[Size, Size, int | None], Tensor] = {}
        self._orders: Mapping[int, Tensor] = {}
        for layer, maps in activations.items():
            self.add(layer, maps)

    def add(self, layer: str, maps: Tensor) -> None:
        """Take a layer's maps (N, C, H, W) in, of all its units; they are not needed any more."""
        self.images = len(maps)
        if layer not in self.groups.channels:
            return
        maps = maps[:, self.groups.channels[layer]]
        size: Size = (maps.shape[2], maps.shape[3])
        shift = self.groups.shift[self.groups.index.units(layer)]
        with without_autocast(maps.device.type):
            self._parts[layer] = condense(
                maps, shift, self._grids[size], self._targets[size], self.totals
            )

    def _of_size(self, size: Size) -> list[Condensed]:
        return [self._parts[layer.name] for layer in self.groups.layers[size]]

    def on_grid(self, size: Size, grid: Size, pairing: int | None = None) -> Tensor:
        """Maps of ``size`` carried to a smaller grid by the adjoint, as (N * positions, C).

        Args:
            size: of the maps.
            grid: smaller or equal along each axis.
            pairing: in which order of images, see :meth:`reorder`; None for their own.
        """
        key = (size, grid, pairing if pairing in self._orders else None)
        if key not in self._joined:
            if key[2] is None:
                place = self._grids[size].index(grid)
                parts = [part.grids[place] for part in self._of_size(size)]
                self._joined[key] = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
            else:
                maps = self.on_grid(size, grid).unflatten(0, (self.images, -1))
                self._joined[key] = maps[self._orders[key[2]]].flatten(0, 1)
        return self._joined[key]

    def reorder(self, orders: Mapping[int, Tensor]) -> None:
        """Tell :meth:`on_grid` the order of images (N,) of pairings with other images."""
        self._orders = orders

    def sums(self, size: Size, target: Size) -> Tensor:
        """Sums and sums of squares (2, C) of maps of ``size`` as if upsampled to ``target``."""
        place = self._targets[size].index(target)
        return torch.cat([part.sums[:, place] for part in self._of_size(size)], dim=1)

    def total(self, size: Size) -> Tensor:
        """Maps of ``size`` summed over the images (H, W, C), float32, where asked for."""
        totals = [part.total for part in self._of_size(size) if part.total is not None]
        return torch.cat(totals, dim=2)

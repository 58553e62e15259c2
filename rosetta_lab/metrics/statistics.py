"""Torchmetrics states that are sums, so processes add up; means and variances of units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from rosetta_lab.functional.correlation import variance
from rosetta_lab.functional.null import MeanMaps
from rosetta_lab.functional.resize import Size
from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups


class SumMetric(Metric):
    """A metric whose states are sums, added up over processes in place.

    A table of correlations can take gigabytes: nothing here makes a second copy of it.
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__(sync_on_compute=False, compute_with_cache=False)

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        # torchmetrics makes numbers of tensors with one element, wherever it sees one, but a model
        # may have a single unit.
        def unseen() -> Callable[[], Any]:
            value = compute()
            return lambda: value

        wrapped = super()._wrap_compute(unseen)
        return lambda: wrapped()()

    def add_sum(self, name: str, *shape: int, dtype: torch.dtype = torch.float64) -> None:
        """Register a sum that starts at zero."""
        # torchmetrics copies the default, which is therefore one number.
        self.add_state(name, torch.zeros((), dtype=dtype), dist_reduce_fx="sum")
        setattr(self, name, torch.zeros(shape, dtype=dtype))

    def reset(self) -> None:
        """Start again at zero."""
        for value in self.sums().values():
            value.zero_()
        self._update_count, self._computed = 0, None

    def sums(self) -> dict[str, Tensor]:
        """This process's sums by name."""
        return {name: getattr(self, name) for name in self._defaults}

    def add_up_processes(self) -> None:
        """Make the sums those of all processes together."""
        if dist.is_available() and dist.is_initialized():
            for value in self.sums().values():
                dist.all_reduce(value)

    def load_sums(self, sums: Mapping[str, Tensor]) -> None:
        """Continue from sums that :meth:`sums` gave."""
        for name, value in sums.items():
            getattr(self, name).copy_(value)
        self._update_count = 1


class UnitStatistics(SumMetric):
    """Mean and variance of every unit over the data set, at the layers' own size (paper, Eq. 1).

    Args:
        groups: the units.
        totals: also sum every unit's maps over the images, for its mean map.
        blocks: of images, whose totals are kept apart.
        dtype: of the totals.
    """

    count: Tensor

    def __init__(
        self,
        groups: UnitGroups,
        totals: bool = False,
        blocks: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.groups, self.totals = groups, totals
        self.add_sum("count", blocks)
        for i, size in enumerate(groups.sizes):
            self.add_sum(f"sums_{i}", 2, len(groups.units[size]))
            if totals:
                self.add_sum(f"totals_{i}", blocks, *size, len(groups.units[size]), dtype=dtype)

    def update(self, batch: ActivationBatch, block: int = 0) -> None:
        self.count[block] += batch.images
        for i, size in enumerate(self.groups.sizes):
            getattr(self, f"sums_{i}").add_(batch.sums(size, size))
            if self.totals:
                getattr(self, f"totals_{i}")[block].add_(batch.total(size))

    def compute(self) -> dict[str, Tensor]:
        """``mean`` (U,), ``var`` (U,), ``count`` (U,) in float64, on the CPU."""
        shape = len(self.groups.index)
        result = {key: torch.zeros(shape, dtype=torch.float64) for key in ("mean", "var", "count")}
        images = self.count.sum().cpu()
        for i, size in enumerate(self.groups.sizes):
            units = self.groups.units[size]
            sums, squares = getattr(self, f"sums_{i}").cpu()
            count = images * size[0] * size[1]
            shift = self.groups.shift.double().cpu()[units]
            result["mean"][units] = sums / count + shift
            result["var"][units] = variance(count, sums, squares, shift)
            result["count"][units] = count
        return result

    def mean_maps(self, chosen: Tensor | None = None) -> dict[Size, MeanMaps]:
        """Every unit's mean map, less the shift, by the size of the maps.

        Args:
            chosen: blocks (blocks,), bool; None for all.
        """
        images = float(over_blocks(self.count, chosen))
        return {
            size: MeanMaps(over_blocks(getattr(self, f"totals_{i}"), chosen), images)
            for i, size in enumerate(self.groups.sizes)
        }


def over_blocks(sums: Tensor, chosen: Tensor | None) -> Tensor:
    """Sum over the first dimension, or over those places of it that are chosen, in float64."""
    if len(sums) == 1:
        return sums[0].double()
    return (sums if chosen is None else sums[chosen]).sum(dim=0, dtype=torch.float64)

"""Torchmetrics states behind the correlation tables: every state is a sum, so processes add up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from rosetta_lab.functional.condense import condense
from rosetta_lab.functional.correlation import pearson, variance
from rosetta_lab.functional.resize import Size, larger, smaller
from rosetta_lab.models.units import Layer, UnitIndex
from rosetta_lab.run.precision import without_autocast


def all_reduce(state: Tensor, group: Any = None) -> list[Tensor]:
    """Sum of a state over all processes, in place of torchmetrics' gathering of every copy.

    A table of correlations can take gigabytes; gathering would hold one copy per process.
    """
    total = state.clone()
    dist.all_reduce(total, group=group)
    return [total]


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
                [torch.arange(len(self.index))[self.index.units(x.name)] for x in members]
            )
            for size, members in self.layers.items()
        }


class ActivationBatch:
    """What the tables need of one batch of activation maps, from one pass over them.

    Maps of half precision, such as networks under autocast give, are read as they are; all
    arithmetic is in float32 and float64.

    Args:
        groups: the model's units.
        activations: layer name to maps (N, C, H, W).
        partners: the units that these will be correlated with.
    """

    def __init__(
        self,
        groups: UnitGroups,
        activations: Mapping[str, Tensor],
        partners: Iterable[UnitGroups],
    ) -> None:
        some = next(iter(activations.values()))
        self.images = len(some)
        self._grids: dict[tuple[Size, Size], Tensor] = {}
        self._sums: dict[tuple[Size, Size], Tensor] = {}
        others = {size for partner in partners for size in partner.sizes}
        for size, layers in groups.layers.items():
            grids = sorted({smaller(size, other) for other in others})
            targets = sorted({larger(size, other) for other in others} | {size})
            with without_autocast(some.device.type):
                parts = [
                    condense(
                        activations[x.name],
                        groups.shift[groups.index.units(x.name)],
                        grids,
                        targets,
                    )
                    for x in layers
                ]
            for place, grid in enumerate(grids):
                maps = [reduced[place] for reduced, _ in parts]
                self._grids[size, grid] = maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)
            sums = torch.cat([sums for _, sums in parts], dim=2)
            for place, target in enumerate(targets):
                self._sums[size, target] = sums[:, place]

    def on_grid(self, size: Size, grid: Size) -> Tensor:
        """Maps of ``size`` carried to a smaller grid by the adjoint, as (N * positions, C)."""
        return self._grids[size, grid]

    def sums(self, size: Size, target: Size) -> Tensor:
        """Sums and sums of squares (2, C) of maps of ``size`` as if upsampled to ``target``."""
        return self._sums[size, target]


def condense_batch(
    groups: Mapping[str, UnitGroups], own: str, maps: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, ActivationBatch]:
    """Every model's activations of one batch, to be correlated with those of the generator ``own``.

    Args:
        groups: model name to its units.
        own: the generator's name.
        maps: model name to layer name to maps (N, C, H, W).
    """
    return {
        name: ActivationBatch(group, maps[name], groups.values() if name == own else [groups[own]])
        for name, group in groups.items()
    }


class SumMetric(Metric):
    """A metric whose states are float64 sums, reduced over processes without gathering."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__(dist_sync_fn=all_reduce)

    def add_sum(self, name: str, *shape: int) -> None:
        """Register a sum that starts at zero."""
        self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def sums(self) -> dict[str, Tensor]:
        """This process's sums by name."""
        return {name: getattr(self, name) for name in self._defaults}

    def load_sums(self, sums: Mapping[str, Tensor]) -> None:
        """Continue from sums that :meth:`sums` gave."""
        for name, value in sums.items():
            getattr(self, name).copy_(value)
        self._update_count = 1


class UnitStatistics(SumMetric):
    """Mean and variance of every unit over the data set, at the layers' own size (paper, Eq. 1)."""

    count: Tensor

    def __init__(self, groups: UnitGroups) -> None:
        super().__init__()
        self.groups = groups
        self.add_sum("count")
        for i, size in enumerate(groups.sizes):
            self.add_sum(f"sums_{i}", 2, len(groups.units[size]))

    def update(self, batch: ActivationBatch) -> None:
        self.count += batch.images
        for i, size in enumerate(self.groups.sizes):
            getattr(self, f"sums_{i}").add_(batch.sums(size, size))

    def compute(self) -> dict[str, Tensor]:
        """``mean`` (U,), ``var`` (U,), ``count`` (U,) in float64, on the CPU."""
        shape = len(self.groups.index)
        result = {key: torch.zeros(shape, dtype=torch.float64) for key in ("mean", "var", "count")}
        for i, size in enumerate(self.groups.sizes):
            units = self.groups.units[size]
            sums, squares = getattr(self, f"sums_{i}").cpu()
            count = self.count.cpu() * size[0] * size[1]
            shift = self.groups.shift.double().cpu()[units]
            result["mean"][units] = sums / count + shift
            result["var"][units] = variance(count, sums, squares, shift)
            result["count"][units] = count
        return result


class CorrelationTable(SumMetric):
    """Pearson correlation of every row unit with every column unit, pooled over all images and
    positions, each pair of maps compared at the larger of their sizes (paper, Eq. 2).

    Nothing is upsampled: the larger map is carried to the smaller one's grid by the adjoint of the
    interpolation, and all layers of one size share one matrix product.

    Args:
        rows: units of the first model (the generator).
        columns: units of the second. The same object as ``rows`` gives a symmetric table for half
            the work.
    """

    count: Tensor

    def __init__(self, rows: UnitGroups, columns: UnitGroups) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.add_sum("count")
        self.blocks = [
            (i, j)
            for i in range(len(rows.sizes))
            for j in range(len(columns.sizes))
            if rows is not columns or i <= j
        ]
        for i, j in self.blocks:
            height, width = len(rows.units[rows.sizes[i]]), len(columns.units[columns.sizes[j]])
            self.add_sum(f"products_{i}_{j}", height, width)
            self.add_sum(f"row_sums_{i}_{j}", 2, height)
            self.add_sum(f"column_sums_{i}_{j}", 2, width)

    def update(self, rows: ActivationBatch, columns: ActivationBatch) -> None:
        self.count += rows.images
        for i, j in self.blocks:
            a, b = self.rows.sizes[i], self.columns.sizes[j]
            grid, target = smaller(a, b), larger(a, b)
            with without_autocast(self.count.device.type):
                products = rows.on_grid(a, grid).t() @ columns.on_grid(b, grid)
            getattr(self, f"products_{i}_{j}").add_(products)
            getattr(self, f"row_sums_{i}_{j}").add_(rows.sums(a, target))
            getattr(self, f"column_sums_{i}_{j}").add_(columns.sums(b, target))

    def compute(self) -> Tensor:
        """Table (rows, columns) in float32."""
        return self.table(lambda name: getattr(self, name))

    def table(self, state: Callable[[str], Tensor]) -> Tensor:
        """The table that follows from sums, looked up by name."""
        rows, columns = self.rows, self.columns
        device = state("count").device
        table = torch.zeros(len(rows.index), len(columns.index), device=device)
        for i, j in self.blocks:
            a, b = rows.sizes[i], columns.sizes[j]
            target = larger(a, b)
            count = float(state("count")) * target[0] * target[1]
            units_a, units_b = rows.units[a].to(device), columns.units[b].to(device)
            sum_a, square_a = state(f"row_sums_{i}_{j}")
            sum_b, square_b = state(f"column_sums_{i}_{j}")
            var_a = variance(count, sum_a, square_a, rows.shift.to(device)[units_a])
            var_b = variance(count, sum_b, square_b, columns.shift.to(device)[units_b])
            products = state(f"products_{i}_{j}")
            block = pearson(count, products, sum_a, sum_b, var_a, var_b).float()
            table[units_a[:, None], units_b] = block
            if rows is columns:
                table[units_b[:, None], units_a] = block.t()
        return table


class BatchMeanCorrelation(CorrelationTable):
    """The published reference code's table: correlations of single batches, averaged.

    It depends on the batch size; :class:`CorrelationTable` is what the paper defines.
    """

    batches: Tensor
    total: Tensor

    def __init__(self, rows: UnitGroups, columns: UnitGroups) -> None:
        super().__init__(rows, columns)
        self.add_sum("batches")
        self.add_sum("total", len(rows.index), len(columns.index))

    def update(self, rows: ActivationBatch, columns: ActivationBatch) -> None:
        super().update(rows, columns)
        self.total += self.table(lambda name: getattr(self, name))
        self.batches += 1
        for name, value in self.sums().items():
            if name not in ("batches", "total"):
                value.zero_()

    def compute(self) -> Tensor:
        return (self.total / self.batches).float()

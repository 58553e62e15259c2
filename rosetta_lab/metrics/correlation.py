"""Torchmetrics states behind the correlation tables: every state is a sum, so processes add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from rosetta_lab.functional.correlation import pearson, variance
from rosetta_lab.functional.resize import Size, larger, smaller
from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups
from rosetta_lab.run.precision import without_autocast


def all_reduce(state: Tensor, group: Any = None) -> list[Tensor]:
    """Sum of a state over all processes, in place of torchmetrics' gathering of every copy.

    A table of correlations can take gigabytes; gathering would hold one copy per process.
    """
    total = state.clone()
    dist.all_reduce(total, group=group)
    return [total]


class SumMetric(Metric):
    """A metric whose states are float64 sums, reduced over processes without gathering."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__(dist_sync_fn=all_reduce, compute_with_cache=False)

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        # torchmetrics makes numbers of tensors with one element, wherever it sees one, but a model
        # may have a single unit.
        def unseen() -> Callable[[], Any]:
            value = compute()
            return lambda: value

        wrapped = super()._wrap_compute(unseen)
        return lambda: wrapped()()

    def add_sum(self, name: str, *shape: int) -> None:
        """Register a sum that starts at zero."""
        self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def sums(self) -> dict[str, Tensor]:
        """This process's sums by name."""
        return {name: getattr(self, name) for name in self._defaults}

    @contextmanager
    def added_up(self) -> Iterator[None]:
        """Context in which the states are those of all processes together."""
        settings = self._to_sync, self._should_unsync
        with self.sync_context(dist_sync_fn=all_reduce):
            self._to_sync = self._should_unsync = False  # compute() would add them up again
            try:
                yield
            finally:
                self._to_sync, self._should_unsync = settings

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
    """

    count: Tensor

    def __init__(self, groups: UnitGroups, totals: bool = False, blocks: int = 1) -> None:
        super().__init__()
        self.groups, self.totals = groups, totals
        self.add_sum("count", blocks)
        for i, size in enumerate(groups.sizes):
            self.add_sum(f"sums_{i}", 2, len(groups.units[size]))
            if totals:
                self.add_sum(f"totals_{i}", blocks, *size, len(groups.units[size]))

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

    def total(self, size: Size, chosen: Tensor | None = None) -> Tensor:
        """Maps of a size summed over the images, less the shift (H, W, C), float64.

        Args:
            size: of the maps.
            chosen: blocks (blocks,), bool; None for all.
        """
        totals: Tensor = getattr(self, f"totals_{self.groups.sizes.index(size)}")
        return _over_blocks(totals, chosen)


def _over_blocks(sums: Tensor, chosen: Tensor | None) -> Tensor:
    """Sum over the first dimension, or over those places of it that are chosen."""
    if len(sums) == 1:
        return sums[0]
    return sums.sum(dim=0) if chosen is None else sums[chosen].sum(dim=0)


class CorrelationTable(SumMetric):
    """Pearson correlation of every row unit with every column unit, pooled over all images and
    positions, each pair of maps compared at the larger of their sizes (paper, Eq. 2).

    Nothing is upsampled: the larger map is carried to the smaller one's grid by the adjoint of the
    interpolation, and all layers of one size share one matrix product.

    Args:
        rows: units of the reference model.
        columns: units of the other. The same object as ``rows`` gives a symmetric table for half
            the work.
        pairings: how many products to sum: of every image's maps with its own, and with other
            images', see :meth:`ActivationBatch.reorder`.
        blocks: of images, whose sums are kept apart.
    """

    count: Tensor

    def __init__(
        self, rows: UnitGroups, columns: UnitGroups, pairings: int = 1, blocks: int = 1
    ) -> None:
        super().__init__()
        self.rows, self.columns, self.pairings = rows, columns, pairings
        self.add_sum("count", blocks)
        self.blocks = [
            (i, j)
            for i in range(len(rows.sizes))
            for j in range(len(columns.sizes))
            if rows is not columns or i <= j
        ]
        for i, j in self.blocks:
            height, width = len(rows.units[rows.sizes[i]]), len(columns.units[columns.sizes[j]])
            self.add_sum(f"products_{i}_{j}", blocks, pairings, height, width)
            self.add_sum(f"row_sums_{i}_{j}", blocks, 2, height)
            self.add_sum(f"column_sums_{i}_{j}", blocks, 2, width)

    def update(self, rows: ActivationBatch, columns: ActivationBatch, block: int = 0) -> None:
        self.count[block] += rows.images
        for i, j in self.blocks:
            a, b = self.rows.sizes[i], self.columns.sizes[j]
            grid, target = smaller(a, b), larger(a, b)
            right = columns.on_grid(b, grid)
            for pairing in range(self.pairings):
                left = rows.on_grid(a, grid, None if rows is columns else pairing)
                with without_autocast(self.count.device.type):
                    products = left.t() @ right
                getattr(self, f"products_{i}_{j}")[block, pairing].add_(products)
            getattr(self, f"row_sums_{i}_{j}")[block].add_(rows.sums(a, target))
            getattr(self, f"column_sums_{i}_{j}")[block].add_(columns.sums(b, target))

    def compute(self) -> Tensor:
        """Table (rows, columns) in float32."""
        return self.table(lambda name: getattr(self, name))

    def table(self, state: Callable[[str], Tensor]) -> Tensor:
        """The table that follows from sums, looked up by name."""
        table = torch.zeros(len(self.rows.index), len(self.columns.index)).to(state("count").device)
        for sums in self.sums_by_size(state):
            self.place(table, sums, sums.r(sums.products[0]))
        return table

    def sums_by_size(
        self, state: Callable[[str], Tensor] | None = None, chosen: Tensor | None = None
    ) -> Iterator[SizeSums]:
        """All sums, pair of sizes by pair of sizes.

        Args:
            state: looks sums up by name; None for this metric's own.
            chosen: blocks of images (blocks,), bool; None for all.
        """
        find = state or (lambda name: getattr(self, name))
        rows, columns = self.rows, self.columns
        images = float(_over_blocks(find("count"), chosen))
        for i, j in self.blocks:
            a, b = rows.sizes[i], columns.sizes[j]
            target = larger(a, b)
            count = images * target[0] * target[1]
            products = _over_blocks(find(f"products_{i}_{j}"), chosen)
            device = products.device
            sum_a, square_a = _over_blocks(find(f"row_sums_{i}_{j}"), chosen)
            sum_b, square_b = _over_blocks(find(f"column_sums_{i}_{j}"), chosen)
            yield SizeSums(
                (a, b),
                count,
                products,
                (sum_a, sum_b),
                (square_a, square_b),
                (
                    variance(count, sum_a, square_a, rows.shift[rows.units[a]].to(device)),
                    variance(count, sum_b, square_b, columns.shift[columns.units[b]].to(device)),
                ),
            )

    def place(self, table: Tensor, sums: SizeSums, values: Tensor) -> None:
        """Put what was found for a pair of sizes (A, B) into a table of all units."""
        a, b = sums.sizes
        rows, columns = self.rows.units[a].to(table.device), self.columns.units[b].to(table.device)
        values = values.float()
        table[rows[:, None], columns] = values
        if self.rows is self.columns:
            table[columns[:, None], rows] = values.t()


class SizeSums(NamedTuple):
    """Sums of all units of two sizes, at the larger one; float64.

    Attributes:
        sizes: of the rows' and of the columns' maps.
        values: behind each sum: images times positions.
        products: sums of a*b for every pairing (pairings, A, B), of shifted values.
        sums: of a (A,) and of b (B,).
        squares: sums of squares, likewise.
        variances: population variances, likewise; 0 for constant units.
    """

    sizes: tuple[Size, Size]
    values: float
    products: Tensor
    sums: tuple[Tensor, Tensor]
    squares: tuple[Tensor, Tensor]
    variances: tuple[Tensor, Tensor]

    def r(self, products: Tensor) -> Tensor:
        """Correlations that follow from sums of products (A, B)."""
        return pearson(self.values, products, *self.sums, *self.variances)


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

    def update(self, rows: ActivationBatch, columns: ActivationBatch, block: int = 0) -> None:
        super().update(rows, columns)
        self.total += self.table(lambda name: getattr(self, name))
        self.batches += 1
        for name, value in self.sums().items():
            if name not in ("batches", "total"):
                value.zero_()

    def compute(self) -> Tensor:
        return (self.total / self.batches).float()

"""Correlation tables as torchmetrics states that are sums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from rosetta_lab.functional.correlation import pearson, variance
from rosetta_lab.functional.products import Products, add_product
from rosetta_lab.functional.resize import Size, larger, smaller
from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups
from rosetta_lab.metrics.statistics import SumMetric, over_blocks
from rosetta_lab.run.precision import products_in

SOME = 512  # units of a size, to measure rounding with


class CorrelationTable(SumMetric):
    """Pearson correlation of every row unit with every column unit, pooled over all images and
    positions, each pair of maps compared at the larger of their sizes (paper, Eq. 2).

    Nothing is upsampled: the larger map is carried to the smaller one's grid by the adjoint of the
    interpolation, and all layers of one size share one matrix product. Nor is there ever a whole
    table of r, unless one asks :meth:`compute` for it: :meth:`sums_by_size` gives the sums of a
    band of rows.

    Args:
        rows: units of the reference model.
        columns: units of the other. The same object as ``rows`` gives a symmetric table for half
            the work.
        pairings: how many products to sum: of every image's maps with its own, and with other
            images', see :meth:`ActivationBatch.reorder`.
        blocks: of images, whose sums are kept apart.
        dtype: of the sums of products, which are what takes memory.
        products: the arithmetic of the products, see :func:`add_product`. Where it rounds more than
            float32, the largest difference that this makes to r in a first batch is measured.
    """

    count: Tensor
    rounding: Tensor

    def __init__(
        self,
        rows: UnitGroups,
        columns: UnitGroups,
        pairings: int = 1,
        blocks: int = 1,
        dtype: torch.dtype = torch.float32,
        products: Products = "float32",
    ) -> None:
        super().__init__()
        self.rows, self.columns, self.pairings = rows, columns, pairings
        self.products = products
        self.add_sum("count", blocks)
        self.add_sum("rounding", 2)  # of every process's first batch, and how many these are
        self.blocks = [
            (i, j)
            for i in range(len(rows.sizes))
            for j in range(len(columns.sizes))
            if rows is not columns or i <= j
        ]
        for i, j in self.blocks:
            height, width = len(rows.units[rows.sizes[i]]), len(columns.units[columns.sizes[j]])
            self.add_sum(f"products_{i}_{j}", blocks, pairings, height, width, dtype=dtype)
            self.add_sum(f"row_sums_{i}_{j}", blocks, 2, height)
            self.add_sum(f"column_sums_{i}_{j}", blocks, 2, width)

    def update(self, rows: ActivationBatch, columns: ActivationBatch, block: int = 0) -> None:
        """Add a batch of a block of images."""
        self.add_moments(rows, columns, block)
        for pairing in range(self.pairings):
            self.add_products(rows, columns, block, pairing)
        self.finish_batch()

    def add_moments(self, rows: ActivationBatch, columns: ActivationBatch, block: int = 0) -> None:
        """Add what does not depend on how images are paired."""
        self.count[block] += rows.images
        if self.products != "float32" and not (self.rounding.is_meta or self.rounding[1]):
            self.rounding += torch.tensor([self._rounding(rows, columns), 1.0]).to(self.rounding)
        for i, j in self.blocks:
            a, b = self.rows.sizes[i], self.columns.sizes[j]
            getattr(self, f"row_sums_{i}_{j}")[block].add_(rows.sums(a, larger(a, b)))
            getattr(self, f"column_sums_{i}_{j}")[block].add_(columns.sums(b, larger(a, b)))

    def add_products(
        self, rows: ActivationBatch, columns: ActivationBatch, block: int = 0, pairing: int = 0
    ) -> None:
        """Add the products of one pairing of the images."""
        for i, j in self.blocks:
            a, b = self.rows.sizes[i], self.columns.sizes[j]
            left, right = rows.on_grid(a, smaller(a, b), pairing), columns.on_grid(b, smaller(a, b))
            products = getattr(self, f"products_{i}_{j}")[block, pairing]
            with products_in(self.count.device.type, self.products == "tf32"):
                add_product(products, left, right, self.products)

    def _rounding(self, rows: ActivationBatch, columns: ActivationBatch) -> float:
        """The most that rounding changes r in a batch, among some units of every two sizes."""
        most = 0.0
        for i, j in self.blocks:
            a, b = self.rows.sizes[i], self.columns.sizes[j]
            height, width = larger(a, b)
            count = float(rows.images * height * width)
            factors, scales = [], []
            for batch, units, size in ((rows, self.rows, a), (columns, self.columns, b)):
                maps, sums = batch.on_grid(size, smaller(a, b)), batch.sums(size, (height, width))
                shift = units.shift[units.units[size]].to(sums.device)
                some = slice(None, None, -(-maps.shape[1] // SOME))
                spread = (count * variance(count, sums[0], sums[1], shift)[some]).sqrt()
                factors.append(maps[:, some])
                scales.append(torch.where(spread > 0, 1 / spread, 0.0))
            exact = factors[0].double().t() @ factors[1].double()
            found = torch.zeros_like(exact, dtype=torch.float32)
            with products_in(found.device.type, self.products == "tf32"):
                add_product(found, factors[0], factors[1], self.products)
            change = (found - exact).abs() * scales[0][:, None] * scales[1]
            most = max(most, float(change.max()))
        return most

    def finish_batch(self) -> None:
        """All moments and products of a batch are added."""

    def compute(self) -> Tensor:
        """Table (rows, columns) in float32."""
        return self.r()

    def r(self, band: range | None = None, chosen: Tensor | None = None) -> Tensor:
        """The table, or a band of its rows, from all blocks of images or those chosen."""
        height = len(self.rows.index if band is None else band)
        table = torch.zeros(height, len(self.columns.index), device=self.count.device)
        for sums in self.sums_by_size(band, chosen):
            sums.place(table, sums.r(sums.products[0]))
        return table

    def sums_by_size(
        self, band: range | None = None, chosen: Tensor | None = None
    ) -> Iterator[SizeSums]:
        """The sums of a band of rows, pair of sizes by pair of sizes.

        Args:
            band: numbers of the row units; None for all.
            chosen: blocks of images (blocks,), bool; None for all.
        """
        band = range(len(self.rows.index)) if band is None else band
        images = float(over_blocks(self.count, chosen))
        for i, a in enumerate(self.rows.sizes):
            units = self.rows.units[a]
            ends = torch.searchsorted(units, torch.tensor([band.start, band.stop]))
            part = slice(*ends.tolist())
            if part.start == part.stop:
                continue
            for j, b in enumerate(self.columns.sizes):
                target = larger(a, b)
                count = images * target[0] * target[1]
                products, left, right = (over_blocks(x, chosen) for x in self._sums(i, j, part))
                of = units[part], self.columns.units[b]
                shifts = self.rows.shift[of[0]], self.columns.shift[of[1]]
                yield SizeSums(
                    (a, b),
                    part,
                    (of[0].to(left.device) - band.start, of[1].to(left.device)),
                    count,
                    products,
                    (left[0], right[0]),
                    (left[1], right[1]),
                    (
                        variance(count, left[0], left[1], shifts[0].to(left.device)),
                        variance(count, right[0], right[1], shifts[1].to(left.device)),
                    ),
                )

    def _sums(self, i: int, j: int, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Products of some rows of one size with columns of another, and the sums of either."""
        if (i, j) in self.blocks:
            return (
                getattr(self, f"products_{i}_{j}")[:, :, part],
                getattr(self, f"row_sums_{i}_{j}")[..., part],
                getattr(self, f"column_sums_{i}_{j}"),
            )
        return (  # a symmetric table has them the other way round
            getattr(self, f"products_{j}_{i}")[..., part].mT,
            getattr(self, f"column_sums_{j}_{i}")[..., part],
            getattr(self, f"row_sums_{j}_{i}"),
        )


class SizeSums(NamedTuple):
    """Sums of row units of one size and of all units of another, at the larger one; float64.

    Attributes:
        sizes: of the rows' and of the columns' maps.
        part: which of the rows of this size they are.
        places: their numbers in the band of rows (A,), and those of the columns (B,).
        values: behind each sum: images times positions.
        products: sums of a*b for every pairing (pairings, A, B), of shifted values.
        sums: of a (A,) and of b (B,).
        squares: sums of squares, likewise.
        variances: population variances, likewise; 0 for constant units.
    """

    sizes: tuple[Size, Size]
    part: slice
    places: tuple[Tensor, Tensor]
    values: float
    products: Tensor
    sums: tuple[Tensor, Tensor]
    squares: tuple[Tensor, Tensor]
    variances: tuple[Tensor, Tensor]

    def r(self, products: Tensor) -> Tensor:
        """Correlations that follow from sums of products (A, B)."""
        return pearson(self.values, products, *self.sums, *self.variances)

    def place(self, table: Tensor, values: Tensor) -> None:
        """Put what was found (A, B) into the table of the band."""
        table[self.places[0][:, None], self.places[1]] = values.float()


class BatchMeanCorrelation(CorrelationTable):
    """The published reference code's table: correlations of single batches, averaged.

    It depends on the batch size; :class:`CorrelationTable` is what the paper defines.
    """

    batches: Tensor
    total: Tensor

    def __init__(
        self, rows: UnitGroups, columns: UnitGroups, products: Products = "float32"
    ) -> None:
        super().__init__(rows, columns, products=products)
        self.add_sum("batches")
        self.add_sum("total", len(rows.index), len(columns.index))

    def finish_batch(self) -> None:
        self.total += super().r()
        self.batches += 1
        for name, value in self.sums().items():
            if name not in ("batches", "total", "rounding"):
                value.zero_()

    def r(self, band: range | None = None, chosen: Tensor | None = None) -> Tensor:
        rows = slice(None) if band is None else slice(band.start, band.stop)
        return (self.total[rows] / self.batches).float()

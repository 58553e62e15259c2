"""The sums of a pass: every model's statistics, and its table with the reference model's units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from rosetta_lab.data.grouping import Grouping
from rosetta_lab.functional.products import Products
from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups
from rosetta_lab.metrics.correlation import BatchMeanCorrelation, CorrelationTable
from rosetta_lab.metrics.statistics import SumMetric, UnitStatistics
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.ranks import Ranks
from rosetta_lab.models.observer import OnModelMap
from rosetta_lab.models.units import Layer


def groups_of(shapes: Mapping[str, Sequence[Layer]]) -> dict[str, UnitGroups]:
    """Every model's units, whose shift is zero so far."""
    return {
        name: UnitGroups(layers, torch.zeros(sum(layer.channels for layer in layers)))
        for name, layers in shapes.items()
    }


class Sums(nn.Module):
    """Statistics and tables by model, all at zero.

    Args:
        groups: the models' units.
        reference: name of the model whose units are the rows of every table; its own table holds
            its units against each other, for the clusters, and needs no null.
        evidence: what matches are held against.
        grouping: how images are paired and parted.
        batch_mean: average tables of batches instead, as the published reference code.
        dtype: of the sums that take memory.
        products: the arithmetic of the products.
        rows: numbers of the reference's units that are the rows, None for all. Where memory is
            short, several passes take some rows each.
        ranks: correlate ranks instead of activations, None to leave these as they are. Statistics
            are of the activations all the same.

    Attributes:
        rows: the units that are the rows.
        row_statistics: of these, with what nulls need.
    """

    def __init__(
        self,
        groups: Mapping[str, UnitGroups],
        reference: str,
        evidence: Evidence,
        grouping: Grouping,
        batch_mean: bool = False,
        dtype: torch.dtype = torch.float32,
        products: Products = "float32",
        rows: range | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__()
        own = groups[reference]
        self.ranks = ranks
        self.groups, self.reference, self.grouping = groups, reference, grouping
        whole = rows is None or len(rows) == len(own.index)
        self.rows = own if rows is None or whole else own.part(rows)
        pairings, blocks = max(1, 1 + grouping.draws - evidence.spare), grouping.blocks
        self.totals = pairings > 1
        # The reference's own take maps' room where only some of its units are rows.
        of_all = {name: self.totals and (whole or name != reference) for name in groups}

        def statistics(of: Mapping[str, UnitGroups], totals: Mapping[str, bool]) -> nn.ModuleDict:
            made = {n: UnitStatistics(own, totals[n], blocks, dtype) for n, own in of.items()}
            return nn.ModuleDict(made)

        self.statistics = self.correlated = statistics(groups, of_all)
        if ranks:
            self.statistics = statistics(ranks.values, dict.fromkeys(groups, False))
        self.row_statistics = (
            self.correlated_of(reference)
            if whole
            else UnitStatistics(self.rows, self.totals, blocks, dtype)
        )

        def table(units: UnitGroups) -> CorrelationTable:
            if batch_mean:
                return BatchMeanCorrelation(self.rows, units, products)
            kept = (1, 1) if units is own else (pairings, blocks)
            return CorrelationTable(self.rows, units, *kept, dtype, products)

        self.tables = nn.ModuleDict({name: table(units) for name, units in groups.items()})

    def statistics_of(self, model: str) -> UnitStatistics:
        """One model's."""
        return cast(UnitStatistics, self.statistics[model])

    def correlated_of(self, model: str) -> UnitStatistics:
        """The same of what is correlated: of ranks, where these are."""
        return cast(UnitStatistics, self.correlated[model])

    def table(self, model: str) -> CorrelationTable:
        """One model's."""
        return cast(CorrelationTable, self.tables[model])

    def rounding(self) -> dict[str, Tensor]:
        """By model, the most that the products' arithmetic changed r in first batches, or none."""
        found = {name: self.table(name).rounding for name in self.tables}
        return {name: (most / batches).cpu() for name, (most, batches) in found.items() if batches}

    def metrics(self) -> dict[str, SumMetric]:
        """Every metric under a name of its own."""
        kinds = {"statistics": self.statistics, "tables": self.tables}
        if self.ranks:
            kinds["ranks"] = self.correlated
        named: dict[str, nn.Module] = {
            f"{kind}/{name}": metric
            for kind, metrics in kinds.items()
            for name, metric in metrics.items()
        }
        if self.row_statistics is not self.correlated[self.reference]:
            named["statistics/rows"] = self.row_statistics
        return {name: cast(SumMetric, metric) for name, metric in named.items()}

    def look(
        self, show: Callable[[OnModelMap], object], images: int, seen: Seen, block: int = 0
    ) -> None:
        """Show the next images of a batch to the models, and keep of their maps what sums need.

        Every layer's maps are let go as soon as they are condensed: those of a batch would not fit
        into memory together. The reference's own table needs its maps as large as they are, and
        gets them here, a part of the batch at a time; the others pair images of the whole batch.

        Args:
            show: shows them, and gives model, layer and maps to what it is given.
            images: how many they are.
            seen: of the whole batch.
            block: of images, that it belongs to.
        """
        reference, whole = self.reference, self.rows is self.groups[self.reference]
        own = ActivationBatch(self.groups[reference], {}, [self.rows], images=images)
        own_rows = own
        if not whole:
            own_rows = ActivationBatch(self.rows, {}, [self.groups[reference]], images=images)
        values = self.ranks.values if self.ranks else {}
        unranked = {n: ActivationBatch(own, {}, [], images=images) for n, own in values.items()}

        def condense(model: str, layer: str, maps: Tensor) -> None:
            if self.ranks:
                unranked[model].add(layer, maps)
                maps = self.ranks(model, layer, maps)
            seen.batches[model].add(layer, maps)
            if model == reference:
                own.add(layer, maps)
                if not whole:
                    own_rows.add(layer, maps)

        show(condense)
        parts = (own, *([] if whole else [own_rows]), *seen.batches.values(), *unranked.values())
        for one in parts:
            one.finish_part()
        self.table(reference).update(own_rows, own)
        if not whole:
            self.correlated_of(reference).update(own, block)
        for name, of_values in unranked.items():
            self.statistics_of(name).update(of_values, block)

    def add(self, seen: Seen, block: int = 0) -> None:
        """Add a batch, all of which was looked at, to the sums of a block of images."""
        rows = seen.batches[self.reference]
        self.row_statistics.update(rows, block)
        others = {n: batch for n, batch in seen.batches.items() if n != self.reference}
        for name, batch in others.items():
            self.correlated_of(name).update(batch, block)
            self.table(name).add_moments(rows, batch, block)
        for pairing in range(next(self.table(name).pairings for name in others)):
            for name, batch in others.items():
                self.table(name).add_products(rows, batch, block, pairing)
        for name in others:
            self.table(name).finish_batch()


class Seen:
    """What a batch leaves of the models' maps.

    Args:
        sums: that it is for.
        images: of the batch.

    Attributes:
        batches: by model; of the reference, the units that are the tables' rows.
    """

    def __init__(self, sums: Sums, images: int) -> None:
        others = {name: units for name, units in sums.groups.items() if name != sums.reference}
        rows = ActivationBatch(sums.rows, {}, others.values(), sums.totals, images)
        self.batches = {sums.reference: rows} | {
            name: ActivationBatch(units, {}, [sums.rows], sums.totals, images)
            for name, units in others.items()
        }

"""The sums of a run: every model's statistics, and its table with the reference model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from torch import Tensor, nn

from rosetta_lab.data.grouping import Grouping
from rosetta_lab.data.latents import LatentBatch
from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups
from rosetta_lab.metrics.correlation import (
    BatchMeanCorrelation,
    CorrelationTable,
    UnitStatistics,
)
from rosetta_lab.mine.null import Evidence
from rosetta_lab.models.observer import Observer


def sums_of(
    groups: Mapping[str, UnitGroups],
    reference: str,
    evidence: Evidence,
    grouping: Grouping,
    batch_mean: bool = False,
) -> tuple[nn.ModuleDict, nn.ModuleDict]:
    """Statistics and tables by model, all at zero.

    Args:
        groups: the models' units.
        reference: name of the model whose units are the rows of every table; its own table holds
            its units against each other, for the clusters, and needs no null.
        evidence: what matches are held against.
        grouping: how images are paired and parted.
        batch_mean: average tables of batches instead, as the published reference code.
    """
    pairings = max(1, 1 + grouping.draws - evidence.spare)
    blocks, rows = grouping.blocks, groups[reference]
    statistics = {name: UnitStatistics(own, pairings > 1, blocks) for name, own in groups.items()}
    tables = {
        name: BatchMeanCorrelation(rows, own)
        if batch_mean
        else CorrelationTable(rows, own, *((1, 1) if own is rows else (pairings, blocks)))
        for name, own in groups.items()
    }
    return nn.ModuleDict(statistics), nn.ModuleDict(tables)


def condensed_maps(
    observer: Observer,
    batch: LatentBatch,
    groups: Mapping[str, UnitGroups],
    check: Callable[[str, str, Tensor], None] | None = None,
    totals: bool = False,
) -> dict[str, ActivationBatch]:
    """Show a batch to the models, and keep of their maps what the sums need.

    Every layer's maps are let go as soon as they are condensed: those of a batch would not fit into
    memory together.

    Args:
        observer: the models.
        batch: what their images are made of.
        groups: their units.
        check: sees model, layer and maps before.
        totals: also sum maps over the images, which nulls need.
    """
    rows = groups[observer.reference]
    found = {
        name: ActivationBatch(own, {}, groups.values() if own is rows else [rows], totals)
        for name, own in groups.items()
    }

    def condense(model: str, layer: str, maps: Tensor) -> None:
        if check is not None:
            check(model, layer, maps)
        found[model].add(layer, maps)

    observer(batch, condense)
    return found


def add_up(
    batches: Mapping[str, ActivationBatch],
    reference: str,
    statistics: nn.ModuleDict,
    tables: nn.ModuleDict,
    block: int = 0,
) -> None:
    """Add a batch, as :func:`condensed_maps` leaves it, to all sums of a block of images."""
    own = batches[reference]
    for name, activations in batches.items():
        cast(UnitStatistics, statistics[name]).update(activations, block)
        table = cast(CorrelationTable, tables[name])
        table.update(own, activations, 0 if activations is own else block)

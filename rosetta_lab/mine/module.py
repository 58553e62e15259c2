"""Mining as a LightningModule: one pass over the images accumulates every sum."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Literal, cast, get_args

import lightning as L
import torch
from torch import Tensor

from rosetta_lab.data.latents import LatentBatch
from rosetta_lab.errors import RosettaError, check_choice
from rosetta_lab.functional.matching import Neighbours, neighbours, on_cpu
from rosetta_lab.metrics.activations import UnitGroups
from rosetta_lab.metrics.correlation import (
    BatchMeanCorrelation,
    CorrelationTable,
    SumMetric,
    UnitStatistics,
)
from rosetta_lab.metrics.matching import Matching, match
from rosetta_lab.mine.null import Evidence, parts_of
from rosetta_lab.mine.partial import PartialSums
from rosetta_lab.mine.result import MiningResult
from rosetta_lab.mine.sums import add_up, condensed_maps, sums_of
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer

Correlation = Literal["pooled", "batch_mean"]


class MiningModule(L.LightningModule):
    """Shows images to the models and correlates the reference model's units with all others.

    ``trainer.validate`` is the pass over the images; ``result`` holds the tables afterwards. While
    it runs, loggers and the progress bar get what :meth:`progress` says.

    Args:
        observer: the models and their layers.
        shapes: of the layers, see :func:`shapes_of`.
        pilot: the first latents of the run. Before the pass, they are looked at for the mean
            activation that is subtracted from every unit before anything is summed, which keeps
            float32 products accurate for units whose mean is far from zero.
        images: how many images the run has.
        correlation: ``pooled`` (paper, Eq. 2) or ``batch_mean`` (the published reference code),
            which has no null.
        evidence: what matches are held against.
        partial: where unfinished sums are kept, None for nowhere.
        batch_size: pilot images at a time, None for all.
        classes: that the images have in turn, 0 without any.
        keep_tables: also keep whole tables of r.
    """

    def __init__(
        self,
        observer: Observer,
        shapes: Mapping[str, list[Layer]],
        pilot: LatentBatch,
        images: int,
        correlation: Correlation = "pooled",
        evidence: Evidence | None = None,
        partial: PartialSums | None = None,
        batch_size: int | None = None,
        classes: int = 0,
        keep_tables: bool = False,
    ) -> None:
        super().__init__()
        check_choice("correlation", correlation, get_args(Correlation))
        self.observer, self.shapes, self.pilot = observer, dict(shapes), pilot
        self.images, self.batch_size = images, batch_size or len(pilot)
        self.partial, self.keep_tables = partial, keep_tables
        self.evidence = evidence or Evidence("none" if correlation == "batch_mean" else "shuffled")
        self.groups = {
            name: UnitGroups(own, torch.zeros(sum(layer.channels for layer in own)))
            for name, own in shapes.items()
        }
        self.grouping = self.evidence.grouping(images, classes, self.groups)
        self.statistics, self.tables = sums_of(
            self.groups,
            observer.reference,
            self.evidence,
            self.grouping,
            batch_mean=correlation == "batch_mean",
        )
        self.result: MiningResult | None = None
        self.seen = self.started_with = 0  # images of this process
        self.started = time.monotonic()

    def setup(self, stage: str) -> None:
        """Look at the pilot images."""
        means = pilot_run(self.observer, self.pilot, self.batch_size)
        for name, groups in self.groups.items():
            groups.shift = means[name]

    def on_validation_start(self) -> None:
        # Every process has to subtract the same numbers, to the last bit.
        for groups in self.groups.values():
            groups.shift = self.trainer.strategy.broadcast(groups.shift)
        if self.partial is not None:
            self.seen = self.started_with = self.partial.load(
                self.metrics(), self.groups, self.global_rank, self.trainer.world_size
            )
        self.started = time.monotonic()

    def validation_step(self, batch: LatentBatch, batch_idx: int) -> None:
        reference = self.observer.reference
        batches = condensed_maps(
            self.observer, batch, self.groups, check_finite, totals=self.grouping.draws > 0
        )
        orders = {k: v.to(self.device) for k, v in self.grouping.orders(batch.index.cpu()).items()}
        if self.evidence.shuffle and orders:
            orders[0] = orders.pop(self.grouping.draws)
        batches[reference].reorder(orders)
        block = self.grouping.block(int(batch.index[0]))
        add_up(batches, reference, self.statistics, self.tables, block)
        if self.partial is not None:
            self.partial.advance(
                len(batch),
                self.metrics(),
                self.groups,
                self.global_rank,
                self.trainer.world_size,
            )
        self.seen += len(batch)
        self.log_dict(self.progress(), prog_bar=True, on_step=True, on_epoch=False)

    def progress(self) -> dict[str, float]:
        """How far the pass is; other processes are taken to be as far as this one.

        Returns:
            ``images`` seen, with those of an interrupted run that this one goes on with;
            ``images_per_second`` of this run; ``memory_gb``, the most that this process has held so
            far, on the GPU where it works on one.
        """
        processes, seconds = self.trainer.world_size, time.monotonic() - self.started
        return {
            "images": min(float(processes * self.seen), float(self.images)),
            "images_per_second": processes * (self.seen - self.started_with) / seconds,
            "memory_gb": peak_memory(self.device) / 1e9,
        }

    def on_validation_epoch_end(self) -> None:
        # Here, and not later, because the processes meet: the sums of all are added up.
        with ExitStack() as synced:
            for name in self.groups:
                synced.enter_context(self._statistics(name).added_up())
            statistics = {name: self._statistics(name).compute() for name in self.groups}
            alive = {name: values["var"] > 0 for name, values in statistics.items()}
            tables: dict[str, Tensor] = {}
            result = MiningResult({}, self._own(alive, tables), statistics, tables=tables)
            for name in self.observer.others:
                table = self._table(name)
                with table.added_up():
                    self._match(name, table, alive, result)
        if self.trainer.is_global_zero:
            self.result = result

    def _own(self, alive: Mapping[str, Tensor], tables: dict[str, Tensor]) -> Neighbours:
        """Neighbours of the reference's units among themselves."""
        name = self.observer.reference
        r = self._table(name).compute()
        if self.keep_tables:
            tables[name] = r.cpu().clone()
        r.fill_diagonal_(-torch.inf)
        mask = alive[name].to(r.device)
        return on_cpu(neighbours(r, self.evidence.neighbours, mask, mask, {}))

    def _match(
        self,
        name: str,
        table: CorrelationTable,
        alive: Mapping[str, Tensor],
        result: MiningResult,
    ) -> None:
        """Find a model's neighbours, in all images and in parts of them."""
        if not self.trainer.is_global_zero:
            return
        own = self.observer.reference
        how = (self._statistics(own), self._statistics(name), (alive[own], alive[name]))
        kind = (self.evidence.neighbours, self.evidence.criterion)
        if isinstance(table, BatchMeanCorrelation):
            r = table.compute()
            rows, columns = (mask.to(r.device) for mask in how[2])
            found = neighbours(r.clone(), kind[0], rows, columns, {"r": r})
            result.matchings[name] = Matching(on_cpu(found), [])
        else:
            result.matchings[name] = match(table, *how, *kind)
            for part, chosen in parts_of(self.grouping.blocks).items():
                found_there = match(table, *how, *kind, chosen)
                result.parts.setdefault(part, {})[name] = found_there
        if self.keep_tables:
            result.tables[name] = table.compute().cpu()

    def _statistics(self, name: str) -> UnitStatistics:
        return cast(UnitStatistics, self.statistics[name])

    def _table(self, name: str) -> CorrelationTable:
        return cast(CorrelationTable, self.tables[name])

    def metrics(self) -> dict[str, SumMetric]:
        """Every metric under a name of its own."""
        return {
            f"{kind}/{name}": cast(SumMetric, metric)
            for kind, metrics in (("statistics", self.statistics), ("tables", self.tables))
            for name, metric in metrics.items()
        }


def shapes_of(observer: Observer, batch: LatentBatch) -> dict[str, list[Layer]]:
    """Every model's layers, with the sizes of their maps, from any latents."""
    return observer.shapes(observer(batch, lambda model, layer, maps: maps.to("meta")))


def pilot_run(observer: Observer, pilot: LatentBatch, batch_size: int) -> dict[str, Tensor]:
    """Means of every model's units over the pilot images, float32 (U,)."""
    means: dict[str, Tensor] = {}
    for part in pilot.split(batch_size):
        seen = observer(part, lambda model, layer, maps: pilot_mean(maps))
        share = len(part) / len(pilot)
        for name, layers in seen.maps.items():
            mean = share * torch.cat(list(layers.values())).double()
            means[name] = means[name] + mean if name in means else mean
    return {name: mean.float() for name, mean in means.items()}


def pilot_mean(maps: Tensor) -> Tensor:
    """Mean of every unit (C,) over maps (N, C, H, W), float32, exact for constant units."""
    return maps.double().mean(dim=(0, 2, 3)).float().cpu()


def peak_memory(device: torch.device) -> int:
    """Bytes that this process has held at most: allocated on a GPU, else resident; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not a Unix
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts in KiB


def check_finite(model: str, layer: str, maps: Tensor) -> None:
    """Raise a RosettaError that names model, layer and channel if a map is NaN or infinite."""
    if bool(maps.sum(dim=(0, 2, 3)).isfinite().all()):
        return
    bad = (~maps.isfinite()).any(dim=3).any(dim=2).any(dim=0).nonzero().flatten()
    if len(bad):
        raise RosettaError(
            f"{model}, layer {layer}, channel {int(bad[0])}: the activation is NaN or infinite "
            f"({len(bad)} channels of this layer).\n"
            "Check the weights; if the run has a reduced trainer.precision, leave it out."
        )

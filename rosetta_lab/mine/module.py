"""Mining as a LightningModule: one pass over the images accumulates every sum."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial as partial_of
from typing import Literal, get_args

import lightning as L
import torch
from torch import Tensor

from rosetta_lab.data.inputs import Batch
from rosetta_lab.errors import RosettaError, check_choice
from rosetta_lab.functional.products import Products
from rosetta_lab.metrics.matching import bands, match, match_own
from rosetta_lab.mine.null import Evidence, parts_of
from rosetta_lab.mine.partial import PartialSums
from rosetta_lab.mine.pilot import pilot_run
from rosetta_lab.mine.ranks import MEAN, Ranks, take_sample
from rosetta_lab.mine.result import MiningResult
from rosetta_lab.mine.shards import SharedLook, joined_shards
from rosetta_lab.mine.sums import Seen, Sums, groups_of
from rosetta_lab.models.observer import Observer, OnModelMap, Show
from rosetta_lab.models.units import Layer
from rosetta_lab.run.processes import by_first, least

log = logging.getLogger("rosetta_lab")
Correlation = Literal["pooled", "spearman", "batch_mean"]
Precision = Literal["float32", "float64"]
OnTable = Callable[[str, Tensor], object]


class MiningModule(L.LightningModule):
    """Shows images to the models and correlates the reference model's units with all others.

    ``trainer.validate`` is the pass over the images; ``result`` holds the tables afterwards. While
    it runs, loggers and the progress bar get what :meth:`progress` says.

    Args:
        observer: the models and their layers.
        shapes: of the layers, see :func:`shapes_of`.
        pilot: some inputs of the run. Before the pass, they are looked at for the mean activation
            that is subtracted from every unit before anything is summed, which keeps float32
            products accurate for units whose mean is far from zero; or for a sample of activations
            to take ranks in.
        images: how many images the run has.
        correlation: ``pooled`` (paper, Eq. 2); ``spearman``, the same of ranks; or ``batch_mean``
            (the published reference code), which has no null.
        evidence: what matches are held against.
        partial: where unfinished sums are kept, None for nowhere.
        batch_size: images that go through the models at a time, None for all of a batch.
        classes: that the images have in turn, 0 without any.
        sums: number format of the sums of products: in float32, r is about 1e-6 off at most after
            a million images.
        products: the arithmetic of these, see :func:`add_product`.
        rows: numbers of the reference's units that this pass takes, None for all.
        found: what an earlier pass found in the pilot images, None to look at them.
        on_table: takes every model's table of r, some rows at a time: model and rows (any, U).
        show: in the observer's place, with maps that it remembers.
        shared: whether processes share the tables out: each has rows of its own, and all look at
            the same batches together.

    Attributes:
        found: in the pilot images, by model: means of units (U,), or samples of them (U, S).
    """

    def __init__(
        self,
        observer: Observer,
        shapes: Mapping[str, list[Layer]],
        pilot: Batch,
        images: int,
        correlation: Correlation = "pooled",
        evidence: Evidence | None = None,
        partial: PartialSums | None = None,
        batch_size: int | None = None,
        classes: int = 0,
        sums: Precision = "float32",
        products: Products = "float32",
        rows: range | None = None,
        found: Mapping[str, Tensor] | None = None,
        on_table: OnTable | None = None,
        show: Show | None = None,
        shared: bool = False,
    ) -> None:
        super().__init__()
        check_choice("correlation", correlation, get_args(Correlation))
        check_choice("sums", sums, get_args(Precision))
        check_choice("products", products, get_args(Products))
        self.observer, self.shapes, self.pilot = observer, dict(shapes), pilot
        self.images, self.batch_size = images, batch_size or images
        self.partial, self.on_table, self.found = partial, on_table, found
        self.show, self.shared = show or observer, shared
        self.evidence = evidence or Evidence("none" if correlation == "batch_mean" else "shuffled")
        self.averaged = correlation == "batch_mean"  # over batches, which have to stay as they are
        self.ranked = correlation == "spearman"
        self.ranks: Ranks | None = None
        self.groups = groups_of(shapes)
        self.grouping = self.evidence.grouping(images, classes, self.groups)
        self._make_sums = partial_of(
            Sums,
            self.groups,
            observer.reference,
            self.evidence,
            self.grouping,
            batch_mean=self.averaged,
            dtype=getattr(torch, sums),
            products=products,
            rows=rows,
        )
        self.first = rows.start if rows else 0
        self.result: MiningResult | None = None
        self.seen = self.started_with = 0  # images of this process
        self.started = time.monotonic()

    def setup(self, stage: str) -> None:
        """Agree on means or samples: what unfinished sums began with, or a look at the pilot.

        Every process has to subtract the same numbers, or take ranks in the same, to the last bit.
        Sums that began with others are those of another run, and are left out.
        """
        rank, world = self.global_rank, self.trainer.world_size
        began = self.partial.find(rank, world) if self.partial is not None else {}
        leader = least(self.trainer, rank if began else world)
        found: Mapping[str, Tensor]
        if leader < world:
            found = self.trainer.strategy.broadcast(began, src=leader)
            same = bool(began) and all(began[name].equal(value) for name, value in found.items())
            if self.partial is not None and not same:
                self.partial.images = 0
        else:
            found = by_first(self.trainer, self._look_at_pilot)
        self.found = found
        if self.ranked:
            self.ranks = Ranks(found, self.groups)
        for name, groups in self.groups.items():
            groups.shift.copy_(torch.tensor(MEAN) if self.ranked else found[name])
        if self.shared:  # killed between two processes' writes?
            seen = self.done()
            apart = least(self.trainer, seen) != -least(self.trainer, -seen)
            if apart and self.partial is not None:
                self.partial.images = 0

    def _look_at_pilot(self) -> Mapping[str, Tensor]:
        if self.found:
            return self.found
        if self.ranked:  # many images, which are no batch of the pass, and not to be kept
            return take_sample(self.observer, self.pilot, self.batch_size)
        return pilot_run(self.show, self.pilot, self.batch_size)

    def done(self) -> int:
        """Images of this process that unfinished sums have seen."""
        return self.partial.images if self.partial is not None else 0

    def forget(self) -> None:
        """Let the sums go, and what was found."""
        del self.sums
        self.result = None

    def on_validation_start(self) -> None:
        with self.device:
            self.sums = self._make_sums(ranks=self.ranks and self.ranks.to(self.device))
        if self.partial is not None:
            self.partial.load(self.sums.metrics())
        self.seen = self.started_with = self.done()
        self.started = time.monotonic()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        block, seen = self.grouping.block(int(batch.index[0])), Seen(self.sums, len(batch))
        self._look(batch, seen, block)
        orders = {k: v.to(self.device) for k, v in self.grouping.orders(batch.index.cpu()).items()}
        if self.evidence.shuffle and orders:
            orders[0] = orders.pop(self.grouping.draws)
        seen.batches[self.observer.reference].reorder(orders)
        self.sums.add(seen, block)
        last = batch_idx + 1 == sum(map(int, self.trainer.num_val_batches))
        due = self.partial is not None and self.partial.due
        if self.shared:
            due = self.trainer.strategy.broadcast(due)
        if self.partial is not None and not last:  # without a batch left, nothing would finish
            self.partial.advance(len(batch), self.sums.metrics(), self.found or {}, due)
        self.seen += len(batch)
        self.log_dict(self.progress(), prog_bar=True, on_step=True, on_epoch=False)

    def _look(self, batch: Batch, seen: Seen, block: int) -> None:
        """Look at some images; at fewer at a time, from now on, where memory does not suffice."""
        if len(batch) > self.batch_size:
            for part in batch.split(self.batch_size):
                self._look(part, seen, block)
            return
        try:
            self.sums.look(partial_of(self._show, batch), len(batch), seen, block)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        else:
            return
        # Here, where nothing of the failed attempt is held any more.
        if len(batch) == 1 or self.averaged or self.shared:
            raise RosettaError(
                f"memory does not suffice for {len(batch)} images at a time.\n"
                "Record fewer layers (layers=), look with fewer models (disc=), or use more memory."
            )
        self.batch_size = (len(batch) + 1) // 2
        log.warning("Out of memory: from now on %d images at a time.", self.batch_size)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._look(batch, seen, block)

    def _show(self, batch: Batch, on_map: OnModelMap) -> None:
        sums: dict[tuple[str, str], Tensor] = {}

        def summed(model: str, layer: str, maps: Tensor) -> None:
            sums[model, layer] = maps.sum(dim=(0, 2, 3), dtype=torch.float32)
            on_map(model, layer, maps)

        show = SharedLook(self.show, self.trainer) if self.shared else self.show
        show(batch, summed)
        check_finite(sums)

    def progress(self) -> dict[str, float]:
        """How far the pass is; other processes are taken to be as far as this one.

        Returns:
            ``images`` seen, with those of an interrupted run that this one goes on with;
            ``images_per_second`` of this run; ``memory_gb``, the most that this process has held so
            far, on the GPU where it works on one.
        """
        processes = 1 if self.shared else self.trainer.world_size
        seconds = time.monotonic() - self.started
        return {
            "images": min(float(processes * self.seen), float(self.images)),
            "images_per_second": processes * (self.seen - self.started_with) / seconds,
            "memory_gb": peak_memory(self.device) / 1e9,
        }

    def on_validation_epoch_end(self) -> None:
        # Here, and not later, because the processes meet: the sums of all are added up.
        if self.shared:
            own = self._matched()
            self.result = joined_shards(self.trainer, own, self.evidence.neighbours)
            return
        for metric in self.sums.metrics().values():
            metric.add_up_processes()
        if self.trainer.is_global_zero:
            self.result = self._matched()

    def _matched(self) -> MiningResult:
        """The neighbours that follow from the sums, in all images and in parts of them."""
        sums, reference = self.sums, self.observer.reference
        evidence, parts = self.evidence, parts_of(self.grouping.blocks)
        statistics = {name: sums.statistics_of(name).compute() for name in self.groups}
        alive = {name: values["var"] > 0 for name, values in statistics.items()}
        rows = alive[reference][self.first : self.first + len(sums.rows.index)]
        own = match_own(sums.table(reference), alive[reference], evidence.neighbours, self.first)
        result = MiningResult({}, own, statistics, rounding=sums.rounding())
        for name in self.observer.others:
            matched = partial_of(
                match,
                sums.table(name),
                sums.row_statistics,
                sums.correlated_of(name),
                (rows, alive[name]),
                evidence.neighbours,
                evidence.criterion,
                first=self.first,
            )
            result.matchings[name] = matched()
            for part, chosen in parts.items():
                result.parts.setdefault(part, {})[name] = matched(chosen=chosen)
        if self.on_table is not None:
            for name in self.groups:
                table = sums.table(name)
                for band in bands(table):
                    self.on_table(name, table.r(band))
        return result


def out_of_memory(error: Exception) -> bool:
    """Whether a device had no memory left; a CPU's allocator has no exception of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


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


def check_finite(sums: Mapping[tuple[str, str], Tensor]) -> None:
    """Raise a RosettaError that names model, layer and channel if an activation is NaN or infinite.

    Args:
        sums: of a batch's activations by model and layer, float32 (C,); a GPU is waited for once.
    """
    if bool(torch.cat(list(sums.values())).isfinite().all()):
        return
    for (model, layer), values in sums.items():
        bad = (~values.isfinite()).nonzero().flatten()
        if len(bad):
            raise RosettaError(
                f"{model}, layer {layer}, channel {int(bad[0])}: the activation is NaN or infinite "
                f"({len(bad)} channels of this layer).\n"
                "Check the weights; if the run has a reduced trainer.precision, leave it out."
            )

"""How a run keeps to its memory: images at a time, and passes that take some rows each.

The run's own code sees one batch on PyTorch's ``meta`` device, where tensors have shapes but no
contents, while the bytes of every tensor that would exist are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import accumulate, pairwise

import torch
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.data.inputs import Inputs
from rosetta_lab.errors import RosettaError, check_count
from rosetta_lab.metrics.matching import BAND_BYTES
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.ranks import Ranks, sampled_images, values_of
from rosetta_lab.mine.sums import Seen, Sums, groups_of
from rosetta_lab.models.observer import Observer, OnModelMap
from rosetta_lab.models.units import Layer
from rosetta_lab.run.memory import MemoryMeter, available_memory, parsed_bytes

SHARE = 0.8  # of the free memory that a run takes by itself
MOST_IMAGES = {"cpu": 32}  # at a time: more bring nothing there
MOST_IMAGES_ELSEWHERE = 128
MOST_PASSES = 256
UNTOLD = 8  # images at a time


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes that a pass holds.

    Attributes:
        weights: of all models, float32.
        sums: behind the tables and statistics, from the first batch to the last, and what ranks are
            taken in.
        batch: beside these, at most, while one batch is generated, looked at and correlated.
        tables: instead, when all images are seen: some rows of one model's tables.
    """

    weights: int
    sums: int
    batch: int
    tables: int = BAND_BYTES

    @property
    def peak(self) -> int:
        """The most at any time."""
        return self.weights + self.sums + max(self.batch, self.tables)


@dataclass(frozen=True)
class Way:
    """How a run goes about it.

    Attributes:
        batch_size: images at a time.
        rows: numbers of the reference's units that each pass over the images takes, or each process
            in one, where they share the tables out.
        memory: of the pass that takes most.
        budget: what it keeps to, in bytes.
        shared: whether processes share the tables out.
    """

    batch_size: int
    rows: list[range]
    memory: MemoryPlan
    budget: int
    shared: bool = False

    @classmethod
    def untold(cls, batch_size: int | str, units: int) -> Way:
        """One pass over few images at a time, where nobody knows what a batch takes."""
        size = UNTOLD if batch_size == "auto" else int(batch_size)
        return cls(size, [range(units)], MemoryPlan(0, 0, 0, 0), 0)

    @property
    def fits(self) -> bool:
        """Whether it keeps to the budget."""
        return self.memory.peak <= self.budget


def bytes_of(memory: int | str, device: str, weights: int = 0) -> int:
    """What ``memory=`` allows a run, its models' weights included.

    Args:
        memory: bytes, such as ``12GB``, or ``auto``: a share of what is free beside the weights.
        device: where it runs.
        weights: bytes of those that are not there yet.

    Raises:
        RosettaError: it is neither.
    """
    if memory == "auto":
        return max(0, int(SHARE * (available_memory(device) - weights)))
    found = parsed_bytes(memory)
    if not found:
        raise RosettaError(f"memory={memory}: expected auto, or bytes such as 12GB.")
    return found


class Budget:
    """Finds the way of a run that fits.

    Args:
        cfg: of the run.
        observer: its models on the ``meta`` device.
        inputs: what its models are shown.
        shapes: of the models' layers, the reference's first.
    """

    def __init__(
        self,
        cfg: DictConfig,
        observer: Observer,
        inputs: Inputs,
        shapes: dict[str, list[Layer]],
    ) -> None:
        self.cfg, self.observer, self.inputs = cfg, observer, inputs
        self.reference = observer.reference
        self.groups = groups_of(shapes)
        self.evidence = Evidence.of(cfg)
        self.grouping = self.evidence.grouping(len(inputs), len(inputs.classes), self.groups)
        with MemoryMeter() as meter:
            meter.count((*observer.parameters(), *observer.buffers()))
            self.weights = meter.live
        self.needs = cache(self._needs)

    def way(self, budget: int, device: str, shards: int = 1) -> Way:
        """The fewest passes with the largest batches that fit; the least there is, where none does.

        Args:
            budget: in bytes.
            device: where the run is.
            shards: processes that take rows of their own in the same pass.
        """
        units = len(self.groups[self.reference].index)
        passes = self._choices("row_blocks", range(1, min(MOST_PASSES, units) + 1))
        most = MOST_IMAGES.get(torch.device(device).type, MOST_IMAGES_ELSEWHERE)
        if self.cfg.correlation == "batch_mean":  # depends on the batch, which must not on memory
            sizes = self._choices("batch_size", [32])
        else:
            sizes = self._choices("batch_size", [1 << n for n in range(most.bit_length())])
        sizes = sorted({min(size, len(self.inputs)) for size in sizes})
        number = -(-self._fewest(passes, sizes[0], budget) // shards) * shards
        memory = self.needs(number, sizes[0])
        way = Way(sizes[0], self.rows(number), memory, budget)
        if len(sizes) == 1 or not way.fits:
            return way
        # Batches grow evenly: what two of them take tells what others would.
        each = self._batch(self.sums(way.rows[0]), sizes[1]) - memory.batch
        room = sizes[0] + (budget - memory.peak) * (sizes[1] - sizes[0]) / max(1, each)
        for size in reversed([size for size in sizes[1:] if size <= room]):
            larger = self.needs(number, size)
            if larger.peak <= budget:
                return replace(way, batch_size=size, memory=larger)
        return way

    def _fewest(self, passes: Sequence[int], size: int, budget: int) -> int:
        """The fewest passes that fit; the most there are where none does."""
        first, last = self.needs(passes[0], size), len(passes) - 1
        if first.peak <= budget:
            return passes[0]
        # Sums shrink with the passes, and batches hardly: a guess that is high rather than low.
        room = budget - (first.peak - first.sums)
        low, high = 0, min(last, first.sums // max(1, room))
        while self.needs(passes[high], size).peak > budget:
            if high == last:
                return passes[last]
            low, high = high, min(2 * high + 1, last)
        while high - low > 1:
            middle = (low + high) // 2
            fits = self.needs(passes[middle], size).peak <= budget
            low, high = (low, middle) if fits else (middle, high)
        return passes[high]

    def _choices(self, key: str, every: Sequence[int]) -> Sequence[int]:
        if self.cfg[key] == "auto":
            return every
        check_count(key, self.cfg[key])
        return [int(self.cfg[key])]

    def rows(self, passes: int) -> list[range]:
        """The reference's units in blocks whose sums take about equally much."""
        own = self.groups[self.reference]
        others = sum(len(units.index) for units in self.groups.values())
        kept = self.grouping.blocks * (1 + self.grouping.draws)
        costs = [
            kept * others + self.grouping.blocks * layer.height * layer.width
            for layer in own.index.layers
            for _ in range(layer.channels)
        ]
        so_far = list(accumulate(costs))
        ends = [0]
        for number in range(1, passes + 1):
            goal = so_far[-1] * number // passes
            ends.append(next(unit for unit, cost in enumerate(so_far, start=1) if cost >= goal))
        return [range(a, b) for a, b in pairwise(ends) if a < b]

    def sums(self, rows: range | None, device: str = "meta") -> Sums:
        """The sums of a pass, at zero."""
        # Averages look at numbers, which are not there without memory.
        averaged = self.cfg.correlation == "batch_mean" and device != "meta"
        how = (self.evidence, self.grouping, averaged, getattr(torch, self.cfg.sums))
        with torch.device(device):
            ranks = self._ranks() if self.cfg.correlation == "spearman" else None
            return Sums(self.groups, self.reference, *how, self.cfg.products, rows, ranks)

    def _ranks(self) -> Ranks:
        few = len(sampled_images(len(self.inputs)))
        size = few * values_of(few)
        samples = {name: torch.randn(len(own.index), size) for name, own in self.groups.items()}
        return Ranks(samples, self.groups)

    def _needs(self, passes: int, batch_size: int) -> MemoryPlan:
        """The bytes of the pass that takes most."""
        plans = []
        every = self.rows(passes)
        for rows in {every[0], every[-1]}:
            sums = self.sums(rows)
            kept = sum(value.nbytes for value in kept_by(sums))
            plans.append(MemoryPlan(self.weights, kept, self._batch(sums, batch_size)))
        return max(plans, key=lambda plan: plan.peak)

    def _batch(self, sums: Sums, batch_size: int) -> int:
        """Bytes that a batch takes at most beside weights and sums."""
        groups = self.grouping.groups  # which no batch parts
        together = min(len(self.inputs), max(batch_size, len(groups[0]), len(groups[-1])))
        batch = self.inputs.batch(list(range(min(batch_size, together))))
        with MemoryMeter() as meter:
            meter.count((*self.observer.parameters(), *self.observer.buffers()))
            meter.count(kept_by(sums))
            before = meter.live
            rehearse(sums, partial(self.observer, batch), len(batch), together)
        return int(meter.peak - before)


def states(sums: Sums) -> list[Tensor]:
    """Every sum."""
    return [value for metric in sums.metrics().values() for value in metric.sums().values()]


def kept_by(sums: Sums) -> list[Tensor]:
    """These, and what ranks are taken in."""
    ranks = sums.ranks
    return states(sums) + ([*ranks.samples.values(), *ranks.edges.values()] if ranks else [])


def rehearse(
    sums: Sums, show: Callable[[OnModelMap], object], images: int, together: int | None = None
) -> None:
    """One batch into all sums, as ``MiningModule.validation_step``.

    Args:
        sums: of the run.
        show: shows its images, or the first part of them.
        images: that it shows.
        together: images of the batch, None for those.
    """
    seen = Seen(sums, together or images)
    sums.look(show, images, seen)
    index = torch.arange(together or images)
    orders = {draw: index.roll(draw) for draw in range(1, sums.grouping.draws + 1)}
    seen.batches[sums.reference].reorder(orders)
    sums.add(seen)

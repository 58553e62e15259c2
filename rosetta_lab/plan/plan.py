"""What a mining run needs, before it runs: units, memory and time.

The run's own code sees one batch on PyTorch's ``meta`` device, where tensors have shapes but no
contents, while the bytes of every tensor that would exist are counted. Weights are never loaded.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch
from omegaconf import DictConfig

from rosetta_lab.data.latents import LatentBatch
from rosetta_lab.errors import RosettaError
from rosetta_lab.mine.sums import condensed_maps
from rosetta_lab.models.load import load_latents
from rosetta_lab.models.meta import observer_without_memory, shapes_without_memory
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer
from rosetta_lab.plan.memory import MemoryMeter, available_memory
from rosetta_lab.plan.rehearsal import Sums, Timing, make_sums, measure_time

# Share of the free memory that measuring may fill: allocators and convolutions take some uncounted.
MEASURING = 0.9
MEASURED = (  # said before it, since it takes minutes for large networks
    "Measuring how long the networks and the sums take, on a few images and with random weights.\n"
    "measure=0 leaves it out, and tells units and memory at once."
)
WORKING_COPIES = 4  # float64 copies of a block that finishing it holds at a time, about


@dataclass(frozen=True)
class ModelPlan:
    """One model: where its weights would come from, its parameters, what is recorded of it."""

    name: str
    weights: str
    parameters: int
    layers: list[Layer]

    @property
    def units(self) -> int:
        """Channels of all recorded layers."""
        return sum(layer.channels for layer in self.layers)


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes that a run holds.

    Attributes:
        weights: of all models, float32.
        sums: behind the tables and statistics, float64, from the first batch to the last.
        batch: beside these, at most, while one batch is generated, looked at and correlated.
        tables: of one model at a time, float32, when all images are seen.
        working: copies of the largest block while the tables are made from the sums.
    """

    weights: int
    sums: int
    batch: int
    tables: int
    working: int

    @property
    def peak(self) -> int:
        """The most at any time."""
        return self.weights + self.sums + max(self.batch, self.tables + self.working)

    def room(self, available: int, batch_size: int, sums: bool = True) -> int:
        """Images at a time that fit into so many bytes.

        Args:
            available: bytes.
            batch_size: of what ``batch`` is.
            sums: whether these are there as well.
        """
        free = available - self.weights - (self.sums if sums else 0)
        return max(0, free * batch_size // max(1, self.batch))


@dataclass(frozen=True)
class Plan:
    """Everything about one run; ``available`` is what ``device`` has free, in bytes."""

    models: list[ModelPlan]
    num_images: int
    batch_size: int
    device: str
    available: int
    memory: MemoryPlan
    timing: Timing | None

    @property
    def fits(self) -> bool:
        """Whether the device has that much memory free."""
        return self.memory.peak <= self.available

    @property
    def seconds(self) -> float | None:
        """For the whole run; None where nothing was measured."""
        timing = self.timing
        return None if timing is None else timing.seconds(self.num_images, self.batch_size)

    @property
    def images_per_second(self) -> float | None:
        """Over the whole run; None where nothing was measured."""
        return None if self.seconds is None else self.num_images / self.seconds

    @property
    def tables_fit(self) -> bool:
        """Whether the tables can be made from the sums, which no batch size changes."""
        memory = self.memory
        needed = memory.weights + memory.sums + memory.tables + memory.working
        return needed <= self.available

    @property
    def largest_batch(self) -> int:
        """Images at a time that would fit; 0 if not even the tables do."""
        return self.memory.room(self.available, self.batch_size) if self.tables_fit else 0

    def bytes_of(self, layer: Layer) -> int:
        """A layer's maps of one batch, float32."""
        return 4 * self.batch_size * layer.channels * layer.height * layer.width

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, derived figures included."""
        record = asdict(self)
        for model, entry in zip(self.models, record["models"], strict=True):
            entry["units"] = model.units
            for layer, values in zip(model.layers, entry["layers"], strict=True):
                values["bytes"] = self.bytes_of(layer)
        record["memory"]["peak"] = self.memory.peak
        return record | {
            "fits": self.fits,
            "largest_batch": self.largest_batch,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            # In the cache folder: what an interrupted run goes on from, what a finished one leaves.
            "disk": {"unfinished": self.memory.sums},
        }


def make_plan(cfg: DictConfig, device: str | None = None, measure: float = 0.0) -> Plan:
    """The plan of a run.

    Args:
        cfg: as of ``rosetta_lab.mine``, its overrides applied.
        device: where it would run; None for a GPU if there is one.
        measure: seconds to time each part of the work for, with random weights; 0 for not at all.
            It is done with as many images at a time as fit.

    Raises:
        RosettaError: there is no such device.
    """
    device = chosen_device(device)
    observer = observer_without_memory(cfg)
    latents = load_latents(cfg, observer.source.generator)
    shapes = shapes_without_memory(cfg, observer)
    size = min(cfg.batch_size, len(latents))
    classes = len(latents.classes)
    sums = make_sums(cfg, shapes, observer.reference, classes, "meta")
    memory = plan_memory(observer, sums, latents.batch(list(range(size))), cfg.save_tables)
    entries = {cfg.gen.name: cfg.gen, **cfg.disc}
    models = [
        ModelPlan(
            name,
            str(entries[name].get("weights", "its own")),
            sum(p.numel() for p in observer.networks[name].parameters()),
            layers,
        )
        for name, layers in shapes.items()
    ]
    available = available_memory(device)
    timing = None
    usable = int(MEASURING * available)
    with_sums, alone = (memory.room(usable, size, sums) for sums in (True, False))
    if measure and alone:
        print(MEASURED, file=sys.stderr)
        there = None
        if with_sums:
            there = make_sums(cfg, shapes, observer.reference, classes, device)
        timing = measure_time(cfg, there, device, min(size, with_sums or alone), measure)
    return Plan(models, len(latents), size, device, available, memory, timing)


def chosen_device(device: str | None) -> str:
    """A device that is there; by default a GPU if there is one.

    Raises:
        RosettaError: it is not, or runs do not know it.
    """
    gpus = torch.cuda.device_count()
    known = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{index}" for index in range(gpus))]
    if device is not None and device not in known:
        raise RosettaError(
            f"device={device}: there is no such device here.\nChoose from {', '.join(known)}."
        )
    return device or ("cuda" if gpus else "cpu")


def plan_memory(
    observer: Observer, sums: Sums, batch: LatentBatch, keep_tables: bool = False
) -> MemoryPlan:
    """Run one batch without memory.

    Args:
        observer: on the ``meta`` device.
        sums: likewise.
        batch: as many latents as a run has at a time.
        keep_tables: whether whole tables are kept.
    """
    with MemoryMeter() as meter:
        meter.count((*observer.parameters(), *observer.buffers()))
        weights = meter.live
        meter.count(sums.states())
        summed = meter.live - weights
        sums.add(condensed_maps(observer, batch, sums.groups, totals=sums.grouping.draws > 0))
    units = {name: len(own.index) for name, own in sums.groups.items()}
    rows, draws = units[sums.reference], sums.grouping.draws
    kinds = 1 if draws == 0 else 3 + 2 * draws  # r; by position, centred; two for each shuffle
    sizes = {name: max(map(len, own.units.values())) for name, own in sums.groups.items()}
    block = sizes[sums.reference] * max(sizes.values())
    return MemoryPlan(
        weights=weights,
        sums=summed,
        batch=meter.peak - weights - summed,
        # One model at a time, and a copy to find neighbours in.
        tables=4 * rows * ((kinds + 1) * max(units.values()) + keep_tables * sum(units.values())),
        working=8 * (WORKING_COPIES + draws) * block,
    )

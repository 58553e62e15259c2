"""What a mining run needs, before it runs: units, memory and time.

The run's own code sees one batch on PyTorch's ``meta`` device, where tensors have shapes but no
contents, while the bytes of every tensor that would exist are counted. Weights are never loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from omegaconf import DictConfig

from rosetta_lab.data.latents import LatentBatch
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.load import load_latents
from rosetta_lab.models.meta import observer_without_memory, shapes_without_memory
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer
from rosetta_lab.plan.memory import MemoryMeter, available_memory
from rosetta_lab.plan.rehearsal import Timing, correlate, measure_time, metrics_of

# Share of the free memory that measuring may fill: allocators and convolutions take some uncounted.
MEASURING = 0.9
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
        tables: the finished tables, float32.
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
            "disk": {"unfinished": self.memory.sums, "finished": self.memory.tables},
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
    memory = plan_memory(observer, shapes, latents.batch(list(range(size))))
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
        metrics = metrics_of(shapes, observer.reference, device) if with_sums else None
        timing = measure_time(cfg, metrics, device, min(size, with_sums or alone), measure)
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
    observer: Observer, shapes: Mapping[str, list[Layer]], batch: LatentBatch
) -> MemoryPlan:
    """Run one batch without memory.

    Args:
        observer: on the ``meta`` device.
        shapes: of its layers.
        batch: as many latents as a run has at a time.
    """
    name = observer.reference
    metrics = metrics_of(shapes, name, "meta")
    states = [s for _, *pair in metrics.values() for m in pair for s in m.sums().values()]
    with MemoryMeter() as meter:
        meter.count((*observer.parameters(), *observer.buffers()))
        weights = meter.live
        meter.count(states)
        sums = meter.live - weights
        correlate(metrics, observer(batch).maps, name)
    units = {n: len(group.index) for n, (group, *_) in metrics.items()}
    return MemoryPlan(
        weights=weights,
        sums=sums,
        batch=meter.peak - weights - sums,
        tables=4 * units[name] * sum(units.values()),
        working=8 * WORKING_COPIES * max(state.numel() for state in states),
    )

"""What a mining run needs, before it runs: units, memory and time.

The run's own code sees one batch on PyTorch's ``meta`` device, where tensors have shapes but no
contents, while the bytes of every tensor that would exist are counted. Weights are never loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch
from omegaconf import DictConfig, open_dict
from torch import Tensor

from rosetta_lab.data.latents import LatentBatch
from rosetta_lab.loading import load_latents, load_observer
from rosetta_lab.memory import MemoryMeter, available_memory
from rosetta_lab.metrics.correlation import (
    CorrelationTable,
    UnitGroups,
    UnitStatistics,
    condense_batch,
)
from rosetta_lab.observer import Observer
from rosetta_lab.units import Layer

T = TypeVar("T")
Metrics = Mapping[str, tuple[UnitGroups, UnitStatistics, CorrelationTable]]
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


@dataclass(frozen=True)
class Timing:
    """Seconds, measured on a few images.

    Attributes:
        images: how many.
        forward: per image, to generate it and to show it to every model.
        correlation: per image, to reduce and multiply the activations.
        accumulation: per batch, to add the products to the sums.
    """

    images: int
    forward: float
    correlation: float
    accumulation: float

    def seconds(self, num_images: int, batch_size: int) -> float:
        """For so many images."""
        batches = -(-num_images // batch_size)
        return num_images * (self.forward + self.correlation) + batches * self.accumulation


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
    def largest_batch(self) -> int:
        """Images at a time that would fit; 0 if not even the tables do."""
        memory = self.memory
        free = self.available - memory.weights - memory.sums
        if free < memory.tables + memory.working:
            return 0
        return max(0, free * self.batch_size // max(1, memory.batch))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, derived figures included."""
        record = asdict(self)
        for model, entry in zip(self.models, record["models"], strict=True):
            entry["units"] = model.units
        record["memory"]["peak"] = self.memory.peak
        derived = {"fits": self.fits, "largest_batch": self.largest_batch, "seconds": self.seconds}
        return record | derived


def make_plan(cfg: DictConfig, device: str | None = None, measure: int = 0) -> Plan:
    """The plan of a run.

    Args:
        cfg: as of ``rosetta_lab.mine``, its overrides applied.
        device: where it would run; None for a GPU if there is one.
        measure: images to measure the time on, with random weights; 0 for none. A run that would
            not fit into memory is not measured.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    observer = observer_without_memory(cfg)
    latents = load_latents(cfg, observer.generator)
    shapes = shapes_without_memory(cfg, observer)
    size = min(cfg.batch_size, len(latents))
    memory = plan_memory(observer, shapes, latents.batch(list(range(size))), cfg.psi)
    entries = {cfg.gen.name: cfg.gen, **cfg.disc}
    networks = {cfg.gen.name: observer.generator, **observer.models}
    models = [
        ModelPlan(n, str(entries[n].weights), sum(p.numel() for p in networks[n].parameters()), own)
        for n, own in shapes.items()
    ]
    available = available_memory(device)
    timing = None
    if measure and memory.peak <= available:
        timing = measure_time(cfg, shapes, device, measure)
    return Plan(models, len(latents), size, device, available, memory, timing)


def observer_without_memory(cfg: DictConfig) -> Observer:
    """A run's models on the ``meta`` device."""
    with torch.device("meta"):
        return load_observer(random_weights(cfg))


def shapes_without_memory(cfg: DictConfig, observer: Observer) -> dict[str, list[Layer]]:
    """The recorded layers by model, from one image on the ``meta`` device."""
    batch = load_latents(cfg, observer.generator).batch([0])
    return observer.shapes(observer(*on_device(batch, "meta"), cfg.psi))


def random_weights(cfg: DictConfig) -> DictConfig:
    """A copy of a run's config in which no model has anything to load."""
    bare = cfg.copy()
    with open_dict(bare):
        for entry in (bare.gen, *bare.disc.values()):
            entry.weights = "random"
    return bare


def on_device(batch: LatentBatch, device: str) -> tuple[Tensor, Tensor | None]:
    """z and label of a batch, there."""
    return batch.z.to(device), None if batch.label is None else batch.label.to(device)


def metrics_of(shapes: Mapping[str, list[Layer]], own: str, device: str) -> Metrics:
    """Every model's units, statistics and table against those of the generator ``own``."""
    groups = {
        name: UnitGroups(layers, torch.zeros(sum(layer.channels for layer in layers)))
        for name, layers in shapes.items()
    }
    with torch.device(device):
        return {
            name: (group, UnitStatistics(group), CorrelationTable(groups[own], group))
            for name, group in groups.items()
        }


def correlate(metrics: Metrics, maps: Mapping[str, Mapping[str, Tensor]], own: str) -> None:
    """One batch of activation maps into all sums, as ``MiningModule.validation_step``."""
    batches = condense_batch({name: group for name, (group, *_) in metrics.items()}, own, maps)
    for name, (_, statistics, table) in metrics.items():
        statistics.update(batches[name])
        table.update(batches[own], batches[name])


def plan_memory(
    observer: Observer, shapes: Mapping[str, list[Layer]], batch: LatentBatch, psi: float
) -> MemoryPlan:
    """Run one batch without memory.

    Args:
        observer: on the ``meta`` device.
        shapes: of its layers.
        batch: as many latents as a run has at a time.
        psi: truncation.
    """
    name = observer.generator_name
    metrics = metrics_of(shapes, name, "meta")
    states = [s for _, *pair in metrics.values() for m in pair for s in m.sums().values()]
    with MemoryMeter() as meter:
        meter.count((*observer.parameters(), *observer.buffers()))
        weights = meter.live
        meter.count(states)
        sums = meter.live - weights
        correlate(metrics, observer(*on_device(batch, "meta"), psi).maps, name)
    units = {n: len(group.index) for n, (group, *_) in metrics.items()}
    return MemoryPlan(
        weights=weights,
        sums=sums,
        batch=meter.peak - weights - sums,
        tables=4 * units[name] * sum(units.values()),
        working=8 * WORKING_COPIES * max(state.numel() for state in states),
    )


def measure_time(
    cfg: DictConfig, shapes: Mapping[str, list[Layer]], device: str, images: int
) -> Timing:
    """Seconds on real tensors, with random weights; one more image warms up beforehand."""
    observer = load_observer(random_weights(cfg)).to(device)
    latents = load_latents(cfg, observer.generator)
    metrics = metrics_of(shapes, observer.generator_name, device)

    def accumulate() -> None:
        """Add something to every sum, as a batch of any size does."""
        for _, *pair in metrics.values():
            for value in (v for metric in pair for v in metric.sums().values()):
                value.add_(torch.zeros_like(value, dtype=torch.float32))

    # Warms up; also, only sums that were written to once have got their memory from the system.
    first = observer(*on_device(latents.batch([0]), device), cfg.psi)
    correlate(metrics, first.maps, observer.generator_name)
    batch = on_device(latents.batch(list(range(images))), device)
    seen, forward = timed(lambda: observer(*batch, cfg.psi), device)
    _, update = timed(lambda: correlate(metrics, seen.maps, observer.generator_name), device)
    _, accumulation = timed(accumulate, device)
    correlation = max(0.0, update - accumulation) / images
    return Timing(images, forward / images, correlation, accumulation)


def timed(work: Callable[[], T], device: str) -> tuple[T, float]:
    """What ``work`` returns, and the seconds until the device is done with it."""
    wait(device)
    start = time.perf_counter()
    result = work()
    wait(device)
    return result, time.perf_counter() - start


def wait(device: str) -> None:
    """For work that a GPU has not finished."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)

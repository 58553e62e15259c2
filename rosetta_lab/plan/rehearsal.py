"""A mining run's work without the run: its models, its sums, and how long each part takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.metrics.activations import UnitGroups, condense_batch
from rosetta_lab.metrics.correlation import CorrelationTable, UnitStatistics
from rosetta_lab.models.load import load_latents, load_observer, random_weights
from rosetta_lab.models.observer import Observation
from rosetta_lab.models.units import Layer

Metrics = Mapping[str, tuple[UnitGroups, UnitStatistics, CorrelationTable]]


@dataclass(frozen=True)
class Timing:
    """Seconds, measured on a few images.

    Attributes:
        images: how many at a time.
        forward: per image, to generate it and to show it to every model.
        correlation: per image, to reduce and multiply the activations; None where the sums did not
            fit beside the models, and only these were timed.
        accumulation: per batch, to add the products to the sums; None likewise.
    """

    images: int
    forward: float
    correlation: float | None
    accumulation: float | None

    def seconds(self, num_images: int, batch_size: int) -> float:
        """For so many images; of the forward passes alone where nothing else was timed."""
        batches = -(-num_images // batch_size)
        per_image = self.forward + (self.correlation or 0.0)
        return num_images * per_image + batches * (self.accumulation or 0.0)


def metrics_of(shapes: Mapping[str, list[Layer]], reference: str, device: str) -> Metrics:
    """Every model's units, statistics and table against those of the model ``reference``."""
    groups = {
        name: UnitGroups(layers, torch.zeros(sum(layer.channels for layer in layers)))
        for name, layers in shapes.items()
    }
    with torch.device(device):
        return {
            name: (group, UnitStatistics(group), CorrelationTable(groups[reference], group))
            for name, group in groups.items()
        }


def correlate(metrics: Metrics, maps: Mapping[str, Mapping[str, Tensor]], reference: str) -> None:
    """One batch of activation maps into all sums, as ``MiningModule.validation_step``."""
    batches = condense_batch(
        {name: group for name, (group, *_) in metrics.items()}, reference, maps
    )
    for name, (_, statistics, table) in metrics.items():
        statistics.update(batches[name])
        table.update(batches[reference], batches[name])


def measure_time(
    cfg: DictConfig, metrics: Metrics | None, device: str, limit: int, seconds: float
) -> Timing:
    """Seconds on real tensors, with random weights.

    The number of images doubles until they take so long, as for slow networks few do, or are as
    many as a run has at a time: work that a batch costs whatever its size is then shared out as in
    the run, or hardly matters.

    Args:
        cfg: of the run.
        metrics: on the device; None times the networks alone.
        device: where.
        limit: images at a time, at most.
        seconds: to repeat each measurement for.
    """
    observer = load_observer(random_weights(cfg)).to(device)
    latents, name = load_latents(cfg, observer.source.generator), observer.reference

    def look(images: int) -> Callable[[], Observation]:
        batch = latents.batch(list(range(images)))
        return lambda: observer(batch)

    images = 1
    work = look(images)
    work()  # the first of a shape takes longer
    while images < limit and timed(work, device) < seconds:
        images = min(2 * images, limit)
        work = look(images)
        work()
    forward = typical(work, device, seconds) / images
    if metrics is None:
        return Timing(images, forward, None, None)
    maps = work().maps
    # Warms up; also, only sums that were written to once have got their memory from the system.
    correlate(metrics, maps, name)
    update = typical(lambda: correlate(metrics, maps, name), device, seconds)
    accumulation = typical(lambda: accumulate(metrics), device, seconds)
    return Timing(images, forward, max(0.0, update - accumulation) / images, accumulation)


def accumulate(metrics: Metrics) -> None:
    """Add something to every sum, as a batch of any size does."""
    for _, *pair in metrics.values():
        for value in (v for metric in pair for v in metric.sums().values()):
            value.add_(torch.zeros_like(value, dtype=torch.float32))


def typical(work: Callable[[], object], device: str, seconds: float) -> float:
    """The median of as many timings as so many seconds allow, of one at least."""
    times = [timed(work, device)]
    while sum(times) < seconds:
        times.append(timed(work, device))
    return median(times)


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds until the device is done with ``work``."""
    wait(device)
    start = perf_counter()
    work()
    wait(device)
    return perf_counter() - start


def wait(device: str) -> None:
    """For work that a GPU has not finished."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)

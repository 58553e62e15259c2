"""A mining run's work without the run: its models, its sums, and how long each part takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.sums import Seen, Sums, groups_of
from rosetta_lab.models.load import load_latents, load_observer, random_weights
from rosetta_lab.models.observer import Observation, OnModelMap
from rosetta_lab.models.units import Layer


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


def make_sums(
    cfg: DictConfig,
    shapes: Mapping[str, list[Layer]],
    reference: str,
    classes: int,
    device: str,
    rows: range | None = None,
) -> Sums:
    """The sums of a run, at zero.

    Args:
        cfg: of the run.
        shapes: of every model's layers, the reference's first.
        reference: name of the model whose units are the rows.
        classes: that the images have in turn.
        device: where the sums are.
        rows: numbers of those units that one pass takes; None for all.
    """
    groups = groups_of(shapes)
    evidence = Evidence.of(cfg)
    grouping = evidence.grouping(cfg.num_images, classes, groups)
    averaged = cfg.correlation == "batch_mean"
    with torch.device(device):
        return Sums(groups, reference, evidence, grouping, averaged, getattr(torch, cfg.sums), rows)


def states(sums: Sums) -> list[Tensor]:
    """Every sum."""
    return [value for metric in sums.metrics().values() for value in metric.sums().values()]


def measure_time(
    cfg: DictConfig, sums: Sums | None, device: str, limit: int, seconds: float
) -> Timing:
    """Seconds on real tensors, with random weights.

    The number of images doubles until they take so long, as for slow networks few do, or are as
    many as a run has at a time: work that a batch costs whatever its size is then shared out as in
    the run, or hardly matters.

    Args:
        cfg: of the run.
        sums: on the device; None times the networks alone.
        device: where.
        limit: images at a time, at most.
        seconds: to repeat each measurement for.
    """
    observer = load_observer(random_weights(cfg)).to(device)
    latents = load_latents(cfg, observer.source.generator)

    def show(images: int) -> Callable[[], Observation]:
        batch = latents.batch(list(range(images)))
        return lambda: observer(batch)

    images = 1
    work = show(images)
    work()  # the first of a shape takes longer
    while images < limit and timed(work, device) < seconds:
        images = min(2 * images, limit)
        work = show(images)
        work()
    forward = typical(work, device, seconds) / images
    if sums is None:
        return Timing(images, forward, None, None)
    maps = work().maps
    # Warms up; also, only sums that were written to once have got their memory from the system.
    correlate(sums, maps)
    update = typical(lambda: correlate(sums, maps), device, seconds)
    accumulation = typical(lambda: accumulate(sums), device, seconds)
    return Timing(images, forward, max(0.0, update - accumulation) / images, accumulation)


def correlate(sums: Sums, maps: Mapping[str, Mapping[str, Tensor]]) -> None:
    """One batch of activation maps into all sums."""

    def show(on_map: OnModelMap) -> None:
        for model, layers in maps.items():
            for layer, values in layers.items():
                on_map(model, layer, values)

    images = len(next(iter(next(iter(maps.values())).values())))
    rehearse(sums, show, images)


def rehearse(sums: Sums, show: Callable[[OnModelMap], object], images: int, parts: int = 1) -> None:
    """One batch into all sums, as ``MiningModule.validation_step``.

    Args:
        sums: of the run.
        show: shows a part of the batch.
        images: of a part.
        parts: of the batch.
    """
    seen = Seen(sums, images * parts)
    for _ in range(parts):
        sums.look(show, images, seen)
    index = torch.arange(images * parts)
    orders = {draw: index.roll(draw) for draw in range(1, sums.grouping.draws + 1)}
    seen.batches[sums.reference].reorder(orders)
    sums.add(seen)


def accumulate(sums: Sums) -> None:
    """Add something to every sum of a block, as a batch of any size does."""
    for value in states(sums):
        part = value[0] if value.dim() > 3 else value  # those with blocks of images
        part.add_(torch.zeros_like(part, dtype=torch.float32))


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

"""A mining run's work without the run: its models, its sums, and how long each part takes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.mine.budget import rehearse, states
from rosetta_lab.mine.maps import KeptMaps
from rosetta_lab.mine.sums import Sums
from rosetta_lab.models.load import load_inputs, load_observer, random_weights
from rosetta_lab.models.observer import Observation, OnModelMap
from rosetta_lab.run.device import timed


@dataclass(frozen=True)
class Timing:
    """Seconds, measured on a few images.

    Attributes:
        images: how many at a time.
        forward: per image, to generate it and to show it to every model.
        correlation: per image, to reduce and multiply the activations.
        accumulation: per batch, to add the products to the sums.
        recall: per image, to read its maps from the disk instead.
    """

    images: int
    forward: float
    correlation: float
    accumulation: float
    recall: float = 0.0

    def seconds(
        self, num_images: int, batch_size: int, passes: int = 1, kept: float = 0.0
    ) -> float:
        """Of so many passes over so many images, a share of which only the first one looks at."""
        batches = -(-num_images // batch_size)
        again = (1 - kept) * self.forward + kept * self.recall
        looking = self.forward + (passes - 1) * again
        adding = num_images * self.correlation + batches * self.accumulation
        return num_images * looking + passes * adding


def measure_time(
    cfg: DictConfig, sums: Sums, device: str, limit: int, seconds: float, kept: bool = False
) -> Timing:
    """Seconds on real tensors, with random weights.

    The number of images doubles until they take so long, as for slow networks few do, or are as
    many as a run has at a time: work that a batch costs whatever its size is then shared out as in
    the run, or hardly matters.

    Args:
        cfg: of the run.
        sums: of a pass, on the device.
        device: where.
        limit: images at a time, at most.
        seconds: to repeat each measurement for.
        kept: whether maps will be read from the disk, too.
    """
    observer = load_observer(random_weights(cfg)).to(device)
    inputs = load_inputs(cfg, observer)

    def show(images: int) -> Callable[[], Observation]:
        batch = inputs.batch(list(range(images)))
        return lambda: observer(batch)

    images = 1
    work = show(images)
    work()  # the first of a shape takes longer
    while images < limit and timed(work, device) < seconds:
        images = min(2 * images, limit)
        work = show(images)
        work()
    forward = typical(work, device, seconds) / images
    print(f"The networks take {forward:.3g} s per image; now the sums.", file=sys.stderr)
    maps = work().maps
    # Warms up; also, only sums that were written to once have got their memory from the system.
    correlate(sums, maps)
    update = typical(lambda: correlate(sums, maps), device, seconds)
    accumulation = typical(lambda: accumulate(sums), device, seconds)
    correlation = max(0.0, update - accumulation) / images
    recall = 0.0
    if kept:
        del maps
        with TemporaryDirectory() as folder:
            show_again = KeptMaps(observer, Path(folder), sys.maxsize)
            batch = inputs.batch(list(range(images)))
            remember = partial(show_again, batch, lambda *_: None)
            remember()
            recall = typical(remember, device, seconds) / images
    return Timing(images, forward, correlation, accumulation, recall)


def correlate(sums: Sums, maps: Mapping[str, Mapping[str, Tensor]]) -> None:
    """One batch of activation maps into all sums."""

    def show(on_map: OnModelMap) -> None:
        for model, layers in maps.items():
            for layer, values in layers.items():
                on_map(model, layer, values)

    images = len(next(iter(next(iter(maps.values())).values())))
    rehearse(sums, show, images)


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

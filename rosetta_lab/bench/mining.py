"""The cost of mining: straightforward, bare forward passes, ours.

All three see the same images in the same process. The straightforward method is the definition
written down: every pair of layers is upsampled to the larger size and multiplied.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.data.latents import LatentBatch
from rosetta_lab.functional.correlation import pearson, variance
from rosetta_lab.functional.resize import larger
from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups
from rosetta_lab.metrics.correlation import CorrelationTable
from rosetta_lab.mine.module import pilot_mean
from rosetta_lab.models.load import apply_overrides, load_latents, load_observer
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer


@dataclass
class MiningBenchmark:
    """Seconds per image and what they bought.

    Peak memory is the process's while the method ran, models and all, in MB (nan where the system
    does not tell).
    """

    generator: str
    models: list[str]
    units: dict[str, int]
    images: int
    reference_images: int
    threads: int
    forward: float
    ours: float
    straightforward: float
    peak_mb: dict[str, float]
    largest_difference: float

    def report(self) -> str:
        """A table for people."""
        correlations = self.ours - self.forward
        units = ", ".join(f"{name} {count:,}" for name, count in self.units.items())
        lines = [
            f"{self.generator} x {', '.join(self.models)} ({units} units), {self.threads} threads",
            f"{'':<26}{'s/image':>9}{'x forward':>11}{'peak MB':>9}",
        ]
        timings = {
            "bare forward passes": (self.forward, "forward"),
            "ours": (self.ours, "ours"),
            "straightforward": (self.straightforward, "straightforward"),
        }
        for title, (seconds, key) in timings.items():
            ratio = seconds / self.forward
            lines.append(f"{title:<26}{seconds:>9.3f}{ratio:>11.2f}{self.peak_mb[key]:>9.0f}")
        lines += [
            f"Correlations cost {correlations / self.forward:.1%} of the bare forward passes; "
            f"ours is {self.straightforward / self.ours:.1f} times as fast as the straightforward "
            f"method, end to end (at most {self.straightforward / self.forward:.1f} times, were "
            "they free).",
            f"Largest difference between the tables ({self.reference_images} images): "
            f"{self.largest_difference:.1e}",
        ]
        return "\n".join(lines)


def straightforward_products(
    rows: dict[str, Tensor], columns: dict[str, Tensor], sums: dict[tuple[str, str], list[Tensor]]
) -> None:
    """Upsample every pair of layers to the larger size and add up its sums in float64."""
    for a, maps_a in rows.items():
        for b, maps_b in columns.items():
            size = larger(maps_a.shape[-2:], maps_b.shape[-2:])  # type: ignore[arg-type]
            flat = [
                F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
                .transpose(0, 1)
                .flatten(1)
                for maps in (maps_a, maps_b)
            ]
            parts = [flat[0] @ flat[1].t()]
            for x in flat:
                parts += [x.sum(dim=1), x.square().sum(dim=1)]
            count = torch.tensor(float(flat[0].shape[1]))
            totals = sums.get((a, b), [torch.zeros((), dtype=torch.float64)] * 6)
            sums[a, b] = [
                total + part.double() for total, part in zip(totals, [*parts, count], strict=True)
            ]


def straightforward_table(
    sums: dict[tuple[str, str], list[Tensor]], rows: UnitGroups, columns: UnitGroups
) -> Tensor:
    """The correlation table that follows from the straightforward method's sums."""
    table = torch.zeros(len(rows.index), len(columns.index))
    for (a, b), (products, sum_a, square_a, sum_b, square_b, count) in sums.items():
        n = float(count)
        units_a, units_b = rows.index.units(a), columns.index.units(b)
        var_a = variance(n, sum_a, square_a, rows.shift.double()[units_a])
        var_b = variance(n, sum_b, square_b, columns.shift.double()[units_b])
        table[units_a, units_b] = pearson(n, products, sum_a, sum_b, var_a, var_b).float()
    return table


@contextmanager
def measured(
    name: str, images: int, seconds: dict[str, float], peak: dict[str, float]
) -> Iterator[None]:
    """Time a block, and take the process's highest memory within it, under ``name``."""
    marks, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if marks.exists():
        marks.write_text("5")  # the high-water mark starts again from what is in use now
    start = time.perf_counter()
    yield
    seconds[name] = (time.perf_counter() - start) / images
    lines = status.read_text().splitlines() if status.exists() else []
    kilobytes = [float(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    peak[name] = kilobytes[0] / 1024 if kilobytes else math.nan


def _shifted(layers: list[Layer], maps: dict[str, Tensor], groups: UnitGroups) -> dict[str, Tensor]:
    return {
        layer.name: maps[layer.name] - groups.shift[groups.index.units(layer.name)][:, None, None]
        for layer in layers
    }


def run(cfg: DictConfig) -> MiningBenchmark:
    """Time the three ways on ``num_images`` images (the slow one on ``reference_images``)."""
    cfg = apply_overrides(cfg)
    observer = load_observer(cfg)
    latents = load_latents(cfg, observer.source.generator)
    own, others = observer.reference, observer.others

    def batches(images: int, size: int) -> list[LatentBatch]:
        return [
            latents.batch(list(range(i, min(i + size, images)))) for i in range(0, images, size)
        ]

    # Float32 sums of the slow method need a shift near the mean of its own few images.
    pilot = latents.batch(list(range(cfg.reference_images)))
    seen = observer(pilot)  # also warms up
    layers = observer.shapes(seen)
    groups = {
        name: UnitGroups(layers[name], torch.cat([pilot_mean(maps) for maps in found.values()]))
        for name, found in seen.maps.items()
    }
    del seen
    ours_batches = batches(cfg.num_images, cfg.batch_size)
    slow_batches = batches(cfg.reference_images, 1)  # more would not fit into memory

    peak: dict[str, float] = {}
    seconds: dict[str, float] = {}
    bare = BareForward(observer)
    with measured("forward", cfg.num_images, seconds, peak):
        for batch in ours_batches:
            bare(batch)

    tables = {name: CorrelationTable(groups[own], groups[name]) for name in others}

    def accumulate(todo: list[LatentBatch], into: dict[str, CorrelationTable]) -> dict[str, Tensor]:
        for batch in todo:
            maps = observer(batch).maps
            rows = ActivationBatch(groups[own], maps[own], [groups[name] for name in others])
            for name, table in into.items():
                table.update(rows, ActivationBatch(groups[name], maps[name], [groups[own]]))
        return {name: table.compute() for name, table in into.items()}

    with measured("ours", cfg.num_images, seconds, peak):
        accumulate(ours_batches, tables)

    sums: dict[str, dict[tuple[str, str], list[Tensor]]] = {name: {} for name in others}
    with measured("straightforward", cfg.reference_images, seconds, peak):
        for batch in slow_batches:
            maps = observer(batch).maps
            rows = _shifted(layers[own], maps[own], groups[own])
            for name in others:
                columns = _shifted(layers[name], maps[name], groups[name])
                straightforward_products(rows, columns, sums[name])
        slow = {n: straightforward_table(sums[n], groups[own], groups[n]) for n in others}

    fresh = {name: CorrelationTable(groups[own], groups[name]) for name in others}
    # On the same batches, for the arithmetic alone: convolutions round differently in batches of
    # another size, which units that hardly vary magnify (to 1e-4 in random networks).
    fast = accumulate(slow_batches, fresh)
    return MiningBenchmark(
        generator=own,
        models=others,
        units={name: len(group.index) for name, group in groups.items()},
        images=cfg.num_images,
        reference_images=cfg.reference_images,
        threads=torch.get_num_threads(),
        forward=seconds["forward"],
        ours=seconds["ours"],
        straightforward=seconds["straightforward"],
        peak_mb=peak,
        largest_difference=max(float((slow[n] - fast[n]).abs().max()) for n in others),
    )


class BareForward:
    """The models' forward passes and nothing else: no hooks, nothing recorded."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer

    @torch.no_grad()
    def __call__(self, batch: LatentBatch) -> None:
        source = self.observer.source
        generator = source.generator
        images = generator(batch.z, generator.one_hot(batch.label), source.psi)
        images = generator.to_unit_range(images)
        for model in self.observer.models.values():
            model(images)

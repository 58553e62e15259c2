"""The cost of mining: straightforward, bare forward passes, ours.

All three see the same images in the same process. The straightforward method is the definition
written down: every pair of layers is upsampled to the larger size and multiplied. Nothing is held
against chance here; shuffled images take a second product.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.data.latents import LatentBatch
from rosetta_lab.functional.correlation import pearson, variance
from rosetta_lab.functional.products import Products
from rosetta_lab.functional.resize import larger, smaller
from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups
from rosetta_lab.metrics.correlation import CorrelationTable
from rosetta_lab.metrics.matching import bands
from rosetta_lab.mine.pilot import pilot_run, shapes_of
from rosetta_lab.models.load import apply_overrides, load_latents, load_observer
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer
from rosetta_lab.run.device import best, chosen_device, forget_peak, peak_since, wait


@dataclass
class MiningBenchmark:
    """Seconds per image and what they bought.

    Peak memory is the process's while the method ran, models and all, in MB (nan where the system
    does not tell); on a GPU, what was allocated there.

    Attributes:
        flops: floating-point operations of our products, per image.
        products: seconds of these alone, per image.
        mm_rate: operations per second of a large ``torch.mm`` in the same run.
        straightforward: None where it was left out, as is ``largest_difference``.
    """

    device: str

    generator: str
    models: list[str]
    units: dict[str, int]
    images: int
    reference_images: int
    threads: int
    forward: float
    ours: float
    straightforward: float | None
    peak_mb: dict[str, float]
    largest_difference: float | None
    flops: float
    products: float
    mm_rate: float

    def report(self) -> str:
        """A table for people."""
        correlations = self.ours - self.forward
        units = ", ".join(f"{name} {count:,}" for name, count in self.units.items())
        where = f"{self.threads} threads" if self.device == "cpu" else self.device
        lines = [
            f"{self.generator} x {', '.join(self.models)} ({units} units), {where}",
            f"{'':<26}{'s/image':>9}{'x forward':>11}{'peak MB':>9}",
        ]
        timings = {
            "bare forward passes": (self.forward, "forward"),
            "ours": (self.ours, "ours"),
            "straightforward": (self.straightforward, "straightforward"),
        }
        for title, (seconds, key) in timings.items():
            if seconds is not None:
                ratio = seconds / self.forward
                lines.append(f"{title:<26}{seconds:>9.4f}{ratio:>11.2f}{self.peak_mb[key]:>9.0f}")
        rate = self.flops / self.products
        lines += [
            f"Correlations cost {correlations / self.forward:.1%} of the bare forward passes.",
            f"Their products take {self.products:.2g} s per image, {self.flops / 1e9:.3g} GFLOP at "
            f"{rate / 1e9:.4g} GFLOP/s: {rate / self.mm_rate:.0%} of a large torch.mm's "
            f"{self.mm_rate / 1e9:.4g}.",
        ]
        if self.straightforward is not None:
            lines += [
                f"Ours is {self.straightforward / self.ours:.1f} times as fast as the "
                "straightforward method, end to end (at most "
                f"{self.straightforward / self.forward:.1f} times, were they free).",
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
    name: str, images: int, seconds: dict[str, float], peak: dict[str, float], device: str = "cpu"
) -> Iterator[None]:
    """Time a block, and take the highest memory within it, under ``name``."""
    forget_peak(device)
    wait(device)
    start = time.perf_counter()
    yield
    wait(device)
    seconds[name] = (time.perf_counter() - start) / images
    peak[name] = peak_since(device) / 2**20


def _shifted(layers: list[Layer], maps: dict[str, Tensor], groups: UnitGroups) -> dict[str, Tensor]:
    return {
        layer.name: maps[layer.name] - groups.shift[groups.index.units(layer.name)][:, None, None]
        for layer in layers
    }


class Ours:
    """The tables of a run, without what they are held against.

    Args:
        observer: the models.
        groups: their units.
        products: the arithmetic of the products.
    """

    def __init__(
        self, observer: Observer, groups: dict[str, UnitGroups], products: Products
    ) -> None:
        self.observer, self.groups, self.own = observer, groups, observer.reference
        self.tables = {
            name: CorrelationTable(groups[self.own], groups[name], products=products)
            for name in observer.others
        }

    def see(self, batch: LatentBatch) -> dict[str, ActivationBatch]:
        """What a batch leaves of the models' maps, each of which is let go at once."""
        others = [self.groups[name] for name in self.tables]
        seen = {
            name: ActivationBatch(
                units, {}, others if name == self.own else [self.groups[self.own]]
            )
            for name, units in self.groups.items()
        }
        self.observer(batch, lambda model, layer, maps: seen[model].add(layer, maps))
        for one in seen.values():
            one.finish_part()
        return seen

    def multiply(self, seen: dict[str, ActivationBatch]) -> None:
        """Add a batch's products."""
        for name, table in self.tables.items():
            table.add_products(seen[self.own], seen[name])

    def add(self, batches: list[LatentBatch]) -> dict[str, ActivationBatch]:
        """Add batches; what the last one left."""
        for batch in batches:
            seen = self.see(batch)
            for name, table in self.tables.items():
                table.add_moments(seen[self.own], seen[name])
            self.multiply(seen)
        return seen

    def finish(self) -> None:
        """Make all of r, a band of rows at a time, as a run does."""
        for table in self.tables.values():
            for band in bands(table):
                table.r(band)

    def flops(self, seen: dict[str, ActivationBatch]) -> float:
        """Floating-point operations of the products of a batch."""
        return sum(
            2.0 * seen[name].images * math.prod(smaller(a, b)) * len(units_a) * len(units_b)
            for name, table in self.tables.items()
            for a, units_a in table.rows.units.items()
            for b, units_b in table.columns.units.items()
        )


def mm_rate(device: str, seconds: float = 1.0) -> float:
    """Operations per second of a large float32 ``torch.mm``, the best of some."""
    size = 8192 if device.startswith("cuda") else 2048
    left, right = torch.randn(2, size, size, device=device)
    return 2.0 * size**3 / best(lambda: torch.mm(left, right), device, seconds)


def run(cfg: DictConfig) -> MiningBenchmark:
    """Time the three ways on ``num_images`` images (the slow one on ``reference_images``)."""
    cfg = apply_overrides(cfg)
    device = chosen_device(cfg.device)
    observer = load_observer(cfg).to(device)
    latents = load_latents(cfg, observer.generator)
    own, others = observer.reference, observer.others

    def batches(images: int, size: int) -> list[LatentBatch]:
        return [
            latents.batch(list(range(i, min(i + size, images)))) for i in range(0, images, size)
        ]

    # Float32 sums of the slow method need a shift near the mean of its own few images.
    pilot = latents.batch(list(range(max(1, cfg.reference_images))))
    layers = shapes_of(observer, pilot)
    means = pilot_run(observer, pilot, len(pilot))  # also warms up
    groups = {name: UnitGroups(found, means[name].to(device)) for name, found in layers.items()}
    ours_batches = batches(cfg.num_images, cfg.batch_size)
    slow_batches = batches(cfg.reference_images, 1)  # more would not fit into memory

    peak: dict[str, float] = {}
    seconds: dict[str, float] = {}
    bare = BareForward(observer)
    with measured("forward", cfg.num_images, seconds, peak, device):
        for batch in ours_batches:
            bare(batch)

    with torch.device(device):
        ours = Ours(observer, groups, cfg.products)
        again = Ours(observer, groups, cfg.products) if slow_batches else None
    with measured("ours", cfg.num_images, seconds, peak, device):
        seen = ours.add(ours_batches)
        ours.finish()
    flops = ours.flops(seen) / len(ours_batches[-1])
    products = best(lambda: ours.multiply(seen), device) / len(ours_batches[-1])

    difference = None
    if again is not None:
        sums: dict[str, dict[tuple[str, str], list[Tensor]]] = {name: {} for name in others}
        with measured("straightforward", cfg.reference_images, seconds, peak, device):
            for batch in slow_batches:
                maps = observer(batch).maps
                rows = _shifted(layers[own], maps[own], groups[own])
                for name in others:
                    columns = _shifted(layers[name], maps[name], groups[name])
                    straightforward_products(rows, columns, sums[name])
            slow = {n: straightforward_table(sums[n], groups[own], groups[n]) for n in others}
        # On the same batches, for the arithmetic alone: convolutions round differently in batches
        # of another size, which units that hardly vary magnify (to 1e-4 in random networks).
        again.add(slow_batches)
        found = {name: table.r() for name, table in again.tables.items()}
        difference = max(float((slow[n] - found[n].cpu()).abs().max()) for n in others)
    return MiningBenchmark(
        device=device,
        generator=own,
        models=others,
        units={name: len(group.index) for name, group in groups.items()},
        images=cfg.num_images,
        reference_images=cfg.reference_images,
        threads=torch.get_num_threads(),
        forward=seconds["forward"],
        ours=seconds["ours"],
        straightforward=seconds.get("straightforward"),
        peak_mb=peak,
        largest_difference=difference,
        flops=flops,
        products=products,
        mm_rate=mm_rate(device),
    )


class BareForward:
    """The models' forward passes and nothing else: no hooks, nothing recorded."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer

    @torch.no_grad()
    def __call__(self, batch: LatentBatch) -> None:
        batch = batch.to(next(self.observer.parameters()).device)
        generator = self.observer.generator
        images = generator(batch.z, generator.one_hot(batch.label), self.observer.source.psi)
        images = generator.to_unit_range(images)
        for model in self.observer.models.values():
            model(images)

"""Ways to run the networks: how much quicker each is, and by how much it changes r."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from omegaconf import DictConfig
from torch import Tensor

from rosetta_lab.bench.mining import Ours
from rosetta_lab.errors import printable
from rosetta_lab.metrics.activations import UnitGroups
from rosetta_lab.mine.pilot import pilot_run, shapes_of
from rosetta_lab.models.load import apply_overrides, load_latents, load_observer
from rosetta_lab.models.observer import Observer
from rosetta_lab.run.device import best, chosen_device


def channels_last(observer: Observer) -> None:
    """Weights of convolutions in this memory format, which activations then follow."""
    observer.to(memory_format=torch.channels_last)


def compiled(observer: Observer) -> None:
    """Every network by ``torch.compile``, recorded layers and all."""
    for network in observer.networks.values():
        network.compile()


@dataclass(frozen=True)
class Way:
    """One way to run them: what is done to them before, and around each batch, on a device."""

    prepare: Callable[[Observer], object]
    around: Callable[[str], AbstractContextManager[object]] = lambda device: nullcontext()


COMPILED = "torch.compile"
WAYS = {
    "float32": Way(lambda observer: None),
    "channels-last": Way(channels_last),
    "bfloat16 (autocast)": Way(lambda _: None, lambda kind: torch.autocast(kind, torch.bfloat16)),
    COMPILED: Way(compiled),
}


@dataclass(frozen=True)
class Measured:
    """Seconds per image for generating and looking, and what it does to r.

    Attributes:
        seconds: per image.
        largest: the most that any r differs from float32's.
        typical: the median difference.
        failed: why there is no figure; empty where there are some.
    """

    seconds: float = 0.0
    largest: float = 0.0
    typical: float = 0.0
    failed: str = ""


def run(cfg: DictConfig, ways: Mapping[str, Way] = WAYS) -> str:
    """Measure every way, the first as it is, on ``num_images`` images; a table for people."""
    cfg = apply_overrides(cfg)
    device = chosen_device(cfg.device)
    plain = load_observer(cfg).to(device)
    latents = load_latents(cfg, plain.generator)
    images = list(latents.batch(list(range(cfg.num_images))).split(cfg.batch_size))
    batch = images[0]
    means = pilot_run(plain, batch, len(batch))
    groups = {
        name: UnitGroups(layers, means[name].to(device))
        for name, layers in shapes_of(plain, batch).items()
    }
    kind = torch.device(device).type

    def measure(way: Way) -> tuple[float, dict[str, Tensor]]:
        observer = deepcopy(plain)
        way.prepare(observer)
        with torch.device(device):
            ours = Ours(observer, groups, cfg.products)
        with way.around(kind):
            look = partial(observer, batch, lambda *_: None)
            look()  # compiles
            seconds = best(look, device) / len(batch)
            ours.add(images)
        return seconds, {name: table.r().cpu() for name, table in ours.tables.items()}

    found: dict[str, Measured] = {}
    expected: dict[str, Tensor] = {}
    for name, way in ways.items():
        if name == COMPILED and not cfg.compile:
            continue
        try:
            seconds, tables = measure(way)
        except Exception as error:  # the compiler's own, of any kind
            found[name] = Measured(failed=printable(error, 70))
            continue
        expected = expected or tables
        apart = torch.cat([(tables[k] - r).abs().flatten() for k, r in expected.items()])
        found[name] = Measured(seconds, float(apart.max()), float(apart.median()))
    where = f"{torch.get_num_threads()} threads" if kind == "cpu" else device
    title = f"{plain.reference} x {', '.join(plain.others)}, {cfg.num_images} images, {where}"
    return "\n".join([title, *lines(found)])


def lines(found: dict[str, Measured]) -> list[str]:
    """A row for every way."""
    first = next(iter(found.values()))
    rows = [f"{'networks':<22}{'s/image':>9}{'x float32':>11}{'r: most':>10}{'median':>10}"]
    for name, one in found.items():
        if one.failed:
            rows.append(f"{name:<22}  {one.failed}")
            continue
        rows.append(
            f"{name:<22}{one.seconds:>9.4f}{one.seconds / first.seconds:>11.2f}"
            f"{one.largest:>10.1e}{one.typical:>10.1e}"
        )
    return rows

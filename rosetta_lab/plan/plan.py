"""What a mining run needs, before it runs: units, memory and time.

Memory is what :mod:`rosetta_lab.mine.budget` finds, as the run will. Weights are never loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from omegaconf import DictConfig

from rosetta_lab.files import cache_folder
from rosetta_lab.mine.budget import Budget, MemoryPlan, Way, bytes_of
from rosetta_lab.mine.maps import room_for
from rosetta_lab.models.images import EVERY, entries_of
from rosetta_lab.models.load import load_inputs
from rosetta_lab.models.meta import observer_without_memory, shapes_without_memory
from rosetta_lab.models.units import Layer
from rosetta_lab.plan.rehearsal import Timing, measure_time
from rosetta_lab.run.device import chosen_device
from rosetta_lab.run.memory import available_memory

MEASURED = (  # said before it, since it takes minutes for large networks
    "Measuring how long the networks and the sums take, on a few images and with random weights.\n"
    "measure=0 leaves it out, and tells units and memory at once."
)


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
class Plan:
    """Everything about one run; ``available`` is what ``device`` has free, in bytes."""

    models: list[ModelPlan]
    num_images: int
    device: str
    available: int
    way: Way
    timing: Timing | None
    rounds: int = 1  # with another reference each
    room: int = 0  # on the disk, for maps

    @property
    def memory(self) -> MemoryPlan:
        """What it takes."""
        return self.way.memory

    @property
    def seconds(self) -> float | None:
        """For the whole run; None where nothing was measured."""
        if self.timing is None:
            return None
        return self.rounds * self.timing.seconds(
            self.num_images, self.way.batch_size, len(self.way.rows), self.kept
        )

    @property
    def maps(self) -> int:
        """Bytes of all maps of all images, float32."""
        layers = [layer for model in self.models for layer in model.layers]
        return self.num_images * sum(map(self.bytes_of, layers)) // self.way.batch_size

    @property
    def kept(self) -> float:
        """Share of the images whose maps are kept on the disk from pass to pass."""
        return min(1.0, self.room / self.maps) if len(self.way.rows) > 1 else 0.0

    @property
    def images_per_second(self) -> float | None:
        """Over the whole run; None where nothing was measured."""
        return None if self.seconds is None else self.num_images / self.seconds

    def bytes_of(self, layer: Layer) -> int:
        """A layer's maps of the images that are looked at at a time, float32."""
        return 4 * self.way.batch_size * layer.channels * layer.height * layer.width

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, derived figures included."""
        record = asdict(self)
        way = record.pop("way")
        for model, entry in zip(self.models, record["models"], strict=True):
            entry["units"] = model.units
            for layer, values in zip(model.layers, entry["layers"], strict=True):
                values["bytes"] = self.bytes_of(layer)
        return record | {
            "batch_size": self.way.batch_size,
            "row_blocks": [[rows.start, rows.stop] for rows in self.way.rows],
            "memory": way["memory"] | {"peak": self.memory.peak, "budget": self.way.budget},
            "fits": self.way.fits,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            # In the cache folder: what an interrupted run goes on from, what a finished one leaves.
            "disk": {"unfinished": self.memory.sums, "maps": int(self.kept * self.maps)},
        }


def make_plan(
    cfg: DictConfig,
    device: str | None = None,
    measure: float = 0.0,
    first: Callable[[Plan], object] | None = None,
) -> Plan:
    """The plan of a run.

    Args:
        cfg: as of ``rosetta_lab.mine``, its overrides applied.
        device: where it would run; None for a GPU if there is one.
        measure: seconds to time each part of the work for, with random weights; 0 for not at all.
        first: is given what is known at once, all but the time.

    Raises:
        RosettaError: there is no such device.
    """
    device = chosen_device(device)
    observer = observer_without_memory(cfg)
    inputs = load_inputs(cfg, observer)
    shapes = shapes_without_memory(cfg, observer)
    available = available_memory(device)
    finder = Budget(cfg, observer, inputs, shapes)
    way = finder.way(bytes_of(cfg.memory, device, finder.weights), device)
    entries = entries_of(cfg)
    models = [
        ModelPlan(
            name,
            str(entries[name].get("weights", "its own")),
            sum(p.numel() for p in observer.networks[name].parameters()),
            layers,
        )
        for name, layers in shapes.items()
    ]
    rounds = len(cfg.disc) if cfg.get("reference") == EVERY else 1
    room = room_for(cfg.disk, cache_folder(), torch.device(device), 1) if cfg.cache else 0
    plan = Plan(models, len(inputs), device, available, way, None, rounds, room)
    if first is not None:
        first(plan)
    if measure and way.fits:
        print(MEASURED, file=sys.stderr)
        sums = finder.sums(way.rows[0], device)
        timing = measure_time(cfg, sums, device, way.batch_size, measure, plan.kept > 0)
        return replace(plan, timing=timing)
    return plan

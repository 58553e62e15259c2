"""Mining as a LightningModule: one pass over the images accumulates every sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import lightning as L
import torch
from torch import Tensor, nn

from rosetta_lab.data.latents import LatentBatch
from rosetta_lab.errors import RosettaError
from rosetta_lab.metrics.activations import ActivationBatch, UnitGroups, condense_batch
from rosetta_lab.metrics.correlation import (
    BatchMeanCorrelation,
    CorrelationTable,
    SumMetric,
    UnitStatistics,
)
from rosetta_lab.mine.partial import PartialSums
from rosetta_lab.models.observer import Observation, Observer
from rosetta_lab.models.units import Layer

Correlation = Literal["pooled", "batch_mean"]
TABLES: dict[str, type[CorrelationTable]] = {
    "pooled": CorrelationTable,
    "batch_mean": BatchMeanCorrelation,
}


@dataclass
class MiningResult:
    """What matching needs, whatever K will be. On the CPU.

    Attributes:
        tables: name to correlation r of the reference model's units (rows) with that model's,
            float32; the reference's own name holds its units against each other.
        statistics: name to ``mean``, ``var``, ``count`` of every unit, float64 (paper, Eq. 1).
    """

    tables: dict[str, Tensor]
    statistics: dict[str, dict[str, Tensor]]

    def alive(self, name: str) -> Tensor:
        """Which units of a model vary at all (U,)."""
        return self.statistics[name]["var"] > 0


class MiningModule(L.LightningModule):
    """Shows images to the models and correlates the reference model's units with all others.

    ``trainer.validate`` is the pass over the images; ``result`` holds the tables afterwards.

    Args:
        observer: the models and their layers.
        pilot: the first latents of the run. They show the layers' shapes, and their mean
            activation is subtracted from every unit before anything is summed, which keeps float32
            products accurate for units whose mean is far from zero.
        correlation: ``pooled`` (paper, Eq. 2) or ``batch_mean`` (the published reference code).
        partial: where unfinished sums are kept, None for nowhere.
        batch_size: pilot images at a time, None for all.
    """

    def __init__(
        self,
        observer: Observer,
        pilot: LatentBatch,
        correlation: Correlation = "pooled",
        partial: PartialSums | None = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if correlation not in TABLES:
            raise RosettaError(f"correlation={correlation}: expected one of {', '.join(TABLES)}.")
        self.observer, self.pilot = observer, pilot
        self.partial = partial
        self.shapes, means = pilot_run(observer, pilot, batch_size or len(pilot))
        self.groups = {name: UnitGroups(own, means[name]) for name, own in self.shapes.items()}
        rows = self.groups[observer.reference]
        table = TABLES[correlation]
        self.statistics = nn.ModuleDict({n: UnitStatistics(g) for n, g in self.groups.items()})
        self.tables = nn.ModuleDict({n: table(rows, g) for n, g in self.groups.items()})
        self.result: MiningResult | None = None

    def on_validation_start(self) -> None:
        # Every process has to subtract the same numbers, to the last bit.
        for groups in self.groups.values():
            groups.shift = self.trainer.strategy.broadcast(groups.shift)
        if self.partial is not None:
            self.partial.load(
                self.metrics(), self.groups, self.global_rank, self.trainer.world_size
            )

    def validation_step(self, batch: LatentBatch, batch_idx: int) -> None:
        observation = self.observer(batch)
        batches = self._batches(observation)
        rows = batches[self.observer.reference]
        for name, activations in batches.items():
            self._statistics(name).update(activations)
            self._table(name).update(rows, activations)
        if self.partial is not None:
            self.partial.advance(
                len(batch),
                self.metrics(),
                self.groups,
                self.global_rank,
                self.trainer.world_size,
            )

    def on_validation_epoch_end(self) -> None:
        # Here, and not later, because the processes meet: computing reduces the sums.
        self.result = MiningResult(
            tables={name: self._table(name).compute().cpu() for name in self.groups},
            statistics={name: self._statistics(name).compute() for name in self.groups},
        )

    def _batches(self, observation: Observation) -> dict[str, ActivationBatch]:
        for name, maps in observation.maps.items():
            check_finite(name, maps)
        return condense_batch(self.groups, self.observer.reference, observation.maps)

    def _statistics(self, name: str) -> UnitStatistics:
        return cast(UnitStatistics, self.statistics[name])

    def _table(self, name: str) -> CorrelationTable:
        return cast(CorrelationTable, self.tables[name])

    def metrics(self) -> dict[str, SumMetric]:
        """Every metric under a name of its own."""
        return {
            f"{kind}/{name}": cast(SumMetric, metric)
            for kind, metrics in (("statistics", self.statistics), ("tables", self.tables))
            for name, metric in metrics.items()
        }


def pilot_run(
    observer: Observer, pilot: LatentBatch, batch_size: int
) -> tuple[dict[str, list[Layer]], dict[str, Tensor]]:
    """Every model's layers, and the means of its units over the pilot images, float32 (U,)."""
    means: dict[str, Tensor] = {}
    for part in pilot.split(batch_size):
        seen = observer(part)
        shapes = observer.shapes(seen)
        share = len(part) / len(pilot)
        for name, layers in shapes.items():
            mean = share * pilot_mean(layers, seen.maps[name]).double()
            means[name] = means[name] + mean if name in means else mean
    return shapes, {name: mean.float() for name, mean in means.items()}


def pilot_mean(layers: list[Layer], maps: Mapping[str, Tensor]) -> Tensor:
    """Mean of every unit over the pilot images, float32 (U,), exact for constant units."""
    means = [maps[layer.name].double().mean(dim=(0, 2, 3)) for layer in layers]
    return torch.cat(means).float().cpu()


def check_finite(model: str, maps: Mapping[str, Tensor]) -> None:
    """Raise a RosettaError that names model, layer and channel if a map is NaN or infinite."""
    for layer, activation in maps.items():
        per_channel = activation.sum(dim=(0, 2, 3))
        if bool(per_channel.isfinite().all()):
            continue
        bad = (~activation.isfinite()).any(dim=3).any(dim=2).any(dim=0).nonzero().flatten()
        if len(bad):
            raise RosettaError(
                f"{model}, layer {layer}, channel {int(bad[0])}: the activation is NaN or infinite "
                f"({len(bad)} channels of this layer).\n"
                "Check the weights; if the run uses reduced precision, try trainer.precision=32."
            )

"""Small runs of mining."""

from __future__ import annotations

import lightning as L
import torch
from toy import ToyGenerator, ToyModel

from rosetta_lab.data.latents import LatentDataModule, Latents
from rosetta_lab.mine.module import MiningModule, MiningResult
from rosetta_lab.mine.null import Evidence
from rosetta_lab.mine.partial import PartialSums
from rosetta_lab.mine.pilot import shapes_of
from rosetta_lab.models.observer import GeneratedImages, Observer

LAYERS = ["fold", "late"]


def observer(**models) -> Observer:
    source = GeneratedImages(ToyGenerator(), LAYERS, "toy")
    return Observer(source, models or {"a": ToyModel()})


def trainer(**kwargs) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **kwargs,
    )


def mine(
    watch: Observer,
    images: int = 30,
    batch: int = 8,
    partial: PartialSums | None = None,
    precision: str = "32-true",
    blocks: int | None = None,
    **options,
) -> MiningResult:
    options.setdefault("evidence", Evidence(blocks=blocks))
    latents = Latents(images, 0, watch.source.generator.z_dim)
    pilot = latents.batch([0, 1, 2])
    shapes = shapes_of(watch, pilot)
    bands: dict[str, list[torch.Tensor]] = {}
    module = MiningModule(
        watch,
        shapes,
        pilot,
        images,
        partial=partial,
        on_table=lambda name, rows: bands.setdefault(name, []).append(rows),
        **options,
    )
    data = LatentDataModule(latents, batch, module.grouping, module.done)
    trainer(precision=precision).validate(module, data, verbose=False)
    result = module.result
    result.tables = {name: torch.cat(rows) for name, rows in bands.items()}
    return result

"""What loggers are told of a run of inversions, while it runs and afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger, WandbLogger
from PIL import Image

from rosetta_lab.invert.figures import LOSS, judged, means
from rosetta_lab.invert.objective import Evaluation
from rosetta_lab.invert.optimise import Listener, losses
from rosetta_lab.invert.results import IMAGE, TARGET, Results

MEAN_LOSS = "mean_loss/"  # over all images; LOSS is that of a batch
KEY_IMAGES = 8  # pictures that stand by themselves in W&B
TABLE_IMAGES = 500  # rows of W&B's table; results.csv has them all


def loss_listener(trainer: L.Trainer, steps: int, first: int = 0, prefix: str = "") -> Listener:
    """What tells a trainer's loggers the parts of a loss, means over the images of a batch.

    It does so at the last step and every ``log_every_n_steps`` of the trainer, and has them write
    their files at once.

    Args:
        trainer: with the loggers.
        steps: of the batch's optimisation.
        first: the loggers' number of its first step. That of an inversion counts on over batches;
            where processes share these out, only the first one's are logged.
        prefix: of the names.
    """
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]

    def log(step: int, evaluation: Evaluation) -> None:
        if not every or (step % every and step < steps - 1):
            return
        parts = losses(evaluation).items()
        scalars = {f"{prefix}{LOSS}{part}": float(loss.mean()) for part, loss in parts}
        for logger in trainer.loggers:
            logger.log_metrics(scalars, first + step)
            logger.save()

    return log


def log_curves(
    loggers: Iterable[Logger], results: Results, records: Sequence[Mapping[str, Any]]
) -> None:
    """Give loggers the mean course over all images of every part of the loss, and the mean figures.

    W&B also gets pictures, and a table of images with their figures. The last step has the mean
    figures by their own names, so they are the run's summary there.
    """
    curves = [results.curves(record["id"]) for record in records]
    courses = {part: torch.stack([c[part] for c in curves]).mean(dim=0) for part in curves[0]}
    mean = {name: value for name, value in means(records).items() if not name.startswith(LOSS)}
    for logger in loggers:
        for step in range(len(courses["total"])):
            scalars = {f"{MEAN_LOSS}{part}": float(c[step]) for part, c in courses.items()}
            logger.log_metrics(scalars, step)
        logger.log_metrics(mean, len(courses["total"]))
        if isinstance(logger, WandbLogger):
            log_pictures(logger, results, records)
        logger.finalize("success")


def log_pictures(
    logger: WandbLogger, results: Results, records: Sequence[Mapping[str, Any]]
) -> None:
    """Give W&B some pictures by themselves, and a table of images with their figures."""
    import wandb  # takes a second, and only this logger needs it

    def files(record: Mapping[str, Any]) -> list[Path]:
        return [results.root / record["id"] / file for file in (TARGET, IMAGE)]

    key = records[:KEY_IMAGES]
    for column, what in enumerate(("target", "inverted")):
        pictures = [Image.open(files(record)[column], formats=["PNG"]) for record in key]
        logger.log_image(f"pictures/{what}", pictures, caption=[record["id"] for record in key])
    kinds = judged(records)
    rows = [
        [record["id"], record.get("label")]
        + [wandb.Image(str(path)) for path in files(record)]
        + [record.get(kind.name) for kind in kinds]
        for record in records[:TABLE_IMAGES]
    ]
    columns = ["id", "label", "target", "inverted", *(kind.name for kind in kinds)]
    logger.log_table("images", columns=columns, data=rows)

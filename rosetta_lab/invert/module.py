"""Inversion as a LightningModule: problems posed, solved and logged, one batch of images each.

``trainer.predict`` runs it: every batch of images is a problem of its own, so that processes can
share the images out without ever having to meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch

from rosetta_lab.invert.logged import loss_listener
from rosetta_lab.invert.optimise import Inverted, Problem, optimise


class InversionModule(L.LightningModule):
    """Wires :func:`rosetta_lab.invert.optimise.optimise` to a trainer and a loader.

    It has no optimizer of its own that Lightning could ask for: every batch brings new parameters,
    its latents. Trainers need ``inference_mode=False``.

    While it runs, the trainer's loggers get the losses every ``trainer.log_every_n_steps`` steps,
    see :func:`rosetta_lab.invert.logged.loss_listener`; ``self.log``, which Lightning forbids here,
    has no steps within a batch.

    Args:
        pose: makes latents and an objective of a batch.
        steps: of the optimisation, see :func:`optimise`.
        lr: likewise.
        rampup: likewise.
        rampdown: likewise.
        progress: show a progress bar over the steps, in the first process.
    """

    def __init__(
        self,
        pose: Callable[[Any], Problem],
        steps: int = 500,
        lr: float = 0.1,
        rampup: float = 0.05,
        rampdown: float = 0.25,
        progress: bool = False,
    ) -> None:
        super().__init__()
        self.pose = pose
        self.steps, self.lr, self.rampup, self.rampdown = steps, lr, rampup, rampdown
        self.progress = progress
        self.batches = 1

    def on_predict_start(self) -> None:
        self.batches = int(sum(self.trainer.num_predict_batches))

    @torch.inference_mode(False)
    @torch.enable_grad()
    def predict_step(self, batch: Any, batch_idx: int) -> Inverted | None:
        """Solve the batch's problem."""
        first = self.number(batch, batch_idx) * self.steps
        return optimise(
            self.pose(batch),
            self.steps,
            self.lr,
            self.rampup,
            self.rampdown,
            listeners=[loss_listener(self.trainer, self.steps, first)] if self.loggers else [],
            progress=self.progress and self.global_rank == 0,
            title=f"batch {batch_idx + 1} of {self.batches}" if self.batches > 1 else None,
        )

    def number(self, batch: Any, batch_idx: int) -> int:
        """Number of a batch among all of the data's, on which the loggers' steps depend."""
        return batch_idx

"""Inversion and editing as a LightningModule whose only parameters are latents (paper, section 4).

``trainer.predict`` runs it: every batch of images is a problem of its own, so that processes can
share the images out without ever having to meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor
from tqdm import tqdm

from rosetta_lab.functional.schedule import ramp
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.invert.objective import Evaluation, Objective

Problem = tuple[LatentCode, Objective]
Listener = Callable[[int, Evaluation], None]


@dataclass
class Inverted:
    """What became of a batch of images.

    Attributes:
        images: (N, 3, R, R) in [0, 1].
        latent: (N, ...), in the space of the code.
        class_weights: (N, classes) or None.
        curves: part of the loss to its course (N, steps), unweighted; ``total`` is weighted.
        starts: the images of the latents that the optimisation began with, as ``images``.
    """

    images: Tensor
    latent: Tensor
    class_weights: Tensor | None
    curves: dict[str, Tensor]
    starts: Tensor | None = None


class InversionModule(L.LightningModule):
    """Optimises the latents of a batch of images through a fixed generator.

    The images do not influence each other: the loss is summed over them, and Adam works element by
    element, so a batch gives what single runs give. Where there is no gradient to speak of, Adam
    scales rounding errors up to steps of the learning rate: a latent that is right already moves
    by about ``lr`` and comes back as the learning rate falls. Trainers need
    ``inference_mode=False``.

    Args:
        pose: makes latents and an objective of a batch.
        steps: of the optimisation.
        lr: the schedule's peak, see :func:`rosetta_lab.functional.schedule.ramp`.
        rampup: share of the steps in which the learning rate rises.
        rampdown: share of the steps in which it falls.
        progress: show a progress bar over the steps.
        listeners: called after every step with its number and evaluation.

    Attributes:
        code, objective: the problem of the batch at hand.
        optimizer: of its latents.
    """

    code: LatentCode
    objective: Objective
    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        pose: Callable[[Any], Problem],
        steps: int = 500,
        lr: float = 0.1,
        rampup: float = 0.05,
        rampdown: float = 0.25,
        progress: bool = False,
        listeners: Sequence[Listener] = (),
    ) -> None:
        super().__init__()
        self.pose = pose
        self.steps, self.lr, self.rampup, self.rampdown = steps, lr, rampup, rampdown
        self.progress, self.listeners = progress, list(listeners)
        self.batches = 1

    def on_predict_start(self) -> None:
        self.batches = int(sum(self.trainer.num_predict_batches))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.code.parameters(), self.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: ramp((step + 0.5) / self.steps, self.rampup, self.rampdown)
        )
        return [optimizer], [schedule]

    def training_step(self) -> Evaluation:  # type: ignore[override]
        """Evaluate the present latents and leave the gradients with them."""
        evaluation = self.objective(self.code)
        self.code.zero_grad()
        evaluation.total.sum().backward()
        return evaluation

    @torch.inference_mode(False)
    @torch.enable_grad()
    def predict_step(self, batch: Any, batch_idx: int = 0) -> Inverted:
        """Solve the batch's problem."""
        self.code, self.objective = self.pose(batch)
        (self.optimizer,), (schedule,) = self.configure_optimizers()
        curves: dict[str, list[Tensor]] = {}
        with torch.no_grad():
            starts = self.code.images().clamp(0.0, 1.0)
        title = f"batch {batch_idx + 1} of {self.batches}" if self.batches > 1 else None
        bar = tqdm(range(self.steps), title, unit="step", leave=False, disable=not self.progress)
        for step in bar:
            evaluation = self.training_step()
            self.optimizer.step()
            parts = {name: loss.detach() for name, loss in evaluation.parts.items()}
            for name, loss in (parts | {"total": evaluation.total.detach()}).items():
                curves.setdefault(name, []).append(loss)
            for listener in self.listeners:
                listener(step, evaluation)
            schedule.step()
            if self.progress and step % 10 == 0:
                bar.set_postfix({name: f"{float(loss.mean()):.3f}" for name, loss in parts.items()})
        weights = self.code.class_weights
        with torch.no_grad():
            images = self.code.images().clamp(0.0, 1.0)
        return Inverted(
            images=images,
            latent=self.code.value.detach(),
            class_weights=None if weights is None else weights.detach(),
            curves={name: torch.stack(course, dim=1) for name, course in curves.items()},
            starts=starts,
        )

"""What the trainings of the embedded discriminative models share: optimiser and schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from rosetta_lab.data.fashion.scenes import Scenes


def warmup_cosine(progress: float, warmup: float) -> float:
    """Factor of the learning rate: linear up to 1 at ``warmup``, then a cosine down to 0.

    Args:
        progress: share of the training that is over, in [0, 1].
        warmup: share of the training spent warming up, in (0, 1).
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (progress - warmup) / (1.0 - warmup))))


class ScheduledModule(L.LightningModule):
    """A training of known length with AdamW, a linear warm-up and a cosine decay.

    Args:
        images: length of the training in images.
        batch_size: images of a step.
        learning_rate: the schedule's peak.
        weight_decay: of matrices and kernels; vectors (biases, norms) are not decayed.
        warmup: share of the training spent warming up.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        learning_rate: float,
        weight_decay: float = 0.05,
        warmup: float = 0.1,
    ) -> None:
        super().__init__()
        self.steps = math.ceil(images / batch_size)
        self.learning_rate, self.weight_decay, self.warmup = learning_rate, weight_decay, warmup

    @property
    def progress(self) -> float:
        """Share of the training that is over, in [0, 1]."""
        return min(1.0, self.global_step / self.steps)

    def optimized(self) -> Iterable[nn.Parameter]:
        """The parameters to train."""
        return (p for p in self.parameters() if p.requires_grad)

    def configure_optimizers(self) -> Any:
        parameters = list(self.optimized())
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(min(1.0, step / self.steps), self.warmup)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def training_step(self, batch: Scenes, batch_idx: int) -> Tensor:
        raise NotImplementedError

    def trained(self) -> nn.Module:
        """The network to ship."""
        raise NotImplementedError


def flip(images: Tensor) -> Tensor:
    """Mirror every image (N, C, H, W) with probability 1/2."""
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(chosen, images.flip(3), images)

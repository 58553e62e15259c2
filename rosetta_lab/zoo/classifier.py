"""Class-supervised training of an embedded model."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta_lab.data.fashion.scenes import Scenes
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.zoo.schedule import ScheduledModule, flip


class ClassifierModule(ScheduledModule):
    """Cross entropy with smoothed labels; mirrored scenes; small images at first.

    The first part of the training sees the scenes at a lower resolution, which costs half as much
    (progressive resizing, as in Howard's DAWNBench entry of 2018).

    Args:
        model: a random-weight model whose network's output is one logit per class.
        label_smoothing: share of the target spread over all classes.
        small_size: pixels of the scenes in the first part.
        small_until: share of the training that sees small scenes.
        **schedule: see :class:`ScheduledModule`.
    """

    def __init__(
        self,
        model: DiscriminativeModel,
        label_smoothing: float = 0.1,
        small_size: int = 48,
        small_until: float = 0.5,
        **schedule: Any,
    ) -> None:
        super().__init__(**schedule)
        self.network = model.network.train().requires_grad_(True)
        self.preprocess = model.preprocess
        self.label_smoothing = label_smoothing
        self.small_size, self.small_until = small_size, small_until

    def training_step(self, batch: Scenes, batch_idx: int) -> Tensor:
        images = self.preprocess(flip(batch.image))
        if self.progress < self.small_until:
            images = F.interpolate(images, size=self.small_size, mode="bilinear", antialias=True)
        logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits, batch.label, label_smoothing=self.label_smoothing)
        accuracy = (logits.argmax(dim=1) == batch.label).float().mean()
        self.log_dict({"loss": loss.detach(), "accuracy": accuracy}, prog_bar=True)
        return loss

    def trained(self) -> nn.Module:
        return self.network

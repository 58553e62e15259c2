"""Self-distillation without labels (DINO, Caron et al. 2021) of an embedded model."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta_lab.data.fashion_scenes import FashionScenes, Scenes
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.zoo.schedule import ScheduledModule, flip


class RenderedTwice(FashionScenes):
    """Batches of two independent renderings of the same garments, for views without labels.

    Place, size, colour and background differ between the two; they take the part of DINO's colour
    jitter and resized crops.
    """

    def __getitems__(self, indices: list[int]) -> list[Scenes]:  # type: ignore[override]
        """Two batches that show the same garments in the same order."""
        return [self.scenes(indices, seed=2 * self.seed + k) for k in range(2)]


def random_crop(images: Tensor, size: int) -> Tensor:
    """Cut a window out of every image (N, C, H, W), at the image's own scale.

    Returns:
        (N, C, size, size); each image's window has its own place.
    """
    n, _, height, width = images.shape
    top = torch.randint(height - size + 1, (n, 1, 1), device=images.device)
    left = torch.randint(width - size + 1, (n, 1, 1), device=images.device)
    steps = torch.arange(size, device=images.device)
    rows, columns = top + steps[:, None], left + steps  # (N, size, 1), (N, 1, size)
    item = torch.arange(n, device=images.device)[:, None, None]
    cut = images.permute(0, 2, 3, 1)[item, rows, columns]  # (N, size, size, C)
    return cut.permute(0, 3, 1, 2)  # (N, C, size, size), channels last in memory


class DINOHead(nn.Module):
    """Projection to the prototypes' scores: three linear layers, then normalised directions."""

    def __init__(self, features: int, prototypes: int, hidden: int = 512, bottleneck: int = 128):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(features, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.directions = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, F) to cosines (N, prototypes)."""
        return F.normalize(self.mlp(x), dim=1) @ F.normalize(self.directions, dim=1).T


def dino_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Cross entropy of every student view with every teacher view but itself.

    Args:
        student: log-probabilities (N, P) of the views, the teacher's views first.
        teacher: probabilities (N, P) of the global views.
    """
    pairs = product(enumerate(teacher), enumerate(student))
    terms = [-(p * q).sum(dim=1).mean() for (i, p), (j, q) in pairs if i != j]
    return torch.stack(terms).mean()


class DINOModule(ScheduledModule):
    """DINO with two renderings of each garment, cropped, as its views.

    Args:
        model: a random-weight model whose network's output is a feature vector.
        features: width of that vector.
        global_size: pixels of the two views that the teacher sees too.
        local_size: pixels of the two views that only the student sees.
        prototypes: width of the head's output.
        teacher_momentum: of the teacher's moving average at first; a cosine takes it to 1.
        student_temperature: of the student's softmax.
        teacher_temperature: of the teacher's, lower: sharpening.
        centre_momentum: of the running mean that is taken from the teacher's scores.
        **schedule: see :class:`ScheduledModule`.
    """

    def __init__(
        self,
        model: DiscriminativeModel,
        features: int,
        global_size: int = 48,
        local_size: int = 32,
        prototypes: int = 1024,
        teacher_momentum: float = 0.99,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        centre_momentum: float = 0.9,
        **schedule: Any,
    ) -> None:
        super().__init__(**schedule)
        self.preprocess = model.preprocess
        backbone = model.network.train().requires_grad_(True)
        self.student = nn.Sequential(backbone, DINOHead(features, prototypes))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.global_size, self.local_size = global_size, local_size
        self.teacher_momentum, self.centre_momentum = teacher_momentum, centre_momentum
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(prototypes))

    def optimized(self) -> Iterable[nn.Parameter]:
        return self.student.parameters()

    def training_step(self, batch: Sequence[Scenes], batch_idx: int) -> Tensor:  # type: ignore[override]
        images = torch.cat([flip(self.preprocess(scenes.image)) for scenes in batch])  # (2N, ...)
        large, small = random_crop(images, self.global_size), random_crop(images, self.local_size)
        with torch.no_grad():
            scores = self.teacher(large)  # (2N, P)
            targets = ((scores - self.centre) / self.teacher_temperature).softmax(dim=1)
            self.centre.lerp_(scores.mean(dim=0), 1.0 - self.centre_momentum)
        guesses = [
            guess
            for views in (large, small)
            for guess in (self.student(views) / self.student_temperature).log_softmax(1).chunk(2)
        ]
        loss = dino_loss(guesses, targets.chunk(2))
        usage = targets.mean(dim=0)
        self.log_dict(
            {
                "loss": loss.detach(),
                # Both should stay away from 0 and from log(prototypes): collapse to one or to all.
                "entropy_of_mean": -(usage * usage.clamp(min=1e-9).log()).sum(),
                "entropy": -(targets * targets.clamp(min=1e-9).log()).sum(dim=1).mean(),
            },
            prog_bar=True,
        )
        return loss

    def on_train_batch_end(self, *args: Any) -> None:
        self.update_teacher()

    @torch.no_grad()
    def update_teacher(self) -> None:
        """Move the teacher towards the student."""
        remaining = 0.5 * (1.0 + math.cos(math.pi * self.progress))
        step = (1.0 - self.teacher_momentum) * remaining
        for slow, fast in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            slow.lerp_(fast, step)

    def trained(self) -> nn.Module:
        network: nn.Module = self.teacher[0]
        return network

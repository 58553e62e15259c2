"""Self-distillation without labels (DINO, Caron et al. 2021) of an embedded model.

Three things differ from the paper, so that minutes on a CPU suffice: the views of a garment are
two renderings of it, centring is by Sinkhorn-Knopp (as in DINOv2), and a contrastive term between
student and teacher (as in MoCo v3) gets the training off the ground; it fades out.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta_lab.data.fashion.scenes import FashionScenes, Scenes
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.zoo.schedule import ScheduledModule, flip


class RenderedTwice(FashionScenes):
    """Batches of two independent renderings of the same garments, for views without labels.

    Place, size, colour and background differ between the two; they take the part of DINO's colour
    jitter and resized crops. ``spread`` below 1 makes them alike, see :meth:`scenes`.
    """

    spread = 1.0

    def __getitems__(self, indices: list[int]) -> list[Scenes]:  # type: ignore[override]
        """Two batches that show the same garments in the same order."""
        return [self.scenes(indices, 2 * self.seed + k, self.spread) for k in range(2)]


class DINOHead(nn.Module):
    """Projection of features to a direction, and its cosines with the prototypes."""

    def __init__(self, features: int, prototypes: int, hidden: int = 512, width: int = 128) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, width),
            nn.BatchNorm1d(width, affine=False),
        )
        self.prototypes = nn.Parameter(torch.randn(prototypes, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, F) to directions (N, width) and cosines (N, prototypes)."""
        directions = F.normalize(self.project(x), dim=1)
        return directions, directions @ F.normalize(self.prototypes, dim=1).T


def sinkhorn(scores: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Sharpened probabilities that use all prototypes equally (Caron et al. 2020, SwAV).

    Args:
        scores: (N, P).
        temperature: lower is sharper.
        iterations: alternations between equal prototypes and probabilities.

    Returns:
        (N, P); rows sum to 1, columns to about N / P.
    """
    weights = ((scores - scores.max()) / temperature).exp()
    for _ in range(iterations):
        weights = weights / weights.sum(dim=0).clamp(min=1e-12)
        weights = weights / weights.sum(dim=1, keepdim=True)
    return weights


def distillation_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Cross entropy of either view's student with the other view's teacher.

    Args:
        student: log-probabilities (N, P) of the two views.
        teacher: probabilities (N, P) of the two views.
    """
    pairs = zip(student, reversed(teacher), strict=True)
    return torch.stack([-(p * q).sum(dim=1).mean() for q, p in pairs]).mean()


def agreement_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], temperature: float
) -> Tensor:
    """InfoNCE: find a garment's other view, as the teacher sees it, among the batch's.

    Args:
        student: directions (N, D) of the two views.
        teacher: directions (N, D) of the two views.
        temperature: of the softmax over the batch.
    """
    truth = torch.arange(len(student[0]), device=student[0].device)
    pairs = zip(student, reversed(teacher), strict=True)
    return torch.stack([F.cross_entropy(a @ b.T / temperature, truth) for a, b in pairs]).mean()


class DINOModule(ScheduledModule):
    """DINO with two renderings of each garment as its views; small images at first.

    Args:
        model: a random-weight model whose network's output is a feature vector.
        features: width of that vector.
        prototypes: width of the head's output.
        teacher_momentum: of the teacher's moving average, at first and at last; a cosine between.
            It stays below 1, so that the teacher still gets used to the large scenes.
        student_temperature: of the student's softmax.
        teacher_temperature: of the teacher's, lower: sharpening.
        contrast: weight at first of :func:`agreement_loss`; fades out linearly.
        small_size: pixels of the scenes in the first part.
        small_until: share of the training that sees small scenes.
        spread_until: share of the training over which place, size and colours grow from a batch's
            common ones to their full range; 0: full range from the start. A transformer does not
            get off the ground without it.
        **schedule: see :class:`ScheduledModule`.
    """

    def __init__(
        self,
        model: DiscriminativeModel,
        features: int,
        prototypes: int = 1024,
        teacher_momentum: tuple[float, float] = (0.9, 0.99),
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        contrast: float = 1.0,
        small_size: int = 32,
        small_until: float = 0.9,
        spread_until: float = 0.0,
        **schedule: Any,
    ) -> None:
        super().__init__(**schedule)
        self.preprocess = model.preprocess
        backbone = model.network.train().requires_grad_(True)
        self.student = nn.Sequential(backbone, DINOHead(features, prototypes))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.teacher_momentum, self.contrast = teacher_momentum, contrast
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.small_size, self.small_until = small_size, small_until
        self.spread_until = spread_until

    def optimized(self) -> Iterable[nn.Parameter]:
        return self.student.parameters()

    def training_step(self, batch: Sequence[Scenes], batch_idx: int) -> Tensor:  # type: ignore[override]
        images = torch.cat([flip(self.preprocess.normalize(scenes.image)) for scenes in batch])
        images = images.contiguous(memory_format=torch.channels_last)
        directions, scores = (x.chunk(2) for x in self.student(images))
        with torch.no_grad():
            seen, targets = (x.chunk(2) for x in self.teacher(images))
            targets = [sinkhorn(x, self.teacher_temperature) for x in targets]
        guesses = [(x / self.student_temperature).log_softmax(dim=1) for x in scores]
        distillation = distillation_loss(guesses, targets)
        agreement = agreement_loss(directions, seen, self.student_temperature)
        found = (directions[0] @ seen[1].T).argmax(dim=1)
        right = found == torch.arange(len(found), device=found.device)
        self.log_dict(
            {
                "distillation": distillation.detach(),
                "agreement": agreement.detach(),
                "accuracy": right.float().mean(),  # of finding the other view in the batch
            },
            prog_bar=True,
        )
        return distillation + self.contrast * (1.0 - self.progress) * agreement

    def on_train_batch_start(self, *args: Any) -> None:
        small = self.progress < self.small_until
        dataset: Any = self.trainer.train_dataloader.dataset  # type: ignore[union-attr]
        dataset.size = self.small_size if small else self.preprocess.size[0]
        dataset.spread = min(1.0, self.progress / self.spread_until) if self.spread_until else 1.0

    def on_train_batch_end(self, *args: Any) -> None:
        self.update_teacher()

    @torch.no_grad()
    def update_teacher(self) -> None:
        """Move the teacher towards the student."""
        first, last = self.teacher_momentum
        step = 1.0 - (last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * self.progress)))
        for slow, fast in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            slow.lerp_(fast, step)

    def trained(self) -> nn.Module:
        network: nn.Module = self.teacher[0]
        return network

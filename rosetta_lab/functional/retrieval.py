"""Nearest images by their vectors, and how many of them are of the right kind."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 512  # queries at a time
Relevant = Callable[[Tensor], Tensor]  # numbers of queries (Q,) to who is right for each (Q, N)


def directions(vectors: Tensor) -> Tensor:
    """Vectors (N, D) less their mean, every dimension over its deviation, of length 1.

    Dimensions that never vary are left out.
    """
    values = vectors.double() - vectors.double().mean(dim=0)
    spread = values.square().mean(dim=0).sqrt()
    some = spread > torch.finfo(torch.float32).eps * vectors.abs().amax(dim=0)
    return F.normalize(values[:, some] / spread[some], dim=1).float()


def nearest_images(unit: Tensor, count: int) -> Tensor:
    """The images nearest to each by the cosine, best first, none itself: (N, count) long.

    Args:
        unit: of :func:`directions` (N, D).
        count: 1 to N - 1.
    """
    found = []
    for start in range(0, len(unit), ROWS):
        cosine = unit[start : start + ROWS] @ unit.t()
        own = torch.arange(len(cosine))
        cosine[own, start + own] = -torch.inf
        found.append(cosine.topk(count, dim=1).indices)
    return torch.cat(found)


def precision(near: Tensor, relevant: Relevant) -> Tensor:
    """Share of every image's nearest ones that are right (N,).

    Args:
        near: of :func:`nearest_images` (N, k).
        relevant: who is right.
    """
    found = []
    for start in range(0, len(near), ROWS):
        rows = near[start : start + ROWS]
        right = relevant(torch.arange(start, start + len(rows)))
        found.append(right.gather(1, rows).float().mean(dim=1))
    return torch.cat(found)


def base_rate(images: int, relevant: Relevant) -> Tensor:
    """Share of all other images that are right for every image (N,): precision by chance."""
    found = []
    for start in range(0, images, ROWS):
        queries = torch.arange(start, min(start + ROWS, images))
        right = relevant(queries).float()
        right[torch.arange(len(queries)), queries] = 0.0
        found.append(right.sum(dim=1) / (images - 1))
    return torch.cat(found)

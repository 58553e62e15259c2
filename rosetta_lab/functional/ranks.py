"""Ranks of activations in a sample of them, from which Spearman's correlation follows."""

from __future__ import annotations

import torch
from torch import Tensor

VALUES = 2**18  # at a time


def edges_of(sample: Tensor) -> Tensor:
    """Where the ranks of :func:`mid_ranks` change.

    Args:
        sample: some values of every unit (C, S), in any order.

    Returns:
        (C, 2 S) in float32, ascending: every value, and the next number that there is after it.
    """
    sample = sample.float()
    after = torch.nextafter(sample, torch.full_like(sample, torch.inf))
    return torch.cat([sample, after], dim=1).sort(dim=1).values


def mid_ranks(maps: Tensor, edges: Tensor) -> Tensor:
    """The share of a unit's sample that lies below each value, with half of what is equal to it.

    That is the empirical distribution function with ties in the middle, as Spearman's correlation
    has them: the zeros of a ReLU have one rank. A value is at or above as many edges as there are
    sampled values below it and at most as large, together.

    Args:
        maps: (N, C, H, W), any floating type.
        edges: of every channel (C, 2 S), see :func:`edges_of`.

    Returns:
        (N, C, H, W) in [0, 1], float32, channels-last in memory.
    """
    count, channels, height, width = maps.shape
    ranks = torch.empty(count, height, width, channels, device=maps.device)
    step = max(1, VALUES // (count * height * width))
    for first in range(0, channels, step):
        part = slice(first, first + step)
        values = maps[:, part].transpose(0, 1).flatten(1).float().contiguous()  # (c, N H W)
        found = torch.searchsorted(edges[part], values, right=True, out_int32=True)
        ranks[..., part] = found.view(-1, count, height, width).permute(1, 2, 3, 0)
    return ranks.div_(edges.shape[1]).permute(0, 3, 1, 2)

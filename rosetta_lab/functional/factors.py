"""What units tell of factors that images are known to have: class, hue, place, size."""

from __future__ import annotations

import torch
from torch import Tensor


def in_groups(values: Tensor, groups: int) -> Tensor:
    """Numbers (N,) in groups of nearly equal size, by rank: (N,) long."""
    rank = values.argsort(stable=True).argsort(stable=True)
    return rank * groups // len(values)


def correlation_ratio(activations: Tensor, groups: Tensor) -> Tensor:
    """Share of each unit's variance that is between groups of images, less what chance puts there.

    With n images in k groups that is 1 - (n - 1) / (n - k) times the share within groups (Kelley's
    epsilon squared); around 0 for a unit that tells nothing of them, whatever their number. It asks
    for no order, so that hues, which go around a circle, and classes can be compared with places.

    Args:
        activations: of every image and unit (N, U).
        groups: of every image (N,) long, two at least.

    Returns:
        (U,), at most 1; 0 for constant units.
    """
    values = activations.double()
    values = values - values.mean(dim=0)
    _, place, count = groups.unique(return_inverse=True, return_counts=True)
    sums = values.new_zeros(len(count), values.shape[1]).index_add_(0, place, values)
    between = (sums.square() / count[:, None]).sum(dim=0)
    total = values.square().sum(dim=0)
    some = total > torch.finfo(values.dtype).tiny
    within = 1.0 - torch.where(some, between / torch.where(some, total, 1.0), 0.0)
    spare = (len(values) - 1) / max(1, len(values) - len(count))
    return torch.where(some, 1.0 - spare * within, 0.0).float()


def superiority(values: Tensor, chosen: Tensor) -> float:
    """Probability that a chosen value is larger than one of the others: the area under the ROC.

    Args:
        values: (U,).
        chosen: which of them (U,), bool.

    Returns:
        In [0, 1], ties count half; 0.5 is chance, NaN where all or none are chosen.
    """
    one, other = values[chosen].double(), values[~chosen].double().sort().values
    if not len(one) or not len(other):
        return float("nan")
    below = torch.searchsorted(other, one) + torch.searchsorted(other, one, right=True)
    return float(below.double().mean() / (2 * len(other)))


def shuffled_superiority(
    values: Tensor, chosen: Tensor, strata: Tensor, draws: int, seed: int = 0
) -> tuple[float, float]:
    """:func:`superiority` where others are chosen at random, as many of every stratum.

    Args:
        values: (U,).
        chosen: which of them (U,), bool.
        strata: of every value, such as its layer (U,) long.
        draws: of the others.
        seed: of the draws.

    Returns:
        The mean, and the share of draws, with the choice itself, that reach its superiority.
    """
    source = torch.Generator().manual_seed(seed)
    found, sums, reached = superiority(values, chosen), 0.0, 1
    parts = [(strata == stratum).nonzero().flatten() for stratum in strata.unique()]
    for _ in range(draws):
        other = torch.zeros_like(chosen)
        for part in parts:
            count = int(chosen[part].sum())
            other[part[torch.randperm(len(part), generator=source)[:count]]] = True
        drawn = superiority(values, other)
        sums, reached = sums + drawn, reached + int(drawn >= found)
    return sums / draws, reached / (draws + 1)

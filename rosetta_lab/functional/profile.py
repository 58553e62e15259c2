"""Which classes something goes with, and what classes that mean nothing would show."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot


class Profile(NamedTuple):
    """How far above the average something is on the images of a class.

    Attributes:
        labels: that occur, ascending (K,).
        means: of standardised values, by class (K, C).
        chance: what the highest class reaches where labels are shuffled, at most, in so many of
            the shuffles as ``level`` says (C,).
    """

    labels: Tensor
    means: Tensor
    chance: Tensor


def class_profile(
    values: Tensor, labels: Tensor, draws: int = 200, level: float = 0.95, seed: int = 0
) -> Profile:
    """The profile of every column.

    Args:
        values: of images (E, C).
        labels: of the same (E,).
        draws: shuffles of the labels.
        level: share of the shuffles whose highest class stays below ``chance``.
        seed: of the shuffles.

    Returns:
        In standard deviations of a column over the images; 0 for one that never varies.
    """
    values = values.double()
    spread = values.std(dim=0, correction=0)
    scale = torch.where(spread > 0, spread, torch.inf)
    standard = (values - values.mean(dim=0)) / scale  # (E, C)
    known, places = labels.unique(return_inverse=True)
    members = one_hot(places).double()  # (E, K)
    average = (members / members.sum(dim=0)).t()  # (K, E)
    random = torch.Generator().manual_seed(seed)
    highest = [
        (average @ standard[torch.randperm(len(standard), generator=random)]).amax(dim=0)
        for _ in range(draws)
    ]
    return Profile(known, average @ standard, torch.stack(highest).quantile(level, dim=0))

"""How alike two models see the same images: linear CKA and mutual nearest neighbours, with a null.

Both scores compare a matrix of one model with a matrix of the other, image by image: Gram matrices,
or who is a neighbour of whom. Neither is 0 for models that have nothing to do with each other, and
both grow with the number of units and shrink with that of the images. So they are held against what
they are where the images of one model are in another order (Groeger et al., arXiv 2602.14486).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Alignment(NamedTuple):
    """A score in [0, 1] beside what it is where images are permuted.

    Attributes:
        score: of the images as they are.
        chance: mean of the permuted ones.
        threshold: what at most a share ``alpha`` of them, with the score itself, exceeds.
        p: share of the permuted scores, with the score itself, that are as high.
        calibrated: how far the score is from the threshold (0, also below it) to 1.
    """

    score: float
    chance: float
    threshold: float
    p: float
    calibrated: float


def standardised(activations: Tensor) -> Tensor:
    """Units' activations (N, U) less their means, over their deviations; 0 for constant units."""
    values = activations.double()
    values = values - values.mean(dim=0)
    spread = values.square().mean(dim=0).sqrt()
    some = spread > torch.finfo(torch.float32).eps * activations.abs().amax(dim=0)
    return torch.where(some, values / torch.where(some, spread, 1.0), 0.0).float()


def gram(values: Tensor) -> Tensor:
    """Products of every two of N images (N, N), of length 1.

    <K, L> of two such matrices is linear CKA (Kornblith et al., 2019, Eq. 3) where the values are
    centred.

    Args:
        values: (N, U), as :func:`standardised` gives them.
    """
    products = values @ values.t()
    found: Tensor = products / products.norm().clamp(min=torch.finfo(products.dtype).tiny)
    return found


def neighbourhood(values: Tensor, k: int) -> Tensor:
    """Which k images are nearest to each by the cosine (N, N), each 1 / sqrt(N k), others 0.

    <A, B> of two such matrices is the mutual k-nearest-neighbour score of Huh et al. (2024): the
    share of an image's neighbours in one model that are its neighbours in the other.

    Args:
        values: (N, U).
        k: 1 to N - 1.
    """
    unit: Tensor = torch.nn.functional.normalize(values, dim=1)
    cosine = (unit @ unit.t()).fill_diagonal_(-torch.inf)
    near = torch.zeros_like(cosine)
    near.scatter_(1, cosine.topk(k, dim=1).indices, (len(values) * k) ** -0.5)
    return near


def aligned(
    first: Tensor, second: Tensor, permutations: int, seed: int = 0, alpha: float = 0.05
) -> Alignment:
    """<A, B> against <A, P B P^T> of random permutations P.

    Args:
        first: of one model, see :func:`gram` and :func:`neighbourhood` (N, N).
        second: of the other (N, N).
        permutations: how many.
        seed: of these.
        alpha: share of permuted scores that may exceed the threshold.
    """
    source = torch.Generator().manual_seed(seed)
    score = float((first * second).sum())
    chance = []
    for _ in range(permutations):
        order = torch.randperm(len(second), generator=source)
        chance.append(float((first * second[order][:, order]).sum()))
    rank = math.ceil((1.0 - alpha) * (permutations + 1))
    threshold = sorted([*chance, score])[rank - 1]
    reached = 1 + sum(value >= score for value in chance)
    above = max(0.0, score - threshold) / max(1.0 - threshold, torch.finfo(torch.float32).eps)
    return Alignment(
        score, sum(chance) / permutations, threshold, reached / (permutations + 1), above
    )

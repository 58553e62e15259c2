"""Pearson correlation from sums (paper, Eq. 2)."""

from __future__ import annotations

import torch
from torch import Tensor

# A unit whose spread is below this fraction of its mean shows rounding, not a response.
CONSTANT_UNIT = 1e-6


def variance(count: Tensor | float, sums: Tensor, squares: Tensor, shift: Tensor) -> Tensor:
    """Population variance from sums of shifted values; exactly 0 for constant units.

    Args:
        count: number of values behind each sum.
        sums: sum of ``x - shift`` (..., C), float64.
        squares: sum of ``(x - shift)**2`` (..., C), float64.
        shift: (C,).

    Returns:
        (..., C), float64. A spread below ``CONSTANT_UNIT`` times the mean counts as none.
    """
    mean = sums / count
    var = (squares / count - mean.square()).clamp(min=0.0)
    floor = ((mean + shift).square() * CONSTANT_UNIT**2).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.where(var > floor, var, torch.zeros_like(var))


def pearson(
    count: float,
    products: Tensor,
    sum_a: Tensor,
    sum_b: Tensor,
    var_a: Tensor,
    var_b: Tensor,
) -> Tensor:
    """Correlation table from sums.

    Args:
        count: values per unit (images times positions).
        products: sum of a*b (A, B), float64, of the same shifted values as the sums.
        sum_a: (A,).
        sum_b: (B,).
        var_a: population variance (A,).
        var_b: (B,).

    Returns:
        (A, B) in [-1, 1], float64; 0 where either unit is constant.
    """
    scale_a, scale_b = (
        torch.where(var > 0, var.rsqrt(), torch.zeros_like(var)) for var in (var_a, var_b)
    )
    # In place from here on: tables are large, and a fresh one costs more than its arithmetic.
    r = torch.addr(products, sum_a, sum_b, alpha=-1.0 / count)  # count times the covariance
    return r.mul_((scale_a / count)[:, None]).mul_(scale_b).clamp_(-1.0, 1.0)

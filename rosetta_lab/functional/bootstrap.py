"""Intervals of means by the percentile bootstrap (Efron and Tibshirani, 1993, chapter 13)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_AT_A_TIME = 4_000_000  # drawn numbers that are in memory together


class Means(NamedTuple):
    """Mean of every column and its interval, (C,) each, float64."""

    mean: Tensor
    low: Tensor
    high: Tensor


def bootstrap_means(
    values: Tensor, resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> Means:
    """Mean of every column with a confidence interval.

    All columns share the drawn rows, so intervals of differences of columns are paired ones.

    Args:
        values: (N, C); rows are what is drawn, with replacement.
        resamples: how often N rows are drawn.
        level: share of the resampled means inside the interval, half of the rest on each side.
        seed: of the drawing.
    """
    columns = values.double()
    count = len(columns)
    random = np.random.default_rng(seed)
    chunk = max(1, _AT_A_TIME // count)
    found = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        rows = torch.from_numpy(random.integers(count, size=(size, count)))
        # How often each row was drawn: means become one matrix product, whatever the columns.
        offsets = torch.arange(size)[:, None] * count
        drawn = (rows + offsets).flatten().bincount(minlength=size * count).view(size, count)
        found.append(drawn.double() @ columns / count)
    means = torch.cat(found)  # (resamples, C)
    tail = (1.0 - level) / 2.0
    low, high = torch.quantile(means, torch.tensor([tail, 1.0 - tail], dtype=means.dtype), dim=0)
    return Means(columns.mean(dim=0), low, high)

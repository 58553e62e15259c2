"""Intervals of means by the percentile bootstrap (Efron and Tibshirani, 1993, chapter 13)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

_AT_A_TIME = 4_000_000  # drawn values that are in memory together


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
    columns = values.double().cpu()
    mean = columns.mean(dim=0)
    if len(columns) == 1:  # scipy asks for two rows; of one there is nothing else to draw
        return Means(mean, mean, mean)
    found = stats.bootstrap(
        (columns.numpy(),),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _AT_A_TIME // columns.numel()),
        axis=0,  # scipy draws rows once for all columns
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = (torch.from_numpy(end) for end in found.confidence_interval)
    return Means(mean, low, high)

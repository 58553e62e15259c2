"""Slow, independent references: what the fast code has to agree with."""

from __future__ import annotations

import itertools

import numpy as np
import torch.nn.functional as F
from torch import Tensor


def pooled_correlation(rows: list[Tensor], columns: list[Tensor]) -> np.ndarray:
    """Float64, two passes, every pair of layers really upsampled to the larger size.

    Args:
        rows: one (N, C, H, W) per layer.
        columns: likewise.
    """
    blocks = []
    for a, b in itertools.product(rows, columns):
        size = (max(a.shape[2], b.shape[2]), max(a.shape[3], b.shape[3]))
        vectors = []
        for maps in (a, b):
            up = F.interpolate(maps.double(), size=size, mode="bilinear", align_corners=False)
            flat = up.transpose(0, 1).flatten(1).numpy()  # (C, N * H * W)
            flat = flat - flat.mean(axis=1, keepdims=True)
            norm = np.linalg.norm(flat, axis=1, keepdims=True)
            vectors.append(np.divide(flat, norm, out=np.zeros_like(flat), where=norm > 1e-9))
        blocks.append(vectors[0] @ vectors[1].T)
    width = len(columns)
    lines = [np.concatenate(blocks[i * width : (i + 1) * width], axis=1) for i in range(len(rows))]
    return np.concatenate(lines, axis=0)


def brute_force_buddies(table: np.ndarray, k_rows: int, k_columns: int) -> set[tuple[int, int]]:
    """Mutual nearest neighbours by sorting every row and column; ties go to the lower index."""
    pairs = set()
    for j in range(table.shape[0]):
        for k in range(table.shape[1]):
            near_j = sorted(range(table.shape[1]), key=lambda c: (-table[j, c], c))[:k_rows]
            near_k = sorted(range(table.shape[0]), key=lambda r: (-table[r, k], r))[:k_columns]
            if k in near_j and j in near_k:
                pairs.add((j, k))
    return pairs

"""Bilinear interpolation as matrices, and the adjoint that makes upsampling unnecessary.

Interpolation is linear: a map A (a_h, a_w) brought to (T_h, T_w) is U_h A U_w^T with one matrix per
axis. Sums over the upsampled map are therefore sums over the map itself with other weights, and the
product of two maps of different size can be taken on the smaller one's grid.

Maps are channels-last here, (N, H, W, C): an axis is then reduced by a product with C or W * C
columns, and networks that run channels-last (vision transformers always do) need no transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


@lru_cache(maxsize=1024)
def interpolation_matrix(source: int, target: int) -> Tensor:
    """1-D bilinear interpolation (align_corners=False) as a matrix (target, source), float64.

    Its rows sum to 1. For ``target == source`` it is the identity.
    """
    eye = torch.eye(source, dtype=torch.float64)[:, None]  # (source, 1, source)
    rows = F.interpolate(eye, size=target, mode="linear", align_corners=False)
    return rows[:, 0].t().contiguous()  # (target, source)


def larger(a: Size, b: Size) -> Size:
    """The larger size per axis: where two maps are compared (paper, section 3.1)."""
    return max(a[0], b[0]), max(a[1], b[1])


def smaller(a: Size, b: Size) -> Size:
    """The smaller size per axis: where their product is computed."""
    return min(a[0], b[0]), min(a[1], b[1])


@lru_cache(maxsize=1024)
def _adjoint(grid: int, source: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return interpolation_matrix(grid, source).t().to(device, dtype)  # (grid, source)


def touched(grid: int, source: int, start: int, stop: int) -> tuple[int, int]:
    """Which positions ``low:high`` of a grid the positions ``start:stop`` are interpolated from."""
    first, last = ((x + 0.5) * grid / source - 0.5 for x in (start, stop - 1))
    return max(0, int(first)), min(grid, max(0, int(last)) + 2)


def add_reduced_rows(maps: Tensor, start: int, height: int, into: Tensor) -> None:
    """The adjoint of the interpolation along H, for a band of rows.

    Interpolation is local, so a band takes part in a few rows of the result only.

    Args:
        maps: rows ``start`` and following of maps that are ``height`` tall (N, rows, W, C).
        start: the first of these rows.
        height: of the whole maps.
        into: the band's share is added to it (N, grid, W, C).
    """
    stop = start + maps.shape[1]
    if into.shape[1] == height:
        into[:, start:stop] = maps
        return
    low, high = touched(into.shape[1], height, start, stop)
    adjoint = _adjoint(into.shape[1], height, maps.dtype, maps.device)[low:high, start:stop]
    few = into[:, low:high].view(len(into), high - low, -1)  # (N, few, W * C)
    few.baddbmm_(adjoint.expand(len(maps), -1, -1), maps.flatten(2))


def reduce_columns(maps: Tensor, grid: int) -> Tensor:
    """The adjoint of the interpolation along W: maps (N, H, W, C) to (N, H, grid, C)."""
    count, height, width, _ = maps.shape
    if grid == width:
        return maps
    adjoint = _adjoint(grid, width, maps.dtype, maps.device).expand(count * height, -1, -1)
    return torch.bmm(adjoint, maps.flatten(0, 1)).view(count, height, grid, -1)


@dataclass(frozen=True)
class SumWeights:
    """Weights of the sums over maps as if they had been interpolated to several target sizes.

    With U the interpolation matrix of an axis, the sum is ``u_h^T A u_w`` for ``u = U^T 1`` and the
    sum of squares is ``<A, M_h A M_w>`` for ``M = U^T U``, which has three diagonals: every product
    of neighbours is computed once, whatever the number of targets.

    Attributes:
        rows: u of every target's height (T, H); its diagonal of M (T, H); the one above (T, H - 1).
        columns: the same along W.
        down: whether any target is taller than the maps; otherwise the last of ``rows`` is zero.
        across: whether any target is wider.
    """

    rows: tuple[Tensor, Tensor, Tensor]
    columns: tuple[Tensor, Tensor, Tensor]
    down: bool
    across: bool


@lru_cache(maxsize=256)
def sum_weights(
    size: Size, targets: tuple[Size, ...], dtype: torch.dtype, device: torch.device
) -> SumWeights:
    """The weights for maps of a size: of rows in float64, of columns in the maps' ``dtype``."""

    def axis(source: int, goals: Sequence[int], kind: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        matrices = [interpolation_matrix(source, goal) for goal in goals]
        grams = [u.t() @ u for u in matrices]
        sums = torch.stack([u.sum(dim=0) for u in matrices])
        centre = torch.stack([gram.diagonal() for gram in grams])
        above = torch.stack([gram.diagonal(1) for gram in grams])
        return sums.to(device, kind), centre.to(device, kind), above.to(device, kind)

    heights, widths = zip(*targets, strict=True)
    return SumWeights(
        rows=axis(size[0], heights, torch.float64),
        columns=axis(size[1], widths, dtype),
        down=any(height > size[0] for height in heights),
        across=any(width > size[1] for width in widths),
    )


def add_upsampled_sums(
    maps: Tensor, start: int, rows: int, weights: SumWeights, into: Tensor
) -> None:
    """Sums and sums of squares of maps as if they had been interpolated, for a band of rows.

    Args:
        maps: rows ``start`` and following (N, rows or rows + 1, W, C): with the next band's first
            row where there is one.
        start: the first of these rows.
        rows: how many of them are the band's own.
        weights: of the maps' size and T target sizes.
        into: sums and sums of squares over images and positions are added (2, T, C), float64.
    """

    def weighted(values: Tensor, row_weights: Tensor, column_weights: Tensor) -> Tensor:
        count, height = values.shape[:2]
        columns = column_weights.expand(count * height, -1, -1)  # (N * rows, T, W)
        lines = torch.bmm(columns, values.flatten(0, 1)).double()  # (N * rows, T, C)
        lines = lines.unflatten(0, (count, height)).sum(dim=0)  # (rows, T, C)
        return torch.einsum("th,htc->tc", row_weights[:, start : start + height], lines)

    own = maps[:, :rows]
    (u_h, m_h, n_h), (u_w, m_w, n_w) = weights.rows, weights.columns
    into[0] += weighted(own, u_h, u_w)
    into[1] += weighted(own.square(), m_h, m_w)
    if weights.across:
        into[1] += 2 * weighted(own[:, :, :-1] * own[:, :, 1:], m_h, n_w)
    above, below = maps[:, :-1], maps[:, 1:]
    if weights.down:
        into[1] += 2 * weighted(above * below, n_h, m_w)
    if weights.across and weights.down:
        diagonal = above[:, :, :-1] * below[:, :, 1:] + above[:, :, 1:] * below[:, :, :-1]
        into[1] += 2 * weighted(diagonal, n_h, n_w)

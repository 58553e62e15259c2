"""Bilinear interpolation as matrices, and the adjoint that makes upsampling unnecessary.

Interpolation is linear: a map A (a_h, a_w) brought to (T_h, T_w) is U_h A U_w^T with one matrix per
axis. Sums over the upsampled map are therefore sums over the map itself with other weights, and the
product of two maps of different size can be taken on the smaller one's grid (see `reduce_maps`).
"""

from __future__ import annotations

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


def apply_axes(maps: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    """``rows @ map @ columns^T`` for maps (..., H, W); None leaves an axis as it is."""
    if columns is not None:
        maps = maps @ columns.to(maps).t()
    if rows is not None:
        maps = rows.to(maps) @ maps
    return maps


def _matrix(source: int, target: int) -> Tensor | None:
    return None if source == target else interpolation_matrix(source, target)


def resize_maps(maps: Tensor, size: Size) -> Tensor:
    """Bilinear interpolation of maps (..., H, W) to ``size``, no antialiasing."""
    height, width = maps.shape[-2:]
    return apply_axes(maps, _matrix(height, size[0]), _matrix(width, size[1]))


def reduce_maps(maps: Tensor, size: Size) -> Tensor:
    """The adjoint of :func:`resize_maps`: maps (..., H, W) to a smaller grid ``size``.

    For any B of that size, ``(A * resize_maps(B, (H, W))).sum() == (reduce_maps(A) * B).sum()``.
    """
    height, width = maps.shape[-2:]
    rows, columns = _matrix(size[0], height), _matrix(size[1], width)
    return apply_axes(
        maps, None if rows is None else rows.t(), None if columns is None else columns.t()
    )


def upsampled_sums(maps: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Sum and sum of squares of every map as if it had been interpolated to ``size``.

    With U the interpolation matrix, the sum is ``u_h^T A u_w`` for ``u = U^T 1`` and the sum of
    squares is ``<A, (U_h^T U_h) A (U_w^T U_w)>``.

    Args:
        maps: (N, C, H, W).
        size: at least (H, W) per axis.

    Returns:
        Sums over images and positions (C,) and (C,), in float64.
    """
    height, width = maps.shape[-2:]
    if (height, width) == size:
        return _total(maps.sum(dim=(2, 3))), _total(maps.square().sum(dim=(2, 3)))
    rows, columns = interpolation_matrix(height, size[0]), interpolation_matrix(width, size[1])
    weight = torch.outer(rows.sum(dim=0), columns.sum(dim=0)).to(maps)  # (H, W)
    weighted = apply_axes(
        maps,
        None if height == size[0] else rows.t() @ rows,
        None if width == size[1] else columns.t() @ columns,
    )
    return _total((maps * weight).sum(dim=(2, 3))), _total((maps * weighted).sum(dim=(2, 3)))


def _total(per_image: Tensor) -> Tensor:
    """(N, C) to (C,): the sum over images in float64."""
    return per_image.double().sum(dim=0)

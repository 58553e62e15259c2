"""One pass over activation maps that leaves what correlations need, and is small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rosetta_lab.functional.resize import (
    Size,
    add_reduced_rows,
    add_upsampled_sums,
    reduce_columns,
    sum_weights,
)

# Values at a time. On a CPU a tile and what is computed from it stay in the cache, and the
# allocator reuses their memory, where fresh pages would cost more than the arithmetic; a GPU wants
# few and large kernels.
TILE = {"cpu": 2**19}
LARGE_TILE = 2**27


class Condensed(NamedTuple):
    """What is left of maps (N, C, H, W).

    Attributes:
        grids: for every grid the maps carried to it (N, h, w, C), float32.
        sums: sums and sums of squares over images and positions of the maps interpolated to every
            target (2, targets, C), float64.
        total: the maps summed over the images (H, W, C), float32; None where not asked for.
    """

    grids: list[Tensor]
    sums: Tensor
    total: Tensor | None


def condense(
    maps: Tensor,
    shift: Tensor,
    grids: Sequence[Size],
    targets: Sequence[Size],
    total: bool = False,
    into: Sequence[Tensor] | None = None,
) -> Condensed:
    """Carry shifted maps to smaller grids, and sum them as if they were larger.

    Args:
        maps: (N, C, H, W), any floating type; channels-last in memory is fastest.
        shift: subtracted from every channel (C,).
        grids: sizes of at most (H, W) per axis. For any B of such a size, the product of the
            result with B is that of the maps with B interpolated to (H, W).
        targets: sizes of at least (H, W) per axis.
        total: also sum the maps over the images.
        into: where the grids are written to; None for new memory.
    """
    count, channels, height, width = maps.shape
    lines = maps.permute(0, 2, 3, 1)  # (N, H, W, C)
    shift = shift.to(maps.device, torch.float32)
    weights = sum_weights((height, width), tuple(targets), torch.float32, maps.device)
    sums = torch.zeros(2, len(targets), channels, dtype=torch.float64, device=maps.device)
    over_images = shift.new_zeros(height, width, channels) if total else None
    reduced = into or [shift.new_empty(count, *grid, channels) for grid in grids]
    per_row = width * channels
    for images, bands in tiles(count, height, per_row, TILE.get(maps.device.type, LARGE_TILE)):
        part = lines[images]
        rows = {h: shift.new_zeros(len(part), h, width, channels) for h in {h for h, _ in grids}}
        for band in bands:
            tile = part[:, band.start : band.stop + 1].float() - shift
            own = band.stop - band.start
            if over_images is not None:
                over_images[band] += tile[:, :own].sum(dim=0)
            add_upsampled_sums(tile, band.start, own, weights, sums)
            for lower in rows.values():
                add_reduced_rows(tile[:, :own], band.start, height, lower)
        for grid, result in zip(grids, reduced, strict=True):
            result[images] = reduce_columns(rows[grid[0]], grid[1])
    return Condensed(list(reduced), sums, over_images)


def tiles(count: int, height: int, per_row: int, limit: int) -> Iterator[tuple[slice, list[slice]]]:
    """Cut maps into tiles of about ``limit`` values: several images, or bands of one image's rows.

    Yields:
        Images, and the bands of rows to take them in.
    """
    rows = min(height, max(1, limit // per_row))
    images = max(1, limit // (height * per_row))
    bands = [slice(row, min(row + rows, height)) for row in range(0, height, rows)]
    for image in range(0, count, images):
        yield slice(image, min(image + images, count)), bands

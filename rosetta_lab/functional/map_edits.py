"""Edits of activation maps (Rosetta Neurons, section 4.3): zoom, shift, copy and paste, strength.

All functions take maps (N, C, H, W) of any size and floating dtype, return maps of the same shape
and are differentiable. Places and distances are fractions of the map's width and height, so that
one edit means the same on every layer: x runs to the right, y down, (0, 0) is the upper left corner
of the first cell and (1, 1) the lower right corner of the last.

Cells that a zoom or a shift brings in from outside the map take the value ``fill``:

* a number. The paper pads raw maps with 0; of maps normalised with a data set's statistics, 0 is
  each unit's *mean*, which is rarely what "nothing is here" looks like to a unit;
* one value per unit (C,), such as each unit's minimum: the same as the paper's zero padding for
  units behind a ReLU, in whatever scale the maps are;
* ``"edge"``: the map's border goes on.

Some generators' maps have a ``margin`` around the picture, so many cells on every side. Fractions
are of the picture all the same, and what comes in from outside comes in over its border.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Axis = Literal["x", "y"]
Box = tuple[float, float, float, float]
Fill = float | Tensor | Literal["edge"]
Point = tuple[float, float]


def zoom(
    maps: Tensor,
    factor: float,
    centre: Point = (0.5, 0.5),
    fill: Fill = 0.0,
    margin: int = 0,
) -> Tensor:
    """Enlarge (factor above 1) or shrink (below 1) what the maps show.

    A factor of 2 about the middle is the paper's zoom: double by bilinear interpolation
    (align_corners=False), crop the centre. Shrinking filters first, as antialiased interpolation.

    Args:
        maps: (N, C, H, W).
        factor: above 0.
        centre: x and y of the point that stays where it is.
        fill: what surrounds a shrunk map; an enlarged one covers everything.
        margin: cells around the picture.
    """
    height, width = maps.shape[-2:]
    rows = _sampling(height, factor, centre[1], 0.0, margin)
    columns = _sampling(width, factor, centre[0], 0.0, margin)
    return _resample(maps, rows, columns, fill)


def shift(
    maps: Tensor,
    dx: float = 0.0,
    dy: float = 0.0,
    fill: Fill = 0.0,
    subcell: bool = False,
    margin: int = 0,
) -> Tensor:
    """Move what the maps show.

    Args:
        maps: (N, C, H, W).
        dx: share of the width, positive to the right.
        dy: share of the height, positive down.
        fill: for the cells that come in.
        subcell: move by parts of a cell too, by bilinear interpolation. Otherwise by whole cells,
            the nearest number of them (halves away from zero): 0.25 is 1 of 4 cells, 2 of 8.
        margin: cells around the picture.
    """
    height, width = maps.shape[-2:]
    cells = [dy * (height - 2 * margin), dx * (width - 2 * margin)]
    if not subcell:
        cells = [math.copysign(math.floor(abs(n) + 0.5), n) for n in cells]
    rows = _sampling(height, 1.0, 0.0, cells[0], margin)
    columns = _sampling(width, 1.0, 0.0, cells[1], margin)
    return _resample(maps, rows, columns, fill)


def copy_paste(
    first: Tensor, second: Tensor, at: float = 0.5, axis: Axis = "x", margin: int = 0
) -> Tensor:
    """The part of ``first`` before a split beside the part of ``second`` behind it.

    Args:
        first: maps (N, C, H, W), on the left (``axis="x"``) or on top (``"y"``).
        second: the others, of the same shape.
        at: where the split is. A cell that it goes through takes its share of both.
        axis: ``x`` splits by a vertical line, ``y`` by a horizontal one.
        margin: cells around the picture.
    """
    box = (0.0, 0.0, at, 1.0) if axis == "x" else (0.0, 0.0, 1.0, at)
    return masked(second, first, box, margin)


def suppress(maps: Tensor, floor: Tensor) -> Tensor:
    """Set every map to its unit's minimum ``floor`` (C,): the unit sees nothing anywhere."""
    return _per_unit(floor, maps).expand_as(maps).clone()


def amplify(maps: Tensor, factor: float, about: Tensor) -> Tensor:
    """Multiply the maps' deviation from a baseline.

    Args:
        maps: (N, C, H, W).
        factor: above 1 strengthens, below 1 weakens, 0 leaves the baseline.
        about: the baseline per unit (C,). With each unit's minimum, places where the unit is silent
            stay silent.
    """
    return torch.lerp(_per_unit(about, maps).expand_as(maps), maps, factor)


def masked(before: Tensor, after: Tensor, mask: Box | Tensor, margin: int = 0) -> Tensor:
    """Limit an edit to a region: ``after`` inside of it, ``before`` outside.

    Args:
        before: maps (N, C, H, W).
        after: the edited maps, of the same shape.
        mask: a box (left, top, right, bottom) in fractions, or an image (H', W') or (N, H', W') of
            any size with values in [0, 1]. A cell that the region covers in part takes that share
            of the edit.
        margin: cells around the picture; there the mask's border goes on.
    """
    height, width = (side - 2 * margin for side in before.shape[-2:])
    weight = mask_weight(mask, height, width).to(before)
    index = [
        torch.arange(-margin, n + margin, device=before.device).clamp(0, n - 1)
        for n in (height, width)
    ]
    weight = weight.index_select(-2, index[0]).index_select(-1, index[1])
    return torch.lerp(before, after, weight.expand_as(before))


def mask_weight(mask: Box | Tensor, height: int, width: int) -> Tensor:
    """The share of each cell that a mask covers, by area averaging.

    Args:
        mask: see :func:`masked`.
        height: of the grid, in cells.
        width: of the grid, in cells.

    Returns:
        (height, width), or (N, 1, height, width) for one mask per image.
    """
    if isinstance(mask, Tensor):
        rows, columns = _averaging(mask.shape[-2], height), _averaging(mask.shape[-1], width)
        weight = _along_axes(mask, rows, columns)
        return weight if mask.dim() == 2 else weight[:, None]
    left, top, right, bottom = mask
    return torch.outer(
        _covered(height, top * height, bottom * height),
        _covered(width, left * width, right * width),
    )


def _sampling(
    cells: int, factor: float, centre: float, move: float, margin: int = 0
) -> tuple[Tensor, Tensor]:
    """One axis of an enlargement about ``centre``, a share, followed by a ``move`` in cells.

    Returns:
        The matrix (cells, cells) whose rows mix the old cells to a new one and sum to 1 (border
        cells stand for what lies outside), and the share of every new cell that the moved map
        covers (cells,); float64.
    """
    index = torch.arange(cells, dtype=torch.float64)
    inner = cells - 2 * margin  # of the picture
    centre = margin + centre * inner
    # Written so that rounding leaves whole-cell moves and doublings exact.
    source = index + (index + 0.5 - centre) * (1.0 / factor - 1.0) - move / factor
    distance = source.clamp(0.0, cells - 1.0)[:, None] - index  # (new, old)
    weights = (1.0 - distance.abs() * min(factor, 1.0)).clamp(min=0.0)  # wider where it shrinks
    start = margin * factor + centre * (1.0 - factor) + move  # of the moved picture
    end = start + factor * inner
    # Where the picture's border is not seen, its margin goes on.
    covered = _covered(
        cells, 0.0 if start <= margin else start, cells if end >= cells - margin else end
    )
    return weights / weights.sum(dim=1, keepdim=True), covered


def _resample(
    maps: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor], fill: Fill
) -> Tensor:
    """Maps (N, C, H, W) through the matrices of both axes, ``fill`` where they do not reach."""
    sampled = _along_axes(maps, rows[0], columns[0])
    if isinstance(fill, str):
        return sampled
    inside = torch.outer(rows[1], columns[1]).to(maps)  # (H, W)
    return torch.lerp(_per_unit(fill, maps).expand_as(maps), sampled, inside.expand_as(maps))


def _along_axes(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``rows @ map @ columns^T`` for maps (..., H, W)."""
    return rows.to(maps) @ maps @ columns.to(maps).t()


def _per_unit(value: float | Tensor, maps: Tensor) -> Tensor:
    """A number or a value per unit (C,), ready to be broadcast over maps (N, C, H, W)."""
    return torch.as_tensor(value).to(maps).reshape(-1, 1, 1)


def _covered(cells: int, start: float | Tensor, end: float | Tensor) -> Tensor:
    """Share of each of a row of unit cells that lies between two places.

    Args:
        cells: how many.
        start: a place or several (K, 1), in cells from the row's left end.
        end: as many.

    Returns:
        (cells,) or (K, cells), float64.
    """
    left = torch.arange(cells, dtype=torch.float64)
    return ((left + 1.0).clamp(max=end) - left.clamp(min=start)).clamp(min=0.0)


def _averaging(source: int, target: int) -> Tensor:
    """Area averaging of ``source`` pixels to ``target`` cells (target, source), rows sum to 1."""
    edges = torch.arange(source + 1, dtype=torch.float64)[:, None] * (target / source)
    return _covered(target, edges[:-1], edges[1:]).t()

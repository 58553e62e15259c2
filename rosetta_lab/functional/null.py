"""What a correlation is held against: the same units by position alone, and on shuffled images.

Two units that like the same places correlate whatever the images show. Let A_i and B_i be their
maps of image i at the common, larger size, and M_A, M_B the mean maps over n images. Then

    sum_i <A_i, B_i>  =  n <M_A, M_B>  +  sum_i <A_i - M_A, B_i - M_B>.

The first term is *position*: it is exactly the average of ``sum_i <A_i, B_s(i)>`` over all n! ways
s to pair the images. The second is *content*. Divided by the units' spreads,

    r = r_position + r_centred sqrt(c_a c_b),

where c is the share of a unit's variance that is left when each position's mean is removed. Both
parts follow from sums that one pass over the images leaves:

    position   = position_sums(mean_maps_a, mean_maps_b)
    r_position = pearson(count, position.products, sum_a, sum_b, var_a, var_b)
    content_a  = content_variance(count, square_a, position.squares_a, var_a)      # and b
    r_centred  = centred_pearson(count, products, position, content_a, content_b)

A *shuffle* is one of the n! pairings: ``products`` of maps with other images' maps, with all other
sums as they are, give its r by ``pearson`` and its centred r by ``centred_pearson``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.correlation import pearson
from rosetta_lab.functional.resize import Size, interpolation_matrix, larger, smaller

# A unit whose content is below this share of its variance shows the rounding of float32 sums, which
# is about 1e-7 of the variance: r_centred is exact to about 1e-7 / share.
NO_CONTENT = 1e-5


class PositionSums(NamedTuple):
    """What the sums over images would be if every image's map were the unit's mean map.

    Attributes:
        products: ``n <M_A, M_B>`` (A, B), float64.
        squares_a: ``n |M_A|^2`` (A,).
        squares_b: ``n |M_B|^2`` (B,).
    """

    products: Tensor
    squares_a: Tensor
    squares_b: Tensor


class MeanMaps:
    """Mean maps of units of one size, and what they are at others, computed once.

    Nothing is upsampled: maps are carried to a smaller grid by the adjoint, and squares at a larger
    size are taken with the Gram matrices of the interpolation
    (:mod:`rosetta_lab.functional.resize`).

    Args:
        total: the units' maps summed over the images (H, W, C), less the shift that other sums'
            values are less; float64.
        images: how many were summed.
    """

    def __init__(self, total: Tensor, images: float) -> None:
        self.total, self.images = total, images
        self.size: Size = (total.shape[0], total.shape[1])
        self._on_grid: dict[Size, Tensor] = {}
        self._squares: dict[Size, Tensor] = {}

    def on_grid(self, grid: Size) -> Tensor:
        """Totals carried to a grid of at most the maps' size (positions, C)."""
        if grid not in self._on_grid:
            rows, columns = (
                interpolation_matrix(g, a).t() for g, a in zip(grid, self.size, strict=True)
            )
            self._on_grid[grid] = _along_axes(self.total, rows, columns).flatten(0, 1)
        return self._on_grid[grid]

    def squares(self, target: Size) -> Tensor:
        """``n |M|^2`` at a size of at least the maps' (C,).

        |U_h X U_w^T|^2 = <X, (U_h^T U_h) X (U_w^T U_w)> of totals X, over n.
        """
        if target not in self._squares:
            up = [interpolation_matrix(a, t) for a, t in zip(self.size, target, strict=True)]
            rows, columns = (u.t() @ u for u in up)
            squares = (self.total * _along_axes(self.total, rows, columns)).sum(dim=(0, 1))
            self._squares[target] = squares / self.images
        return self._squares[target]


def position_sums(a: MeanMaps, b: MeanMaps, part: slice = slice(None)) -> PositionSums:
    """Position's share of sums of products and squares at the larger of two sizes, per axis.

    Args:
        a: the units' mean maps.
        b: the other units', of as many images.
        part: which of the units of ``a``.
    """
    grid, common = smaller(a.size, b.size), larger(a.size, b.size)
    products = a.on_grid(grid)[:, part].t() @ b.on_grid(grid)
    return PositionSums(products.div_(a.images), a.squares(common)[part], b.squares(common))


def _along_axes(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A matrix along each axis of maps (H, W, C)."""
    return torch.einsum("gh,hwc,kw->gkc", rows.to(maps), maps, columns.to(maps))


def content_variance(
    count: float, squares: Tensor, position_squares: Tensor, var: Tensor
) -> Tensor:
    """Variance that is left when each position's mean is removed; exactly 0 where none is.

    Args:
        count: values per unit (images times positions).
        squares: sum of squares of a unit's shifted values (C,), float64.
        position_squares: position's share of it, of :func:`position_sums` (C,).
        var: population variance (C,), 0 for constant units.

    Returns:
        (C,), float64. Less than ``NO_CONTENT`` of the variance counts as none.
    """
    content = (squares - position_squares) / count
    return torch.where(content > NO_CONTENT * var, content, torch.zeros_like(content))


def centred_pearson(
    count: float, products: Tensor, position: PositionSums, content_a: Tensor, content_b: Tensor
) -> Tensor:
    """Correlation of what is left when each position's mean over the images is removed.

    Args:
        count: values per unit (images times positions).
        products: sum of a*b (A, B), float64, of the same or of shuffled images.
        position: of the same units.
        content_a: of :func:`content_variance` (A,).
        content_b: likewise (B,).

    Returns:
        (A, B) in [-1, 1], float64; 0 where either unit has no content.
    """
    zero_a, zero_b = torch.zeros_like(content_a), torch.zeros_like(content_b)
    content = products - position.products
    return pearson(count, content, zero_a, zero_b, content_a, content_b)


def group_size(draws: int) -> int:
    """How many consecutive images a run's shuffles stay within: the least power of two > draws."""
    return 1 << draws.bit_length()


def image_groups(total: int, draws: int) -> list[range]:
    """Images that have to be in one batch, so that every image's partners are.

    Groups of :func:`group_size` images; what does not fill a group belongs to the last one, which
    then has up to ``2 * group_size(draws) - 1`` images.

    Args:
        total: images of the run.
        draws: how many shuffles are made.

    Raises:
        RosettaError: fewer images than partners.
    """
    starts = range(0, _last_group(total, draws).start + 1, group_size(draws))
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], total], strict=True)]


def _last_group(total: int, draws: int) -> range:
    """The one that images which do not fill a group belong to."""
    if total <= draws:
        raise RosettaError(
            f"num_images={total}: {draws} shuffles need at least {draws + 1} images.\n"
            "Use more images, or fewer shuffles."
        )
    size = group_size(draws)
    return range((max(total // size, 1) - 1) * size, total)


def partners(index: Tensor, total: int, draws: int, draw: int) -> Tensor:
    """Where in a batch the image is whose maps a shuffle pairs with each image's.

    Image i meets image ``i xor draw``, a neighbour in its group. A last group of another size than
    the others is rotated by ``draw`` instead, so that every image takes part exactly once, on
    either side, and never meets itself: all sums of single units are those of the true pairing. The
    rule knows only i, the number of images and the number of shuffles, never batches or processes.

    Args:
        index: numbers of the batch's images (N,), any union of groups of :func:`image_groups`.
        total: images of the run.
        draws: how many shuffles are made.
        draw: which of them, 1 to ``draws``.

    Returns:
        Positions in the batch (N,).

    Raises:
        ValueError: an image's partner is not in the batch.
    """
    last = _last_group(total, draws)
    partner = index ^ draw
    if len(last) != group_size(draws):
        rotated = last.start + (index - last.start + draw) % len(last)
        partner = torch.where(index < last.start, partner, rotated)
    found = partner[:, None] == index  # (N, N)
    if not bool(found.any(dim=1).all()):
        raise ValueError("A batch splits a group of images that are shuffled among themselves.")
    return found.long().argmax(dim=1)

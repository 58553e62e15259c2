"""From sums over images to what matching needs: neighbours, and the same by each null.

Tables are made of a band of rows at a time, and let go when their neighbours are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial, reduce
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rosetta_lab.functional.evidence import PairSums, jackknife_correlations
from rosetta_lab.functional.matching import Neighbours, joined, neighbours, on_cpu
from rosetta_lab.functional.null import (
    MeanMaps,
    centred_pearson,
    content_variance,
    position_sums,
)
from rosetta_lab.functional.resize import Size, larger
from rosetta_lab.metrics.correlation import CorrelationTable, SizeSums
from rosetta_lab.metrics.statistics import UnitStatistics

Criterion = Literal["r", "centred"]
BAND_BYTES = 2**28  # that tables of some rows may take, with what is computed on the way


class Matching(NamedTuple):
    """The neighbours of two models' units, and those that chance gives them.

    Attributes:
        targets: by the similarity of maps of the same images. With decoys, their ``scores`` are
            ``r`` (paper, Eq. 2), ``position`` (r by position alone), ``centred`` (r of what content
            explains) and ``shuffled`` (r on the first draw's images); else ``r``. With several
            blocks of images, ``low`` and ``high`` are the ends of r's 95 % interval, by the
            jackknife.
        decoys: by that of maps of shuffled images, draw by draw; ``r`` and ``centred``.
    """

    targets: Neighbours
    decoys: list[Neighbours]


def match(
    table: CorrelationTable,
    rows: UnitStatistics,
    columns: UnitStatistics,
    alive: tuple[Tensor, Tensor],
    k: int,
    criterion: Criterion = "r",
    chosen: Tensor | None = None,
    first: int = 0,
) -> Matching:
    """Find neighbours by what a table's sums say.

    Args:
        table: with one pairing (its images' own) there are no decoys.
        rows: of the table's row units, with totals where there are decoys.
        columns: of its column units.
        alive: which row and which column units may match, bool.
        k: neighbours to keep.
        criterion: the similarity: ``r`` as in the paper, or ``centred``.
        chosen: blocks of images to go by (blocks,), bool; None for all.
        first: number of the table's first row unit.
    """
    mean_maps = _mean_maps(table, rows, columns, chosen)

    def in_band(band: range) -> Matching:
        found = correlations(table, mean_maps, band, chosen)
        targets = {"r": found["r"]}
        if table.pairings > 1:
            targets |= {key: found[key] for key in ("position", "centred")}
            targets["shuffled"] = found["shuffled_1"]
        similar = targets[criterion]
        # Units that vary, but not in these blocks, or in nothing but place, are like nobody.
        able = (
            alive[0][band.start : band.stop].to(similar.device) & similar.any(dim=1),
            alive[1].to(similar.device) & similar.any(dim=0),
        )
        near = neighbours(similar.clone(), k, *able, targets, first + band.start)
        if chosen is None and len(table.count) > 1:
            _, low, high = jackknife_correlations(pair_sums(table, near.rows, band.start))
            ends = {"low": low, "high": high}
            near.scores.update({n: x.float().view(near.rows.shape) for n, x in ends.items()})
        decoys = [
            {"r": found[f"shuffled_{draw}"], "centred": found[f"shuffled_centred_{draw}"]}
            for draw in range(1, table.pairings)
        ]
        by_chance = [
            neighbours(x[criterion].clone(), k, *able, x, first + band.start) for x in decoys
        ]
        return Matching(on_cpu(near), [on_cpu(x) for x in by_chance])

    return reduce(partial(join, k=k), map(in_band, bands(table)))


def match_own(table: CorrelationTable, alive: Tensor, k: int, first: int = 0) -> Neighbours:
    """Neighbours of a model's units among themselves, none its own.

    Args:
        table: of these units, or of some, with all.
        alive: which of them may match, bool.
        k: neighbours to keep.
        first: number of the table's first row unit.
    """

    def in_band(band: range) -> Neighbours:
        r, able = table.r(band), alive.to(table.count.device)
        own = torch.arange(first + band.start, first + band.stop, device=r.device)
        r[own - own[0], own] = -torch.inf
        return on_cpu(neighbours(r, k, able[own], able, {}, int(own[0])))

    return reduce(partial(joined, k=k), map(in_band, bands(table)))


def join(upper: Matching, lower: Matching, k: int) -> Matching:
    """Matchings of two bands of rows as one, the upper rows first."""
    both = zip(upper.decoys, lower.decoys, strict=True)
    return Matching(
        joined(upper.targets, lower.targets, k), [joined(one, other, k) for one, other in both]
    )


def bands(table: CorrelationTable) -> Iterator[range]:
    """Rows to match at a time, so that what is made of them fits into ``BAND_BYTES``."""
    rows, draws = len(table.rows.index), table.pairings - 1
    kinds = 1 if draws == 0 else 3 + 2 * draws
    per_pair = 4 * (kinds + 3) + 8 * (kinds + draws + 2)  # kept in float32, made in float64
    most = max(1, BAND_BYTES // (per_pair * len(table.columns.index)))
    yield from (range(start, min(start + most, rows)) for start in range(0, rows, most))


MapsBySize = dict[Size, MeanMaps]


def _mean_maps(
    table: CorrelationTable, rows: UnitStatistics, columns: UnitStatistics, chosen: Tensor | None
) -> tuple[MapsBySize, MapsBySize] | None:
    if table.pairings == 1:
        return None
    return rows.mean_maps(chosen), columns.mean_maps(chosen)


def correlations(
    table: CorrelationTable,
    mean_maps: tuple[MapsBySize, MapsBySize] | None,
    band: range | None = None,
    chosen: Tensor | None = None,
) -> dict[str, Tensor]:
    """Tables (A, B) in float32 of every kind of correlation.

    Args:
        table: the sums.
        mean_maps: of the rows' and of the columns' units, in the same blocks; None for r alone.
        band: numbers of the row units; None for all.
        chosen: blocks of images (blocks,), bool; None for all.

    Returns:
        ``r``; and where other images were paired too, ``position``, ``centred``, and for every draw
        ``shuffled_1``, ``shuffled_centred_1`` and so on.
    """
    if mean_maps is None:
        return {"r": table.r(band, chosen)}
    band = range(len(table.rows.index)) if band is None else band
    shape = (len(band), len(table.columns.index))
    found: dict[str, Tensor] = {}
    for sums in table.sums_by_size(band, chosen):
        of_sizes = {"r": sums.r(sums.products[0])} | _nulls(sums, mean_maps)
        for name, block in of_sizes.items():
            if name not in found:
                found[name] = torch.zeros(shape, device=block.device)
            sums.place(found[name], block)
    return found


def _nulls(sums: SizeSums, mean_maps: tuple[MapsBySize, MapsBySize]) -> dict[str, Tensor]:
    a, b = (maps[size] for maps, size in zip(mean_maps, sums.sizes, strict=True))
    position = position_sums(a, b, sums.part)
    content = [
        content_variance(sums.values, squares, of_position, var)
        for squares, of_position, var in zip(
            sums.squares, (position.squares_a, position.squares_b), sums.variances, strict=True
        )
    ]
    true, *shuffled = sums.products
    found = {
        "position": sums.r(position.products),
        "centred": centred_pearson(sums.values, true, position, *content),
    }
    for draw, products in enumerate(shuffled, start=1):
        found[f"shuffled_{draw}"] = sums.r(products)
        found[f"shuffled_centred_{draw}"] = centred_pearson(
            sums.values, products, position, *content
        )
    return found


def pair_sums(table: CorrelationTable, near: Tensor, first: int = 0) -> PairSums:
    """The sums of some pairs, by blocks of images.

    Args:
        table: with blocks.
        near: columns to take of every row of a band (A, k), as of :class:`Neighbours`.
        first: number of the band's first row.

    Returns:
        Of A * k pairs; those with nobody count as constant units.
    """
    rows, columns = table.rows, table.columns
    blocks, device = len(table.count), near.device
    found = PairSums(
        table.count,
        *(torch.zeros(*shape, near.numel(), dtype=torch.float64, device=device)
          for shape in ((), (blocks,), (2, blocks), (2, blocks), (2,))),
    )  # fmt: skip
    row = torch.arange(first, first + len(near), device=device)[:, None].expand_as(near).flatten()
    column = near.flatten()
    for i, j in table.blocks:
        a, b = rows.sizes[i], columns.sizes[j]
        own, other = rows.units[a].to(device), columns.units[b].to(device)
        which = (torch.isin(row, own) & torch.isin(column, other)).nonzero().flatten()
        at = torch.searchsorted(own, row[which]), torch.searchsorted(other, column[which])
        target = larger(a, b)
        found.positions[which] = float(target[0] * target[1])
        products = getattr(table, f"products_{i}_{j}")[:, 0, at[0], at[1]]
        found.products[:, which] = products.double()
        for side, (kind, units, group) in enumerate(
            (("row", row, rows), ("column", column, columns))
        ):
            sums = getattr(table, f"{kind}_sums_{i}_{j}")[..., at[side]]  # (blocks, 2, P)
            found.sums[side][:, which], found.squares[side][:, which] = sums[:, 0], sums[:, 1]
            found.shifts[side][which] = group.shift.to(device)[units[which]].double()
    return found

"""From sums over images to what matching needs: neighbours, and the same by each null."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rosetta_lab.functional.evidence import PairSums, jackknife_correlations
from rosetta_lab.functional.matching import Neighbours, neighbours, on_cpu
from rosetta_lab.functional.null import centred_pearson, content_variance, position_sums
from rosetta_lab.functional.resize import larger
from rosetta_lab.metrics.correlation import CorrelationTable, SizeSums, UnitStatistics

Criterion = Literal["r", "centred"]


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
    """
    found = correlations(table, rows, columns, chosen)
    targets = {"r": found["r"]}
    if table.pairings > 1:
        targets |= {key: found[key] for key in ("position", "centred")}
        targets["shuffled"] = found["shuffled_1"]
    draws = [
        {"r": found[f"shuffled_{draw}"], "centred": found[f"shuffled_centred_{draw}"]}
        for draw in range(1, table.pairings)
    ]
    alive = (alive[0].to(found["r"].device), alive[1].to(found["r"].device))
    near = neighbours(targets[criterion].clone(), k, *alive, targets)
    if chosen is None and len(table.count) > 1:
        _, low, high = jackknife_correlations(pair_sums(table, near.rows))
        ends = {"low": low, "high": high}
        near.scores.update({n: x.float().view(near.rows.shape) for n, x in ends.items()})
    return Matching(
        on_cpu(near),
        [on_cpu(neighbours(draw[criterion].clone(), k, *alive, draw)) for draw in draws],
    )


def correlations(
    table: CorrelationTable,
    rows: UnitStatistics,
    columns: UnitStatistics,
    chosen: Tensor | None = None,
) -> dict[str, Tensor]:
    """Tables (A, B) in float32 of every kind of correlation.

    Returns:
        ``r``; and where other images were paired too, ``position``, ``centred``, and for every draw
        ``shuffled_1``, ``shuffled_centred_1`` and so on.
    """
    shape = (len(table.rows.index), len(table.columns.index))
    found: dict[str, Tensor] = {}
    for sums in table.sums_by_size(chosen=chosen):
        values = {"r": sums.r(sums.products[0])}
        if table.pairings > 1:
            values |= _nulls(sums, rows, columns, chosen)
        for name, block in values.items():
            if name not in found:
                found[name] = torch.zeros(shape, device=block.device)
            table.place(found[name], sums, block)
    return found


def _nulls(
    sums: SizeSums, rows: UnitStatistics, columns: UnitStatistics, chosen: Tensor | None
) -> dict[str, Tensor]:
    a, b = sums.sizes
    height, width = max(a[0], b[0]), max(a[1], b[1])
    images = sums.values / (height * width)
    position = position_sums(rows.total(a, chosen), columns.total(b, chosen), images)
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


def pair_sums(table: CorrelationTable, near: Tensor) -> PairSums:
    """The sums of some pairs, by blocks of images.

    Args:
        table: with blocks.
        near: columns to take of every row (A, k), as of :class:`Neighbours`.

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
    row = torch.arange(len(near), device=device)[:, None].expand_as(near).flatten()
    column = near.flatten()
    for i, j in table.blocks:
        a, b = rows.sizes[i], columns.sizes[j]
        own, other = rows.units[a].to(device), columns.units[b].to(device)
        which = (torch.isin(row, own) & torch.isin(column, other)).nonzero().flatten()
        at = torch.searchsorted(own, row[which]), torch.searchsorted(other, column[which])
        target = larger(a, b)
        found.positions[which] = float(target[0] * target[1])
        found.products[:, which] = getattr(table, f"products_{i}_{j}")[:, 0, at[0], at[1]]
        for side, (kind, units, group) in enumerate(
            (("row", row, rows), ("column", column, columns))
        ):
            sums = getattr(table, f"{kind}_sums_{i}_{j}")[..., at[side]]  # (blocks, 2, P)
            found.sums[side][:, which], found.squares[side][:, which] = sums[:, 0], sums[:, 1]
            found.shifts[side][which] = group.shift.to(device)[units[which]].double()
    return found

"""Nearest neighbours, best buddies and concepts from tables of similarities (paper, Eq. 3, 4).

Matching needs neighbours, not tables: of every table its rows' and columns' ``k`` nearest are kept,
with whatever else is to be known of these pairs, and best buddies follow for any smaller K. So a
table need never be whole: :func:`neighbours` takes some rows of it, :func:`joined` puts together
what two such bands of rows leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from scipy.sparse import csgraph, csr_array
from torch import Tensor

NOBODY = -1  # where a unit has fewer neighbours than places


class Neighbours(NamedTuple):
    """The nearest of every unit of two models, best first; of equal ones the lower number first.

    Attributes:
        rows: columns that are nearest to every row (A, k), ``NOBODY`` where there are no more.
        columns: rows that are nearest to every column (B, k'), likewise.
        nearness: how similar these are (B, k'), float32, ``-inf`` for ``NOBODY``.
        scores: by name, what is known of every row's pairs (A, k), float32.
    """

    rows: Tensor
    columns: Tensor
    nearness: Tensor
    scores: dict[str, Tensor]


class BestBuddies(NamedTuple):
    """Mutual nearest neighbours, by row and column.

    Attributes:
        pairs: row and column (P, 2).
        least_k: the smallest K at which each is one (P,).
        scores: by name, what is known of each (P,), float32.
    """

    pairs: Tensor
    least_k: Tensor
    scores: dict[str, Tensor]


def nearest(table: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` largest entries of each row, best first.

    Args:
        table: similarities (A, B); entries of ``-inf`` are never chosen.
        k: neighbours per row, 1 at least.

    Returns:
        entries (A, min(k, B)) and their columns: ties go to the lower index; ``NOBODY`` where there
        are no more.
    """
    k = min(k, table.shape[1])
    values, index = table.topk(k, dim=1)
    # topk takes any of equal entries, which matters where some of them are left over.
    tied = ((table >= values[:, -1:]).sum(dim=1) > k).nonzero().flatten()
    if len(tied):
        in_order = table[tied].sort(dim=1, descending=True, stable=True)
        values[tied], index[tied] = in_order.values[:, :k], in_order.indices[:, :k]
    index, order = index.sort(dim=1)
    values, again = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    return values, index.gather(1, again).masked_fill_(values == -torch.inf, NOBODY)


def neighbours(
    table: Tensor,
    k: int,
    rows: Tensor,
    columns: Tensor,
    scores: Mapping[str, Tensor],
    first: int = 0,
) -> Neighbours:
    """What matching needs of a table, or of a band of its rows, for every K up to ``k``.

    Args:
        table: similarities (A, B), changed in place.
        k: neighbours to keep.
        rows: which rows may match (A,), bool.
        columns: which columns may (B,).
        scores: tables (A, B) whose entries are kept for the rows' neighbours.
        first: number of the band's first row.
    """
    kept = dict(scores)
    table.masked_fill_(~(rows[:, None] & columns), -torch.inf)
    _, of_rows = nearest(table, k)
    places = of_rows.clamp(min=0)
    nearness, of_columns = nearest(table.t().contiguous(), k)
    return Neighbours(
        of_rows,
        torch.where(of_columns == NOBODY, NOBODY, of_columns + first),
        nearness,
        {name: values.gather(1, places).float() for name, values in kept.items()},
    )


def joined(upper: Neighbours, lower: Neighbours, k: int) -> Neighbours:
    """Neighbours in two bands of rows as those in both, the upper rows first.

    Args:
        upper: of :func:`neighbours` with this ``k``.
        lower: likewise, its rows numbered on from the upper ones.
        k: neighbours to keep.
    """
    numbers = torch.cat([upper.columns, lower.columns], dim=1)
    nearness = torch.cat([upper.nearness, lower.nearness], dim=1)
    # Stable: of equal ones the upper rows, which have the lower numbers, come first.
    nearness, order = nearness.sort(dim=1, descending=True, stable=True)
    return Neighbours(
        torch.cat([upper.rows, lower.rows]),
        numbers.gather(1, order)[:, :k],
        nearness[:, :k],
        {n: torch.cat([values, lower.scores[n]]) for n, values in upper.scores.items()},
    )


def best_buddies(found: Neighbours, k_rows: int, k_columns: int) -> BestBuddies:
    """Mutual nearest neighbours (paper, Eq. 3).

    Args:
        found: lists of at least so many neighbours.
        k_rows: each row's neighbours among the columns.
        k_columns: each column's neighbours among the rows.
    """
    column = found.rows[:, :k_rows]  # (A, k_rows)
    row = torch.arange(len(column), device=column.device)[:, None]
    back = found.columns[column.clamp(min=0), :k_columns] == row[..., None]  # (A, k_rows, k_cols)
    mutual = back.any(dim=2) & (column != NOBODY)
    pairs = torch.stack([row.expand_as(column)[mutual], column[mutual]], dim=1)
    place = torch.arange(column.shape[1], device=column.device).expand_as(column)[mutual]
    least_k = torch.maximum(place, back[mutual].long().argmax(dim=1)) + 1
    order = (pairs[:, 0] * len(found.columns) + pairs[:, 1]).argsort()
    scores = {n: v[:, :k_rows][mutual][order] for n, v in found.scores.items()}
    return BestBuddies(pairs[order], least_k[order], scores)


def on_cpu(found: Neighbours) -> Neighbours:
    """The same in the CPU's memory."""
    scores = {name: values.cpu() for name, values in found.scores.items()}
    return Neighbours(found.rows.cpu(), found.columns.cpu(), found.nearness.cpu(), scores)


def connected_components(adjacency: Tensor) -> list[list[int]]:
    """Connected components of a symmetric boolean matrix (A, A), each sorted, by first member."""
    _, labels = csgraph.connected_components(csr_array(adjacency.cpu().numpy()), directed=False)
    components: dict[int, list[int]] = {}
    for node, label in enumerate(labels.tolist()):
        components.setdefault(label, []).append(node)
    return list(components.values())

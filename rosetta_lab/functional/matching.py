"""Best buddies and concepts from correlation tables (paper, Eq. 3 and 4)."""

from __future__ import annotations

import torch
from scipy.sparse import csgraph, csr_array
from torch import Tensor


def nearest(table: Tensor, k: int, chunk: int = 4096) -> Tensor:
    """Which columns are among the ``k`` largest of each row.

    Ties go to the lower index. Entries of ``-inf`` are never chosen.

    Args:
        table: similarities (A, B).
        k: neighbours per row, 1 to B.
        chunk: rows at a time.

    Returns:
        Boolean (A, B) with at most ``k`` True per row.
    """
    chosen = []
    for rows in torch.split(table, chunk):
        kth = rows.topk(k, dim=1).values[:, -1:]
        above = rows > kth
        level = rows == kth
        room = k - above.sum(dim=1, keepdim=True)
        chosen.append(above | (level & (level.cumsum(dim=1) <= room)))
    return torch.cat(chosen) & (table > -torch.inf)


def best_buddies(table: Tensor, k_rows: int, k_columns: int) -> Tensor:
    """Mutual nearest neighbours (paper, Eq. 3).

    Args:
        table: similarities (A, B); ``-inf`` where a pair may not match.
        k_rows: each row's neighbours among the columns.
        k_columns: each column's neighbours among the rows.

    Returns:
        Boolean (A, B): each of the two units is among the other's nearest.
    """
    return nearest(table, k_rows) & nearest(table.t().contiguous(), k_columns).t()


def least_k(table: Tensor, pairs: Tensor, chunk: int = 1024) -> Tensor:
    """The smallest K at which pairs are best buddies.

    Args:
        table: similarities (A, B).
        pairs: row and column of each pair (P, 2).
        chunk: pairs at a time.

    Returns:
        Integers (P,), 1 for mutual nearest neighbours.
    """
    rows, columns = pairs.unbind(1)
    of_row = _places(table, rows, columns, chunk)
    return torch.maximum(of_row, _places(table.t().contiguous(), columns, rows, chunk))


def _places(table: Tensor, rows: Tensor, columns: Tensor, chunk: int) -> Tensor:
    """Which place a column takes among its row's, by size; ties go to the lower index (P,)."""
    order = torch.arange(table.shape[1], device=table.device)
    places = []
    for row, column in zip(rows.split(chunk), columns.split(chunk), strict=True):
        line = table[row]  # (p, B)
        own = line.gather(1, column[:, None])
        before = (line > own) | ((line == own) & (order < column[:, None]))
        places.append(before.sum(dim=1) + 1)
    return torch.cat(places)


def alive(table: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A copy of ``table`` (A, B) with -inf wherever a unit is not alive (booleans (A,), (B,))."""
    return table.masked_fill(~(rows[:, None] & columns[None, :]), -torch.inf)


def connected_components(adjacency: Tensor) -> list[list[int]]:
    """Connected components of a symmetric boolean matrix (A, A), each sorted, by first member."""
    _, labels = csgraph.connected_components(csr_array(adjacency.cpu().numpy()), directed=False)
    components: dict[int, list[int]] = {}
    for node, label in enumerate(labels.tolist()):
        components.setdefault(label, []).append(node)
    return list(components.values())

"""Nearest neighbours and best buddies of any table, against sorting; concepts of a made graph."""

from __future__ import annotations

from functools import partial, reduce
from itertools import pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import brute_force_buddies

from rosetta_lab.functional.matching import (
    NOBODY,
    best_buddies,
    connected_components,
    joined,
    nearest,
    neighbours,
)

K = st.integers(1, 9)


@st.composite
def tables(draw: st.DrawFn) -> torch.Tensor:
    """Few values, so that many are equal; some pairs may not match."""
    values = st.sampled_from([-torch.inf, -0.5, 0.0, 0.25, 0.5])
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    rows = st.lists(values, min_size=width, max_size=width)
    return torch.tensor(draw(st.lists(rows, min_size=height, max_size=height)))


def buddies(table: torch.Tensor, k_rows: int, k_columns: int) -> set[tuple[int, int]]:
    found = brute_force_buddies(table.numpy(), k_rows, k_columns)
    return {pair for pair in found if table[pair] > -torch.inf}


@given(tables(), K)
def test_nearest_are_the_first_of_a_sorted_row(table: torch.Tensor, k: int) -> None:
    for row, found in zip(table.tolist(), nearest(table, k)[1].tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda column: (-row[column], column))[:k]
        assert found == [c if row[c] > -torch.inf else NOBODY for c in order]


@given(tables(), st.data())
def test_best_buddies_are_mutual_nearest_neighbours(
    table: torch.Tensor, data: st.DataObject
) -> None:
    """For any K up to that of the lists; with the smallest at which they are."""
    k = data.draw(K)
    k_rows, k_columns = data.draw(st.integers(1, k)), data.draw(st.integers(1, k))
    alive = [torch.tensor(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
             for n in table.shape]  # fmt: skip
    similarity = table.masked_fill(~(alive[0][:, None] & alive[1]), -torch.inf)
    tenfold = 10.0 * table
    lists = neighbours(table.clone(), k, *alive, {"tenfold": tenfold})
    found = best_buddies(lists, k_rows, k_columns)
    pairs = [tuple(pair) for pair in found.pairs.tolist()]
    assert pairs == sorted(buddies(similarity, k_rows, k_columns))
    for pair, least, score in zip(
        pairs, found.least_k.tolist(), found.scores["tenfold"].tolist(), strict=True
    ):
        assert pair in buddies(similarity, least, least)
        assert least == 1 or pair not in buddies(similarity, least - 1, least - 1)
        assert score == tenfold[pair]


@given(tables(), K, K)
def test_the_transposed_table_has_the_same_pairs(
    table: torch.Tensor, k_rows: int, k_columns: int
) -> None:
    both = []
    for one, k in ((table, (k_rows, k_columns)), (table.t().contiguous(), (k_columns, k_rows))):
        every = [torch.ones(n, dtype=torch.bool) for n in one.shape]
        both.append(best_buddies(neighbours(one.clone(), max(k), *every, {}), *k).pairs)
    assert np.array_equal(sorted(both[0].tolist()), sorted(both[1].flip(1).tolist()))


@given(tables(), K, st.data())
def test_bands_of_rows_give_what_the_table_gives(
    table: torch.Tensor, k: int, data: st.DataObject
) -> None:
    """Wherever the table is cut, with all ties; dead units of either side among them."""
    height, width = table.shape
    alive = [torch.tensor(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
             for n in table.shape]  # fmt: skip
    cuts = data.draw(st.lists(st.integers(0, height), max_size=3))
    ends = sorted({0, height, *cuts})
    bands = [
        neighbours(table[a:b].clone(), k, alive[0][a:b], alive[1], {"own": table[a:b]}, first=a)
        for a, b in pairwise(ends)
    ]
    found = reduce(partial(joined, k=k), bands)
    whole = neighbours(table.clone(), k, *alive, {"own": table})
    assert found.rows.equal(whole.rows) and found.columns.equal(whole.columns)
    assert found.nearness.equal(whole.nearness)
    assert found.scores["own"].equal(whole.scores["own"])
    assert found.columns.shape == (width, min(k, height))


def test_components_of_a_hand_made_graph() -> None:
    edges = [(0, 3), (3, 5), (1, 2)]
    adjacency = torch.zeros(7, 7, dtype=torch.bool)
    for a, b in edges:
        adjacency[a, b] = adjacency[b, a] = True
    assert connected_components(adjacency) == [[0, 3, 5], [1, 2], [4], [6]]

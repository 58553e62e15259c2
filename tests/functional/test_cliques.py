"""Cliques against another library, and against trying everything."""

from __future__ import annotations

import itertools
import random

import networkx
import pytest

from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.cliques import maximal_cliques, spans


def graph(nodes: int, share: float, seed: int) -> networkx.Graph:
    return networkx.gnp_random_graph(nodes, share, seed=seed)


def neighbours(of: networkx.Graph) -> dict[int, set[int]]:
    return {node: set(of[node]) for node in of}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
def test_maximal_cliques_are_those_of_networkx(share: float, seed: int) -> None:
    of = graph(40, share, seed)
    expected = sorted(sorted(c) for c in networkx.find_cliques(of) if len(c) > 1)
    assert maximal_cliques(neighbours(of)) == expected


@pytest.mark.parametrize("seed", range(6))
def test_spanning_is_some_tuple_that_is_all_joined(seed: int) -> None:
    of = graph(21, 0.45, seed)
    parts = [range(1, 6), range(6, 13), range(13, 21)]
    expected = any(
        all(of.has_edge(a, b) for a, b in itertools.combinations([0, *some], 2))
        for some in itertools.product(*parts)
    )
    assert spans(neighbours(of), 0, [set(part) for part in parts]) == expected


def test_random_graphs_tell_both_answers() -> None:
    """Or the test above would show nothing."""
    parts = [set(range(1, 6)), set(range(6, 13)), set(range(13, 21))]
    assert {spans(neighbours(graph(21, 0.45, seed)), 0, parts) for seed in range(6)} == {
        True,
        False,
    }


def test_the_list_ends_where_there_are_too_many() -> None:
    source = random.Random(0)
    dense = networkx.complement(graph(60, 0.05, source.randrange(99)))
    with pytest.raises(RosettaError, match="smaller k="):
        maximal_cliques(neighbours(dense), most=500)

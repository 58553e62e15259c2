"""Nodes that are all joined with each other, in graphs with few neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from rosetta_lab.errors import RosettaError

Graph = Mapping[int, AbstractSet[int]]  # node to its neighbours; symmetric, without loops
MOST_STEPS = 1_000_000


def spans(graph: Graph, node: int, parts: Sequence[AbstractSet[int]]) -> bool:
    """Whether a clique holds a node and one of every part.

    Args:
        graph: where each node has at most d neighbours in a part: at most d to the power of the
            number of parts are tried, and far fewer where cliques are few.
        node: of none of the parts.
        parts: of the graph's nodes.
    """

    def extend(common: AbstractSet[int], left: Sequence[AbstractSet[int]]) -> bool:
        if not left:
            return True
        return any(extend(common & graph[other], left[1:]) for other in sorted(common & left[0]))

    return extend(graph[node], parts)


def maximal_cliques(graph: Graph, most: int = MOST_STEPS) -> list[list[int]]:
    """All cliques that no other node could be added to, each sorted; of two nodes at least.

    Bron and Kerbosch's algorithm with pivots (Tomita et al., Theor. Comput. Sci. 363, 2006).

    Args:
        graph: to look at.
        most: nodes to add to cliques, in all; a dense graph has exponentially many cliques.

    Raises:
        RosettaError: these did not suffice.
    """
    found: list[list[int]] = []
    steps = 0

    def grow(clique: list[int], able: set[int], seen: set[int]) -> None:
        nonlocal steps
        steps += 1
        if steps > most:
            raise RosettaError(
                "Too many units are all each other's best buddies to list their cliques.\n"
                "Choose a smaller k=, record fewer layers (layers=) or look with fewer models."
            )
        if not able and not seen:
            found.append(sorted(clique))
            return
        pivot = max(able | seen, key=lambda node: (len(able & graph[node]), -node))
        for node in sorted(able - graph[pivot]):
            grow([*clique, node], able & graph[node], seen & graph[node])
            able = able - {node}
            seen = seen | {node}

    for node in sorted(graph):
        if graph[node]:
            later = {other for other in graph[node] if other > node}
            grow([node], later, set(graph[node]) - later)
    return sorted(found)

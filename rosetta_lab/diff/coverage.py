"""Which units of a model another model has, too, and which it has not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_lab.dictionary.evidence import Judged
from rosetta_lab.functional.evidence import q_values
from rosetta_lab.functional.matching import NOBODY, Neighbours, best_buddies, connected_components
from rosetta_lab.mine.pairs import EveryPair, transposed


@dataclass
class Coverage:
    """What of a model's units another one has, by what content explains of their r.

    Two questions are asked of a unit. *Has it a partner*: one of its K nearest units in the other
    model to which it is one of the K nearest as well, accepted against shuffled images. And how
    *near* is the nearest unit, whoever is nearer to that one. A unit of colour may be near to one
    that fires at the same garments in any colour, and has no partner for all that.

    Attributes:
        model: whose units are looked at.
        other: which model they are looked for in.
        alive: which units vary at all (U,), bool; all else is about these.
        partner: those with an accepted best buddy (U,), bool.
        q: the least false discovery rate at which one of its best buddies is accepted (U,), NaN
            for a unit without any.
        nearest: number of the nearest unit in the other model (U,), ``NOBODY`` for none.
        r: its centred r (U,).
        q_nearest: false discovery rate of the nearest: how many units are as near to one in
            shuffled images (U,).
        decoys: share of the units that have an accepted partner in shuffled images, mean over the
            draws.
    """

    model: str
    other: str
    alive: Tensor
    partner: Tensor
    q: Tensor
    nearest: Tensor
    r: Tensor
    q_nearest: Tensor
    decoys: float

    @property
    def share(self) -> float:
        """Share of the units that have a partner."""
        return float(self.partner.sum()) / max(1, int(self.alive.sum()))

    @property
    def alone(self) -> Tensor:
        """Numbers of the units without a partner, the least near first."""
        units = (self.alive & ~self.partner).nonzero().flatten()
        return units[self.r[units].argsort(stable=True)]


def coverages(every: EveryPair) -> dict[tuple[str, str], Coverage]:
    """Every model's units in every other model, by model and other.

    Args:
        every: pairs that were matched by the centred r.
    """
    found = {}
    names = list(every.units)
    alive = {name: every.first.alive(name) for name in names}
    for (first, second), judged in every.pairs().items():
        turned = second in every.results and first in every.results[second].matchings
        if turned:
            rows, columns = second, first
            matching = every.results[second].matchings[first]
        else:
            rows, columns = first, second
            matching = every.results[first].matchings[second]
        near = [matching.targets, *matching.decoys]
        of_rows = _Nearest.of([(x.rows[:, 0], x.scores["centred"][:, 0]) for x in near])
        of_columns = _Nearest.of([(x.columns[:, 0], x.nearness[:, 0]) for x in near])
        nearest = {rows: of_rows, columns: of_columns}
        for one, other, own in (
            (first, second, judged),
            (second, first, transposed(judged)),
        ):
            found[one, other] = _coverage(one, other, alive[one], own, nearest[one])
    return {(a, b): found[a, b] for a in names for b in names if a != b}


@dataclass
class _Nearest:
    """The nearest of every unit, and how near some is in shuffled images, draw by draw."""

    unit: Tensor
    r: Tensor
    decoys: list[Tensor]

    @classmethod
    def of(cls, found: list[tuple[Tensor, Tensor]]) -> _Nearest:
        (unit, r), *decoys = found
        return cls(unit.long(), r.float(), [r.float() for _, r in decoys])


def _coverage(model: str, other: str, alive: Tensor, judged: Judged, nearest: _Nearest) -> Coverage:
    assert judged.q is not None
    units = len(alive)
    q = torch.full((units,), torch.inf)
    q.scatter_reduce_(0, judged.buddies.pairs[:, 0], judged.q.float(), "amin")
    partner = _named(judged.accepted.pairs[:, 0], units)
    chance = [_named(judged.passing(draw).pairs[:, 0], units).sum() for draw in judged.decoys]
    q_nearest = torch.ones(units)
    seen = alive & (nearest.unit != NOBODY)
    decoys = [draw[seen] for draw in nearest.decoys]
    q_nearest[seen] = q_values(nearest.r[seen], decoys).float()
    return Coverage(
        model,
        other,
        alive,
        partner,
        torch.where(q.isinf(), torch.nan, q),
        nearest.unit,
        torch.where(seen, nearest.r, 0.0),
        q_nearest,
        float(sum(chance)) / len(chance) / max(1, int(alive.sum())),
    )


def _named(numbers: Tensor, units: int) -> Tensor:
    """Which of so many units are among these numbers, bool."""
    found = torch.zeros(units, dtype=torch.bool)
    found[numbers] = True
    return found


def concepts_of(units: Tensor, own: Neighbours, k: int) -> list[list[int]]:
    """Units of one model that belong together: connected as best buddies within it.

    Args:
        units: their numbers, in order of importance.
        own: the model's neighbours in itself.
        k: of best buddies.

    Returns:
        Numbers by concept, in order of each one's first unit.
    """
    place = {unit: i for i, unit in enumerate(units.tolist())}
    adjacency = torch.eye(len(place), dtype=torch.bool)
    for a, b in best_buddies(own, k, k).pairs.tolist():
        if a in place and b in place:
            adjacency[place[a], place[b]] = adjacency[place[b], place[a]] = True
    groups = connected_components(adjacency) if place else []
    return [[int(units[i]) for i in group] for group in groups]

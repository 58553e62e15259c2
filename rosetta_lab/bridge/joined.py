"""Units of two generators joined by the discriminative units that both match."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_lab.bridge.overlaps import common_models
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.joins import Joins, Matches, crossed_q_values, join
from rosetta_lab.models.units import UnitIndex


@dataclass
class Bridge:
    """What joins the units of two reference models, such as generators.

    Attributes:
        first: the one's dictionary.
        second: the other's.
        models: that both were mined with; the columns of joins' ``products`` and ``units``.
        joins: through best buddies of the same units, strongest first.
        q: the least false discovery rate at which each is accepted (J,).
        decoys: joins of decoys with decoys, strongest first.
        max_fdr: the highest q that is accepted.
    """

    first: RosettaDictionary
    second: RosettaDictionary
    models: list[str]
    joins: Joins
    q: Tensor
    decoys: Joins
    max_fdr: float

    @property
    def accepted(self) -> Joins:
        """The joins that pass the null, strongest first."""
        return only(self.joins, self.q <= self.max_fdr)

    def pairs(self, back: bool, limit: int | None) -> Tensor:
        """Accepted joins as numbers of units (P, 2), the strongest first.

        Args:
            back: from the second to the first, instead of the other way round.
            limit: at most so many.
        """
        pairs = self.accepted.pairs[:limit]
        return pairs.flip(1) if back else pairs


def only(joins: Joins, chosen: Tensor) -> Joins:
    """Some of the joins, by a mask or by their places."""
    return Joins(*(part[chosen] for part in joins))


def build_bridge(
    first: RosettaDictionary, second: RosettaDictionary, max_fdr: float = 0.05
) -> Bridge:
    """Join all best buddies of two dictionaries, and hold the joins against those of decoys.

    Args:
        first: mined with a null.
        second: likewise, with some of the same models.
        max_fdr: the highest false discovery rate that is accepted.

    Raises:
        RosettaError: no such models, or a dictionary that knows too little of its decoys.
    """
    models = common_models(first, second)
    for dictionary in (first, second):
        for name in models:
            if "decoys_centred" not in dictionary.evidence.get(name, {}):
                raise RosettaError(
                    f"The dictionary of {dictionary.reference.name} does not say how strong the "
                    f"decoys of {name} are.\nMine it again, with null=shuffled."
                )

    def joined(one: _Kind, other: _Kind) -> Joins:
        ends = [
            [kind(dictionary, name) for name in models]
            for kind, dictionary in ((one, first), (other, second))
        ]
        found = join(*ends)
        return only(found, found.strength.argsort(descending=True, stable=True))

    joins, decoys = joined(_matches, _matches), joined(_decoys, _decoys)
    half = [joined(_matches, _decoys).strength, joined(_decoys, _matches).strength]
    q = crossed_q_values(joins.strength, half, decoys.strength)
    return Bridge(first, second, models, joins, q, decoys, max_fdr)


_Kind = Callable[[RosettaDictionary, str], Matches]


def _matches(dictionary: RosettaDictionary, name: str) -> Matches:
    return Matches(dictionary.buddies[name][:, :2], dictionary.evidence[name]["r_centred"])


def _decoys(dictionary: RosettaDictionary, name: str) -> Matches:
    return Matches(*(dictionary.evidence[name][key] for key in ("decoys", "decoys_centred")))


def random_partners(pairs: Tensor, units: UnitIndex, seed: int = 0) -> Tensor:
    """Pairs (P, 2) whose second units are any of the same layer instead.

    Args:
        pairs: of units.
        units: that the second ones are of.
        seed: of the draw.
    """
    source = torch.Generator().manual_seed(seed)
    drawn = pairs.clone()
    for layer in units.layers:
        span = units.units(layer.name)
        own = (pairs[:, 1] >= span.start) & (pairs[:, 1] < span.stop)
        drawn[own, 1] = torch.randint(span.start, span.stop, (int(own.sum()),), generator=source)
    return drawn

"""Which units of discriminative models two dictionaries have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_lab.dictionary.pairs import Pool, matched_pairs
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.errors import RosettaError

POOLS: tuple[Pool, ...] = ("best_buddies", "rosetta")


@dataclass
class Overlap:
    """Units of a model that two generators match.

    Attributes:
        model: the discriminative one.
        pool: ``best_buddies``: matched with this model; ``rosetta``: with all of them.
        units: of the model.
        first: of these, matched by the first generator.
        second: matched by the second.
        both: matched by both.
        chance: expected in both if the second's were drawn at random from the same layers.
    """

    model: str
    pool: Pool
    units: int
    first: int
    second: int
    both: int
    chance: float

    @property
    def share(self) -> float | None:
        """Share of the first's units that the second matches as well; None without any."""
        return self.both / self.first if self.first else None


def overlaps(first: RosettaDictionary, second: RosettaDictionary) -> list[Overlap]:
    """Compare two dictionaries, for every model that both were mined with.

    Raises:
        RosettaError: there is no such model, or one had other layers or weights.
    """
    names = [name for name in first.discriminative if name in second.discriminative]
    if not names:
        raise RosettaError(
            "The two dictionaries have no discriminative model in common.\n"
            "Mine both generators with the same disc=[...]."
        )
    for name in names:
        a, b = first.discriminative[name], second.discriminative[name]
        if a.layers != b.layers or a.weights.get("sha256") != b.weights.get("sha256"):
            raise RosettaError(
                f"{name}: the two dictionaries recorded different layers or weights of it.\n"
                "Mine both generators with the same models."
            )
    return [_overlap(first, second, name, pool) for pool in POOLS for name in names]


def _overlap(first: RosettaDictionary, second: RosettaDictionary, name: str, pool: Pool) -> Overlap:
    index = first.discriminative[name].units
    a, b = (_matched(dictionary, name, pool, len(index)) for dictionary in (first, second))
    spans = [index.units(layer.name) for layer in index.layers]
    chance = sum(int(a[s].sum()) * int(b[s].sum()) / (s.stop - s.start) for s in spans)
    return Overlap(
        name, pool, len(index), int(a.sum()), int(b.sum()), int((a & b).sum()), float(chance)
    )


def _matched(dictionary: RosettaDictionary, name: str, pool: Pool, units: int) -> Tensor:
    """Which of a model's units are matched (units,), bool."""
    matched = torch.zeros(units, dtype=torch.bool)
    if pool == "rosetta" and not dictionary.neurons:
        return matched
    pairs = matched_pairs(dictionary, name, pool)[name]
    matched[pairs[:, 1].long()] = True
    return matched

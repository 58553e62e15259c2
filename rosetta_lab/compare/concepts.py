"""Concepts of two dictionaries beside each other: which have units of models in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_lab.dictionary.schema import Concept, RosettaDictionary
from rosetta_lab.errors import RosettaError, printable

DRAWS = 200
QUANTILE = 0.95


@dataclass(frozen=True)
class Partner:
    """A concept, and the one of the other dictionary with which it has most units in common.

    Attributes:
        concept: the number of it.
        units: that its neurons match, in the models of both dictionaries.
        other: the number of the other one; None where no concept has a unit in common.
        common: units that both match.
        random: the mean, over draws, of the most that as many random units of the same layers have
            in common with any concept of the other dictionary.
        bound: what 95 % of the draws do not exceed.
    """

    concept: int
    units: int
    other: int | None
    common: int
    random: float
    bound: int

    @property
    def shared(self) -> bool:
        """Whether it has more in common with its partner than random units with any."""
        return self.common > self.bound


def partners(first: RosettaDictionary, second: RosettaDictionary, seed: int = 0) -> list[Partner]:
    """For every concept of the first dictionary its partner in the second.

    Args:
        first: a dictionary.
        second: another.
        seed: of the draws.

    Raises:
        RosettaError: they have no model in common, or one had other layers or weights.
    """
    names = _in_common(first, second)
    width = sum(len(first.discriminative[name].units) for name in names)
    ours, theirs = (
        torch.stack([_units(dictionary, concept, names) for concept in dictionary.concepts])
        if dictionary.concepts
        else torch.zeros(0, width)
        for dictionary in (first, second)
    )
    spans, start = [], 0
    for name in names:
        for layer in first.discriminative[name].layers:
            spans.append(slice(start, start + layer.channels))
            start += layer.channels
    generator = torch.Generator().manual_seed(seed)
    # A concept that matches nothing, so that there is always one to compare with.
    against = torch.cat([theirs, torch.zeros(1, width)])
    return [_partner(number, row, against, spans, generator) for number, row in enumerate(ours)]


def _in_common(first: RosettaDictionary, second: RosettaDictionary) -> list[str]:
    names = [name for name in first.discriminative if name in second.discriminative]
    if not names:
        raise RosettaError(
            "The two dictionaries have no discriminative model in common.\n"
            "Mine both with some of the same models: disc=[...]."
        )
    for name in names:
        a, b = first.discriminative[name], second.discriminative[name]
        if a.layers != b.layers or a.weights.get("sha256") != b.weights.get("sha256"):
            raise RosettaError(
                f"{printable(name)}: the two dictionaries recorded different layers or weights of "
                "it.\nMine both with the same models."
            )
    return names


def _partner(
    number: int, row: Tensor, theirs: Tensor, spans: list[slice], generator: torch.Generator
) -> Partner:
    """The partner of a concept with units (W,) among concepts (C, W), all 0 or 1."""
    counts = theirs @ row
    common = int(counts.max())
    drawn = torch.zeros(DRAWS, len(row))
    for span in (span for span in spans if row[span].any()):
        order = torch.rand(DRAWS, span.stop - span.start, generator=generator).argsort(dim=1)
        drawn[:, span] = row[span][order]
    most = (drawn @ theirs.T).amax(dim=1)
    bound = int(most.quantile(QUANTILE, interpolation="higher"))
    other = int(counts.argmax()) if common else None
    return Partner(number, int(row.sum()), other, common, float(most.mean()), bound)


def _units(dictionary: RosettaDictionary, concept: Concept, names: list[str]) -> Tensor:
    """Which units of some models a concept's neurons match (units of all of them,), 0 or 1."""
    parts = []
    for name in names:
        index = dictionary.discriminative[name].units
        part = torch.zeros(len(index))
        for number in concept.neurons:
            for match in dictionary.neurons[number].matches[name]:
                part[index.number(match.unit)] = 1.0
        parts.append(part)
    return torch.cat(parts)

"""Which units are set to their mean: Rosetta units, others that are like them, and random ones."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from rosetta_lab.dictionary.mined import MinedModels
from rosetta_lab.dictionary.pairs import matched_pairs, reference_units
from rosetta_lab.dictionary.schema import ModelCard
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.errors import check_choice
from rosetta_lab.models.units import UnitIndex

log = logging.getLogger("rosetta_lab")
ROSETTA, MATCHED, RANDOM = "rosetta", "matched", "random"
ARMS = {ROSETTA: "Rosetta units", MATCHED: "matched units", RANDOM: "random units"}
NEAREST = 3  # by what is matched; one of them is taken, so that draws differ
Match = Literal["mean", "variance"]


@dataclass
class Chosen:
    """A model's units and which of them are ablated together.

    Attributes:
        index: of all its recorded units.
        mean: of each over the mined images (U,).
        variance: likewise (U,).
        arms: numbers of units by ``ROSETTA``, ``MATCHED`` and ``RANDOM``, draw by draw.
    """

    index: UnitIndex
    mean: Tensor
    variance: Tensor
    arms: dict[str, list[Tensor]]

    def means(self, units: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer to channels and means of units of these numbers."""
        found = {}
        for layer in self.index.layers:
            span = self.index.units(layer.name)
            own = units[(units >= span.start) & (units < span.stop)]
            if len(own):
                found[layer.name] = (own - span.start, self.mean[own])
        return found

    def standing(self, arm: str, values: Tensor) -> float:
        """Where an arm's units stand in their layers by some value, on average.

        Args:
            arm: of ``arms``.
            values: of every unit (U,), such as ``mean``.

        Returns:
            Standard deviations above the mean over their layers' units.
        """
        scores = torch.zeros_like(values)
        for layer in self.index.layers:
            span = self.index.units(layer.name)
            own = values[span]
            spread = own.std(correction=0).clamp(min=torch.finfo(own.dtype).tiny)
            scores[span] = (own - own.mean()) / spread
        return float(scores[torch.cat(self.arms[arm])].mean())


def choose(mined: MinedModels, draws: int, seed: int, match: Match = "mean") -> dict[str, Chosen]:
    """The units of every model by name, those of the reference, such as a generator, first.

    Args:
        mined: the dictionary, whose neurons' matches are the Rosetta units.
        draws: how many of the other two kinds.
        seed: of the draws.
        match: what matched units have about the same of: ``mean`` activation, or ``variance``,
            which is what a unit loses at its mean.

    Raises:
        RosettaError: the dictionary has no Rosetta neurons, or there is no such ``match``.
    """
    check_choice("match", match, get_args(Match))
    dictionary = mined.dictionary
    pairs = matched_pairs(dictionary, "all", "rosetta")
    rosetta = {name: rows[:, 1].unique() for name, rows in pairs.items()}
    rosetta = {dictionary.reference.name: reference_units(pairs), **rosetta}
    cards = {dictionary.reference.name: dictionary.reference, **dictionary.discriminative}
    how = (draws, seed, match)
    return {name: _chosen(mined, cards[name], own, *how) for name, own in rosetta.items()}


def _chosen(
    mined: MinedModels, card: ModelCard, rosetta: Tensor, draws: int, seed: int, match: Match
) -> Chosen:
    statistics, index = load_statistics(mined.folder, card.name, card.layers), card.units
    mean, variance = (
        torch.cat([statistics[layer.name][kind] for layer in index.layers]) for kind in (0, 1)
    )
    free = variance > 0  # what never varies is at its mean
    free[rosetta] = False
    source = torch.Generator().manual_seed(seed)
    alike = {"mean": mean, "variance": variance}[match]
    matched = [draw_matched(index, rosetta, free, alike, source) for _ in range(draws)]
    random = [draw_random(index, rosetta, free, source) for _ in range(draws)]
    if len(random[0]) < len(rosetta):
        log.warning(
            "%s: some layers have fewer other units than Rosetta units; draws have %d, not %d.",
            card.name,
            len(random[0]),
            len(rosetta),
        )
    return Chosen(index, mean, variance, {ROSETTA: [rosetta], MATCHED: matched, RANDOM: random})


def draw_random(index: UnitIndex, units: Tensor, free: Tensor, source: torch.Generator) -> Tensor:
    """As many units of the same layers, at random; all of a layer that has fewer.

    Args:
        index: of the model's units.
        units: numbers of those to stand in for.
        free: which units may be drawn (U,), bool.
        source: of randomness.
    """
    drawn = []
    for own, others in _by_layer(index, units, free):
        drawn.append(others[torch.randperm(len(others), generator=source)[: len(own)]])
    return torch.cat(drawn)


def draw_matched(
    index: UnitIndex, units: Tensor, free: Tensor, values: Tensor, source: torch.Generator
) -> Tensor:
    """For each unit another one of its layer with about its value, each once.

    In random order, each takes one of the ``NEAREST`` that are left.

    Args:
        index: of the model's units.
        units: numbers of those to stand in for.
        free: which units may be drawn (U,), bool.
        values: what is matched, of every unit (U,).
        source: of randomness.
    """
    drawn = []
    for own, others in _by_layer(index, units, free):
        left = others
        for unit in own[torch.randperm(len(own), generator=source)][: len(others)]:
            order = (values[left] - values[unit]).abs().argsort(stable=True)
            near = order[:NEAREST]
            place = near[torch.randint(len(near), (1,), generator=source)]
            drawn.append(left[place])
            left = left[torch.arange(len(left)) != place]
    return torch.cat(drawn) if drawn else units[:0]


def _by_layer(index: UnitIndex, units: Tensor, free: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Units of every layer, and the free ones beside them, by number."""
    found = []
    for layer in index.layers:
        span = index.units(layer.name)
        own = units[(units >= span.start) & (units < span.stop)]
        found.append((own, free[span].nonzero().flatten() + span.start))
    return found

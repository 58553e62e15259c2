"""From correlation tables to a dictionary (paper, sections 3.1 to 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rosetta_lab.dictionary.schema import (
    Concept,
    Match,
    ModelCard,
    RosettaDictionary,
    RosettaNeuron,
)
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.matching import alive, best_buddies, connected_components, least_k
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer, UnitIndex


def model_cards(observer: Observer, shapes: Mapping[str, list[Layer]]) -> dict[str, ModelCard]:
    """What a dictionary keeps of every model, the reference first."""
    cards = {}
    model: Any
    for name, model in observer.networks.items():
        weights = {"source": model.source, "sha256": model.sha256}
        preprocess = getattr(model, "preprocess", None)
        cards[name] = ModelCard(
            name, weights, shapes[name], preprocess.to_dict() if preprocess else None
        )
    return cards


def build_dictionary(
    generator: ModelCard,
    discriminative: Mapping[str, ModelCard],
    tables: Mapping[str, Tensor],
    generator_table: Tensor,
    generator_alive: Tensor,
    models_alive: Mapping[str, Tensor],
    *,
    k_gen: int,
    k_disc: int,
    **provenance: Any,
) -> RosettaDictionary:
    """Match units, join them through the generator, cluster them (paper, sections 3.1 to 3.3).

    Args:
        generator: the generator's card.
        discriminative: the models' cards.
        tables: correlation r of generator units (rows) with each model's units, (G, D).
        generator_table: correlation of generator units with each other (G, G).
        generator_alive: which generator units vary at all (G,).
        models_alive: the same per model (D,).
        k_gen: nearest generator units that each model unit considers; also for the clustering.
        k_disc: nearest model units that each generator unit considers.
        provenance: the remaining fields of :class:`RosettaDictionary` (seed, num_images, config).

    Raises:
        RosettaError: K exceeds the number of units of a model.
    """
    _check_k(generator.name, "k_gen", k_gen, int(generator_alive.sum()))
    buddies, numbers = {}, {}
    for name, table in tables.items():
        _check_k(name, "k_disc", k_disc, int(models_alive[name].sum()))
        living = alive(table, generator_alive, models_alive[name])
        buddies[name] = best_buddies(living, k_rows=k_disc, k_columns=k_gen)
        pairs = buddies[name].nonzero()
        numbers[name] = torch.column_stack([pairs, least_k(living, pairs)]).cpu()
    everywhere = torch.stack([mask.any(dim=1) for mask in buddies.values()]).all(dim=0)
    rosetta = everywhere.nonzero().flatten().tolist()  # generator unit numbers

    neurons = []
    for number in rosetta:
        matches = {
            name: _matches(discriminative[name].units, tables[name][number], mask[number])
            for name, mask in buddies.items()
        }
        score = sum(found[0].r for found in matches.values()) / len(matches)
        neurons.append(RosettaNeuron(generator.units[number], matches, round(score, 6)))

    themselves = alive(generator_table, generator_alive, generator_alive)
    themselves.fill_diagonal_(-torch.inf)
    adjacency = best_buddies(themselves, min(k_gen, len(themselves)), min(k_gen, len(themselves)))
    clusters = connected_components(adjacency[rosetta][:, rosetta])
    neurons, concepts = _sort(neurons, clusters)
    return RosettaDictionary(
        generator=generator,
        discriminative=dict(discriminative),
        neurons=neurons,
        concepts=concepts,
        k=k_disc,
        buddies=numbers,
        summary={
            "rosetta_neurons": len(neurons),
            "concepts": len(concepts),
            "best_buddies": {name: int(mask.sum()) for name, mask in buddies.items()},
            "units": {
                generator.name: len(generator.units),
                **{name: len(card.units) for name, card in discriminative.items()},
            },
            "dead_units": {
                generator.name: int((~generator_alive).sum()),
                **{name: int((~mask).sum()) for name, mask in models_alive.items()},
            },
            "meetings": {
                name: _meetings(generator.units, discriminative[name].units, mask)
                for name, mask in buddies.items()
            },
            "histogram": {
                name: torch.histc(tables[name][mask].float().cpu(), 40, -1.0, 1.0).int().tolist()
                for name, mask in buddies.items()
            },
        },
        **provenance,
    )


def _check_k(model: str, key: str, k: int, units: int) -> None:
    if not 1 <= k <= units:
        raise RosettaError(
            f"{key}={k} does not fit {model}: it has {units} units that vary.\n"
            f"Choose k between 1 and {units}."
        )


def _matches(units: UnitIndex, r: Tensor, mask: Tensor) -> list[Match]:
    """A generator unit's best buddies in one model, best first, lower index first on ties."""
    numbers = mask.nonzero().flatten().tolist()
    found = [Match(*units[number], round(float(r[number]), 6)) for number in numbers]
    return sorted(found, key=lambda match: -match.r)


def _sort(
    neurons: Sequence[RosettaNeuron], clusters: Sequence[Sequence[int]]
) -> tuple[list[RosettaNeuron], list[Concept]]:
    """Neurons and concepts by score, best first, with their references to each other."""
    order = sorted(range(len(neurons)), key=lambda place: -neurons[place].score)
    rank = {place: new for new, place in enumerate(order)}
    ordered = [neurons[place] for place in order]
    concepts = []
    for cluster in clusters:
        members = sorted(rank[place] for place in cluster)
        concepts.append(Concept(-1, members, members[0], ordered[members[0]].score))
    concepts.sort(key=lambda concept: concept.representative)
    for number, concept in enumerate(concepts):
        concept.id = number
        for member in concept.neurons:
            ordered[member].concept = number
    return ordered, concepts


def _meetings(rows: UnitIndex, columns: UnitIndex, mask: Tensor) -> list[list[int]]:
    """Best buddies counted per pair of layers: generator layers by model layers."""
    return [
        [int(mask[rows.units(a.name), columns.units(b.name)].sum()) for b in columns.layers]
        for a in rows.layers
    ]

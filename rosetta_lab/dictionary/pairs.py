"""The matched pairs of a dictionary that an objective compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from rosetta_lab.dictionary.record import OF_DECOYS
from rosetta_lab.dictionary.schema import EVIDENCE, RosettaDictionary
from rosetta_lab.errors import RosettaError, check_choice, check_count
from rosetta_lab.models.units import UnitIndex

Pairs = dict[str, Tensor]  # model name to numbers of units, reference and model (P, 2)
Pool = Literal["rosetta", "accepted", "best_buddies", "rejected", "decoys", "random", "none"]


def matched_pairs(
    dictionary: RosettaDictionary,
    matches: str | Sequence[str] | None = "all",
    pool: Pool = "best_buddies",
    concepts: Sequence[int] | None = None,
    neurons: Sequence[int] | None = None,
    layers: Sequence[str] | None = None,
    k: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The pairs of reference units and model units that an objective compares.

    Args:
        dictionary: where they were matched.
        matches: ``all``, ``none`` (or None), the name of a model, or several names.
        pool: ``best_buddies``: every mutual nearest neighbour of a chosen model; ``accepted`` and
            ``rejected``: those that pass the dictionary's null, and those that fail it;
            ``rosetta``: only those of Rosetta neurons, which have an accepted one in every model;
            ``decoys``: the best buddies of shuffled images, which mean nothing; ``random``: the
            best buddies' reference units, each with any unit of the model; ``none``: no pairs.
        concepts: only Rosetta neurons of these concepts; None for all.
        neurons: only these Rosetta neurons; None for all.
        layers: only reference units of these layers; None for all.
        k: only best buddies among each other's k nearest; None for the K of the dictionary.
        limit: at most so many pairs in all, drawn at random from those of all models.
        seed: of what is drawn.

    Returns:
        Model name to numbers of units, reference and model (P, 2).

    Raises:
        RosettaError: a pool, model, concept, neuron or layer that is not there, a k that the
            dictionary was not mined for, or no pairs at all.
    """
    check_choice("pool", pool, get_args(Pool))
    names = [] if pool == "none" else _names(dictionary, matches)
    if k is not None:
        dictionary = _within(dictionary, k)
    reference = dictionary.reference.units
    if concepts is not None or neurons is not None:
        pool = "rosetta"
    if pool != "rosetta":
        pairs = {name: pool_of(dictionary, name, pool, seed) for name in names}
    else:
        chosen = _neurons(dictionary, concepts, neurons)
        pairs = {}
        for name in names:
            units = dictionary.discriminative[name].units
            rows = [
                [reference.number(dictionary.neurons[n].unit), units.number(match.unit)]
                for n in chosen
                for match in dictionary.neurons[n].matches[name]
            ]
            pairs[name] = torch.tensor(rows, dtype=torch.long).reshape(-1, 2)
    if layers is not None:
        known = {layer.name for layer in dictionary.reference.layers}
        for layer in layers:
            if layer not in known:
                raise RosettaError(
                    f"layers: {dictionary.reference.name} has no recorded layer '{layer}'.\n"
                    f"Choose from {', '.join(sorted(known))}."
                )
        wanted = torch.zeros(len(reference), dtype=torch.bool)
        for layer in layers:
            wanted[reference.units(layer)] = True
        pairs = {name: rows[wanted[rows[:, 0]]] for name, rows in pairs.items()}
    if limit is not None:
        pairs = _limited(pairs, limit, seed)
    if names and not sum(map(len, pairs.values())):
        raise RosettaError(
            "No matched units are left to compare.\n"
            "Choose a larger k=, another pool=, or other matches=, concepts=, neurons= or layers=."
        )
    return pairs


def _limited(pairs: Pairs, limit: int, seed: int) -> Pairs:
    """At most so many pairs, drawn from all of them alike."""
    check_count("pairs", limit)
    total = sum(map(len, pairs.values()))
    drawn = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:limit]
    kept = torch.zeros(total, dtype=torch.bool)
    kept[drawn] = True
    masks = kept.split([len(rows) for rows in pairs.values()])
    return {name: rows[mask] for (name, rows), mask in zip(pairs.items(), masks, strict=True)}


def pool_of(dictionary: RosettaDictionary, name: str, pool: Pool, seed: int = 0) -> Tensor:
    """Pairs (P, 2) with one model, matched by the others or not.

    Args:
        dictionary: where they were matched.
        name: of the model.
        pool: see :func:`matched_pairs`; not ``rosetta``.
        seed: of what is drawn.

    Raises:
        RosettaError: the dictionary does not hold such pairs.
    """
    if name not in dictionary.buddies:
        raise RosettaError(
            f"This dictionary does not hold the best buddies of {name}.\n"
            "Mine it again, or choose pool=rosetta."
        )
    every = dictionary.buddies[name][:, :2]
    if pool == "random":
        units = len(dictionary.discriminative[name].units)
        source = torch.Generator().manual_seed(seed)
        return torch.stack([every[:, 0], torch.randint(units, (len(every),), generator=source)], 1)
    known = dictionary.evidence.get(name)
    null: dict[str, float] = dictionary.summary.get("null") or {}
    if pool == "best_buddies" or (pool == "accepted" and known is None and not null):
        return every  # without a null, all of them are accepted
    if known is None and null:
        raise RosettaError(
            f"pool={pool}: the dictionary had a null, but its {EVIDENCE} is not beside it.\n"
            "Put the file of its run there, or choose pool=best_buddies or rosetta."
        )
    if known is None or (not null and pool != "decoys"):
        raise RosettaError(
            f"pool={pool}: this dictionary was mined without a null.\n"
            "Mine it again with null=shuffled, or choose pool=best_buddies."
        )
    if pool == "decoys":
        return known["decoys"]
    accepted = known["q"] <= null["max_fdr"]
    return every[accepted if pool == "accepted" else ~accepted]


def _names(dictionary: RosettaDictionary, matches: str | Sequence[str] | None) -> list[str]:
    if matches is None or matches == "none":
        return []
    if matches == "all":
        return list(dictionary.discriminative)
    names = [matches] if isinstance(matches, str) else list(matches)
    for name in names:
        if name not in dictionary.discriminative:
            raise RosettaError(
                f"matches={name}: the dictionary has no such model.\n"
                f"Choose from none, all, {', '.join(dictionary.discriminative)}."
            )
    return names


def _within(dictionary: RosettaDictionary, k: int) -> RosettaDictionary:
    """A dictionary with the best buddies of a smaller K; a neuron without one in every model has
    no matches left, so that numbers of neurons and concepts keep their meaning."""
    if not 1 <= k <= dictionary.k:
        raise RosettaError(
            f"k={k}, but the dictionary was mined with K={dictionary.k}.\n"
            f"Choose 1 to {dictionary.k}, or mine it again with k={k}."
        )
    if any(rows.shape[1] < 3 for rows in dictionary.buddies.values()) or not dictionary.buddies:
        raise RosettaError(
            f"k={k}: this dictionary does not tell how near its best buddies are.\n"
            "Mine it again, or leave k out."
        )
    near_enough = {name: rows[:, 2] <= k for name, rows in dictionary.buddies.items()}
    buddies = {name: rows[near_enough[name]] for name, rows in dictionary.buddies.items()}
    evidence = {
        name: {key: x if key in OF_DECOYS else x[near_enough[name]] for key, x in known.items()}
        for name, known in dictionary.evidence.items()
    }
    reference = dictionary.reference.units
    neurons = []
    for neuron in dictionary.neurons:
        number = reference.number(neuron.unit)
        matches = {}
        for name, found in neuron.matches.items():
            units = dictionary.discriminative[name].units
            rows = buddies[name]
            near = set(rows[rows[:, 0] == number, 1].tolist())
            matches[name] = [match for match in found if units.number(match.unit) in near]
        if not all(matches.values()):
            matches = {name: [] for name in matches}
        neurons.append(replace(neuron, matches=matches))
    return replace(dictionary, neurons=neurons, buddies=buddies, evidence=evidence)


def _neurons(
    dictionary: RosettaDictionary,
    concepts: Sequence[int] | None,
    neurons: Sequence[int] | None,
) -> list[int]:
    """Numbers of the chosen Rosetta neurons, in order."""
    chosen = set(range(len(dictionary.neurons))) if concepts is None and neurons is None else set()
    for concept in concepts or ():
        if not 0 <= concept < len(dictionary.concepts):
            raise RosettaError(
                f"concepts: there is no concept {concept}; "
                f"the dictionary has 0 to {len(dictionary.concepts) - 1}."
            )
        chosen |= set(dictionary.concepts[concept].neurons)
    for neuron in neurons or ():
        if not 0 <= neuron < len(dictionary.neurons):
            raise RosettaError(
                f"neurons: there is no neuron {neuron}; "
                f"the dictionary has 0 to {len(dictionary.neurons) - 1}."
            )
        chosen.add(neuron)
    return sorted(chosen)


def blocks_of_layers(
    rows: UnitIndex, columns: UnitIndex, pairs: Tensor
) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
    """Pairs (P, 2) of unit numbers by pair of layers: channels (p,) of the one and of the other."""
    found: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    for a, b in pairs.tolist():
        one, other = rows[a], columns[b]
        block = found.setdefault((one.layer, other.layer), ([], []))
        block[0].append(one.channel)
        block[1].append(other.channel)
    return {key: (torch.tensor(a), torch.tensor(b)) for key, (a, b) in found.items()}


def reference_units(pairs: Pairs) -> Tensor:
    """The reference model's units in matched pairs (U,), each once."""
    units: Tensor = torch.cat([rows[:, 0] for rows in pairs.values()]).unique()
    return units

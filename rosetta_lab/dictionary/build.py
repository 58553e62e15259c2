"""From matches to a dictionary (paper, sections 3.1 to 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rosetta_lab.dictionary.evidence import Found, Judged
from rosetta_lab.dictionary.schema import (
    Concept,
    Match,
    ModelCard,
    RosettaDictionary,
    RosettaNeuron,
)
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.matching import Neighbours, best_buddies, connected_components
from rosetta_lab.models.observer import Observer
from rosetta_lab.models.units import Layer, UnitIndex

Clique = Mapping[str, Sequence[int]]  # model name to numbers of units that are all best buddies


def model_cards(observer: Observer, shapes: Mapping[str, list[Layer]]) -> dict[str, ModelCard]:
    """What a dictionary keeps of every model, the reference first."""
    cards = {}
    network: Any
    for name, network in observer.networks.items():
        weights = {"source": network.source, "sha256": network.sha256}
        preprocess = getattr(network, "preprocess", None)
        cards[name] = ModelCard(
            name, weights, shapes[name], preprocess.to_dict() if preprocess else None
        )
    return cards


def build_dictionary(
    reference: ModelCard,
    discriminative: Mapping[str, ModelCard],
    found: Found,
    own: Neighbours,
    alive: Mapping[str, Tensor],
    *,
    k_gen: int,
    k_disc: int,
    stability: Mapping[int, float] | None = None,
    cliques: Sequence[Clique] | None = None,
    **provenance: Any,
) -> RosettaDictionary:
    """Join matches through the reference model and cluster them (paper, sections 3.1 to 3.3).

    Args:
        reference: the reference model's card.
        discriminative: the models' cards.
        found: best buddies in every model, of reference units (rows).
        own: neighbours of reference units among themselves, none its own.
        alive: name to which units vary at all (U,), bool.
        k_gen: nearest reference units of the clustering.
        k_disc: nearest model units that each reference unit considered.
        stability: of the Rosetta units, by number; None where it was not measured.
        cliques: the concepts instead, where every model's units were matched with every other's:
            each Rosetta unit belongs to the strongest that it is in.
        provenance: the remaining fields of :class:`RosettaDictionary` (seed, num_images, config).
    """

    def neuron(number: int, accepted: bool, clique: Clique | None = None) -> RosettaNeuron:
        matches = {
            name: _matches(
                discriminative[name].units,
                judged,
                number,
                accepted,
                among=None if clique is None else clique[name],
            )
            for name, judged in found.models.items()
        }
        return RosettaNeuron(
            reference.units[number],
            matches,
            round(sum(some[0].r for some in matches.values()) / len(matches), 6),
            q=_rounded(found.q.get(number)),
            stability=None if stability is None else stability.get(number),
            position_only=not accepted,
        )

    if cliques is None:
        neurons = [neuron(number, True) for number in found.rosetta]
        clusters = _clusters(own, k_gen, found.rosetta)
    else:
        whole = [clique for clique in cliques if len(clique) == 1 + len(discriminative)]
        neurons, clusters = _in_cliques(neuron, found.rosetta, whole, reference.name)
    others = [
        neuron(number, False) for number in sorted(set(found.candidates) - set(found.rosetta))
    ]
    neurons, concepts = _sort(neurons, clusters)
    return RosettaDictionary(
        reference=reference,
        discriminative=dict(discriminative),
        neurons=neurons,
        concepts=concepts,
        k=k_disc,
        position_only=sorted(others, key=lambda one: -one.score),
        buddies={
            name: torch.column_stack([judged.buddies.pairs, judged.buddies.least_k]).cpu()
            for name, judged in found.models.items()
        },
        evidence={
            name: _evidence(judged) for name, judged in found.models.items() if judged.decoys
        },
        summary=_summary(reference, discriminative, found, alive, len(concepts)),
        **provenance,
    )


def check_k(units: Mapping[str, int], reference: str, k_gen: int, k_disc: int) -> None:
    """Raise a RosettaError unless every model has as many units that vary as K asks for.

    Args:
        units: name to how many vary.
        reference: name of the reference model, whose units are asked ``k_gen``.
        k_gen: see :func:`build_dictionary`.
        k_disc: likewise.
    """
    for model, count in units.items():
        key, k = ("k_gen", k_gen) if model == reference else ("k_disc", k_disc)
        if not count:
            raise RosettaError(
                f"{model}: none of its recorded units varies over these images.\n"
                "Check its weights, record other layers (layers=), or use more images."
            )
        if not 1 <= k <= count:
            raise RosettaError(
                f"{key}={k} does not fit {model}: it has {count} units that vary.\n"
                f"Choose k between 1 and {count}."
            )


def _in_cliques(
    neuron: Callable[[int, bool, Clique], RosettaNeuron],
    rosetta: Sequence[int],
    cliques: Sequence[Clique],
    reference: str,
) -> tuple[list[RosettaNeuron], list[list[int]]]:
    """Rosetta units with their matches in the strongest clique of each, and who shares one."""
    neurons: list[RosettaNeuron] = []
    members: dict[int, list[int]] = {}
    for number in rosetta:
        able = [place for place, clique in enumerate(cliques) if number in clique[reference]]
        best = max(able, key=lambda place: (neuron(number, True, cliques[place]).score, -place))
        members.setdefault(best, []).append(len(neurons))
        neurons.append(neuron(number, True, cliques[best]))
    return neurons, list(members.values())


def _matches(
    units: UnitIndex,
    judged: Judged,
    row: int,
    accepted: bool,
    among: Sequence[int] | None = None,
) -> list[Match]:
    """A reference unit's best buddies in one model, best first, lower index first on ties."""
    buddies, scores = judged.buddies, judged.buddies.scores
    found = []
    for place in (buddies.pairs[:, 0] == row).nonzero().flatten().tolist():
        if accepted and not judged.kept[place]:
            continue
        column = int(buddies.pairs[place, 1])
        if among is not None and column not in among:
            continue
        match = Match(*units[column], round(float(scores["r"][place]), 6))
        if judged.q is not None:
            match.r_position, match.r_centred, match.r_shuffled = (
                round(float(scores[key][place]), 6) for key in ("position", "centred", "shuffled")
            )
            match.q = _rounded(float(judged.q[place]))
        if "low" in scores:
            match.r_low, match.r_high = (
                round(float(scores[key][place]), 6) for key in ("low", "high")
            )
        found.append(match)
    return sorted(found, key=lambda match: -match.r)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _evidence(judged: Judged) -> dict[str, Tensor]:
    """What is known of a model's best buddies, see :class:`RosettaDictionary`."""
    assert judged.q is not None
    scores = judged.buddies.scores
    names = {"r": "r", "position": "r_position", "centred": "r_centred", "shuffled": "r_shuffled"}
    found = {name: scores[key].cpu() for key, name in names.items()}
    decoys = judged.decoys[0]
    found |= {"decoys": decoys.pairs.cpu(), "decoys_centred": decoys.scores["centred"].cpu()}
    return found | {"q": judged.q}


def _clusters(own: Neighbours, k: int, rosetta: Sequence[int]) -> list[list[int]]:
    """Rosetta units that are each other's best buddies, by their place in the list."""
    place = {number: i for i, number in enumerate(rosetta)}
    adjacency = torch.zeros(len(rosetta), len(rosetta), dtype=torch.bool)
    for a, b in best_buddies(own, k, k).pairs.tolist():
        if a in place and b in place:
            adjacency[place[a], place[b]] = True
    return connected_components(adjacency)


def _summary(
    reference: ModelCard,
    discriminative: Mapping[str, ModelCard],
    found: Found,
    alive: Mapping[str, Tensor],
    concepts: int,
) -> dict[str, Any]:
    """What a run counts."""
    cards = {reference.name: reference, **discriminative}
    pairs = {name: judged.buddies.pairs.cpu() for name, judged in found.models.items()}
    summary = {
        "rosetta_neurons": len(found.rosetta),
        "concepts": concepts,
        "best_buddies": {name: len(own) for name, own in pairs.items()},
        "units": {name: len(card.units) for name, card in cards.items()},
        "dead_units": {name: int((~alive[name]).sum()) for name in cards},
        "meetings": {
            name: _meetings(reference.units, discriminative[name].units, own)
            for name, own in pairs.items()
        },
        "histogram": {
            name: _histogram(judged.buddies.scores["r"]) for name, judged in found.models.items()
        },
    }
    if found.decoys:
        summary["null"] = null_summary(found)
    return summary


def null_summary(found: Found) -> dict[str, Any]:
    """What the same rules find among shuffled images, and what that leaves."""
    draws, models = len(found.decoys), found.models

    def mean(counts: Iterable[int]) -> float:
        return round(sum(counts) / draws, 2)

    return {
        "draws": draws,
        "max_fdr": found.max_fdr,
        "candidates": len(found.candidates),
        "accepted_best_buddies": {name: int(j.kept.sum()) for name, j in models.items()},
        "shuffled_rosetta_neurons": mean(map(len, found.decoys)),
        "shuffled_rosetta_neurons_accepted": mean(map(len, found.decoys_kept)),
        "shuffled_best_buddies": {
            name: mean(len(draw.pairs) for draw in judged.decoys) for name, judged in models.items()
        },
        "thresholds": {name: _rounded(judged.threshold) for name, judged in models.items()},
        "centred_histogram": {
            name: _histogram(judged.buddies.scores["centred"]) for name, judged in models.items()
        },
        "shuffled_histogram": {
            name: [
                round(count / draws, 2)
                for count in _histogram(torch.cat([d.scores["centred"] for d in judged.decoys]))
            ]
            for name, judged in models.items()
        },
    }


def _histogram(values: Tensor) -> list[int]:
    """Counts in 40 equal bins over [-1, 1]."""
    counts: list[int] = torch.histc(values.float().cpu(), 40, -1.0, 1.0).int().tolist()
    return counts


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


def _meetings(rows: UnitIndex, columns: UnitIndex, pairs: Tensor) -> list[list[int]]:
    """Best buddies (P, 2) counted per pair of layers: reference layers by model layers."""
    ends = [torch.tensor([i.units(x.name).stop for x in i.layers]) for i in (rows, columns)]
    places = [
        torch.bucketize(p, e, right=True) for p, e in zip(pairs.t().contiguous(), ends, strict=True)
    ]
    counts = torch.zeros(len(rows.layers), len(columns.layers), dtype=torch.long)
    counts.index_put_((places[0], places[1]), torch.ones(len(pairs), dtype=torch.long), True)
    found: list[list[int]] = counts.tolist()
    return found

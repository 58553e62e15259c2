"""Images as vectors of Rosetta activations, and as what these are held against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rosetta_lab.dictionary.mined import MinedModels
from rosetta_lab.dictionary.schema import ModelCard
from rosetta_lab.dictionary.statistics import load_statistics
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.vectors import OUTPUT, pooled, vectors

ROSETTA, RANDOM, EVERY, PIXELS = "Rosetta neurons", "random units", "all units", "pixels"
Parts = list[dict[str, list[int]]]  # of every neuron, numbers of units by model


@dataclass
class Vectors:
    """What images are told apart by.

    Attributes:
        whole: by name, what units do on average over an image: one or more draws of (N, D).
        layout: by name, what they do in every cell of a grid, likewise.
    """

    whole: dict[str, list[Tensor]]
    layout: dict[str, list[Tensor]]


def rosetta_parts(mined: MinedModels) -> Parts:
    """The units of every Rosetta neuron of a dictionary in the models that look at images.

    Raises:
        RosettaError: it has no Rosetta neurons.
    """
    dictionary = mined.dictionary
    if not dictionary.neurons:
        raise RosettaError(
            "This dictionary has no Rosetta neurons to describe images by.\n"
            "Mine one with more images or a larger k."
        )
    cards, parts = cards_of(mined), []
    for neuron in dictionary.neurons:
        part = {
            name: [cards[name].units.number(match.unit) for match in matches]
            for name, matches in neuron.matches.items()
        }
        if not dictionary.of_generator:
            name = dictionary.reference.name
            part[name] = [cards[name].units.number(neuron.unit)]
        parts.append(part)
    return parts


def random_parts(parts: Parts, cards: Mapping[str, ModelCard], seed: int) -> Parts:
    """As many units of the same layers, at random."""
    source, found = torch.Generator().manual_seed(seed), []
    for part in parts:
        drawn: dict[str, list[int]] = {}
        for name, units in part.items():
            index = cards[name].units
            spans = [index.units(index[unit].layer) for unit in units]
            drawn[name] = [
                int(torch.randint(s.start, s.stop, (1,), generator=source)) for s in spans
            ]
        found.append(drawn)
    return found


def cards_of(mined: MinedModels) -> dict[str, ModelCard]:
    """Of the models that look at images."""
    dictionary = mined.dictionary
    own = {} if dictionary.of_generator else {dictionary.reference.name: dictionary.reference}
    return {**own, **dictionary.discriminative}


def image_vectors(
    mined: MinedModels,
    models: Mapping[str, DiscriminativeModel],
    batches: Iterable[Tensor],
    cells: int,
    draws: int,
    seed: int,
) -> Vectors:
    """Look at images with every model of a dictionary's run.

    A Rosetta neuron's activation is the mean over the models of the mean over its units there, each
    less its mean and over its deviation on the mined images.

    Args:
        mined: the dictionary.
        models: its models.
        batches: of images (N, 3, R, R) in [0, 1].
        cells: of a layout's side.
        draws: of random units.
        seed: of these.

    Returns:
        ``whole`` and ``layout`` of Rosetta neurons, of random units and of the pixels' colours;
        ``whole`` also of all units and of every model's output, by its name.
    """
    cards = cards_of(mined)
    rosetta = rosetta_parts(mined)
    arms = {ROSETTA: [rosetta]}
    arms[RANDOM] = [random_parts(rosetta, cards, seed + draw) for draw in range(draws)]
    wanted = {
        name: sorted({u for some in arms.values() for p in some for one in p for u in one[name]})
        for name in models
    }
    scales = {name: _scales(mined, cards[name]) for name in models}
    grids: dict[str, dict[str, list[Tensor]]] = {name: {} for name in models}

    def keep(model: str, layer: str, maps: Tensor) -> Tensor:
        mean, spread = (values.to(maps.device) for values in scales[model][layer])
        maps = (maps.float() - mean[:, None, None]) / spread[:, None, None]
        span = cards[model].units.units(layer)
        own = [unit - span.start for unit in wanted[model] if span.start <= unit < span.stop]
        grids[model].setdefault(layer, []).append(pooled(maps[:, own], cells).cpu())
        return maps.mean(dim=(2, 3))

    colours: list[Tensor] = []

    def watched() -> Iterator[Tensor]:
        for images in batches:
            colours.append(pooled(images, cells))
            yield images

    seen = vectors(models, watched(), keep, outputs=True)
    layers = {name: [layer.name for layer in cards[name].layers] for name in models}
    maps = {
        name: torch.cat([torch.cat(grids[name][layer]) for layer in layers[name]], dim=1)
        for name in models
    }
    place = {name: {unit: i for i, unit in enumerate(units)} for name, units in wanted.items()}

    layouts = {arm: [_composed(parts, maps, place) for parts in some] for arm, some in arms.items()}
    layouts[PIXELS] = [torch.cat(colours)]
    means = {name: torch.cat([seen[name][x] for x in layers[name]], dim=1) for name in models}
    every = {name: {unit: unit for unit in units} for name, units in wanted.items()}
    whole = {arm: [_composed(parts, means, every) for parts in some] for arm, some in arms.items()}
    whole[PIXELS] = [torch.cat(colours).mean(dim=(2, 3))]
    whole[EVERY] = [torch.cat(list(means.values()), dim=1)]
    whole |= {f"output of {name}": [own[OUTPUT]] for name, own in seen.items()}
    return Vectors(whole, {arm: [x.flatten(1) for x in some] for arm, some in layouts.items()})


def _composed(
    parts: Parts, values: Mapping[str, Tensor], place: Mapping[str, Mapping[int, int]]
) -> Tensor:
    """What neurons do (N, neurons, ...).

    Args:
        parts: their units.
        values: of some units by model (N, units, ...).
        place: where among these a unit of a number is.
    """
    found = []
    for part in parts:
        of_models = [
            values[name][:, [place[name][unit] for unit in units]].mean(dim=1)
            for name, units in part.items()
        ]
        found.append(torch.stack(of_models).mean(dim=0))
    return torch.stack(found, dim=1)


def _scales(mined: MinedModels, card: ModelCard) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and deviation of a model's units by layer, on the mined images; 1 for constant units."""
    statistics = load_statistics(mined.folder, card.name, card.layers)
    found = {}
    for layer in card.layers:
        mean, variance = (values.float() for values in statistics[layer.name])
        found[layer.name] = (mean, torch.where(variance > 0, variance, 1.0).sqrt())
    return found

"""What a Rosetta neuron or a concept stands for: where it fires, and what makes it fire.

Several random starts are optimised to the same target maps (paper, Fig. 1): whatever their images
then share is what the units say of an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from rosetta_lab.data.latents import Latents
from rosetta_lab.dictionary.schema import RosettaDictionary
from rosetta_lab.dictionary.statistics import Statistics
from rosetta_lab.errors import RosettaError
from rosetta_lab.functional.agreement import TargetMaps
from rosetta_lab.invert.latent_code import LatentCode
from rosetta_lab.invert.objective import Objective
from rosetta_lab.invert.optimise import optimise
from rosetta_lab.invert.sources import Sources
from rosetta_lab.invert.units import OwnUnits, SeenUnits
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.units import Unit

Maps = dict[tuple[str, Unit], Tensor]


@dataclass(frozen=True)
class Subject:
    """A Rosetta neuron or a concept.

    Attributes:
        kind: ``neuron`` or ``concept``.
        number: of it.
        neurons: numbers of its Rosetta neurons, best first.
    """

    kind: str
    number: int
    neurons: tuple[int, ...]

    @property
    def name(self) -> str:
        """For files: ``concept_3``."""
        return f"{self.kind}_{self.number}"

    @property
    def title(self) -> str:
        """For people: ``Concept 3``."""
        return f"{self.kind.capitalize()} {self.number}"


def choose(dictionary: RosettaDictionary, concept: object, neuron: object) -> list[Subject]:
    """What to look at: one neuron, one concept, or all concepts.

    Args:
        dictionary: with both.
        concept: a number, ``all``, or None.
        neuron: a number or None; without either it is concept 0.

    Raises:
        RosettaError: there is no such thing, or both are named.
    """
    if concept is not None and neuron is not None:
        raise RosettaError(f"concept={concept} and neuron={neuron}: name one of them.")
    kind, number = ("concept", concept or 0) if neuron is None else ("neuron", neuron)
    concepts = [Subject("concept", c.id, tuple(c.neurons)) for c in dictionary.concepts]
    if number == "all" and kind == "concept":
        return concepts
    neurons = [Subject("neuron", n, (n,)) for n in range(len(dictionary.neurons))]
    found = concepts if kind == "concept" else neurons
    if not isinstance(number, int) or not 0 <= number < len(found):
        extra = ", or all" if kind == "concept" else ""
        raise RosettaError(
            f"{kind}={number}: there is no such {kind}.\n"
            f"The dictionary has 0 to {len(found) - 1}{extra}."
        )
    return [found[number]]


@torch.no_grad()
def firing(
    generator: Generator,
    dictionary: RosettaDictionary,
    statistics: Statistics,
    latents: Latents,
    psi: float,
    batch_size: int,
) -> Tensor:
    """How strongly every Rosetta neuron's generator unit fires on every image.

    Args:
        generator: fixed.
        dictionary: with the neurons.
        statistics: of the generator's layers over the mined images.
        latents: of the images.
        psi: truncation.
        batch_size: images at a time.

    Returns:
        (images, neurons): the highest value of the unit's map, in standard deviations from the
        unit's mean over all mined positions.
    """
    layers = list(dict.fromkeys(neuron.unit.layer for neuron in dictionary.neurons))
    rows = []
    for start in range(0, len(latents), batch_size):
        sources = numbered(latents, generator, range(start, min(start + batch_size, len(latents))))
        latent = generator.map(sources.latent, sources.c, psi)
        peaks = generator.maps(latent, layers, lambda _, maps: maps.amax(dim=(2, 3)), psi)
        columns = []
        for layer, channel in (neuron.unit for neuron in dictionary.neurons):
            mean, var = (values[channel].to(peaks[layer]) for values in statistics[layer])
            scale = torch.where(var > 0, var, torch.inf).rsqrt()
            columns.append((peaks[layer][:, channel] - mean) * scale)
        rows.append(torch.stack(columns, dim=1).cpu())
    return torch.cat(rows)


def numbered(latents: Latents, generator: Generator, numbers: Sequence[int]) -> Sources:
    """Images of a run of latents, as z."""
    like = next(generator.parameters())
    batch = latents.batch(list(numbers))
    c = None if batch.label is None else one_hot(batch.label, generator.num_classes).to(like)
    return Sources([f"image {number}" for number in numbers], batch.z.to(like), c)


@dataclass
class Seen:
    """Images, and what the units of a subject make of them.

    Attributes:
        names: of the images.
        images: (N, 3, R, R) in [0, 1].
        maps: model and unit to raw activation maps (N, h, w): every neuron's generator unit and its
            best match in every model.
    """

    names: list[str]
    images: Tensor
    maps: Maps


def rows(dictionary: RosettaDictionary, neurons: Sequence[int]) -> list[tuple[str, Unit]]:
    """Models and units to show of neurons: each one's own, then its best match in every model."""
    found = []
    for neuron in (dictionary.neurons[number] for number in neurons):
        found.append((dictionary.reference.name, neuron.unit))
        found += [(name, matches[0].unit) for name, matches in neuron.matches.items()]
    return list(dict.fromkeys(found))  # neurons may share a match


@torch.no_grad()
def see(
    code: LatentCode,
    names: Sequence[str],
    dictionary: RosettaDictionary,
    models: Mapping[str, DiscriminativeModel],
    neurons: Sequence[int],
) -> Seen:
    """Show the images of latents to the models."""
    own = dictionary.reference.name
    shown = [row for row in rows(dictionary, neurons) if row[0] == own or row[0] in models]
    units: dict[str, dict[str, list[Unit]]] = {}  # by model and layer
    for name, unit in shown:
        units.setdefault(name, {}).setdefault(unit.layer, []).append(unit)
    found: Maps = {}

    def keep(name: str, layer: str, maps: Tensor) -> None:
        for unit in units[name][layer]:
            found[name, unit] = maps[:, unit.channel].to("cpu", torch.float32, copy=True)

    images, _ = code.images_and_maps(list(units[own]), partial(keep, own))
    images = images.clamp(0.0, 1.0)
    for name, model in models.items():
        model.maps(images, list(units[name]), partial(keep, name))
    return Seen(list(names), images.cpu(), {row: found[row] for row in shown})


@dataclass
class Approach:
    """Random starts on their way to the same maps.

    Attributes:
        start: images before (N, 3, R, R) in [0, 1].
        latent: (N, ...), after.
        class_weights: (N, classes); None without classes.
        curves: part of the loss to its course (N, steps).
        agreement: with the target's maps, before and after (N, 2).
    """

    start: Tensor
    latent: Tensor
    class_weights: Tensor | None
    curves: dict[str, Tensor]
    agreement: Tensor


def approach(
    units: OwnUnits | SeenUnits,
    target: LatentCode,
    starts: LatentCode,
    loss: Mapping[str, float],
    **how: Any,
) -> Approach:
    """Optimise latents until units fire as they do on another image.

    Args:
        units: which.
        target: the latent of one image.
        starts: where to begin; they become the result.
        loss: weights of ``activation``, ``latent_l1`` and ``latent_l2``.
        how: see :func:`rosetta_lab.invert.optimise.optimise`.
    """
    count = len(starts)
    asked = [
        TargetMaps(t.layer, t.channels, t.maps.expand(count, -1, -1, -1))
        for t in units.targets(target)
    ]
    objective = Objective(loss, agreement=units.agreement(asked))
    with torch.no_grad():
        before = objective(starts)
    found = optimise((starts, objective), **how)
    with torch.no_grad():
        after = objective(starts)
    agreement = torch.stack([-before.parts["activation"], -after.parts["activation"]], dim=1)
    return Approach(
        before.images.clamp(0.0, 1.0).cpu(),
        found.latent,
        found.class_weights,
        found.curves,
        agreement.cpu(),
    )


@dataclass
class View:
    """All that there is to see of a subject.

    Attributes:
        subject: which.
        target: the image whose maps were the target.
        starts: names of the starts.
        approach: what became of them.
        found: their images in the end.
        most: images on which it fires most, best first.
        least: images on which it fires least, lowest first.
        profile: class to the mean over its images of how strongly it fires.
        notes: to write beside the latents, see :func:`rosetta_lab.invert.latent_files.metadata`.
    """

    subject: Subject
    target: Seen
    starts: list[str]
    approach: Approach
    found: Seen
    most: Seen
    least: Seen
    profile: dict[int, float]
    notes: dict[str, str] = field(default_factory=dict)


def by_class(strength: Tensor, labels: Tensor | None) -> dict[int, float]:
    """Mean strength (N,) of the images of every class that occurs in labels (N,)."""
    if labels is None:
        return {}
    return {
        int(label): float(strength[labels == label].mean()) for label in labels.unique().tolist()
    }

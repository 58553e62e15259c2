"""A mined dictionary to look at: concepts, neurons, their evidence, their heatmaps on any image.

>>> import rosetta_lab as rl
>>> d = rl.load("embedded")
>>> d
Rosetta dictionary of stylegan2_fashion and 5 models: 27 neurons in 14 concepts
>>> d.concepts[3].maps(d.images(2))["clip_fashion"].shape
torch.Size([2, 8, 8])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rosetta_lab.api.images import Given, as_images, heatmaps
from rosetta_lab.api.objects import as_generator, as_model, held
from rosetta_lab.dictionary.mined import (
    Mined,
    MinedModels,
    dictionary_folder,
    load_mined_models,
    with_generator,
)
from rosetta_lab.dictionary.schema import Match, RosettaDictionary, RosettaNeuron
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.meta import described
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.models.units import Unit
from rosetta_lab.pages.document import render_fragment

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = 4  # generated images, where none are given


def load(
    source: str | Path,
    *,
    generator: nn.Module | None = None,
    models: Mapping[str, nn.Module] | None = None,
    device: str | torch.device = "cpu",
    trust_sources: bool = False,
) -> Dictionary:
    """Open a mining run. Models are only loaded when something is looked at.

    Args:
        source: its folder, or ``embedded`` for the one that comes with the package.
        generator: of a run that was mined from objects in Python.
        models: likewise, by name.
        device: where models look at images.
        trust_sources: fetch weights from wherever the dictionary says.

    Raises:
        RosettaError: there is none, or what it says cannot be true.
    """
    folder = dictionary_folder(source)
    record = RosettaDictionary.load(folder)
    if generator is None and models is None and described(record.config):
        return Dictionary(load_mined_models(source, device, trust_sources))
    networks = {}
    for name, network in (models or {}).items():
        card = record.discriminative.get(name, record.reference)
        layers = [layer.name for layer in card.layers]
        how = Preprocess(**card.preprocess) if card.preprocess else None
        networks[name] = as_model(name, network, layers, how)
    own = None if generator is None else as_generator(generator)
    return Dictionary(held(record, folder, networks, own, torch.device(device)))


class Dictionary:
    """A Rosetta dictionary and the models that it is of.

    Args:
        found: the mining run.

    Attributes:
        record: all of it, see :class:`RosettaDictionary`.
        folder: where it is.
    """

    def __init__(self, found: MinedModels) -> None:
        self.found, self.record, self.folder = found, found.dictionary, found.folder
        self._models: dict[str, DiscriminativeModel] = {}

    @cached_property
    def mined(self) -> Mined:
        """The run with its generator.

        Raises:
            RosettaError: it has none.
        """
        return self.found if isinstance(self.found, Mined) else with_generator(self.found)

    @property
    def models(self) -> list[str]:
        """Names of the discriminative models; the reference is not among them."""
        return list(self.record.discriminative)

    @property
    def neurons(self) -> list[Neuron]:
        """The Rosetta neurons, best first."""
        return [Neuron(self, neuron) for neuron in self.record.neurons]

    @property
    def concepts(self) -> list[Concept]:
        """Clusters of them, best first."""
        return [Concept(self, number) for number in range(len(self.record.concepts))]

    @property
    def summary(self) -> dict[str, Any]:
        """Counts, what chance gives, dead units, seconds."""
        return self.record.summary

    @property
    def page(self) -> Path:
        """The run's page, for a browser."""
        return self.folder / "index.html"

    @torch.no_grad()
    def images(self, count: int = SHOWN, seed: int = 0) -> Tensor:
        """Generated images (N, 3, R, R) in [0, 1], of the kind that was mined."""
        return self._made(count, seed)[0]

    def _made(self, count: int, seed: int) -> tuple[Tensor, Tensor]:
        mined, psi = self.mined, self.found.config.psi
        batch = mined.images(count, seed, psi).batch(range(count))
        z = batch.z.to(mined.device)
        label = None if batch.label is None else batch.label.to(mined.device)
        with torch.no_grad():
            latent = mined.generator.map(z, mined.generator.one_hot(label), psi)
            made = mined.generator.synthesize(latent, psi)
        return mined.generator.to_unit_range(made), latent

    def model(self, name: str) -> DiscriminativeModel:
        """One of its discriminative models."""
        if name not in self._models:
            self._models |= self.found.models([name])
        return self._models[name]

    @torch.no_grad()
    def maps(self, images: Given | None, units: Mapping[str, Unit]) -> dict[str, Tensor]:
        """Activation maps (N, h, w) of one unit of each of some models.

        Args:
            images: see :func:`as_images`; None for generated ones, on which the reference
                generator's own maps are known, too.
            units: model name to unit.
        """
        own = self.record.reference.name if self.record.of_generator else ""
        found: dict[str, Tensor] = {}
        if images is None:
            pictures, latent = self._made(SHOWN, 0)
            if own in units:
                unit = units[own]
                seen = self.mined.generator.maps(latent, [unit.layer])
                found[own] = seen[unit.layer][:, unit.channel]
        else:
            pictures = self.shown(images)
        for name, unit in units.items():
            if name != own:
                model = self.model(name)
                seen = model.maps(pictures.to(self.found.device), [unit.layer])
                found[name] = seen[unit.layer][:, unit.channel]
        return found

    def shown(self, images: Given) -> Tensor:
        """Images (N, 3, H, W) in [0, 1]; a tensor as it is, others as large as a model wants."""
        if isinstance(images, Tensor):
            return as_images(images)
        cards = [*self.record.discriminative.values(), self.record.reference]
        sizes = [max(card.preprocess["size"]) for card in cards if card.preprocess]
        return as_images(images, int(max(sizes)))

    def to_pandas(self) -> pd.DataFrame:
        """A row for every match: neuron, concept, the two units, and the evidence.

        Raises:
            RosettaError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise RosettaError(
                "Tables need pandas, which is not installed.\npip install 'rosetta-lab[notebook]'"
            ) from None
        rows = [
            {
                "neuron": number,
                "concept": neuron.concept,
                "reference_layer": neuron.unit.layer,
                "reference_channel": neuron.unit.channel,
                "model": model,
                **vars(match),
                "neuron_score": neuron.score,
                "neuron_q": neuron.q,
                "stability": neuron.stability,
            }
            for number, neuron in enumerate(self.record.neurons)
            for model, matches in neuron.matches.items()
            for match in matches
        ]
        return pandas.DataFrame(rows)

    def __repr__(self) -> str:
        return repr(self.record)

    def _repr_html_(self) -> str:
        return render_fragment("notebook_dictionary.html.j2", d=self.record, title=repr(self))


@dataclass(frozen=True)
class Neuron:
    """A unit of the reference model with its best buddies in every model.

    Attributes:
        dictionary: that it is of.
        record: see :class:`RosettaNeuron`.
    """

    dictionary: Dictionary
    record: RosettaNeuron

    @property
    def unit(self) -> Unit:
        """Layer and channel, of the reference model."""
        return self.record.unit

    @property
    def matches(self) -> dict[str, list[Match]]:
        """Model name to best buddies, best first."""
        return self.record.matches

    @property
    def score(self) -> float:
        """The mean over models of the best r."""
        return self.record.score

    @property
    def units(self) -> dict[str, Unit]:
        """Model name to its best unit, the reference's own first."""
        best = {name: matches[0].unit for name, matches in self.matches.items()}
        return {self.dictionary.record.reference.name: self.unit, **best}

    def maps(self, images: Given | None = None) -> dict[str, Tensor]:
        """What the units do on images: model name to activation maps (N, h, w).

        Args:
            images: see :func:`rosetta_lab.api.images.as_images`; None for generated ones, on which
                the generator's own unit is looked at, too.
        """
        return self.dictionary.maps(images, self.units)

    def show(self, images: Given | None = None) -> Figure:
        """A figure of :meth:`maps`, laid over the images."""
        given = images is not None
        pictures = self.dictionary.shown(images) if given else self.dictionary.images()
        own = self.dictionary.record.reference.name
        titles = {own: f"{own}\n{self.unit.layer}\n{self.unit.channel}"} | {
            name: f"{name}\n{found[0].layer}\n{found[0].channel}, r {found[0].r:.2f}"
            for name, found in self.matches.items()
        }
        return heatmaps(pictures, self.maps(pictures if given else None), titles)

    def __repr__(self) -> str:
        q = "" if self.record.q is None else f", q {self.record.q:.3f}"
        return f"Rosetta neuron {self.unit.layer}:{self.unit.channel}, score {self.score:.2f}{q}"


@dataclass(frozen=True)
class Concept:
    """A cluster of Rosetta neurons; it looks through its best one.

    Attributes:
        dictionary: that it is of.
        number: of the concept.
    """

    dictionary: Dictionary
    number: int

    @property
    def neurons(self) -> list[Neuron]:
        """Its neurons, best first."""
        record = self.dictionary.record
        found = record.concepts[self.number].neurons
        return [Neuron(self.dictionary, record.neurons[number]) for number in found]

    @property
    def representative(self) -> Neuron:
        """The best of them."""
        record = self.dictionary.record
        return Neuron(self.dictionary, record.neurons[record.concepts[self.number].representative])

    @property
    def score(self) -> float:
        """Of its best neuron."""
        return self.dictionary.record.concepts[self.number].score

    def maps(self, images: Given | None = None) -> dict[str, Tensor]:
        """See :meth:`Neuron.maps`."""
        return self.representative.maps(images)

    def show(self, images: Given | None = None) -> Figure:
        """See :meth:`Neuron.show`."""
        return self.representative.show(images)

    def __repr__(self) -> str:
        return f"Concept {self.number}: {len(self.neurons)} neurons, score {self.score:.2f}"

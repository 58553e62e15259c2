"""Images from a source, shown to models whose units are recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rosetta_lab.data.inputs import Batch, ImageBatch
from rosetta_lab.data.latents import LatentBatch
from rosetta_lab.errors import RosettaError
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.recording import OnMap
from rosetta_lab.models.units import Layer, resolve_layers

OnModelMap = Callable[[str, str, Tensor], Any]  # model, layer and maps to what is kept of them
Show = Callable[[Batch, OnModelMap], "Observation"]  # to all models


@dataclass
class Observation:
    """What one batch of images makes the models do.

    Attributes:
        images: (N, 3, R, R) in [0, 1].
        maps: model name to layer name to activation maps (N, C, H, W).
    """

    images: Tensor
    maps: dict[str, dict[str, Tensor]]


class GeneratedImages(nn.Module):
    """A source of images: latents through a generator, whose own maps come with the images.

    Args:
        generator: makes the images.
        layers: globs over its modules; None to record nothing of it.
        name: how it is called.
        psi: truncation.

    Attributes:
        networks: the models that a source runs itself and records, by name.
        layers: what it records of them.

    Raises:
        RosettaError: a glob matches nothing.
    """

    def __init__(
        self,
        generator: Generator,
        layers: Sequence[str] | None,
        name: str = "generator",
        psi: float = 1.0,
    ) -> None:
        super().__init__()
        self.generator, self.name, self.psi = generator, name, psi
        self.networks: dict[str, nn.Module] = {} if layers is None else {name: generator}
        self.layers = {} if layers is None else {name: resolve_layers(generator, layers, name)}

    def forward(self, batch: LatentBatch, on_map: OnModelMap | None = None) -> Observation:
        """Images of latents, and what the generator does for them."""
        generator, name = self.generator, self.name
        latent = generator.map(batch.z, generator.one_hot(batch.label), self.psi)
        images, maps = generator.output_and_maps(
            latent, self.layers.get(name, []), of_model(name, on_map), self.psi
        )
        seen = {name: maps} if name in self.layers else {}
        return Observation(generator.to_unit_range(images), seen)


class ShownImages(nn.Module):
    """A source whose images are given; it has no model of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.networks: dict[str, nn.Module] = {}
        self.layers: dict[str, list[str]] = {}

    def forward(self, batch: ImageBatch, on_map: OnModelMap | None = None) -> Observation:
        """The images of a batch."""
        return Observation(batch.image, {})


class Observer(nn.Module):
    """Models that look at the images of a source; all are compared with one of them.

    Args:
        source: makes the images, and may show what models of its own do on the way.
        models: name to discriminative model; the names must differ from those of the source's.
        reference: name of the model that all are compared with; None for the source's own, or the
            first where it has none.

    Attributes:
        networks: all models by name, the reference first.

    Raises:
        RosettaError: no models, none beside the reference, a name used twice, no such reference,
            or a glob that matches nothing.
    """

    def __init__(
        self,
        source: GeneratedImages | ShownImages,
        models: Mapping[str, DiscriminativeModel],
        reference: str | None = None,
    ) -> None:
        super().__init__()
        if not models:
            raise RosettaError("disc=[]: name at least one discriminative model.")
        for name in source.networks.keys() & models.keys():
            raise RosettaError(f"'{name}' is the name of two models; rename one.")
        everyone: dict[str, nn.Module] = {**source.networks, **models}
        self.reference = next(iter(everyone)) if reference is None else reference
        if self.reference not in everyone:
            raise RosettaError(
                f"reference={reference}: there is no such model in this run.\n"
                f"Choose from {', '.join(everyone)}."
            )
        if len(everyone) < 2:
            raise RosettaError(
                f"disc=[{self.reference}]: there is no model to compare the reference with.\n"
                "Name two discriminative models at least."
            )
        self.source = source
        self.models = nn.ModuleDict(models)
        self.networks = {self.reference: everyone.pop(self.reference), **everyone}
        self._looked_at = {
            name: resolve_layers(model.network, model.layers, name)
            for name, model in models.items()
        }
        self.eval().requires_grad_(False)

    @property
    def layers(self) -> dict[str, list[str]]:
        """Names of what is recorded of every model, the reference first."""
        known = self.source.layers | self._looked_at
        return {name: known[name] for name in self.networks}

    @property
    def generator(self) -> Generator:
        """The source's, where it has one."""
        assert isinstance(self.source, GeneratedImages)
        return self.source.generator

    @property
    def others(self) -> list[str]:
        """The names of all models but the reference."""
        return [name for name in self.networks if name != self.reference]

    @torch.no_grad()
    def forward(self, batch: Batch, on_map: OnModelMap | None = None) -> Observation:
        """Show the images that the source makes of a batch to every model.

        Args:
            batch: what the source takes, on any device.
            on_map: takes every layer's maps as soon as they are there: model, layer and maps; what
                it returns is kept in their place.
        """
        batch = batch.to(next(self.parameters()).device)
        seen: Observation = self.source(batch, on_map)
        for name, model in self.models.items():
            assert isinstance(model, DiscriminativeModel)
            layers = self._looked_at[name]
            seen.maps[name] = model.maps(seen.images, layers, of_model(name, on_map))
        return seen

    def shapes(self, observation: Observation) -> dict[str, list[Layer]]:
        """The recorded layers with the shapes that an observation shows, the reference first."""
        return {
            name: [Layer(layer, *maps.shape[1:]) for layer, maps in observation.maps[name].items()]
            for name in self.networks
        }


def of_model(name: str, on_map: OnModelMap | None) -> OnMap[Any] | None:
    """``on_map`` for the maps of one model."""
    return None if on_map is None else partial(on_map, name)

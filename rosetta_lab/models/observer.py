"""Runs a generator and discriminative models on the same images and records their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.base import Generator
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.recording import record
from rosetta_lab.models.units import Layer, resolve_layers


@dataclass
class Observation:
    """What one batch of images makes the models do.

    Attributes:
        images: (N, 3, R, R) in [0, 1].
        maps: model name to layer name to activation maps (N, C, H, W).
    """

    images: Tensor
    maps: dict[str, dict[str, Tensor]]


class Observer(nn.Module):
    """A generator and the models that look at its images, with the layers to record.

    Args:
        generator: makes the images.
        generator_layers: globs over its modules.
        models: name to discriminative model; the names must differ from ``generator_name``.
        generator_name: how the generator is called.

    Raises:
        RosettaError: no models, a name used twice, or a glob that matches nothing.
    """

    def __init__(
        self,
        generator: Generator,
        generator_layers: Sequence[str],
        models: Mapping[str, DiscriminativeModel],
        generator_name: str = "generator",
    ) -> None:
        super().__init__()
        if not models:
            raise RosettaError("disc=[]: name at least one discriminative model.")
        if generator_name in models:
            raise RosettaError(f"'{generator_name}' is the name of two models; rename one.")
        self.generator = generator
        self.models = nn.ModuleDict(models)
        self.generator_name = generator_name
        self.layers = {generator_name: resolve_layers(generator, generator_layers, generator_name)}
        for name, model in models.items():
            self.layers[name] = resolve_layers(model.network, model.layers, name)
        self.eval().requires_grad_(False)

    @property
    def names(self) -> list[str]:
        """The generator's name, then the models'."""
        return list(self.layers)

    @torch.no_grad()
    def forward(self, z: Tensor, label: Tensor | None, psi: float = 1.0) -> Observation:
        """Generate images from z (N, z_dim) and label (N,), and show them to every model.

        The latents may be on any device; everything else happens on the models'.
        """
        generator = self.generator
        device = next(self.parameters()).device
        z, label = z.to(device), None if label is None else label.to(device)
        name = self.generator_name
        with record(generator, self.layers[name]) as raw:
            images = generator.to_unit_range(generator(z, generator.one_hot(label), psi))
        maps = {name: {layer: generator.align(layer, raw[layer]) for layer in self.layers[name]}}
        return Observation(images, maps | self.look(images))

    @torch.no_grad()
    def look(self, images: Tensor) -> dict[str, dict[str, Tensor]]:
        """Show images (N, 3, H, W) in [0, 1] to every discriminative model."""
        maps: dict[str, dict[str, Tensor]] = {}
        for name, model in self.models.items():
            assert isinstance(model, DiscriminativeModel)
            with record(model.network, self.layers[name]) as raw:
                model(images)
            maps[name] = {layer: model.to_map(layer, raw[layer]) for layer in self.layers[name]}
        return maps

    def shapes(self, observation: Observation) -> dict[str, list[Layer]]:
        """The recorded layers with the shapes that an observation shows."""
        return {
            name: [Layer(layer, *maps[layer].shape[1:]) for layer in self.layers[name]]
            for name, maps in observation.maps.items()
        }

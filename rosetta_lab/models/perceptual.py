"""Perceptual distances: LPIPS (Zhang et al., CVPR 2018) and the same formula on other networks.

lpips = LPIPS("vgg", "https://download.pytorch.org/models/vgg16-397923af.pth")
target = lpips.embed(images)  # once
loss = lpips.distance(lpips.embed(others), target)  # (N,), differentiable
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.checkpoints import load_into, load_weights
from rosetta_lab.models.discriminative.base import DiscriminativeModel
from rosetta_lab.models.preprocess import Preprocess
from rosetta_lab.models.recording import record
from rosetta_lab.models.units import resolve_layers

log = logging.getLogger("rosetta_lab")
EPSILON = 1e-10  # smallest norm that is divided by; where no unit fires, features stay 0
CHANNEL_WEIGHT = 0.1  # LPIPS's own weights have means of 0.07 to 0.11, by layer, for VGG16


class Perceptual(nn.Module, ABC):
    """Distance between images in the features of a fixed network (Zhang et al., Eq. 1).

    d(x, y) = sum over layers of the mean over positions of sum_c w_c (x_c - y_c)^2, where x and y
    are the layer's features, scaled to unit length over the channels at every position.

    Args:
        name: how tables call it.
        channel_weights: w of every layer, (C,), or (1,) for the same of all channels; at least 0.
    """

    def __init__(self, name: str, channel_weights: Sequence[Tensor]) -> None:
        super().__init__()
        self.name = name
        for layer, weights in enumerate(channel_weights):
            self.register_buffer(f"root{layer}", weights.sqrt().reshape(1, -1, 1, 1))

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) in [0, 1] to the maps (N, C, h, w) of every layer."""

    def embed(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) in [0, 1] to maps (N, C, h, w) of every layer; differentiable.

        They have unit length over the channels, times the root of the channels' weights, so that
        the distance is a plain squared difference.
        """
        embedded = []
        for layer, maps in enumerate(self.features(images)):
            norm = torch.linalg.vector_norm(maps, dim=1, keepdim=True).clamp_min(EPSILON)
            # One product with the maps, where the channels weigh the same.
            embedded.append(maps * (self.get_buffer(f"root{layer}") / norm))
        return embedded

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """Distance (N,), at least 0, between two results of :meth:`embed`."""
        layers = [
            (x - y).square().flatten(1).sum(dim=1) / x[0, 0].numel()  # (N,), mean over positions
            for x, y in zip(a, b, strict=True)
        ]
        return torch.stack(layers).sum(dim=0)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance (N,) between two batches of images (N, 3, H, W) in [0, 1]."""
        return self.distance(self.embed(x), self.embed(y))


class Trunk(NamedTuple):
    """A torchvision network, the layers of its ``features`` that LPIPS compares (each a ReLU), and
    how the SHA-256 of the weights begins that LPIPS was made with (torchvision's file name)."""

    architecture: str
    layers: tuple[str, ...]
    sha256: str


TRUNKS = {
    "vgg": Trunk("vgg16", ("3", "8", "15", "22", "29"), "397923af"),
    "alex": Trunk("alexnet", ("1", "4", "7", "9", "11"), "7be5be79"),
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's colours


class LPIPS(Perceptual):
    """LPIPS version 0.1, with the channel weights that the package ``lpips`` carries.

    Args:
        network: ``vgg`` (VGG16) or ``alex`` (AlexNet).
        weights: of the network: a source of torchvision's file that
            :func:`rosetta_lab.models.checkpoints.load_weights` understands, or ``random``. The
            numbers are comparable with published ones only if it is the file that LPIPS was made
            with.
        max_size: larger images are first brought down to it, antialiased, by their longer side in
            pixels; 256 is what StyleGAN-XL's inversion does.
        name: see :class:`Perceptual`; by default ``lpips_`` and the network.

    Raises:
        RosettaError: an unknown network, or weights that cannot be had or do not fit.
    """

    def __init__(
        self,
        network: Literal["vgg", "alex"],
        weights: str,
        max_size: int = 256,
        name: str | None = None,
    ) -> None:
        if network not in TRUNKS:
            raise RosettaError(f"LPIPS on '{network}': choose from {', '.join(TRUNKS)}.")
        trunk = TRUNKS[network]
        loaded = None if weights == "random" else load_weights(weights)
        if loaded is not None and not loaded.sha256.startswith(trunk.sha256):
            log.warning(
                "%s is not the file that LPIPS was made with (SHA-256 %s...): distances are not "
                "comparable with published ones.",
                weights,
                trunk.sha256,
            )
        heads = load_weights(f"installed://lpips/weights/v0.1/{network}.pth").state_dict
        super().__init__(
            name or f"lpips_{network}",
            [heads[f"lin{layer}.model.1.weight"] for layer in range(len(trunk.layers))],
        )
        with torch.device("meta"):  # the classifier behind the features is large and not needed
            whole: Any = getattr(torchvision.models, trunk.architecture)()
        self.network = whole.features[: int(trunk.layers[-1]) + 1]
        self.network.to_empty(device=torch.get_default_device())
        if loaded is None:
            for module in self.network:
                if isinstance(module, nn.Conv2d):
                    module.reset_parameters()
        else:
            prefix = "features."
            state = loaded.state_dict.items()
            own = {key.removeprefix(prefix): v for key, v in state if key.startswith(prefix)}
            load_into(self.network, replace(loaded, state_dict=own))
        self.network.eval().requires_grad_(False)
        self.layers, self.max_size = trunk.layers, max_size
        self.preprocess = Preprocess((max_size, max_size), mean=MEAN, std=STD)

    def features(self, images: Tensor) -> list[Tensor]:
        scale = self.max_size / max(images.shape[-2:])
        if scale < 1.0:
            size = [max(1, round(side * scale)) for side in images.shape[-2:]]
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True)
        with record(self.network, self.layers) as maps:
            self.network(self.preprocess.normalize(images))
        return [maps[layer] for layer in self.layers]


class LayerPerceptual(Perceptual):
    """LPIPS's formula on chosen layers of any discriminative model, all channels weighing the same.

    Every channel weighs 0.1, about what they do on average in LPIPS on VGG16, so that a layer's
    share of the distance is of the size of a layer's share there. Nobody has fitted the weights to
    what people see: the numbers compare images with each other, not with published LPIPS.

    Args:
        name: see :class:`Perceptual`.
        model: whose features are compared.
        layers: globs over its module names; ``NAME:input`` takes a module's input.

    Raises:
        RosettaError: a glob matches nothing.
    """

    def __init__(self, name: str, model: DiscriminativeModel, layers: Sequence[str]) -> None:
        found = resolve_layers(model.network, layers, name)
        super().__init__(name, [torch.tensor([CHANNEL_WEIGHT])] * len(found))
        self.model = model.eval().requires_grad_(False)
        self.layers = found

    def features(self, images: Tensor) -> list[Tensor]:
        return list(self.model.maps(images, self.layers).values())

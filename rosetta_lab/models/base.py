"""What every generator and every discriminative model has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.recording import Kept, OnMap, look


class Generator(nn.Module, ABC):
    """A fixed network that turns latents into images.

    A family implements :meth:`map` and :meth:`synthesize`; everything else in the project uses
    only these, :meth:`forward` and the attributes below.

    Args:
        z_dim: width of the latent z.
        num_classes: classes of a class-conditional generator, 0 for an unconditional one.
        resolution: height and width of the images in pixels.
        pixel_range: range that the images nominally have, for :meth:`to_unit_range`.

    Attributes:
        z_direction_only: whether the length of z is without effect, as in families that normalise
            it; z = 0 has no direction, so that no search can start from there.
        source: where the weights came from; "random" until some are loaded.
        sha256: of the weights file.
    """

    z_direction_only: ClassVar[bool] = False
    source: str = "random"
    sha256: str | None = None

    def __init__(
        self,
        z_dim: int,
        num_classes: int,
        resolution: int,
        pixel_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.num_classes = num_classes
        self.resolution = resolution
        self.pixel_range = pixel_range

    @abstractmethod
    def map(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """Latent z (N, z_dim) and class weights c (N, num_classes) to what the synthesis takes."""

    @abstractmethod
    def synthesize(self, latent: Tensor, psi: float = 1.0) -> Tensor:
        """Output of :meth:`map` to images (N, 3, R, R) in ``pixel_range`` (not clamped).

        Grey ones (N, 1, R, R) will do, see :meth:`shown`.
        """

    def forward(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """z (N, z_dim) and c (N, num_classes) to images (N, 3, R, R) in ``pixel_range``."""
        return self.synthesize(self.map(z, c, psi, cutoff), psi)

    def shown(self, images: Tensor) -> Tensor:
        """What :meth:`synthesize` gives as images (N, 3, R, R), black 0 and white 1, not clamped.

        Grey images (N, 1, R, R) get three channels.

        Raises:
            RosettaError: they are neither of the two.
        """
        side = self.resolution
        if images.dim() != 4 or images.shape[1:] not in ((3, side, side), (1, side, side)):
            raise RosettaError(
                f"{type(self).__name__} makes images {tuple(images.shape)}: expected RGB or grey, "
                f"square and of its resolution, (N, 3, {side}, {side}) or (N, 1, {side}, {side}).\n"
                "Let its synthesize() crop or pad them, and leave out further channels."
            )
        low, high = self.pixel_range
        return (images.expand(-1, 3, -1, -1) - low) / (high - low)

    def to_unit_range(self, images: Tensor) -> Tensor:
        """:meth:`shown`, clamped to [0, 1]."""
        return self.shown(images).clamp(0.0, 1.0)

    def maps(
        self,
        latent: Tensor,
        layers: Sequence[str],
        on_map: OnMap[Kept] | None = None,
        psi: float = 1.0,
    ) -> dict[str, Kept]:
        """Activation maps of layers of the synthesis, which ends after the last of them.

        Args:
            latent: output of :meth:`map`.
            layers: exact names of modules, see :func:`rosetta_lab.models.units.resolve_layers`.
            on_map: takes every layer's maps as soon as they are there, see :func:`look`; what it
                returns is kept in their place.
            psi: of :meth:`synthesize`.

        Returns:
            layer to maps (N, C, H, W) that cover exactly the image, or to what ``on_map`` returned.

        Raises:
            RosettaError: a layer does not run, or more than once, or does not put out one tensor.
        """
        return look(
            self, layers, lambda: self.synthesize(latent, psi), self.align, on_map, whole=False
        )[1]

    def output_and_maps(
        self,
        latent: Tensor,
        layers: Sequence[str],
        on_map: OnMap[Kept] | None = None,
        psi: float = 1.0,
    ) -> tuple[Tensor, dict[str, Kept]]:
        """The images that :meth:`synthesize` gives, and :meth:`maps`, from one pass."""
        return look(self, layers, lambda: self.synthesize(latent, psi), self.align, on_map)

    def align(self, layer: str, activation: Tensor) -> Tensor:
        """A recorded layer output as maps (N, C, H, W) that cover exactly the image.

        Families whose maps carry a margin around the image, or have another layout, change it here.

        Raises:
            RosettaError: they cannot be such maps, since images are square.
        """
        if activation.dim() != 4 or activation.shape[2] != activation.shape[3]:
            raise RosettaError(
                f"Layer {layer} puts out {tuple(activation.shape)}: expected maps (N, C, H, W), "
                "as high as wide.\nChoose other layers."
            )
        return activation

    def track_mean_latent(self, latent: Tensor) -> None:
        """While training: let the mean latent, if the family has one, follow :meth:`map`'s output.

        Truncation needs it. The default keeps none.
        """

    def finish_training(self) -> None:
        """Measure what depends on the final weights, before they are shipped.

        The default has nothing of the kind.
        """

    @torch.no_grad()
    def one_hot(self, labels: Tensor | None) -> Tensor | None:
        """Class indices (N,) to class weights (N, num_classes); None for an unconditional one."""
        if not self.num_classes or labels is None:
            return None
        return torch.nn.functional.one_hot(labels, self.num_classes).float()

"""DCGAN (Radford et al., ICLR 2016): transposed convolutions from z to the image.

Parameters carry the names that most checkpoints have: one sequence ``main`` of transposed
convolution, batch normalisation and ReLU, over and over.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.base import Generator


class DCGAN(Generator):
    """DCGAN generator. The defaults are those of PyTorch's example, for images of 64 px.

    The first layer turns z into maps as large as its kernel; every later one doubles them.
    ``main.0, main.1, main.2`` are convolution, normalisation and ReLU of the first layer,
    ``main.3, ...`` of the second; the last convolution is followed by tanh alone.

    Args:
        z_dim: width of z.
        channels: maps after each layer but the last, from the smallest to the largest.
        kernel_sizes: side of each layer's kernel, one more than ``channels``.
        img_channels: colours.
        bias: have the convolutions a bias.
        pixel_range: range that the images nominally have.

    Raises:
        RosettaError: ``channels`` and ``kernel_sizes`` do not fit together.
    """

    def __init__(
        self,
        z_dim: int = 100,
        channels: Sequence[int] = (512, 256, 128, 64),
        kernel_sizes: Sequence[int] = (4, 4, 4, 4, 4),
        img_channels: int = 3,
        bias: bool = False,
        pixel_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        if len(kernel_sizes) != len(channels) + 1:
            raise RosettaError(
                f"kernel_sizes={list(kernel_sizes)}: expected {len(channels) + 1}, one for each of "
                f"channels={list(channels)} and one for the image."
            )
        super().__init__(z_dim, 0, kernel_sizes[0] * 2 ** len(channels), pixel_range)
        layers: list[nn.Module] = []
        widths = [z_dim, *channels, img_channels]
        for index, kernel in enumerate(kernel_sizes):
            double = index > 0
            convolution = nn.ConvTranspose2d(
                widths[index],
                widths[index + 1],
                kernel,
                stride=2 if double else 1,
                padding=(kernel - 1) // 2 if double else 0,
                output_padding=kernel % 2 if double else 0,  # an odd kernel is a pixel short
                bias=bias,
            )
            layers += [convolution, nn.BatchNorm2d(widths[index + 1]), nn.ReLU()]
        self.main = nn.Sequential(*layers[:-2], nn.Tanh())

    def map(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """z (N, z_dim), shrunk by ``psi`` towards its mean, which is 0.

        Raises:
            RosettaError: for a ``cutoff``.
        """
        if cutoff is not None:
            raise RosettaError(
                f"cutoff={cutoff}, but DCGAN has no w slots to stop truncation at; leave it out."
            )
        return z * psi

    def synthesize(self, latent: Tensor, psi: float = 1.0) -> Tensor:
        """z (N, z_dim) to images; ``psi`` has already done its work."""
        image: Tensor = self.main(latent[:, :, None, None])
        return image

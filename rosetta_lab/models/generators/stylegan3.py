"""StyleGAN3 (Karras et al., NeurIPS 2021), configurations T and R.

Parameters and buffers carry the names of the official checkpoints. As in our StyleGAN2, styles
scale the activations rather than a copy of the weights per sample; the filters around the
nonlinearity are ordinary grouped convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta_lab.models.base import Generator
from rosetta_lab.models.generators.filters import downsample, upsample
from rosetta_lab.models.generators.geometry import LayerGeometry, Progression, Signal
from rosetta_lab.models.generators.layers import LRELU_SLOPE, FullyConnected
from rosetta_lab.models.generators.mapping import MappingNetwork
from rosetta_lab.models.generators.recorded import Recorded, as_recorded
from rosetta_lab.models.units import INPUT_SUFFIX
from rosetta_lab.run.precision import without_autocast


class ProgressionOptions(TypedDict, total=False):
    """Keyword arguments of a generator that go to its :class:`Progression` as they are."""

    channel_base: int
    channel_max: int
    num_layers: int
    num_critical: int
    first_cutoff: float
    first_stopband: float
    last_stopband_rel: float
    margin_size: int
    conv_kernel: int
    use_radial_filters: bool
    conv_clamp: float | None


def clamp(x: Tensor, limit: float | None) -> Tensor:
    """``x`` within ``[-limit, limit]``; None for no limit."""
    return x if limit is None else x.clamp(-limit, limit)


class SynthesisInput(nn.Module):
    """Fourier features on a grid that w shifts and rotates, mixed by a matrix (section 3.2).

    Args:
        w_dim: width of w.
        signal: what to produce; frequencies are drawn up to its cutoff.
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, w_dim: int, signal: Signal) -> None:
        super().__init__()
        self.signal = signal
        channels = signal.channels
        angle = 2 * math.pi * torch.rand(channels)
        radius = signal.cutoff * torch.rand(channels).sqrt()  # uniform over the disc
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", torch.stack([angle.cos(), angle.sin()], 1) * radius[:, None])
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = FullyConnected(w_dim, 4)
        with torch.no_grad():  # starts without any shift or rotation
            self.affine.weight.zero_()
            assert self.affine.bias is not None
            self.affine.bias[0] = 1.0

    def grid_transform(self, w: Tensor) -> Tensor:
        """w (N, w_dim) to homogeneous transforms (N, 3, 3) of image coordinates."""
        t = self.affine(w)  # (N, 4)
        cos, sin, x, y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        rotation = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], 1)
        shift = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], 1)
        return rotation.view(-1, 3, 3) @ shift.view(-1, 3, 3) @ self.transform

    def forward(self, w: Tensor) -> Tensor:
        """w (N, w_dim) to maps (N, C, size, size), always in the precision of the weights."""
        signal = self.signal
        # Half precision could not tell neighbouring grid positions apart.
        with without_autocast(w.device.type):
            transform = self.grid_transform(w.to(self.weight.dtype))
            phases = self.phases + (transform[:, None, :2, 2] * self.freqs).sum(2)  # (N, C)
            freqs = self.freqs @ transform[:, :2, :2]  # (N, C, 2)
            excess = freqs.norm(dim=2) - signal.cutoff
            amplitudes = (1 - excess / (signal.rate / 2 - signal.cutoff)).clamp(0, 1)
            grid = torch.arange(signal.size, device=freqs.device, dtype=freqs.dtype)
            grid = (grid + 0.5 - signal.size / 2) / signal.rate
            x = grid * freqs[:, :, 0, None]  # (N, C, size)
            y = grid * freqs[:, :, 1, None] + phases[:, :, None]
            waves = (2 * math.pi * (y[:, :, :, None] + x[:, :, None, :])).sin()
            waves = waves * amplitudes[:, :, None, None]
            weight = self.weight / math.sqrt(signal.channels)
            return F.conv2d(waves, weight[:, :, None, None])


class SynthesisLayer(nn.Module):
    """Modulated convolution and a leaky ReLU at a raised sampling rate (section 3.1).

    Args:
        geometry: sizes, rates and filters.
        w_dim: width of w.
    """

    magnitude_ema: Tensor
    up_filter: Tensor
    down_filter: Tensor

    def __init__(self, geometry: LayerGeometry, w_dim: int) -> None:
        super().__init__()
        self.geometry = geometry
        inputs, outputs = geometry.source.channels, geometry.target.channels
        kernel = geometry.conv_kernel
        self.affine = FullyConnected(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("magnitude_ema", torch.ones([]))
        if not geometry.to_rgb:
            self.register_buffer("up_filter", geometry.up_filter())
            self.register_buffer("down_filter", geometry.down_filter())

    def convolve(self, x: Tensor, w: Tensor) -> Tensor:
        """Modulated convolution with bias, (N, I, H, W) to (N, O, H + k - 1, W + k - 1)."""
        styles: Tensor = self.affine(w)
        weight: Tensor = self.weight
        if self.geometry.to_rgb:
            styles = styles / math.sqrt(styles.shape[1])
        else:
            # Demodulation undoes both scalings; they keep half precision from overflowing.
            weight = weight * weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
            styles = styles * styles.square().mean(dim=1, keepdim=True).rsqrt()
        gain = styles * self.magnitude_ema.rsqrt()
        x = F.conv2d(
            x * gain.to(x.dtype)[:, :, None, None], weight, padding=self.geometry.conv_kernel - 1
        )
        if not self.geometry.to_rgb:
            energy = styles.square() @ weight.square().sum(dim=(2, 3)).t()  # (N, O)
            x = x * (energy + 1e-8).rsqrt().to(x.dtype)[:, :, None, None]
        return x + self.bias.to(x.dtype)[:, None, None]

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Maps (N, I, H, W) and w (N, w_dim) to maps (N, O, H', W')."""
        geometry = self.geometry
        x = self.convolve(x, w)
        if geometry.to_rgb:
            return clamp(x, geometry.conv_clamp)
        # A leaky ReLU commutes with its positive gain, which costs nothing within the filter.
        x = upsample(x, self.up_filter, geometry.up, crop=geometry.crop, gain=math.sqrt(2))
        x = clamp(F.leaky_relu(x, LRELU_SLOPE), geometry.conv_clamp)
        return downsample(x, self.down_filter, geometry.down)


class SynthesisNetwork(nn.Module):
    """w (N, num_ws, w_dim) to images: the Fourier features and then layer by layer.

    Args:
        layers: geometry of the layers, in order.
        w_dim: width of w.
        output_scale: factor from the last layer's output to the image.
    """

    def __init__(
        self, layers: Sequence[LayerGeometry], w_dim: int, output_scale: float = 0.25
    ) -> None:
        super().__init__()
        self.output_scale = output_scale
        self.layer_names = [layer.name for layer in layers]
        self.num_ws = len(layers) + 1
        self.input = SynthesisInput(w_dim, layers[0].source)
        for layer in layers:
            self.add_module(layer.name, SynthesisLayer(layer, w_dim))

    def forward(self, ws: Tensor) -> Tensor:
        x = self.input(ws[:, 0])
        for slot, name in enumerate(self.layer_names, start=1):
            x = self.get_submodule(name)(x, ws[:, slot])
        image: Tensor = x * self.output_scale
        return image


class AliasFreeGenerator(Generator):
    """What StyleGAN3 and its successors have in common.

    Args:
        z_dim: width of z.
        c_dim: number of classes, 0 for none.
        layers: geometry of the synthesis layers, in order.
        mapping: network from z and c to w.
        synthesis: network from w to the image.
        pixel_range: range that the images nominally have.
    """

    z_direction_only = True

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        layers: Sequence[LayerGeometry],
        mapping: nn.Module,
        synthesis: SynthesisNetwork,
        pixel_range: tuple[float, float],
    ) -> None:
        super().__init__(z_dim, c_dim, layers[-1].target.size, pixel_range)
        self.mapping = mapping
        self.synthesis = synthesis
        self._margins = {"synthesis.input": layers[0].source.margin}
        for layer in layers:
            self._margins[f"synthesis.{layer.name}"] = layer.target.margin
            self._margins[f"synthesis.{layer.name}{INPUT_SUFFIX}"] = layer.source.margin

    def map(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """z (N, z_dim) and c (N, c_dim) to w (N, num_ws, w_dim)."""
        w: Tensor = self.mapping(z, c, psi, cutoff)
        return w

    def synthesize(self, latent: Tensor, psi: float = 1.0) -> Tensor:
        """w (N, num_ws, w_dim) to images; ``psi`` has already done its work on w."""
        image: Tensor = self.synthesis(latent)
        return image

    def align(self, layer: str, activation: Tensor) -> Tensor:
        """Cut off the samples that lie outside the image.

        The margin is the same number of samples at every rate; the last two layers have none.
        """
        margin = self._margins.get(layer, 0)
        height, width = activation.shape[-2:]
        return activation[..., margin : height - margin, margin : width - margin]


class StyleGAN3(AliasFreeGenerator):
    """StyleGAN3 generator with the official parameter names.

    The defaults are configuration T. Configuration R has ``conv_kernel=1``,
    ``use_radial_filters=True`` and twice the ``channel_base`` and ``channel_max``.

    Args:
        z_dim: width of z.
        c_dim: number of classes, 0 for none.
        w_dim: width of w.
        img_resolution: a power of two.
        img_channels: colours.
        mapping_kwargs: of the mapping network, which has two layers unless told otherwise.
        output_scale: factor from the last layer's output to the image.
        pixel_range: range that the images nominally have.
        recorded: what a checkpoint tells of its layers, see :func:`as_recorded`.
        **progression: see :class:`Progression`.
    """

    def __init__(
        self,
        z_dim: int = 512,
        c_dim: int = 0,
        w_dim: int = 512,
        img_resolution: int = 512,
        img_channels: int = 3,
        mapping_kwargs: dict[str, int | float | None] | None = None,
        output_scale: float = 0.25,
        pixel_range: tuple[float, float] = (-1.0, 1.0),
        recorded: Recorded | None = None,
        **progression: Unpack[ProgressionOptions],
    ) -> None:
        layers = Progression(img_resolution, img_channels, **progression).layers()
        layers = as_recorded(layers, recorded)
        mapping = MappingNetwork(
            z_dim,
            c_dim,
            w_dim,
            num_ws=len(layers) + 1,
            **{"num_layers": 2, **(mapping_kwargs or {})},  # type: ignore[arg-type]
        )
        synthesis = SynthesisNetwork(layers, w_dim, output_scale)
        super().__init__(z_dim, c_dim, layers, mapping, synthesis, pixel_range)

"""StyleGAN2 (Karras et al., CVPR 2020), skip architecture, with optional class conditioning.

Parameters carry the names of the official checkpoints. Written for any device without custom
kernels: styles modulate the activations rather than a copy of the weights per sample, which turns
every layer into one ordinary convolution over the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta_lab.models.base import Generator
from rosetta_lab.models.generators.layers import (
    FullyConnected,
    depthwise_fir,
    fir_kernel,
    lrelu,
)
from rosetta_lab.models.generators.mapping import MappingNetwork
from rosetta_lab.run.precision import without_autocast

NoiseMode = Literal["const", "random", "none"]


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    demodulate: bool = True,
    up_kernel: Tensor | None = None,
) -> Tensor:
    """Convolution whose weights are scaled per sample (StyleGAN2, Eq. 1 and 3).

    Scaling the weights' input channels by ``styles`` equals scaling the input itself, and the
    demodulation is one factor per output channel, so no per-sample weight is ever built.

    Args:
        x: input (N, I, H, W).
        weight: (O, I, k, k).
        styles: (N, I).
        demodulate: scale every output channel to unit expected variance.
        up_kernel: low-pass kernel (4, 4) of sum 1; where given, the output is twice as large.

    Returns:
        (N, O, H, W), or (N, O, 2H, 2W) with ``up_kernel``.
    """
    if demodulate:
        # Demodulation undoes any scaling of the styles; this one brings the convolution's output
        # to the size of its input, which half precision needs, as the energy needs single.
        with without_autocast(x.device.type):
            styles = styles.to(weight.dtype)
            fan_in = weight[0].numel()
            scale = (styles.square().mean(dim=1, keepdim=True) * fan_in + 1e-8).rsqrt()  # (N, 1)
            energy = styles.square() @ weight.square().sum(dim=(2, 3)).t()  # (N, O)
            gain = (energy + 1e-8).rsqrt() / scale
            styles = styles * scale
    x = x * styles.to(x.dtype)[:, :, None, None]
    if up_kernel is None:
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    else:
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # (N, O, 2H+1, 2W+1)
        x = depthwise_fir(x, up_kernel * 4.0, padding=1)  # (N, O, 2H, 2W)
    return x * gain.to(x.dtype)[:, :, None, None] if demodulate else x


def upsample_image(image: Tensor, kernel: Tensor) -> Tensor:
    """Double an image (N, C, H, W) by zero insertion and the low-pass ``kernel`` (4, 4)."""
    weight = (kernel * 4.0).to(image.dtype).expand(image.shape[1], 1, *kernel.shape)
    return F.conv_transpose2d(image, weight, stride=2, padding=1, groups=image.shape[1])


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        *,
        up: bool = False,
        conv_clamp: float | None = None,
        resample_filter: tuple[float, ...] = (1, 3, 3, 1),
    ) -> None:
        super().__init__()
        self.resolution, self.up, self.conv_clamp = resolution, up, conv_clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", fir_kernel(resample_filter))

    def forward(self, x: Tensor, w: Tensor, noise: NoiseMode = "const") -> Tensor:
        """(N, I, H, W) and w (N, w_dim) to (N, O, R, R)."""
        x = modulated_conv2d(
            x, self.weight, self.affine(w), up_kernel=self.resample_filter if self.up else None
        )
        if noise == "const":
            x = x + self.noise_const * self.noise_strength
        elif noise == "random":
            x = x + torch.randn_like(x[:, :1]) * self.noise_strength
        return lrelu(x + self.bias[:, None, None], clamp=self.conv_clamp)


class ToRGBLayer(nn.Module):
    """Modulated 1x1 convolution to colours, without demodulation."""

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, conv_clamp: float | None = None
    ) -> None:
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.style_gain = 1.0 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) * self.style_gain
        x = modulated_conv2d(x, self.weight, styles, demodulate=False)
        x = x + self.bias[:, None, None]
        return x if self.conv_clamp is None else x.clamp(-self.conv_clamp, self.conv_clamp)


class SynthesisBlock(nn.Module):
    """One resolution: (upsampling) convolutions and this resolution's share of the image."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        conv_clamp: float | None,
        resample_filter: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.first = in_channels == 0
        self.register_buffer("resample_filter", fir_kernel(resample_filter))
        if self.first:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(
                in_channels,
                out_channels,
                w_dim,
                resolution,
                up=True,
                conv_clamp=conv_clamp,
                resample_filter=resample_filter,
            )
        self.conv1 = SynthesisLayer(
            out_channels,
            out_channels,
            w_dim,
            resolution,
            conv_clamp=conv_clamp,
            resample_filter=resample_filter,
        )
        self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, conv_clamp)

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, noise: NoiseMode
    ) -> tuple[Tensor, Tensor]:
        """Consumes the slots of ``ws`` (N, 2 or 3, w_dim) in the order conv0, conv1, torgb."""
        if x is None:
            x = self.const.expand(ws.shape[0], -1, -1, -1)
            x = x.contiguous(memory_format=torch.channels_last)
        else:
            x = self.conv0(x, ws[:, 0], noise)
        x = self.conv1(x, ws[:, -2], noise)
        rgb = self.torgb(x, ws[:, -1])
        if image is not None:
            rgb = rgb + upsample_image(image, self.resample_filter)
        return x, rgb


class SynthesisNetwork(nn.Module):
    """w (N, num_ws, w_dim) to images, from 4x4 up to ``img_resolution``."""

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int = 3,
        channel_base: int = 32768,
        channel_max: int = 512,
        conv_clamp: float | None = None,
        resample_filter: tuple[float, ...] = (1, 3, 3, 1),
        channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        levels = int(math.log2(img_resolution))
        self.resolutions = [2**level for level in range(2, levels + 1)]
        self.num_ws = 2 * levels - 2
        if channels is None:
            channels = [min(channel_base // r, channel_max) for r in self.resolutions]
        widths = dict(zip(self.resolutions, channels, strict=True))
        for resolution in self.resolutions:
            block = SynthesisBlock(
                widths.get(resolution // 2, 0),
                widths[resolution],
                w_dim,
                resolution,
                img_channels,
                conv_clamp,
                tuple(resample_filter),
            )
            self.add_module(f"b{resolution}", block)

    def forward(self, ws: Tensor, noise: NoiseMode = "const") -> Tensor:
        x: Tensor | None = None
        image: Tensor | None = None
        for level, resolution in enumerate(self.resolutions):
            # A block's last slot (torgb) is shared with the next block's first convolution.
            slots = ws[:, 0:2] if level == 0 else ws[:, 2 * level - 1 : 2 * level + 2]
            x, image = self.get_submodule(f"b{resolution}")(x, image, slots, noise)
        assert image is not None
        return image


class StyleGAN2(Generator):
    """StyleGAN2 generator with the official parameter names.

    Args:
        z_dim: width of z.
        c_dim: number of classes, 0 for none.
        w_dim: width of w.
        img_resolution: a power of two.
        img_channels: colours.
        mapping_kwargs: of :class:`MappingNetwork`.
        channel_base: a resolution R has ``min(channel_base // R, channel_max)`` channels.
        channel_max: see ``channel_base``.
        conv_clamp: activations are clamped to ``[-conv_clamp, conv_clamp]``; None for no clamp.
        resample_filter: taps of the low-pass filter.
        channels: of each resolution from 4 px up, in place of the formula.
        noise: ``const`` (stored noise, deterministic), ``random`` or ``none``.
        pixel_range: range that the images nominally have.
    """

    z_direction_only = True

    def __init__(
        self,
        z_dim: int = 512,
        c_dim: int = 0,
        w_dim: int = 512,
        img_resolution: int = 256,
        img_channels: int = 3,
        mapping_kwargs: dict[str, int | float | None] | None = None,
        channel_base: int = 32768,
        channel_max: int = 512,
        conv_clamp: float | None = None,
        resample_filter: tuple[float, ...] = (1, 3, 3, 1),
        channels: Sequence[int] | None = None,
        noise: NoiseMode = "const",
        pixel_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        super().__init__(z_dim, c_dim, img_resolution, pixel_range)
        self.noise: NoiseMode = noise
        self.synthesis = SynthesisNetwork(
            w_dim,
            img_resolution,
            img_channels,
            channel_base,
            channel_max,
            conv_clamp,
            resample_filter,
            channels,
        )
        self.mapping = MappingNetwork(
            z_dim,
            c_dim,
            w_dim,
            self.synthesis.num_ws,
            **(mapping_kwargs or {}),  # type: ignore[arg-type]
        )

    def map(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        w: Tensor = self.mapping(z, c, psi, cutoff)
        return w

    @torch.no_grad()
    def track_mean_latent(self, latent: Tensor) -> None:
        self.mapping.w_avg.lerp_(latent[:, 0].mean(dim=0), 1.0 - 0.995)

    def synthesize(self, latent: Tensor, psi: float = 1.0) -> Tensor:
        image: Tensor = self.synthesis(latent, self.noise)
        return image

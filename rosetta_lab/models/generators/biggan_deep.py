"""BigGAN-deep (Brock et al., ICLR 2019, appendix B).

Parameters and buffers carry the names of the published PyTorch conversion of DeepMind's weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError
from rosetta_lab.models.base import Generator
from rosetta_lab.models.generators.layers import require_classes
from rosetta_lab.models.generators.spectral import SpectralConv2d, SpectralLinear, SpectralModule

COLOURS = 3
STANDING_BATCHES, STANDING_BATCH = 4, 128  # latents per row of standing statistics


class TruncatedBatchNorm(nn.Module):
    """Batch normalisation with one row of statistics per truncation value.

    The values are spaced evenly from 0 to 1; between two of them the statistics are blended. In
    training the batch's own statistics are used, and those of the nearest row follow them.

    Args:
        channels: of the maps.
        n_stats: rows.
        eps: added to the variance.
        cond_dim: width of the condition that sets gain and offset; 0 for learned constants.
    """

    running_means: Tensor
    running_vars: Tensor
    momentum = 0.1  # with which stored statistics follow the batches'

    def __init__(self, channels: int, n_stats: int, eps: float, cond_dim: int = 0) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("running_means", torch.zeros(n_stats, channels))
        self.register_buffer("running_vars", torch.ones(n_stats, channels))
        self.conditional = cond_dim > 0
        if self.conditional:
            self.scale = SpectralLinear(cond_dim, channels, bias=False)
            self.offset = SpectralLinear(cond_dim, channels, bias=False)
        else:
            self.weight = nn.Parameter(torch.ones(channels))
            self.bias = nn.Parameter(torch.zeros(channels))

    def statistics(self, psi: float) -> tuple[Tensor, Tensor]:
        """Mean (C,) and variance (C,) for truncation ``psi`` in (0, 1]."""
        rows = len(self.running_means)
        if rows == 1:
            return self.running_means[0], self.running_vars[0]
        fraction, whole = math.modf(psi / (1.0 / (rows - 1)))
        row = int(whole)
        if fraction == 0.0:
            return self.running_means[row], self.running_vars[row]
        # The published networks weight the two rows in this order, the nearer one less.
        mean, var = (
            fraction * stats[row] + (1 - fraction) * stats[row + 1]
            for stats in (self.running_means, self.running_vars)
        )
        return mean, var

    def forward(self, x: Tensor, cond: Tensor, psi: float) -> Tensor:
        """Maps (N, C, H, W) and condition (N, cond_dim) to maps (N, C, H, W)."""
        if self.conditional:
            gain, offset = 1 + self.scale(cond), self.offset(cond)  # (N, C)
        else:
            gain, offset = self.weight[None], self.bias[None]  # (1, C)
        if self.training:
            row = round(psi * (len(self.running_means) - 1))
            stored = self.running_means[row], self.running_vars[row]
            x = F.batch_norm(x, *stored, training=True, momentum=self.momentum, eps=self.eps)
        else:
            mean, var = self.statistics(psi)
            x = x - mean[:, None, None].to(x.dtype)
            gain = gain * (var + self.eps).rsqrt()
        gain, offset = (t[..., None, None].to(x.dtype) for t in (gain, offset))
        scaled: Tensor = x * gain + offset
        return scaled


class GeneratorBlock(nn.Module):
    """Bottleneck residual block; the skip path drops channels instead of projecting them.

    Args:
        inputs: channels that come in.
        outputs: channels that go out, at most ``inputs``.
        cond_dim: width of the condition.
        n_stats: see :class:`TruncatedBatchNorm`.
        eps: see :class:`TruncatedBatchNorm`.
        up: double height and width.
    """

    def __init__(
        self, inputs: int, outputs: int, cond_dim: int, n_stats: int, eps: float, up: bool
    ) -> None:
        super().__init__()
        self.outputs, self.up = outputs, up
        middle = inputs // 4
        self.bn_0 = TruncatedBatchNorm(inputs, n_stats, eps, cond_dim)
        self.conv_0 = SpectralConv2d(inputs, middle, 1)
        self.bn_1 = TruncatedBatchNorm(middle, n_stats, eps, cond_dim)
        self.conv_1 = SpectralConv2d(middle, middle, 3)
        self.bn_2 = TruncatedBatchNorm(middle, n_stats, eps, cond_dim)
        self.conv_2 = SpectralConv2d(middle, middle, 3)
        self.bn_3 = TruncatedBatchNorm(middle, n_stats, eps, cond_dim)
        self.conv_3 = SpectralConv2d(middle, outputs, 1)

    def forward(self, x: Tensor, cond: Tensor, psi: float) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W), or (N, outputs, 2H, 2W) with ``up``."""
        skip = x[:, : self.outputs]
        x = self.conv_0(F.relu(self.bn_0(x, cond, psi)))
        x = F.relu(self.bn_1(x, cond, psi))
        if self.up:
            skip, x = (F.interpolate(t, scale_factor=2, mode="nearest") for t in (skip, x))
        x = self.conv_1(x)
        x = self.conv_2(F.relu(self.bn_2(x, cond, psi)))
        x = self.conv_3(F.relu(self.bn_3(x, cond, psi)))
        return skip + x


class SelfAttention(nn.Module):
    """Attention of every position to a map of half the size (Zhang et al., ICML 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.snconv1x1_theta = SpectralConv2d(channels, channels // 8, 1, bias=False)
        self.snconv1x1_phi = SpectralConv2d(channels, channels // 8, 1, bias=False)
        self.snconv1x1_g = SpectralConv2d(channels, channels // 2, 1, bias=False)
        self.snconv1x1_o_conv = SpectralConv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        query = self.snconv1x1_theta(x).flatten(2)  # (N, C/8, HW)
        key = F.max_pool2d(self.snconv1x1_phi(x), 2).flatten(2)  # (N, C/8, HW/4)
        value = F.max_pool2d(self.snconv1x1_g(x), 2).flatten(2)  # (N, C/2, HW/4)
        weights = (query.transpose(1, 2) @ key).softmax(dim=2)  # (N, HW, HW/4)
        attended = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])  # (N, C/2, H, W)
        refined: Tensor = self.snconv1x1_o_conv(attended)
        return x + self.gamma * refined


class SynthesisNetwork(nn.Module):
    """Condition (N, cond_dim) and truncation to images in [-1, 1]; see :class:`BigGANDeep`."""

    def __init__(
        self,
        cond_dim: int,
        channel_width: int,
        layers: Sequence[tuple[bool, int, int]],
        attention_layer_position: int,
        n_stats: int,
        eps: float,
    ) -> None:
        super().__init__()
        self.channels = layers[0][1] * channel_width
        self.gen_z = SpectralLinear(cond_dim, 4 * 4 * self.channels)
        blocks: list[nn.Module] = []
        for position, (up, inputs, outputs) in enumerate(layers):
            if position == attention_layer_position:
                blocks.append(SelfAttention(inputs * channel_width))
            blocks.append(
                GeneratorBlock(
                    inputs * channel_width, outputs * channel_width, cond_dim, n_stats, eps, up
                )
            )
        self.layers = nn.ModuleList(blocks)
        channels = layers[-1][2] * channel_width
        self.bn = TruncatedBatchNorm(channels, n_stats, eps)
        self.conv_to_rgb = SpectralConv2d(channels, channels, 3)

    def forward(self, cond: Tensor, psi: float) -> Tensor:
        x = self.gen_z(cond).view(-1, 4, 4, self.channels)
        x = x.permute(0, 3, 1, 2)  # (N, C, 4, 4), channels last in memory
        for layer in self.layers:
            x = layer(x) if isinstance(layer, SelfAttention) else layer(x, cond, psi)
        rgb: Tensor = self.conv_to_rgb(F.relu(self.bn(x, cond, psi)))
        return rgb[:, :COLOURS].tanh()


class BigGANDeep(Generator):
    """BigGAN-deep generator with the published parameter names.

    The defaults are ImageNet at 256 px. Latents are ``psi`` times a standard normal truncated to
    [-2, 2]; the same ``psi`` then selects the batch-norm statistics.

    Args:
        output_dim: height and width of the image.
        z_dim: width of z and of the class embedding.
        channel_width: unit of the channel numbers in ``layers``.
        num_classes: classes.
        layers: one ``(upsample, inputs, outputs)`` per block, from 4x4 to the image.
        attention_layer_position: index of the block that self-attention precedes.
        eps: added to the variances.
        n_stats: truncation values from 0 to 1 for which statistics are stored.

    Raises:
        RosettaError: when ``layers`` do not lead to an image of ``output_dim``.
    """

    def __init__(
        self,
        output_dim: int = 256,
        z_dim: int = 128,
        channel_width: int = 128,
        num_classes: int = 1000,
        layers: Sequence[tuple[bool, int, int]] = (
            (False, 16, 16),
            (True, 16, 16),
            (False, 16, 16),
            (True, 16, 8),
            (False, 8, 8),
            (True, 8, 8),
            (False, 8, 8),
            (True, 8, 4),
            (False, 4, 4),
            (True, 4, 2),
            (False, 2, 2),
            (True, 2, 1),
        ),
        attention_layer_position: int = 8,
        eps: float = 1e-4,
        n_stats: int = 51,
    ) -> None:
        super().__init__(z_dim, num_classes, output_dim, (-1.0, 1.0))
        reached = 4 * 2 ** sum(up for up, _, _ in layers)
        if reached != output_dim:
            raise RosettaError(
                f"output_dim={output_dim}, but the upsampling layers lead to {reached} px; "
                "change one of the two."
            )
        self.embeddings = nn.Linear(num_classes, z_dim, bias=False)
        self.generator = SynthesisNetwork(
            2 * z_dim, channel_width, layers, attention_layer_position, n_stats, eps
        )

    def map(
        self, z: Tensor, c: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """z (N, z_dim) and c (N, num_classes) to the condition (N, 2 * z_dim).

        ``psi`` only matters to :meth:`synthesize`.

        Raises:
            RosettaError: when class weights are missing, or for a ``cutoff``.
        """
        if cutoff is not None:
            raise RosettaError(
                f"cutoff={cutoff}, but BigGAN has no w slots to stop truncation at; leave it out."
            )
        return torch.cat([z, self.embeddings(require_classes(c, self.num_classes))], dim=1)

    def synthesize(self, latent: Tensor, psi: float = 1.0) -> Tensor:
        """Condition (N, 2 * z_dim) to images, with the statistics for truncation ``psi``.

        Raises:
            RosettaError: when ``psi`` lies outside (0, 1].
        """
        if not 0.0 < psi <= 1.0:
            raise RosettaError(f"psi={psi}, but BigGAN's truncation lies in (0, 1].")
        image: Tensor = self.generator(latent, psi)
        return image

    @torch.no_grad()
    def finish_training(self) -> None:
        """Let every power iteration converge, and measure the statistics of every truncation.

        "Standing statistics" (section 3.2 of the paper): those of the finished network, averaged
        over many latents, instead of what followed the changing network of the training.
        """
        device = self.embeddings.weight.device
        source = torch.Generator().manual_seed(0)
        labels = torch.arange(STANDING_BATCH, device=device) % self.num_classes
        for module in self.modules():
            if isinstance(module, SpectralModule):
                module.converge()
        norms = [m for m in self.modules() if isinstance(m, TruncatedBatchNorm)]
        rows = len(norms[0].running_means)
        self.train()
        for psi in torch.linspace(1.0, 0.0, rows).tolist():
            for batch in range(STANDING_BATCHES):
                for norm in norms:
                    norm.momentum = 1.0 / (batch + 1)  # makes a plain mean over the batches
                z = psi * torch.randn(STANDING_BATCH, self.z_dim, generator=source).to(device)
                self.generator(self.map(z, self.one_hot(labels)), psi)
        self.eval()

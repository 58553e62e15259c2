"""Building blocks that the style-based generators share."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta_lab.errors import RosettaError

LRELU_SLOPE = 0.2


def lrelu(x: Tensor, gain: float = math.sqrt(2.0), clamp: float | None = None) -> Tensor:
    """Leaky ReLU (slope 0.2) times ``gain``, clamped to ``[-clamp, clamp]`` where one is given."""
    x = F.leaky_relu(x, LRELU_SLOPE) * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def rms_normalize(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale every row of ``x`` (N, D) to a root mean square of one."""
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


def truncate(w: Tensor, w_avg: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
    """Truncation trick: move the first ``cutoff`` slots of ``w`` towards the mean latent.

    Args:
        w: latents (N, num_ws, w_dim).
        w_avg: mean latent (w_dim,) or one per sample (N, w_dim).
        psi: 1 leaves ``w`` as it is, 0 gives the mean latent.
        cutoff: number of slots to truncate; None means all.
    """
    if psi == 1.0:
        return w
    mean = w_avg.reshape(-1, 1, w.shape[-1])  # (1 or N, 1, w_dim)
    truncated = mean + psi * (w - mean)
    if cutoff is None:
        return truncated
    return torch.cat([truncated[:, :cutoff], w[:, cutoff:]], dim=1)


class FullyConnected(nn.Module):
    """Linear layer with an equalised learning rate (Karras et al. 2018, section 4.1).

    Args:
        in_features: width of the input.
        out_features: width of the output.
        lr_multiplier: scale of weight and bias at run time; stored weights are divided by it.
        bias_init: initial effective bias.
        activate: apply :func:`lrelu` to the result.
        bias: have a bias at all.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
        activate: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = (
            nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier)) if bias else None
        )
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.bias_gain
        y = F.linear(x, self.weight * self.weight_gain, bias)
        return lrelu(y) if self.activate else y


def fir_kernel(taps: tuple[float, ...] | list[float]) -> Tensor:
    """Separable 2-D low-pass kernel with the given 1-D taps, scaled to sum 1."""
    row = torch.tensor([float(tap) for tap in taps])
    kernel = torch.outer(row, row)
    return kernel / kernel.sum()


def depthwise_fir(x: Tensor, kernel: Tensor, padding: int = 0) -> Tensor:
    """Convolve every channel of ``x`` (N, C, H, W) with ``kernel`` (kh, kw), no spatial flip."""
    weight = kernel.to(x.dtype).expand(x.shape[1], 1, *kernel.shape)
    return F.conv2d(x, weight, padding=padding, groups=x.shape[1])


def require_classes(c: Tensor | None, num_classes: int) -> Tensor:
    """The class weights ``c`` (N, num_classes), checked.

    Raises:
        RosettaError: when they are missing or of another width.
    """
    if c is None or c.shape[-1] != num_classes:
        got = "no class weights" if c is None else f"class weights of shape {tuple(c.shape)}"
        raise RosettaError(
            f"Got {got}, but the generator is conditional on {num_classes} classes.\n"
            f"Pass c of shape (N, {num_classes})."
        )
    return c

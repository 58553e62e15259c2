"""Low-pass filters of the alias-free generators, and resampling with them.

Designed in float64 by the Kaiser-window method (Oppenheim and Schafer, section 7.5), as proposed
for StyleGAN3 (Karras et al., NeurIPS 2021, appendix C).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def kaiser_beta(taps: int, transition: float) -> float:
    """Shape parameter of the Kaiser window that makes the most of ``taps`` coefficients.

    Args:
        taps: length of the filter.
        transition: width of the transition band, relative to the Nyquist frequency.
    """
    attenuation = 2.285 * (taps - 1) * math.pi * transition + 7.95  # dB
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * math.pow(attenuation - 21, 0.4) + 0.07886 * (attenuation - 21)
    return 0.0


def kaiser_window(taps: int, half_width: float, rate: float) -> Tensor:
    """Kaiser window (taps,), float64, for a transition band of ``2 * half_width``."""
    beta = kaiser_beta(taps, 2 * half_width / (rate / 2))
    return torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)


def tap_positions(taps: int, rate: float) -> Tensor:
    """Where the coefficients lie around the filter's centre (taps,), float64."""
    return (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate


def lowpass(taps: int, cutoff: float, half_width: float, rate: float) -> Tensor:
    """Separable low-pass filter.

    Args:
        taps: length of the filter.
        cutoff: frequency at which the gain is one half, in cycles per image width.
        half_width: half of the width of the transition band, in the same unit.
        rate: samples per image width.

    Returns:
        Coefficients (taps,) of sum 1, float32.
    """
    sinc = torch.sinc(2 * cutoff * tap_positions(taps, rate))
    kernel = sinc * kaiser_window(taps, half_width, rate)
    return (kernel / kernel.sum()).float()


def radial_lowpass(taps: int, cutoff: float, half_width: float, rate: float) -> Tensor:
    """Rotation-symmetric low-pass filter: the jinc function under a Kaiser window.

    Args:
        taps: even length of both sides.
        cutoff: see :func:`lowpass`.
        half_width: see :func:`lowpass`.
        rate: see :func:`lowpass`.

    Returns:
        Coefficients (taps, taps) of sum 1, float32.
    """
    x = tap_positions(taps, rate)
    radius = torch.hypot(x[:, None], x[None, :])  # never 0, as the number of taps is even
    jinc: Tensor = torch.special.bessel_j1(2 * math.pi * cutoff * radius) / (math.pi * radius)
    window = kaiser_window(taps, half_width, rate)
    kernel = jinc * torch.outer(window, window)
    return (kernel / kernel.sum()).float()


def upsample(x: Tensor, taps: Tensor, factor: int, *, crop: int = 0, gain: float = 1.0) -> Tensor:
    """Insert zeros between the samples and filter.

    Args:
        x: maps (N, C, H, W).
        taps: separable symmetric low-pass filter (T,) of sum 1.
        factor: ratio of the sampling rates.
        crop: samples to leave out on each of the four sides; the filtered signal extends beyond
            the input by the length of the filter.
        gain: positive factor of the result.

    Returns:
        (N, C, H', W') with ``H' = (H - 1) * factor + T - 2 * crop``, and W' likewise.
    """
    channels = x.shape[1]
    kernel = (taps * (factor * math.sqrt(gain))).to(x.dtype).expand(channels, 1, 1, -1)
    x = F.conv_transpose2d(
        x, kernel.transpose(2, 3), stride=(factor, 1), padding=(crop, 0), groups=channels
    )
    return F.conv_transpose2d(x, kernel, stride=(1, factor), padding=(0, crop), groups=channels)


def downsample(x: Tensor, kernel: Tensor, factor: int) -> Tensor:
    """Filter maps (N, C, H, W) and keep every ``factor``-th sample.

    Args:
        x: maps.
        kernel: separable (T,) or two-dimensional (T, T) symmetric low-pass filter.
        factor: ratio of the sampling rates.

    Returns:
        (N, C, H', W') with ``H' = (H - T) // factor + 1``, and W' likewise.
    """
    channels = x.shape[1]
    if kernel.ndim == 2:
        weight = kernel.to(x.dtype).expand(channels, 1, -1, -1)
        return F.conv2d(x, weight, stride=factor, groups=channels)
    weight = kernel.to(x.dtype).expand(channels, 1, 1, -1)
    x = F.conv2d(x, weight.transpose(2, 3), stride=(factor, 1), groups=channels)
    return F.conv2d(x, weight, stride=(1, factor), groups=channels)

"""How far what a mask shows moved between two pictures: what an edit really did.

Distances are fractions of the picture's width and height, x to the right and y down, as for
:func:`rosetta_lab.functional.map_edits.shift`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_BLUR = 1.5  # samples; standard deviation of the peak that a pure displacement makes


def displacement(before: Tensor, after: Tensor) -> Tensor:
    """How far ``after`` is ``before`` moved, by phase correlation with sub-pixel refinement.

    Only the phases of the cross-power spectrum count. A Gaussian weight over the frequencies turns
    the peak into a Gaussian, whose place three samples per axis give exactly. Phases follow edges:
    for things that grew as well, compare the centres of their masks instead.

    Args:
        before: masks (N, H, W), 0 around what they show.
        after: of the same shape.

    Returns:
        dx and dy (N, 2), float64.
    """
    height, width = before.shape[-2:]
    surface = _correlate(_spectrum(before), _spectrum(after))
    rows, columns = surface.amax(dim=2), surface.amax(dim=1)  # both go through the peak
    return torch.stack([_peak(columns) / width, _peak(rows) / height], dim=1)


def _spectrum(masks: Tensor) -> Tensor:
    """Half spectrum (N, 2H, W + 1) of masks with as much nothing around, so that none wraps."""
    height, width = masks.shape[1:]
    spectrum: Tensor = torch.fft.rfft2(masks.double(), s=(2 * height, 2 * width))
    return spectrum


def _correlate(before: Tensor, after: Tensor) -> Tensor:
    """Phase correlation (N, H, W) of half spectra (N, H, W/2 + 1)."""
    cross = after * before.conj()
    height, width = cross.shape[1], 2 * (cross.shape[2] - 1)
    size = cross.abs()
    cross = cross / (size + 1e-9 * size.amax(dim=(1, 2), keepdim=True) + 1e-300)
    frequency = torch.fft.fftfreq(height, device=size.device, dtype=size.dtype)[:, None].square()
    frequency = frequency + torch.fft.rfftfreq(width, device=size.device, dtype=size.dtype).square()
    weight = torch.exp(-2.0 * (math.pi * _BLUR) ** 2 * frequency)
    surface: Tensor = torch.fft.irfft2(cross * weight, s=(height, width))
    return surface


def _peak(profile: Tensor) -> Tensor:
    """Signed place of the highest sample of periodic profiles (N, K), between samples: (N,)."""
    samples = profile.shape[1]
    top = profile.argmax(dim=1, keepdim=True)  # (N, 1)
    around = torch.cat([(top + step) % samples for step in (-1, 0, 1)], dim=1)
    values = profile.gather(1, around)
    # The logarithm of a Gaussian is a parabola.
    left, middle, right = values.clamp(min=1e-9).log().unbind(dim=1)
    curvature = left - 2.0 * middle + right
    offset = torch.where(curvature < 0.0, 0.5 * (left - right) / curvature, 0.0).clamp(-0.5, 0.5)
    place = top[:, 0] + offset
    return torch.where(place > samples / 2, place - samples, place)

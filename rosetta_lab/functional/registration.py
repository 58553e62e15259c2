"""How far things moved and how much they grew between two pictures: what an edit really did.

Distances are fractions of the picture's width and height, x to the right and y down, as for
:func:`rosetta_lab.functional.map_edits.shift`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_BLUR = 1.5  # samples; standard deviation of the peak that a pure displacement makes
_RADII, _ANGLES = 96, 48  # samples of the log-polar spectrum
_FINEST, _OCTAVES = 0.4, 3.0  # its highest frequency in cycles per pixel, and how far down it goes


def displacement(before: Tensor, after: Tensor, window: bool = True) -> Tensor:
    """How far ``after`` is ``before`` moved, by phase correlation with sub-pixel refinement.

    Only the phases of the cross-power spectrum count. A Gaussian weight over the frequencies turns
    the peak into a Gaussian, whose place three samples per axis give exactly. Phases follow edges:
    for things that grew as well, compare the centres of their masks instead.

    Args:
        before: pictures (N, C, H, W), or masks or grey pictures (N, H, W).
        after: of the same shape.
        window: fade the pictures out towards their borders, which do not move. False for masks,
            which are 0 around what they show.

    Returns:
        dx and dy (N, 2), float64. Under the window, what moves by more than about a third of the
        picture is mostly gone, and not found; up to there, distances come out a few percent short.
    """
    height, width = before.shape[-2:]
    surface = _correlate(_spectrum(before, window), _spectrum(after, window))
    rows, columns = surface.amax(dim=2), surface.amax(dim=1)  # both go through the peak
    return torch.stack([_peak(columns) / width, _peak(rows) / height], dim=1)


def scale(before: Tensor, after: Tensor) -> Tensor:
    """How many times larger ``after`` is than ``before``, by log-polar phase correlation.

    The magnitudes of a spectrum do not depend on where things are, and move inwards as things grow:
    along the logarithm of the frequency, by the same distance everywhere.

    Args:
        before: textured pictures (N, C, H, W) or (N, H, W). For what has a mask,
            :func:`area_scale` is more exact.
        after: of the same shape.

    Returns:
        (N,), float64.
    """
    polar = [_log_polar(_spectrum(picture, window=True).abs()) for picture in (before, after)]
    spectra = [torch.fft.rfft2(p, s=(_ANGLES, 2 * _RADII)) for p in polar]  # angles are periodic
    profile = _correlate(*spectra)[:, 0]  # no rotation
    return torch.exp2(-_peak(profile) * _OCTAVES / (_RADII - 1))


def area_scale(before: Tensor, after: Tensor) -> Tensor:
    """How many times larger (in length) ``after`` is: the root of the ratio of the areas.

    Args:
        before: masks (N, H, W), boolean or shares in [0, 1].
        after: of the same shape.

    Returns:
        (N,), float64; NaN or infinite where ``before`` is empty.
    """
    return (after.double().sum(dim=(1, 2)) / before.double().sum(dim=(1, 2))).sqrt()


def intersection_over_union(first: Tensor, second: Tensor) -> Tensor:
    """Overlap of masks (N, H, W), boolean or shares in [0, 1]: (N,), 1 where both are empty."""
    first, second = first.double(), second.double()
    both = torch.minimum(first, second).sum(dim=(1, 2))
    either = torch.maximum(first, second).sum(dim=(1, 2))
    return torch.where(either > 0.0, both / either, 1.0)


def _spectrum(pictures: Tensor, window: bool) -> Tensor:
    """Half spectrum (N, C, 2H, W + 1) of pictures with as much nothing around, so none wraps."""
    pictures = pictures.double()
    pictures = pictures[:, None] if pictures.dim() == 3 else pictures
    height, width = pictures.shape[-2:]
    if window:
        fade = torch.outer(_hann(height, pictures), _hann(width, pictures))  # (H, W)
        level = (pictures * fade).sum(dim=(2, 3), keepdim=True) / fade.sum()
        pictures = (pictures - level) * fade
    spectrum: Tensor = torch.fft.rfft2(pictures, s=(2 * height, 2 * width))
    return spectrum


def _hann(size: int, like: Tensor) -> Tensor:
    """A Hann window whose zeros lie just outside (size,), of the type of ``like``."""
    return torch.hann_window(size + 2, periodic=False, dtype=like.dtype, device=like.device)[1:-1]


def _correlate(before: Tensor, after: Tensor) -> Tensor:
    """Phase correlation of half spectra (N, C, H, W/2 + 1), channels together: (N, H, W)."""
    cross = (after * before.conj()).sum(dim=1)
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


def _log_polar(magnitude: Tensor) -> Tensor:
    """Magnitudes (N, C, 2H, W + 1) over angle and logarithm of frequency (N, C, angles, radii)."""
    magnitude = magnitude.roll(magnitude.shape[2] // 2, dims=2).log1p()
    half = magnitude.shape[2] // 2
    radius = _FINEST * torch.exp2(torch.linspace(-_OCTAVES, 0.0, _RADII))  # cycles per pixel
    angle = (torch.arange(_ANGLES) / _ANGLES - 0.5) * math.pi
    # Index of the frequency: cycles per pixel times the number of samples of the padded picture.
    column = torch.outer(angle.cos(), radius) * 2.0 * (magnitude.shape[3] - 1)
    row = torch.outer(angle.sin(), radius) * magnitude.shape[2] + half
    column = 2.0 * column / (magnitude.shape[3] - 1) - 1.0  # as grid_sample wants it
    row = 2.0 * row / (magnitude.shape[2] - 1) - 1.0
    grid = torch.stack([column, row], dim=2).to(magnitude).expand(len(magnitude), -1, -1, -1)
    polar = F.grid_sample(magnitude, grid, mode="bilinear", align_corners=True)
    polar = polar - polar.mean(dim=3, keepdim=True)
    return polar * _hann(_RADII, polar)

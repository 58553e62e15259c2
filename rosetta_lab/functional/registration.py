"""How far what a picture shows moved: what an edit really did.

Distances are fractions of the picture's width and height, x to the right and y down, as for
:func:`rosetta_lab.functional.map_edits.shift`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LIKE = 0.6  # correlation from which on two pictures show the same
SHARP = 0.03  # by how much it has to fall
AROUND = 0.1  # within this distance, of the picture: else other places would do as well
OVERLAP = 0.25  # of the picture and of its contrast, that has to be in both pictures
_LARGEST = 128  # samples of a side that are looked at


def displacement(before: Tensor, after: Tensor) -> Tensor:
    """How far ``after`` is ``before`` moved, whatever the pictures show.

    At every displacement by whole samples, the part that both pictures have is correlated (Pearson,
    over places and colours), so that it does not matter what comes in from outside. What is left
    between samples is found from the gradients there.

    Args:
        before: pictures (N, C, H, W) of any range, or masks.
        after: of the same shape.

    Returns:
        dx and dy (N, 2), float64. NaN where it cannot be told: nothing in the pictures is alike,
        they are plain, or other displacements do nearly as well (stripes, slopes, lone edges).
    """
    before, after = (_reduced(pictures) for pictures in (before, after))
    height, width = before.shape[-2:]
    alike = _correlations(before, after)  # (N, 2H, 2W)
    best, place = alike.flatten(1).max(dim=1)
    y, x = place // (2 * width), place % (2 * width)
    far = torch.maximum(_distance(y, height)[:, :, None], _distance(x, width)[:, None]) > AROUND
    others = alike.masked_fill(~far, -1.0).flatten(1).amax(dim=1)
    steps = torch.stack([_signed(x, width), _signed(y, height)], dim=1)  # (N, 2)
    rest = [_remainder(*common) for common in map(_common, before, after, steps.tolist())]
    found = (steps + torch.stack(rest)) / steps.new_tensor([width, height], dtype=torch.float64)
    told = (best >= LIKE) & (others <= best - SHARP)
    return found.masked_fill(~told[:, None], torch.nan)


def _reduced(pictures: Tensor) -> Tensor:
    """Pictures with fewer samples where they have very many, float64."""
    height, width = pictures.shape[-2:]
    share = min(1.0, _LARGEST / max(height, width))
    size = max(1, round(height * share)), max(1, round(width * share))
    return pictures.double() if share == 1.0 else F.adaptive_avg_pool2d(pictures.double(), size)


def _correlations(before: Tensor, after: Tensor) -> Tensor:
    """Correlation over what two pictures (N, C, H, W) have in common, at every displacement.

    Returns:
        (N, 2H, 2W) by rows and columns that ``after`` lies further down and to the right, negative
        ones from the end; -1 where too little is left to compare.
    """
    # Constants make no difference, and large ones cost digits.
    before, after = (x - x.mean(dim=(2, 3), keepdim=True) for x in (before, after))
    size = (2 * before.shape[2], 2 * before.shape[3])  # so that nothing wraps around

    def spectrum(x: Tensor) -> Tensor:
        found: Tensor = torch.fft.rfft2(x, s=size)
        return found

    def sums(one: Tensor, two: Tensor) -> Tensor:  # over the places that both have
        found: Tensor = torch.fft.irfft2(one.conj() * two, s=size)
        return found

    ones, old, new = (spectrum(x) for x in (torch.ones_like(before[:1, :1]), before, after))
    count = sums(ones, ones).round().clamp(min=1.0)
    sum_old, sum_new = sums(old, ones), sums(ones, new)
    joint = (sums(old, new) - sum_old * sum_new / count).sum(dim=1)
    spread_old = (sums(spectrum(before.square()), ones) - sum_old.square() / count).sum(dim=1)
    spread_new = (sums(ones, spectrum(after.square())) - sum_new.square() / count).sum(dim=1)
    whole = spread_old[:, :1, :1]
    little = (count[:, 0] < OVERLAP * count[0, 0, 0, 0]) | (spread_old < OVERLAP * whole)
    little = little | (spread_new < 1e-6 * whole) | (whole <= 1e-9)
    scale = (spread_old * spread_new).clamp(min=1e-30).sqrt()
    return (joint / scale).masked_fill(little, -1.0)


def _distance(place: Tensor, side: int) -> Tensor:
    """Distance of every one of ``2 * side`` places around a circle from some (N,), in sides."""
    steps = (torch.arange(2 * side, device=place.device) - place[:, None]).abs()  # (N, 2 * side)
    return torch.minimum(steps, 2 * side - steps) / side


def _signed(place: Tensor, side: int) -> Tensor:
    """Places around a circle of ``2 * side`` as displacements."""
    return torch.where(place > side, place - 2 * side, place)


def _common(before: Tensor, after: Tensor, steps: Sequence[int]) -> tuple[Tensor, Tensor]:
    """What pictures (C, H, W) both show where the second is the first moved by steps x and y."""
    for axis, step in zip((2, 1), steps, strict=True):
        length = before.shape[axis] - abs(step)
        before = before.narrow(axis, max(-step, 0), length)
        after = after.narrow(axis, max(step, 0), length)
    return before, after


def _remainder(before: Tensor, after: Tensor) -> Tensor:
    """How far pictures (C, H, W) that nearly agree are apart: x and y (2,), half a sample at most.

    Least squares of what the gradients explain of their difference (Lucas and Kanade, 1981).
    """
    mean, difference = (before + after) / 2.0, (before - after)[:, 1:-1, 1:-1]
    across = (mean[:, 1:-1, 2:] - mean[:, 1:-1, :-2]) / 2.0
    down = (mean[:, 2:, 1:-1] - mean[:, :-2, 1:-1]) / 2.0
    slopes = torch.stack([across.flatten(), down.flatten()])  # (2, P)
    moved: Tensor = torch.linalg.pinv(slopes @ slopes.t()) @ (slopes @ difference.flatten())
    return moved.clamp(-0.5, 0.5)

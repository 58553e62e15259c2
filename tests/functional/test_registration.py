"""Registration against displacements that SciPy made."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from rosetta_lab.functional import map_edits as edits
from rosetta_lab.functional.registration import displacement

Picture = NDArray[np.float64]


def blob() -> Picture:
    """A mask (64, 64) of something lopsided, near the middle."""
    y, x = np.mgrid[:64, :64]
    body = ((x - 30) / 12.0) ** 2 + ((y - 34) / 8.0) ** 2 < 1
    return np.asarray(body & ~(((x - 34) / 4.0) ** 2 + ((y - 30) / 4.0) ** 2 < 1), dtype=np.float64)


@pytest.mark.parametrize("move", [(0, 0), (8, -5), (-15, 12), (20, 20), (-18, -25)])
def test_displacement_of_masks_by_whole_pixels(move: tuple[int, int]) -> None:
    before = torch.from_numpy(blob())[None, None] > 0.5
    after = torch.from_numpy(ndimage.shift(blob(), move[::-1], order=0))[None, None] > 0.5
    found = displacement(before, after)[0] * 64
    np.testing.assert_allclose(found, move, atol=1e-3)


@pytest.mark.parametrize("move", [(3.3, 1.7), (-12.5, 9.25), (7.8, -10.1)])
def test_displacement_of_masks_between_pixels(move: tuple[float, float]) -> None:
    """With soft borders, and with hard ones and a tenth of the pixels around it spoilt."""
    moved = ndimage.shift(blob(), move[::-1], order=1)
    before = torch.from_numpy(blob())[None, None]
    soft = displacement(before, torch.from_numpy(moved)[None, None])[0] * 64
    np.testing.assert_allclose(soft, move, atol=0.05)
    spoilt = (moved > 0.5) ^ (np.random.default_rng(0).random((64, 64)) < 0.01)
    hard = displacement(before, torch.from_numpy(spoilt)[None, None])[0] * 64
    np.testing.assert_allclose(hard, move, atol=0.3)


def test_displacement_is_signed_as_shift_is() -> None:
    """A batch whose pictures move differently, in fractions of a rectangular picture."""
    before = torch.zeros(2, 1, 16, 32)
    before[..., 6:10, 12:18] = 1.0
    before[..., 7:9, 14] = 0.0
    after = torch.cat(
        [
            edits.shift(before[:1], dx=0.25, dy=-0.125),
            edits.shift(before[1:], dx=-0.125, dy=0.25),
        ]
    )
    found = displacement(before, after)
    np.testing.assert_allclose(found, [[0.25, -0.125], [-0.125, 0.25]], atol=1e-4)


def clouds(seed: int, side: int = 64) -> Picture:
    """A picture (3, side, side) in [0, 1] of something on every scale, as photographs are."""
    noise = np.random.default_rng(seed).random((3, side, side))
    found = sum(ndimage.gaussian_filter(noise, (0, s, s)) * s for s in (1, 3, 8))
    return np.asarray((found - found.min()) / (found.max() - found.min()))


def moved(picture: Picture, dx: int, dy: int) -> Picture:
    """Its pixels moved, black behind them."""
    return np.asarray(ndimage.shift(picture, (0, dy, dx), order=0))


@pytest.mark.parametrize("move", [(16, 0), (-16, 8), (0, -32), (5, 3), (0, 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_displacement_of_pictures_that_black_comes_into(move: tuple[int, int], seed: int) -> None:
    before = clouds(seed)
    found = displacement(
        torch.from_numpy(before)[None], torch.from_numpy(moved(before, *move))[None]
    )
    np.testing.assert_allclose(found[0] * 64, move, atol=1e-6)


def test_displacement_of_large_pictures() -> None:
    before = clouds(2, 300)
    found = displacement(
        torch.from_numpy(before)[None], torch.from_numpy(moved(before, 75, -30))[None]
    )
    np.testing.assert_allclose(found[0], (0.25, -0.1), atol=0.002)


def stripes() -> Picture:
    return np.broadcast_to(0.5 + 0.5 * np.sin(np.arange(64) / 64 * 40), (3, 64, 64)).copy()


def plain() -> Picture:
    return np.full((3, 64, 64), 0.3)


def slope() -> Picture:
    return np.broadcast_to(np.linspace(0, 1, 64)[:, None], (3, 64, 64)).copy()


def edge() -> Picture:
    return np.broadcast_to(np.arange(64) > 25, (3, 64, 64)).astype(float)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *((picture(), moved(picture(), 16, 0)) for picture in (stripes, plain, slope, edge)),
        (clouds(0), clouds(1)),
        (clouds(0), plain()),
        (plain(), clouds(0)),
    ],
)
def test_what_cannot_be_told_is_not_told(before: Picture, after: Picture) -> None:
    found = displacement(torch.from_numpy(before)[None], torch.from_numpy(after)[None])
    assert found.isnan().all()

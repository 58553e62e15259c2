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
    before = torch.from_numpy(blob())[None] > 0.5
    after = torch.from_numpy(ndimage.shift(blob(), move[::-1], order=0))[None] > 0.5
    found = displacement(before, after)[0] * 64
    np.testing.assert_allclose(found, move, atol=1e-3)


@pytest.mark.parametrize("move", [(3.3, 1.7), (-12.5, 9.25), (7.8, -10.1)])
def test_displacement_of_masks_between_pixels(move: tuple[float, float]) -> None:
    """With soft borders, and with hard ones and a tenth of the pixels around it spoilt."""
    moved = ndimage.shift(blob(), move[::-1], order=1)
    before = torch.from_numpy(blob())[None]
    soft = displacement(before, torch.from_numpy(moved)[None])[0] * 64
    np.testing.assert_allclose(soft, move, atol=0.05)
    spoilt = (moved > 0.5) ^ (np.random.default_rng(0).random((64, 64)) < 0.01)
    hard = displacement(before, torch.from_numpy(spoilt)[None])[0] * 64
    np.testing.assert_allclose(hard, move, atol=0.3)


def test_displacement_is_signed_as_shift_is() -> None:
    """A batch whose pictures move differently, in fractions of a rectangular picture."""
    before = torch.zeros(2, 16, 32)
    before[:, 6:10, 12:18] = 1.0
    before[:, 7:9, 14] = 0.0
    after = torch.cat(
        [
            edits.shift(before[None, :1], dx=0.25, dy=-0.125)[0],
            edits.shift(before[None, 1:], dx=-0.125, dy=0.25)[0],
        ]
    )
    found = displacement(before, after)
    np.testing.assert_allclose(found, [[0.25, -0.125], [-0.125, 0.25]], atol=1e-4)
